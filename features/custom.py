"""Features that users define in the configuration: any Spark SQL aggregate over a window's lines.

Unlike the catalogue's, they are made from `transactions` line by line, and need an exchange of
their own: each line goes to every as-of date and window that it lies in.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    FractionalType,
    NumericType,
    StringType,
)

from conf.errors import ConfigurationError, without_codes
from conf.settings import CustomFeature
from features.catalogue import LIFETIME
from lake.contracts import Column


def custom_columns(
    transactions: DataFrame, defined: Sequence[CustomFeature], taken: Sequence[str]
) -> list[Column]:
    """The columns that the definitions give: NAME_30d and so on, one for each window.

    Raises ConfigurationError, with the feature's name and what Spark says, where the SQL does not
    fit `transactions`, gives neither a number nor a text, or where a name is `taken`.
    """
    columns = [
        Column(f"{f.name}_{window}", _type(transactions, f), f"{f.description} {_period(window)}")
        for f in defined
        for window in f.windows
    ]
    names = [*taken, *[column.name for column in columns]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"features.custom: {', '.join(twice)} exists already; rename it")
    return columns


def custom_features(
    transactions: DataFrame, as_ofs: Sequence[date], defined: Sequence[CustomFeature]
) -> DataFrame:
    """One row per customer and as_of with a line in some window of some feature: `customer_id`,
    `as_of` and NAME_30d and so on; null where its window has no line.

    Only lines of days before `as_of` count, of every kind.
    """
    windows = sorted({w for f in defined for w in f.windows}, key=str)
    longest = {w: 2**30 if w == LIFETIME else int(w.removesuffix("d")) for w in windows}
    spark = transactions.sparkSession
    looks = spark.createDataFrame(
        [(as_of, window, days) for as_of in as_ofs for window, days in longest.items()],
        "as_of date, _window string, _days int",
    )
    day = F.col("ordered_on")
    inside = (day < F.col("as_of")) & (F.date_diff("as_of", day) <= F.col("_days"))
    lines = transactions.join(F.broadcast(looks), inside)
    made = lines.groupBy("customer_id", "as_of", "_window").agg(
        *[_value(f).alias(f.name) for f in defined]
    )
    return made.groupBy("customer_id", "as_of").agg(
        *[
            F.max(F.when(F.col("_window") == window, _finite(made, f.name))).alias(
                f"{f.name}_{window}"
            )
            for f in defined
            for window in f.windows
        ]
    )


def _finite(made: DataFrame, name: str) -> SparkColumn:
    """The column, null where it has no finite value; NaN is above every number."""
    if not isinstance(made.schema[name].dataType, FractionalType):
        return F.col(name)
    return F.when(F.abs(name) < float("inf"), F.col(name))


def check_values(
    transactions: DataFrame, as_ofs: Sequence[date], defined: Sequence[CustomFeature]
) -> None:
    """Raises ConfigurationError, with the feature's name and what Spark says, for the first
    definition whose values cannot be computed, such as for a division by zero.
    """
    for feature in defined:
        values = custom_features(transactions, as_ofs, [feature])
        try:
            values.write.format("noop").mode("overwrite").save()
        except PySparkException as problem:
            raise ConfigurationError(
                f"features.custom, {feature.name}: {feature.sql!r} cannot be computed: "
                f"{without_codes(str(problem))}"
            ) from None


def check_types(columns: Sequence[Column], stored: Mapping[str, str]) -> None:
    """Raises ConfigurationError for a column that the table has with another type (name to type),
    left there by an earlier definition.
    """
    for column in columns:
        before = stored.get(column.name, column.type)
        if before != column.type:
            raise ConfigurationError(
                f"features.custom: {column.name} is a {column.type} now, and the table features "
                f"has it as a {before} of an earlier definition: choose another name"
            )


def _value(feature: CustomFeature) -> SparkColumn:
    return F.expr(f"({feature.sql}\n)")  # the SQL may end in a comment


def _type(transactions: DataFrame, feature: CustomFeature) -> str:
    try:
        given = transactions.groupBy("customer_id").agg(_value(feature).alias("v"))
        found: DataType = given.schema["v"].dataType
    except (AnalysisException, ParseException) as problem:
        have = ", ".join(transactions.columns)
        raise ConfigurationError(
            f"features.custom, {feature.name}: {feature.sql!r} is no aggregate of the lines: "
            f"{without_codes(str(problem))} (transactions has the columns {have})"
        ) from None
    if isinstance(found, StringType):
        return "string"
    if isinstance(found, (NumericType, BooleanType)):
        return "double"
    raise ConfigurationError(
        f"features.custom, {feature.name}: {feature.sql!r} gives {found.simpleString()}; a feature "
        "is a number, a text or true and false"
    )


def _period(window: str) -> str:
    if window == LIFETIME:
        return "over all days before as_of; null without a line"
    days = window.removesuffix("d")
    return f"in the {days} days before as_of; null without a line there"
