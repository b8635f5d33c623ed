"""Customer-days to features at any number of as-of dates, in one pass and no further exchange.

1. *Facets.* A customer-day becomes one row for its orders, one for its returns, and one per
   category and payment method; each (customer, facet) is then a history of its own.
2. *Running totals* over each history carry lifetime aggregates, and `next_day` says until when
   a row stays the latest of its history.
3. *Bounded explode.* A row meets only the as-of dates that a window of it reaches, or for which
   it is the latest.
4. One group-by of customer and as-of date, every window a filter on the age in days.

All sums are of integers, so that they are exact and in any order the same.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from features.calendar import Calendar
from features.catalogue import LIFETIME, catalogue

ORDERS, RETURNS, CATEGORY, PAYMENT = range(4)
DECAY_UNIT_BITS = 20
HALF_LIVES = (30, 90)

# The measures of a customer-day: summed over every window and over the lifetime.
ORDER_SUMS = (
    "orders",
    "lines",
    "units_thousandths",
    "revenue_cents",
    "order_cents_squared",
    "discount_cents",
    "active_days",
    "weekend_orders",
    "holiday_orders",
)
RETURN_SUMS = ("returns", "returned_cents", "cancellations", "cancelled_cents")
LIFETIME_SUMS = (
    "gap_days",
    "gap_days_squared",
    "gaps",
    *(f"weekday_{n}" for n in range(1, 8)),
    *(f"month_{n}" for n in range(1, 13)),
)


@dataclass(frozen=True)
class Snapshots:
    """The as-of dates to look at, and what the features need to know of the log around them."""

    as_ofs: tuple[date, ...]
    windows: tuple[int, ...]
    horizon_days: int
    log_start: date
    country: str | None

    def calendar(self) -> Calendar:
        """The calendar from the log's start, or the longest window's, to the last horizon's end."""
        first = min(self.log_start, min(self.as_ofs) - timedelta(self.windows[-1]))
        return Calendar(first, max(self.as_ofs) + timedelta(self.horizon_days), self.country)


def vocabulary(customer_days: DataFrame) -> DataFrame:
    """The categories and payment methods of the log: `facet`, `value` and a `code` in their
    order by name; one row per value, held by the driver so that the feature query stays one pass.
    """
    values = [
        (facet, row[0])
        for facet, column in ((CATEGORY, "categories"), (PAYMENT, "payment_methods"))
        for row in customer_days.select(F.explode(column)).distinct().collect()
    ]
    coded = [(facet, value, code) for code, (facet, value) in enumerate(sorted(values))]
    return customer_days.sparkSession.createDataFrame(coded, "facet int, value string, code int")


def customer_features(
    customer_days: DataFrame, snapshots: Snapshots, values: DataFrame
) -> DataFrame:
    """One row per customer and as-of date with an order before it: `customer_id`, `as_of` and
    every feature of the catalogue. `values` is the `vocabulary` of the customer-days.

    Whatever is dated on or after an as-of date has no influence on its rows.
    """
    calendar = snapshots.calendar()
    spark = customer_days.sparkSession
    days = customer_days.where(F.col("day") < F.lit(max(snapshots.as_ofs))).join(
        F.broadcast(calendar.days(spark)), "day", "left"
    )
    histories = _running(_facets(days, values))
    reached = _reached(histories, snapshots)
    aggregates = reached.groupBy("customer_id", "as_of").agg(*_aggregates(snapshots))
    packed = {"category": "favourite_category", "payment": "favourite_payment_method"}
    known = (
        aggregates.where("orders_lifetime > 0")
        .withColumns({f"{name}_code": _code(f"{part}_packed") for part, name in packed.items()})
        .withColumn("favourite_category_orders", F.shiftright("category_packed", 32))
        .join(F.broadcast(_constants(spark, snapshots, calendar)), "as_of")
        .join(F.broadcast(_names(values, packed["category"])), f"{packed['category']}_code", "left")
        .join(F.broadcast(_names(values, packed["payment"])), f"{packed['payment']}_code", "left")
        .withColumns(_lifetime_calendar())
    )
    features = catalogue(snapshots.windows, snapshots.horizon_days)
    return known.select(
        "customer_id", "as_of", *[F.expr(f.sql).cast(f.type).alias(f.name) for f in features]
    )


def _lifetime_calendar() -> dict[str, Column]:
    return {
        f"days_{LIFETIME}": F.datediff("as_of", "first_day"),
        f"weekend_days_{LIFETIME}": F.col("weekends_before") - F.col("first_weekends_before"),
        f"holiday_days_{LIFETIME}": F.col("holidays_before") - F.col("first_holidays_before"),
    }


def _constants(spark: SparkSession, snapshots: Snapshots, calendar: Calendar) -> DataFrame:
    """One row per as-of date: what the calendar says of its windows and of its horizon."""

    def row(as_of: date) -> dict[str, object]:
        lived = (as_of - calendar.first).days
        counts: dict[str, object] = {
            "as_of": as_of,
            "log_days": (as_of - snapshots.log_start).days,
            "weekends_before": calendar.weekend_days(calendar.first, lived),
            "holidays_before": calendar.holiday_days(calendar.first, lived),
            "horizon_weekend_days": calendar.weekend_days(as_of, snapshots.horizon_days),
            "horizon_holiday_days": calendar.holiday_days(as_of, snapshots.horizon_days),
        }
        for days in snapshots.windows:
            first = as_of - timedelta(days)
            counts[f"days_{days}d"] = days
            counts[f"weekend_days_{days}d"] = calendar.weekend_days(first, days)
            counts[f"holiday_days_{days}d"] = calendar.holiday_days(first, days)
        return counts

    rows = [row(as_of) for as_of in sorted(snapshots.as_ofs)]
    schema = ", ".join(f"{name} {'date' if name == 'as_of' else 'int'}" for name in rows[0])
    return spark.createDataFrame([tuple(r.values()) for r in rows], schema)


def _packed() -> Column:
    """A facet's number of entries and, below it, its code: the maximum is the favourite."""
    return F.expr("shiftleft(entries, 32) + (shiftleft(1L, 31) - code)")


def _code(packed: str) -> Column:
    return (F.lit(1 << 31) - F.col(packed).bitwiseAND(F.lit((1 << 32) - 1))).cast("int")


def _names(values: DataFrame, name: str) -> DataFrame:
    return values.select(F.col("code").alias(f"{name}_code"), F.col("value").alias(name))


def _facets(days: DataFrame, values: DataFrame) -> DataFrame:
    def entries(facet: int, column: str) -> Column:
        return F.transform(
            F.coalesce(F.col(column), F.array().cast("array<string>")),
            lambda value: F.struct(F.lit(facet).alias("facet"), value.alias("value")),
        )

    def entry(facet: int, present: Column) -> Column:
        nothing = F.lit(None).cast("string")
        one = F.array(F.struct(F.lit(facet).alias("facet"), nothing.alias("value")))
        return F.when(present, one).otherwise(
            F.array().cast("array<struct<facet:int,value:string>>")
        )

    facets = F.concat(
        entry(ORDERS, F.col("orders") > 0),
        entry(RETURNS, (F.col("returns") > 0) | (F.col("cancellations") > 0)),
        entries(CATEGORY, "categories"),
        entries(PAYMENT, "payment_methods"),
    )
    rows = days.select("*", F.explode(facets).alias("entry")).select(
        "*", F.col("entry.facet").alias("facet"), F.col("entry.value").alias("value")
    )
    coded = rows.join(F.broadcast(values), ["facet", "value"], "left")
    is_order, is_return = F.col("facet") == ORDERS, F.col("facet") == RETURNS
    weekday = F.weekday("day") + 1
    measures = {
        **{name: F.col(name) for name in ORDER_SUMS if name in days.columns},
        "active_days": F.lit(1),
        "weekend_orders": F.col("orders") * F.col("is_weekend"),
        "holiday_orders": F.col("orders") * F.col("is_holiday"),
        "max_order_cents": F.col("max_order_cents"),
        **{f"weekday_{n}": _if(weekday == n, "orders") for n in range(1, 8)},
        **{f"month_{n}": _if(F.month("day") == n, "orders") for n in range(1, 13)},
    }
    return coded.select(
        "customer_id",
        "facet",
        F.coalesce("code", F.lit(-1)).alias("code"),
        "day",
        (F.year("day") * 12 + F.month("day")).alias("month_index"),
        F.when(is_order, F.col("weekends_before")).alias("weekends_before"),
        F.when(is_order, F.col("holidays_before")).alias("holidays_before"),
        *[F.when(is_order, value).alias(name) for name, value in measures.items()],
        *[F.when(is_return, F.col(name)).alias(name) for name in RETURN_SUMS],
    )


def _if(condition: Column, name: str) -> Column:
    return F.when(condition, F.col(name)).otherwise(F.lit(0))


def _running(facets: DataFrame) -> DataFrame:
    history = Window.partitionBy("customer_id", "facet", "code").orderBy("day")
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    is_order = F.col("facet") == ORDERS
    gap = F.when(is_order, F.datediff("day", F.lag("day").over(history)))
    new_month = F.lag("month_index").over(history).isNull() | (
        F.lag("month_index").over(history) != F.col("month_index")
    )
    stepped = facets.select(
        "*",
        F.lead("day").over(history).alias("next_day"),
        F.lag("day", 1).over(history).alias("day_2nd_last"),
        F.lag("day", 2).over(history).alias("day_3rd_last"),
        F.lag("day", 4).over(history).alias("day_5th_last"),
        gap.cast("bigint").alias("gap_days"),
        (gap.cast("bigint") * gap).alias("gap_days_squared"),
        gap.isNotNull().cast("int").alias("gaps"),
        F.when(is_order & new_month, 1).alias("new_month"),
    )
    totals = [
        F.sum(name).over(so_far).alias(f"{name}_{LIFETIME}")
        for name in (*ORDER_SUMS, *RETURN_SUMS, *LIFETIME_SUMS)
    ]
    return stepped.select(
        "*",
        *totals,
        F.count(F.lit(1)).over(so_far).alias("entries"),
        F.sum("new_month").over(so_far).alias(f"active_months_{LIFETIME}"),
        F.max("max_order_cents").over(so_far).alias(f"max_order_cents_{LIFETIME}"),
        F.min("day").over(so_far).alias("first_day"),
        F.min("weekends_before").over(so_far).alias("first_weekends_before"),
        F.min("holidays_before").over(so_far).alias("first_holidays_before"),
    )


def _reached(histories: DataFrame, snapshots: Snapshots) -> DataFrame:
    as_ofs = sorted(snapshots.as_ofs)
    windowed = F.col("facet").isin(ORDERS, RETURNS)
    reach = F.when(windowed, F.date_add("day", snapshots.windows[-1])).otherwise(F.col("day"))

    def dates_until(day: Column) -> Column:
        return sum((F.lit(a) <= day).cast("int") for a in as_ofs) + F.lit(0)

    first = dates_until(F.col("day"))
    until_next = F.when(F.col("next_day").isNull(), len(as_ofs)).otherwise(
        dates_until(F.col("next_day"))
    )
    bounded = histories.withColumns(
        {"first": first, "last": F.greatest(dates_until(reach), until_next)}
    ).where("last > first")
    dates = F.array(*[F.lit(a) for a in as_ofs])
    return bounded.withColumn(
        "as_of", F.explode(F.slice(dates, F.col("first") + 1, F.expr("last - first")))
    ).withColumns(
        {
            "age": F.datediff("as_of", "day"),
            "is_last": F.col("next_day").isNull() | (F.col("as_of") <= F.col("next_day")),
            "packed": _packed(),
            "months_ago": F.year("as_of") * 12 + F.month("as_of") - F.col("month_index"),
        }
    )


def _aggregates(snapshots: Snapshots) -> list[Column]:
    def total(measure: str, condition: str, name: str) -> Column:
        return F.expr(f"coalesce(sum({measure}) FILTER (WHERE {condition}), 0)").alias(name)

    def latest(sql: str, name: str, facet: int | None = None) -> Column:
        of_facet = "" if facet is None else f" AND facet = {facet}"
        return F.expr(f"max({sql}) FILTER (WHERE is_last{of_facet})").alias(name)

    sums = (*ORDER_SUMS, *RETURN_SUMS)
    windowed = [
        column
        for days in snapshots.windows
        for column in [
            *[total(measure, f"age <= {days}", f"{measure}_{days}d") for measure in sums],
            *_windowed_others(days),
        ]
    ]
    lifetime = [
        *[
            total(f"{measure}_{LIFETIME}", "is_last", f"{measure}_{LIFETIME}")
            for measure in (*sums, *LIFETIME_SUMS)
        ],
        *[
            latest(name, name, ORDERS)
            for name in (
                *(f"active_months_{LIFETIME}", f"max_order_cents_{LIFETIME}"),
                *("first_day", "day_2nd_last", "day_3rd_last", "day_5th_last"),
                *("first_weekends_before", "first_holidays_before"),
            )
        ],
        latest("day", "last_day", ORDERS),
        F.expr(f"count_if(is_last AND facet = {CATEGORY})").alias(f"category_diversity_{LIFETIME}"),
        total("entries", f"is_last AND facet = {CATEGORY}", f"category_orders_{LIFETIME}"),
        latest("packed", "category_packed", CATEGORY),
        latest("packed", "payment_packed", PAYMENT),
    ]
    weight = f"cast(round(pow(2D, {DECAY_UNIT_BITS} - age / {{life}}D)) as bigint)"
    decayed = [
        total(
            f"orders * {weight.format(life=life)}",
            f"age <= {snapshots.windows[-1]}",
            f"orders_decayed_{life}",
        )
        for life in HALF_LIVES
    ]
    a_year_ago = f"age <= 365 AND age > {365 - snapshots.horizon_days}"
    last_year = [
        total(measure, a_year_ago, f"{measure}_last_year")
        for measure in ("orders", "revenue_cents")
    ]
    return [*windowed, *lifetime, *decayed, *last_year]


def _windowed_others(days: int) -> list[Column]:
    # One bit per calendar month, 64 to a mask.
    months = [
        f"bit_count(bit_or(shiftleft(1L, months_ago - {first})) FILTER (WHERE facet = {ORDERS} "
        f"AND age <= {days} AND months_ago BETWEEN {first} AND {first + 63}))"
        for first in range(0, days // 28 + 2, 64)
    ]
    return [
        F.expr(f"max(max_order_cents) FILTER (WHERE age <= {days})").alias(
            f"max_order_cents_{days}d"
        ),
        F.expr(" + ".join(f"coalesce({mask}, 0)" for mask in months)).alias(
            f"active_months_{days}d"
        ),
        F.expr(f"count_if(is_last AND facet = {CATEGORY} AND age <= {days})").alias(
            f"category_diversity_{days}d"
        ),
    ]
