"""A log to rows that fulfil the `transactions` contract and rows that do not, with reasons."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType
from pyspark.sql.window import Window

from conf.errors import ConfigurationError, InputError
from conf.source import OPTIONAL, Source

CORRUPT = "_corrupt_record"
KINDS = ("purchase", "return", "cancelled")
_FILES = ("csv", "json", "text", "parquet", "orc")
# Text stays text (ids keep their zeros, and their digits beyond 2^63); RFC 4180 quoting;
# files whose header differs from the first one's are an error instead of shifted columns.
_DEFAULTS: dict[str, dict[str, str | int | bool]] = {
    "csv": {"escape": '"', "enforceSchema": False},
    "json": {"primitivesAsString": True},
}


@dataclass(frozen=True)
class Limits:
    """What a line must fulfil beside its types: money (source's currency) and days."""

    max_amount: float
    first_day: date
    last_day: date


@contextmanager
def business_session(spark: SparkSession, time_zone: str) -> Iterator[None]:
    """The session's clock in the business time zone, and casts that give null instead of raising.

    Days are cut in that zone; what cannot be cast is refused by the contract, not by Spark.
    """
    wanted = {
        "spark.sql.session.timeZone": time_zone,
        "spark.sql.ansi.enabled": "false",
        "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    }
    before = {key: spark.conf.get(key) for key in wanted}
    try:
        for key, value in wanted.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            if old is not None:
                spark.conf.set(key, old)


def read_log(spark: SparkSession, source: Source, path: str | None) -> DataFrame:
    """The log's rows as they come, with the columns of the source's reader.

    Text formats come as strings with a column `_corrupt_record` that holds the malformed
    lines; file formats have a column `_file`. Raises InputError when nothing can be read.
    """
    form = source.reader.format
    if form == "table":
        if path is None:
            raise InputError("--input: give the name of the catalog table")
        return _skipped(_loaded(lambda: spark.read.table(path), path), source)
    options = {**_DEFAULTS.get(form, {}), **source.reader.options}
    reader = spark.read.format(form).options(**options)
    if form in _FILES and path is None:
        raise InputError(
            f"--input: the source {source.name} reads {form} files; say where they are"
        )
    if form not in ("csv", "json"):
        rows = _loaded(lambda: reader.load(path), path)
    else:
        schema = _loaded(lambda: reader.load(path), path).schema
        if not schema.fields:
            raise InputError(f"{path}: empty, there is not even a header")
        plain = [field for field in schema.fields if field.name != CORRUPT]
        with_corrupt = StructType([*plain, StructField(CORRUPT, StringType())])
        rows = _loaded(
            lambda: (
                reader.option("columnNameOfCorruptRecord", CORRUPT)
                .option("columnPruning", False)
                .schema(with_corrupt)
                .load(path)
            ),
            path,
        )
    if form in _FILES:
        rows = rows.select("*", F.col("_metadata.file_path").alias("_file"))
    return _skipped(rows, source)


def mapped(rows: DataFrame, source: Source, limits: Limits) -> DataFrame:
    """Each row of the log as the contract's columns, and `reasons` why it is refused (or empty).

    Columns: those of `transactions`, of `quarantine` without `source`, one row per row of the log.
    Raises ConfigurationError when an expression of the source does not fit the log.
    """
    parsed = _evaluated(rows, source)
    typed = parsed.select(
        "_file",
        "_source_row",
        "_corrupt",
        "customer_id",
        F.col("ordered_at").try_cast("timestamp").alias("ordered_at"),
        F.col("amount").try_cast("double").alias("_amount_double"),
        F.col("amount").try_cast("decimal(38,6)").alias("_amount"),
        F.col("order_id"),
        F.lower(F.trim("kind")).alias("kind"),
        F.col("quantity").alias("_raw_quantity"),
        F.col("quantity").try_cast("decimal(18,3)").alias("quantity"),
        F.col("discount").alias("_raw_discount"),
        F.abs(F.col("discount").try_cast("decimal(18,2)")).alias("discount"),
        "product_id",
        "category",
        "payment_method",
        "channel",
    )
    day = F.to_date("ordered_at")
    sign = F.when(F.col("kind") == "purchase", F.lit(1)).otherwise(F.lit(-1))
    lines = typed.select(
        "*",
        day.alias("ordered_on"),
        F.when(F.col("kind") == "purchase", F.col("_amount"))
        .otherwise(-F.abs("_amount"))
        .try_cast("decimal(18,2)")
        .alias("amount"),
    ).withColumns(
        {
            "quantity": F.abs("quantity") * sign,
            "order_id": F.coalesce(F.col("order_id"), F.concat_ws("|", "customer_id", "ordered_on"))
            if source.columns.order_id is None
            else F.col("order_id"),
        }
    )
    duplicate = _is_repeat() if source.exact_duplicates == "refuse" else F.lit(False)
    return lines.select("*", _reasons(limits, duplicate).alias("reasons")).select(
        "customer_id",
        "order_id",
        "ordered_at",
        "ordered_on",
        "kind",
        "amount",
        "quantity",
        "discount",
        "product_id",
        "category",
        "payment_method",
        "channel",
        F.lit(source.name).alias("source"),
        F.col("_file").alias("file"),
        F.col("_source_row").alias("source_row"),
        "reasons",
    )


def _reasons(limits: Limits, duplicate: Column) -> Column:
    money = F.col("_amount_double")
    checks = [
        (F.col("_corrupt"), "the line is malformed"),
        (_blank("customer_id"), "customer_id is missing"),
        (_blank("order_id"), "order_id is missing"),
        (F.col("ordered_at").isNull(), "ordered_at is missing or not a date"),
        (
            F.col("ordered_on") < F.lit(limits.first_day),
            "ordered_at is before the first day allowed",
        ),
        (F.col("ordered_on") > F.lit(limits.last_day), "ordered_at is after the end of the log"),
        (money.isNull() | F.isnan(money), "amount is missing or not a number"),
        (F.abs(money) == float("inf"), "amount is infinite"),
        (
            (F.abs(money) > limits.max_amount) & (F.abs(money) < float("inf")),
            "amount is above max_amount",
        ),
        (
            F.col("kind").isNull() | ~F.col("kind").isin(*KINDS),
            "kind is none of " + ", ".join(KINDS),
        ),
        ((F.col("kind") == "purchase") & (money < 0), "a purchase has a negative amount"),
        (~_blank("_raw_quantity") & F.col("quantity").isNull(), "quantity is not a number"),
        (~_blank("_raw_discount") & F.col("discount").isNull(), "discount is not a number"),
        (duplicate, "an exact duplicate of another row"),
    ]
    return F.array_compact(F.array(*[F.when(wrong, F.lit(reason)) for wrong, reason in checks]))


def _blank(column: str) -> Column:
    return F.col(column).isNull() | (F.trim(F.col(column).cast("string")) == "")


def _is_repeat() -> Column:
    same = Window.partitionBy("_source_row").orderBy(F.lit(1))
    return F.row_number().over(same) > 1


def _evaluated(rows: DataFrame, source: Source) -> DataFrame:
    present = rows.columns
    raw = [name for name in present if name not in (CORRUPT, "_file")]
    as_json = F.to_json(F.struct(*[F.col(f"`{n}`") for n in raw]), {"ignoreNullFields": "false"})
    corrupt = F.col(CORRUPT) if CORRUPT in present else F.lit(None).cast("string")
    columns = [
        (F.col("_file") if "_file" in present else F.lit(None).cast("string")).alias("_file"),
        F.coalesce(corrupt, as_json).alias("_source_row"),
        corrupt.isNotNull().alias("_corrupt"),
    ]
    expressions = {
        "customer_id": source.columns.customer_id,
        "ordered_at": source.columns.ordered_at,
        "amount": source.columns.amount,
        "kind": source.kind,
        **{name: getattr(source.columns, name) for name in OPTIONAL},
    }
    texts = {"ordered_at"}
    for name, expression in expressions.items():
        if expression is None:
            columns.append(F.lit(None).cast("string").alias(name))
            continue
        value = F.expr(expression)
        checked = _checked(rows, value, name, expression, source)
        columns.append((checked if name in texts else checked.cast("string")).alias(name))
    return rows.select(columns)


def _checked(rows: DataFrame, value: Column, name: str, sql: str, source: Source) -> Column:
    try:
        rows.select(value.alias(name)).schema  # noqa: B018 - asks Spark to analyse it
    except (AnalysisException, ParseException) as problem:
        said = str(problem.getMessage() or problem).split("\n")[0]
        have = ", ".join(c for c in rows.columns if not c.startswith("_"))
        raise ConfigurationError(
            f"source {source.name}, {name}: {sql!r} does not fit the log: {said} "
            f"(the log has the columns {have})"
        ) from None
    return value


def _skipped(rows: DataFrame, source: Source) -> DataFrame:
    if source.skip is None:
        return rows
    dropped = _checked(rows, F.expr(source.skip), "skip", source.skip, source)
    return rows.where(~F.coalesce(dropped, F.lit(False)))


def _loaded(load: Callable[[], DataFrame], path: str | None) -> DataFrame:
    try:
        return load()
    except AnalysisException as problem:
        if "PATH_NOT_FOUND" in str(problem):
            raise InputError(f"{path}: no such file or folder") from None
        said = str(problem.getMessage() or problem).split("\n")[0]
        raise InputError(f"{path}: {said}") from None
