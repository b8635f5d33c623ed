"""Snapshots to what the buy-till-you-die models are fitted to: how many customers share a history.

Orders count by days: several on one day are one, as the models take orders to come one by one.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.probabilistic import History

# Names of features, from which everything here is made.
ORDER_DAYS, REVENUE = "active_days_lifetime", "revenue_lifetime"
# Spends are rounded to whole multiples of this on a logarithmic scale: to half a percent.
SPEND_STEP = 0.01


def history_columns() -> History:
    """The history of a snapshot, from its features."""
    return History(F.col(ORDER_DAYS) - 1, F.col("first_to_last_order_days"), F.col("tenure_days"))


def mean_spend() -> Column:
    """What a customer has spent on a day with an order."""
    return F.col(REVENUE) / F.col(ORDER_DAYS)


def histories(features: DataFrame) -> DataFrame:
    """How many customers share a history: `as_of`, `repeats`, `first_to_last`, `tenure`,
    `customers`.
    """
    triple = [column.alias(name) for name, column in vars(history_columns()).items()]
    counted = features.groupBy("as_of", *triple)
    return counted.agg(F.count(F.lit(1)).alias("customers"))


def spends(features: DataFrame) -> DataFrame:
    """How many customers have spent as much on as many days: `as_of`, `order_days`, `mean_spend`,
    `customers`. Who has spent nothing is left out.
    """
    step = F.round(F.log(mean_spend()) / SPEND_STEP)
    counted = features.where(F.col(REVENUE) > 0).groupBy(
        "as_of",
        F.col(ORDER_DAYS).alias("order_days"),
        F.exp(step * SPEND_STEP).alias("mean_spend"),
    )
    return counted.agg(F.count(F.lit(1)).alias("customers"))
