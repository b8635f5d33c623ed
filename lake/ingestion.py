"""A log to rows that fulfil the `transactions` contract and rows that do not, with reasons."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from pyspark.errors import AnalysisException, IllegalArgumentException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType, StringType, StructField, StructType
from pyspark.sql.window import Window

from conf.errors import ConfigurationError, InputError, without_codes
from conf.source import OPTIONAL, Source

CORRUPT = "_corrupt_record"
KINDS = ("purchase", "return", "cancelled")
# A line of these formats is a row: what cannot be parsed is quarantined as it came.
_TEXT = ("csv", "json")
_FILES = (*_TEXT, "text", "parquet", "orc")
# Text stays text (ids keep their zeros, and their digits beyond 2^63); RFC 4180 quoting;
# files whose header differs from the first one's are an error instead of shifted columns.
# Spark would pass over folders in a folder without a word.
_DEFAULTS: dict[str, dict[str, str]] = {
    "csv": {"escape": '"', "enforceSchema": "false"},
    "json": {"primitivesAsString": "true"},
}
_CHOOSE_FILES = ("recursivefilelookup", "pathglobfilter", "modifiedbefore", "modifiedafter")
_ALWAYS = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT, "columnPruning": "false"}
_BLANKS = " \t\r\n\u00a0\u200b\u3000\ufeff"
# What Spark would also take for a timestamp: a year alone, and a time alone, as one of today.
_STARTS_WITH_DAY = r"^\s*\d{4}-\d{1,2}-\d{1,2}"
# What the decoder leaves of bytes that are not UTF-8: two customers could become one.
_UNDECODED = "\ufffd"
# Tomorrow it may no longer be.
AFTER_THE_END = "ordered_at is after the end of the log"


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


def log_files(spark: SparkSession, source: Source, path: str | None) -> DataFrame | None:
    """The files of the log, without a look inside: `file`, `bytes`, `modified_at`, one row each;
    None for what Spark does not read as plain files (a table, Delta, a database).
    """
    if path is None or source.reader.format not in _FILES:
        return None
    chosen = {k: v for k, v in source.reader.options.items() if k.lower() in _CHOOSE_FILES}
    reader = spark.read.format("binaryFile").options(**{"recursiveFileLookup": "true", **chosen})
    return _loaded(lambda: reader.load(path), path).select(
        F.col("_metadata.file_path").alias("file"),
        F.col("length").alias("bytes"),
        F.col("modificationTime").alias("modified_at"),
    )


def read_log(spark: SparkSession, source: Source, path: str | None) -> DataFrame:
    """The log's rows as they come, with the columns of the source's reader.

    CSV and JSON come as text with a column `_corrupt_record` that holds the malformed lines; file
    formats have a column `_file`. Raises InputError when nothing can be read.
    """
    form = source.reader.format
    if path is None and form in (*_FILES, "delta", "table"):
        raise InputError(f"--input: the source {source.name} reads {form}; say where it is")
    if form == "table":
        return _skipped(_loaded(lambda: spark.read.table(str(path)), path), source)
    nested = {"recursiveFileLookup": "true"} if form in _FILES else {}
    options = {**nested, **_DEFAULTS.get(form, {}), **source.reader.options}
    if form in _TEXT:
        rows = _text_rows(spark, form, {**options, **_ALWAYS}, str(path))
    else:
        reader = spark.read.format(form).options(**options)
        rows = _loaded(lambda: reader.load(path), path)
    if form in _FILES:
        rows = rows.select("*", F.col("_metadata.file_path").alias("_file"))
    # An unnamed column is called as Spark calls it: by its place.
    names = [name or f"_c{place}" for place, name in enumerate(rows.columns)]
    return _skipped(rows.toDF(*names), source)


def _text_rows(spark: SparkSession, form: str, options: dict[str, str], path: str) -> DataFrame:
    def load(**more: str) -> DataFrame:
        reader = spark.read.format(form).options(**{**options, **more})
        return _loaded(lambda: reader.load(path), path)

    fields = [field for field in load().schema.fields if field.name != CORRUPT]
    if not fields:
        least = "a header" if form == "csv" else "one JSON object"
        raise InputError(f"{path}: empty, there is not even {least}")
    if options.get("header") == "true" and options["enforceSchema"] == "false":
        fields = _as_written(fields, lambda: load(header="false"), path)
    if form == "csv":
        fields = [StructField(field.name, StringType()) for field in fields]
    schema = StructType([*fields, StructField(CORRUPT, StringType())])
    reader = spark.read.format(form).options(**options).schema(schema)
    return _loaded(lambda: reader.load(path), path)


def _as_written(
    fields: list[StructField], headerless: Callable[[], DataFrame], path: str
) -> list[StructField]:
    """The columns named as the header does: Spark numbers the unnamed and the repeated ones."""
    if not any(field.name.endswith(str(place)) for place, field in enumerate(fields)):
        return fields
    header = headerless().first() or ()
    names = [name or "" for name in header[: len(fields)]]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"{path}: the header has {', '.join(map(repr, repeated))} more than once; rename the "
            "columns, or set the reader's option enforceSchema to true, which tells columns by "
            f"their place alone (they are then {', '.join(field.name for field in fields)})"
        )
    return [StructField(name, StringType()) for name in names]


def mapped(rows: DataFrame, source: Source, limits: Limits) -> DataFrame:
    """Each row of the log as the contract's columns, and `reasons` why it is refused (or empty).

    Columns: those of `transactions`, of `quarantine` without `source`, one row per row of the log.
    Raises ConfigurationError when an expression of the source does not fit the log.
    """
    parsed = _evaluated(rows, source)
    moment = F.col("ordered_at")
    if isinstance(parsed.schema["ordered_at"].dataType, StringType):
        moment = F.when(moment.rlike(_STARTS_WITH_DAY), moment)
    typed = parsed.select(
        "_file",
        "_source_row",
        "_corrupt",
        "customer_id",
        moment.try_cast("timestamp").alias("ordered_at"),
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
    money, kind = F.col("_amount_double"), F.col("kind")
    size = F.abs(money)  # NaN is above every number, also above infinity
    usable = size <= limits.max_amount
    checks = [
        (F.col("_corrupt"), "the line is malformed"),
        (_blank("customer_id"), "customer_id is missing"),
        (F.contains("customer_id", F.lit(_UNDECODED)), "customer_id has bytes that are not UTF-8"),
        (_blank("order_id"), "order_id is missing"),
        (F.col("ordered_at").isNull(), "ordered_at is missing or not a date"),
        (
            F.col("ordered_on") < F.lit(limits.first_day),
            "ordered_at is before the first day allowed",
        ),
        (F.col("ordered_on") > F.lit(limits.last_day), AFTER_THE_END),
        (
            money.isNull() | F.isnan(money) | (usable & F.col("amount").isNull()),
            "amount is missing or not a number",
        ),
        (size == float("inf"), "amount is infinite"),
        (~usable & (size < float("inf")), "amount is above max_amount"),
        (kind.isNull() | ~kind.isin(*KINDS), "kind is none of " + ", ".join(KINDS)),
        ((kind == "purchase") & (money < 0), "a purchase has a negative amount"),
        (~_blank("_raw_quantity") & F.col("quantity").isNull(), "quantity is not a number"),
        (~_blank("_raw_discount") & F.col("discount").isNull(), "discount is not a number"),
        (duplicate, "an exact duplicate of another row"),
    ]
    return F.array_compact(F.array(*[F.when(wrong, F.lit(reason)) for wrong, reason in checks]))


def _blank(column: str) -> Column:
    return F.col(column).isNull() | (F.btrim(F.col(column), F.lit(_BLANKS)) == "")


def _is_repeat() -> Column:
    same = Window.partitionBy("_source_row").orderBy("_file")
    return F.row_number().over(same) > 1


def _evaluated(rows: DataFrame, source: Source) -> DataFrame:
    """The source's expressions, as text except for `ordered_at`, beside the row as it came."""
    raw = _as_it_came(rows.columns)
    expressions = {
        "customer_id": source.columns.customer_id,
        "ordered_at": source.columns.ordered_at,
        "amount": source.columns.amount,
        "kind": source.kind,
        **{name: getattr(source.columns, name) for name in OPTIONAL},
    }
    try:
        values = [_value(name, sql) for name, sql in expressions.items()]
        parsed = rows.select(*raw, *values)
        moment = parsed.schema["ordered_at"].dataType
    except AnalysisException as problem:
        for name, sql in expressions.items():
            _checked(rows, raw, name, sql, source)
        raise ConfigurationError(f"source {source.name}: {without_codes(str(problem))}") from None
    if isinstance(moment, NumericType):
        raise ConfigurationError(
            f"source {source.name}, ordered_at: {expressions['ordered_at']!r} is a number; say "
            "what it counts, with timestamp_seconds(...) or timestamp_millis(...), or how it is "
            "written, as in to_date(cast(... as string), 'yyyyMMdd')"
        )
    return parsed


def _as_it_came(present: list[str]) -> list[Column]:
    names = [name.replace("`", "``") for name in present if name not in (CORRUPT, "_file")]
    as_json = F.to_json(F.struct(*[F.col(f"`{n}`") for n in names]), {"ignoreNullFields": "false"})
    corrupt = F.col(CORRUPT) if CORRUPT in present else F.lit(None).cast("string")
    return [
        (F.col("_file") if "_file" in present else F.lit(None).cast("string")).alias("_file"),
        F.coalesce(corrupt, as_json).alias("_source_row"),
        corrupt.isNotNull().alias("_corrupt"),
    ]


def _value(name: str, sql: str | None) -> Column:
    if sql is None:
        return F.lit(None).cast("string").alias(name)
    # Inside coalesce no expression can make several rows of one.
    value = F.coalesce(F.expr(sql))
    return value.alias(name) if name == "ordered_at" else value.cast("string").alias(name)


def _checked(
    rows: DataFrame, beside: list[Column], name: str, sql: str | None, source: Source
) -> None:
    try:
        rows.select(*beside, _value(name, sql)).schema  # noqa: B018 - asks Spark to analyse it
    except AnalysisException as problem:
        have = ", ".join(c for c in rows.columns if c not in (CORRUPT, "_file"))
        raise ConfigurationError(
            f"source {source.name}, {name}: {sql!r} does not fit the log: "
            f"{without_codes(str(problem))} (the log has the columns {have or 'none'})"
        ) from None


def _skipped(rows: DataFrame, source: Source) -> DataFrame:
    if source.skip is None:
        return rows
    _checked(rows, [], "skip", source.skip, source)
    return rows.where(~F.coalesce(F.expr(source.skip).cast("boolean"), F.lit(False)))


def _loaded(load: Callable[[], DataFrame], path: str | None) -> DataFrame:
    try:
        rows = load()
        rows.schema  # noqa: B018 - Spark Connect looks at the log only now
        return rows
    except (AnalysisException, IllegalArgumentException) as problem:
        if "PATH_NOT_FOUND" in str(problem):
            raise InputError(f"{path}: no such file or folder") from None
        if "UNABLE_TO_INFER_SCHEMA" in str(problem):
            raise InputError(
                f"{path}: no rows; Spark reads no file whose name begins with _ or ."
            ) from None
        raise InputError(f"{path}: {without_codes(str(problem))}") from None
