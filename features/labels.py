"""Whether each customer orders in the label window of each as-of date."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def matured(as_ofs: Sequence[date], horizon_days: int, log_end: date) -> list[date]:
    """The as-of dates whose label window [as_of, as_of + horizon) lies wholly before `log_end`,
    the day after the last day of the log.
    """
    return [as_of for as_of in as_ofs if as_of + timedelta(horizon_days) <= log_end]


def labels(customer_days: DataFrame, as_ofs: Sequence[date], horizon_days: int) -> DataFrame:
    """One row per customer with an order before the as-of date: `customer_id`, `as_of`,
    `horizon_days`, `repurchased` and `matured_on`. Returns and cancellations are no orders.
    The caller gives matured dates only.
    """
    dates = F.array(*[F.lit(as_of) for as_of in sorted(as_ofs)])
    first_order = F.min("day").alias("first_day")
    order_days = customer_days.where("orders > 0").select("customer_id", "day")
    customers = order_days.groupBy("customer_id").agg(first_order)
    snapshots = customers.select("customer_id", "first_day", F.explode(dates).alias("as_of")).where(
        "first_day < as_of"
    )
    buyers = (
        order_days.select(
            "customer_id",
            F.explode(
                F.filter(
                    dates,
                    lambda a: (F.col("day") >= a) & (F.col("day") < F.date_add(a, horizon_days)),
                )
            ).alias("as_of"),
        )
        .distinct()
        .withColumn("repurchased", F.lit(True))
    )
    return snapshots.join(buyers, ["customer_id", "as_of"], "left").select(
        "customer_id",
        "as_of",
        F.lit(horizon_days).alias("horizon_days"),
        F.coalesce("repurchased", F.lit(False)).alias("repurchased"),
        F.date_add("as_of", horizon_days).alias("matured_on"),
    )
