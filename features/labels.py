"""Whether each customer orders in the label window of each as-of date."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def matured(as_ofs: Sequence[date], horizon_days: int, log_end: date) -> list[date]:
    """The as-of dates whose label window [as_of, as_of + horizon) lies wholly before `log_end`,
    the day after the last day of the log.
    """
    return [as_of for as_of in as_ofs if as_of + timedelta(horizon_days) <= log_end]


def labels(customer_days: DataFrame, as_ofs: Sequence[date], horizon_days: int) -> DataFrame:
    """One row per customer with an order before the as-of date: `customer_id`, `as_of`,
    `horizon_days`, `repurchased`, `matured_on` and `horizon_hours`, which is null. Returns and
    cancellations are no orders. The caller gives matured dates only.
    """
    windows = [(a, F.lit(a), F.lit(a + timedelta(horizon_days))) for a in as_ofs]
    order_days = customer_days.where("orders > 0")
    buyers = _buyers(order_days.select("customer_id", F.col("day").alias("at")), windows)
    return _labelled(order_days, buyers, as_ofs).select(
        "customer_id",
        "as_of",
        F.lit(horizon_days).alias("horizon_days"),
        "repurchased",
        F.date_add("as_of", horizon_days).alias("matured_on"),
        F.lit(None).cast("int").alias("horizon_hours"),
    )


def labels_in_hours(
    customer_days: DataFrame, lines: DataFrame, starts: Mapping[date, datetime], hours: int
) -> DataFrame:
    """The same for the hours from the start of each as-of date, by the times of the log's lines;
    `horizon_days` is 0.
    """
    ends = {a: start + timedelta(hours=hours) for a, start in starts.items()}
    windows = [(a, _moment(start), _moment(ends[a])) for a, start in starts.items()]
    orders = lines.where("kind = 'purchase'").select("customer_id", F.col("ordered_at").alias("at"))
    order_days = customer_days.where("orders > 0")
    return _labelled(order_days, _buyers(orders, windows), list(starts)).select(
        "customer_id",
        "as_of",
        F.lit(0).alias("horizon_days"),
        "repurchased",
        F.date_add("as_of", hours // 24 + 1).alias("matured_on"),
        F.lit(hours).alias("horizon_hours"),
    )


def _moment(at: datetime) -> Column:
    return F.timestamp_micros(F.lit(round(at.timestamp() * 1_000_000)))


def _buyers(orders: DataFrame, windows: Sequence[tuple[date, Column, Column]]) -> DataFrame:
    """Who has an order `at` a time in [begin, end) of the window of an as-of date."""
    known = F.array(
        *[
            F.struct(F.lit(as_of).alias("as_of"), begin.alias("begin"), end.alias("end"))
            for as_of, begin, end in windows
        ]
    )
    inside = F.filter(known, lambda w: (F.col("at") >= w["begin"]) & (F.col("at") < w["end"]))
    found = orders.select("customer_id", F.explode(inside).alias("window"))
    return found.select("customer_id", "window.as_of").distinct()


def _labelled(order_days: DataFrame, buyers: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """Every customer with an order before an as-of date, and whether they are among its buyers."""
    dates = F.array(*[F.lit(as_of) for as_of in sorted(as_ofs)])
    customers = order_days.groupBy("customer_id").agg(F.min("day").alias("first_day"))
    snapshots = customers.select("customer_id", "first_day", F.explode(dates).alias("as_of")).where(
        "first_day < as_of"
    )
    marked = buyers.withColumn("repurchased", F.lit(True))
    return snapshots.join(marked, ["customer_id", "as_of"], "left").withColumn(
        "repurchased", F.coalesce("repurchased", F.lit(False))
    )
