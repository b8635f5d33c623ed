"""A source's rows to rows that fulfil a table's contract and rows that do not, with reasons."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date

from pyspark.errors import AnalysisException, IllegalArgumentException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, NumericType, StringType, StructField, StructType
from pyspark.sql.window import Window

from conf.errors import ConfigurationError, InputError, without_codes
from conf.source import FILES, Customers, Mapping, Source
from lake.contracts import TRANSACTIONS, Table
from lake.rules import RULES, Check, Limits, blank

__all__ = ["Limits", "business_session", "log_files", "mapped", "read_log"]

CORRUPT = "_corrupt_record"
# A line of these formats is a row: what cannot be parsed is quarantined as it came.
_TEXT = ("csv", "json")
# Text stays text (ids keep their zeros, and their digits beyond 2^63); RFC 4180 quoting;
# files whose header differs from the first one's are an error instead of shifted columns.
# Spark would pass over folders in a folder without a word. A database's time without a zone is
# that of a clock, of which Spark would make a moment by the zone of the machine.
_DEFAULTS: dict[str, dict[str, str]] = {
    "csv": {"escape": '"', "enforceSchema": "false"},
    "json": {"primitivesAsString": "true"},
    "jdbc": {"preferTimestampNTZ": "true"},
}
_CHOOSE_FILES = ("recursivefilelookup", "pathglobfilter", "modifiedbefore", "modifiedafter")
_ALWAYS = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT, "columnPruning": "false"}
# Of a row that was no text: whole, to the microsecond.
_ROW_AS_JSON = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
# What Spark would also take for a timestamp: a year alone, and a time alone, as one of today.
_STARTS_WITH_DAY = r"^\s*\d{4}-\d{1,2}-\d{1,2}"
_A_DAY = rf"{_STARTS_WITH_DAY}\s*$"
# What the decoder leaves of bytes that are not UTF-8: two customers could become one.
_UNDECODED = "\ufffd"


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


def log_files(spark: SparkSession, mapping: Mapping, path: str | None) -> DataFrame | None:
    """The files of a log, without a look inside: `file`, `bytes`, `modified_at`, one row each;
    None for what Spark does not read as plain files (a table, Delta, a database).
    """
    if path is None or mapping.reader.format not in FILES:
        return None
    chosen = {k: v for k, v in mapping.reader.options.items() if k.lower() in _CHOOSE_FILES}
    reader = spark.read.format("binaryFile").options(**{"recursiveFileLookup": "true", **chosen})
    return _loaded(lambda: reader.load(path), path).select(
        F.col("_metadata.file_path").alias("file"),
        F.col("length").alias("bytes"),
        F.col("modificationTime").alias("modified_at"),
    )


def read_log(
    spark: SparkSession, source: Source, path: str | None, table: Table = TRANSACTIONS
) -> DataFrame:
    """The rows for a table as they come, with the columns of the source's reader.

    CSV and JSON come as text with a column `_corrupt_record` that holds the malformed lines; file
    formats have a column `_file`. Raises InputError when nothing can be read.
    """
    mapping = source.mapping(table.name)
    form = mapping.reader.format
    if path is None and mapping.needs_path:
        option = "--input" if table is TRANSACTIONS else f"--{table.name}"
        raise InputError(f"{option}: the source {source.name} reads {form}; say where it is")
    if form == "table":
        rows = _loaded(lambda: spark.read.table(str(path)), path)
        return _skipped(rows, mapping.skip, _called(source, table, "skip"))
    nested = {"recursiveFileLookup": "true"} if form in FILES else {}
    options = {**nested, **_DEFAULTS.get(form, {}), **mapping.reader.options}
    if form in _TEXT:
        rows = _text_rows(spark, form, {**options, **_ALWAYS}, str(path))
    else:
        reader = spark.read.format(form).options(**options)
        rows = _loaded(lambda: reader.load(path), path)
    if form in FILES:
        rows = rows.select("*", F.col("_metadata.file_path").alias("_file"))
    # An unnamed column is called as Spark calls it: by its place.
    names = [name or f"_c{place}" for place, name in enumerate(rows.columns)]
    return _skipped(rows.toDF(*names), mapping.skip, _called(source, table, "skip"))


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


def mapped(
    rows: DataFrame, source: Source, limits: Limits, table: Table = TRANSACTIONS
) -> DataFrame:
    """Each row as the table's columns, and `reasons` why it is refused (or empty).

    Columns: those of the table and of `quarantine`, one row per row that came; of customers that
    are `in_log`, per row that says something new.
    Raises ConfigurationError when an expression of the source does not fit the rows.
    """
    mapping, rules = source.mapping(table.name), RULES[table.name]
    parsed = _evaluated(rows, source, table, list(rules.days))
    types = {field.name: field.dataType for field in parsed.schema.fields}
    moments = {name: _timestamp(name, types[name]) for name in rules.days}
    raw = {f"_raw_{name}": F.col(name).cast("string") for name in rules.days}
    days = {day: _business_day(name, day, source.day_starts_at) for name, day in rules.days.items()}
    typed = rules.typed(parsed.withColumns({**moments, **raw}).withColumns(days), mapping)
    duplicate = _is_repeat() if mapping.exact_duplicates == "refuse" else F.lit(False)
    checks = [
        (F.col("_corrupt"), "the line is malformed"),
        (blank("customer_id"), "customer_id is missing"),
        (F.contains("customer_id", F.lit(_UNDECODED)), "customer_id has bytes that are not UTF-8"),
        *rules.checks(limits),
        (duplicate, "an exact duplicate of another row"),
    ]
    due_on = F.lit(None).cast("date")
    if rules.due_on is not None:
        # Milliseconds that were microseconds lie in years that no calendar but Spark's has.
        day = F.least(F.col(rules.due_on), F.lit(date.max))
        due_on = F.when(day > F.lit(limits.last_day), day)
    rows = typed.select("*", _reasons(checks)).select(
        *[column.name for column in table.columns if column.name != "file"],
        F.lit(source.name).alias("source"),
        F.lit(table.name).alias("table_name"),
        F.col("_file").alias("file"),
        F.col("_source_row").alias("source_row"),
        "reasons",
        due_on.alias("due_on"),
    )
    return _said_once(rows) if isinstance(mapping, Customers) and mapping.in_log else rows


def _said_once(rows: DataFrame) -> DataFrame:
    """Of a file's rows that say the same, one, beside the first of the rows as they came."""
    same = [name for name in rows.columns if name != "source_row"]
    return rows.groupBy(*same).agg(F.min("source_row").alias("source_row")).select(*rows.columns)


def _timestamp(name: str, found: DataType) -> Column:
    moment = F.col(name)
    if isinstance(found, StringType):
        moment = F.when(moment.rlike(_STARTS_WITH_DAY), moment)
    return moment.try_cast("timestamp")


def _business_day(moment: str, day: str, starts_at: str) -> Column:
    """The business day of a moment. A column that is itself a day may be written without a time:
    it is then the day that it names, whenever days begin.
    """
    if moment != day:
        return _day(moment, starts_at)
    named = F.col(f"_raw_{moment}").rlike(_A_DAY)
    return F.when(named, F.to_date(moment)).otherwise(_day(moment, starts_at))


def _day(moment: str, starts_at: str) -> Column:
    """The business day: the date that the clocks would show if they were turned back by the time
    at which days begin.
    """
    if starts_at == "00:00":
        return F.to_date(moment)
    hours = F.make_dt_interval(hours=F.lit(int(starts_at[:2])))
    day = F.to_date(F.col(moment).cast("timestamp_ntz") - hours)
    # Some write the first day that there is where they mean always.
    first = F.expr("DATE'0001-01-01'")
    return F.when(day < first, first).otherwise(day)


def _reasons(checks: Sequence[Check]) -> Column:
    found = [F.when(wrong, F.lit(reason)) for wrong, reason in checks]
    return F.array_compact(F.array(*found)).alias("reasons")


def _is_repeat() -> Column:
    same = Window.partitionBy("_source_row").orderBy("_file")
    return F.row_number().over(same) > 1


def _evaluated(rows: DataFrame, source: Source, table: Table, moments: Sequence[str]) -> DataFrame:
    """The source's expressions, as text except for the moments, beside the row as it came."""
    raw = _as_it_came(rows.columns)
    expressions = source.mapping(table.name).expressions
    values = {name: (sql, name in moments) for name, sql in expressions.items()}
    try:
        parsed = rows.select(*raw, *[_value(name, *value) for name, value in values.items()])
        numbers = [n for n in moments if isinstance(parsed.schema[n].dataType, NumericType)]
    except AnalysisException as problem:
        for name, value in values.items():
            _checked(rows, [*raw, _value(name, *value)], value[0], _called(source, table, name))
        raise ConfigurationError(f"source {source.name}: {without_codes(str(problem))}") from None
    if numbers:
        raise ConfigurationError(
            f"{_called(source, table, numbers[0])}: {expressions[numbers[0]]!r} is a number; say "
            "what it counts, with timestamp_seconds(...) or timestamp_millis(...), or how it is "
            "written, as in to_date(cast(... as string), 'yyyyMMdd')"
        )
    return parsed


def _called(source: Source, table: Table, key: str) -> str:
    """What messages call a key of the source file."""
    section = "" if table is TRANSACTIONS else f"{table.name}."
    return f"source {source.name}, {section}{key}"


def _as_it_came(present: list[str]) -> list[Column]:
    names = [name.replace("`", "``") for name in present if name not in (CORRUPT, "_file")]
    as_json = F.to_json(F.struct(*[F.col(f"`{n}`") for n in names]), _ROW_AS_JSON)
    corrupt = F.col(CORRUPT) if CORRUPT in present else F.lit(None).cast("string")
    return [
        (F.col("_file") if "_file" in present else F.lit(None).cast("string")).alias("_file"),
        F.coalesce(corrupt, as_json).alias("_source_row"),
        corrupt.isNotNull().alias("_corrupt"),
    ]


def _value(name: str, sql: str | None, as_it_is: bool) -> Column:
    if sql is None:
        return F.lit(None).cast("string").alias(name)
    # Inside coalesce no expression can make several rows of one.
    value = F.coalesce(F.expr(sql))
    return value.alias(name) if as_it_is else value.cast("string").alias(name)


def _checked(rows: DataFrame, columns: Sequence[Column], sql: str | None, called: str) -> None:
    try:
        rows.select(*columns).schema  # noqa: B018 - asks Spark to analyse it
    except AnalysisException as problem:
        have = ", ".join(c for c in rows.columns if c not in (CORRUPT, "_file"))
        raise ConfigurationError(
            f"{called}: {sql!r} does not fit the log: "
            f"{without_codes(str(problem))} (the log has the columns {have or 'none'})"
        ) from None


def _skipped(rows: DataFrame, skip: str | None, called: str) -> DataFrame:
    if skip is None:
        return rows
    _checked(rows, [_value("skip", skip, False)], skip, called)
    return rows.where(~F.coalesce(F.expr(skip).cast("boolean"), F.lit(False)))


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
