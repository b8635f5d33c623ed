"""Lines of the log to customer-days: the daily partial aggregates that every window sums."""

from collections.abc import Callable

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lake.contracts import CUSTOMER, Column, Table

Together = Callable[[DataFrame], DataFrame]
# Of stored customer-days; fewer are not worth a partition.
PARTITION_BYTES = 2**20
CUSTOMER_DAYS = Table(
    "customer_days",
    "One row per customer and day with a line in the log; money in whole cents, so sums are exact",
    (
        CUSTOMER,
        Column("day", "date", "The business day"),
        Column("orders", "int", "Orders: distinct order ids with a purchase line"),
        Column("lines", "int", "Purchase lines"),
        Column("units_thousandths", "bigint", "Units purchased, in thousandths"),
        Column("revenue_cents", "bigint", "Money of the purchase lines, before any return"),
        Column("max_order_cents", "bigint", "The largest order; null without an order"),
        Column("order_cents_squared", "double", "Sum of the squared order values"),
        Column("discount_cents", "bigint", "Discounts on the purchase lines"),
        Column("returns", "int", "Distinct order ids with a return line"),
        Column("returned_cents", "bigint", "Money returned on this day, whenever it was spent"),
        Column("cancellations", "int", "Distinct order ids with a cancelled line"),
        Column("cancelled_cents", "bigint", "Money cancelled on this day, whenever it was spent"),
        Column("categories", "array<string>", "One entry per order and category in it, sorted"),
        Column("payment_methods", "array<string>", "One entry per order and method, sorted"),
        Column("products", "array<string>", "One entry per order and product in it, sorted"),
    ),
    in_pieces=True,
    in_order_of=("customer_id", "day"),
)


def by_customer(rows: DataFrame, stored_bytes: int | None = None) -> DataFrame:
    """The rows, those of a customer together, in `spark.sql.shuffle.partitions` partitions: every
    later grouping by customer finds its rows there.

    Of rows that take few bytes in their tables they are half as many, or a quarter and so on, down
    to two, for a partition leaves a file of every as-of date. Spark would merge some by their
    bytes alone, and two cores would share three of them.
    """
    wanted = partitions(rows.sparkSession, stored_bytes)
    if wanted is None:
        return rows.repartition("customer_id")
    return rows.repartition(wanted, "customer_id")


def partitions(spark: SparkSession, stored_bytes: int | None = None) -> int | None:
    """Those of `by_customer`; None where the platform decides."""
    wanted = spark.conf.get("spark.sql.shuffle.partitions")
    if wanted is None or not wanted.isdecimal():  # Databricks knows `auto`
        return None
    many = int(wanted)
    while stored_bytes is not None and many >= 4 and many * PARTITION_BYTES > stored_bytes:
        many //= 2
    return many


def by_range_of_days(rows: DataFrame) -> DataFrame:
    """The rows of a `day` together, and those of days that follow each other.

    For tables to be stored: a read of some days can pass over files, and a customer with very many
    lines is spread over as many days.
    """
    return rows.repartitionByRange("day")


def by_day(rows: DataFrame) -> DataFrame:
    """The rows of a `day` together: as the ranges are, for a few days, without a look at them all
    to find the ranges.
    """
    return rows.repartition("day")


def customer_days(transactions: DataFrame, together: Together = by_customer) -> DataFrame:
    """The daily partial aggregates of every customer, as the contract CUSTOMER_DAYS says.

    An order is a distinct order_id of one customer's day with at least one purchase line;
    returns and cancellations count on the day that they are booked. What brings the rows
    `together` is the one exchange of the log. Order ids pass it as hashes of 64 bits: two orders
    of one customer's day are taken for one with a probability of 2**-64.
    """
    lines = transactions.select(
        "customer_id",
        F.col("ordered_on").alias("day"),
        F.xxhash64("order_id").alias("order_hash"),
        "kind",
        (F.col("amount") * 100).cast("bigint").alias("cents"),
        (F.col("quantity") * 1000).cast("bigint").alias("thousandths"),
        (F.col("discount") * 100).cast("bigint").alias("discount_cents"),
        "category",
        "payment_method",
        "product_id",
    )
    orders = (
        together(lines)
        .groupBy("customer_id", "day", "order_hash")
        .agg(
            F.count_if(_is("purchase")).alias("lines"),
            _total("cents", "purchase").alias("order_cents"),
            _total("thousandths", "purchase").alias("thousandths"),
            _total("discount_cents", "purchase").alias("discount_cents"),
            F.count_if(_is("return")).alias("return_lines"),
            _total("cents", "return").alias("returned_cents"),
            F.count_if(_is("cancelled")).alias("cancelled_lines"),
            _total("cents", "cancelled").alias("cancelled_cents"),
            _distinct("category").alias("categories"),
            _distinct("payment_method").alias("payment_methods"),
            _distinct("product_id").alias("products"),
        )
    )
    is_order = F.col("lines") > 0
    value = F.when(is_order, F.col("order_cents"))
    days = orders.groupBy("customer_id", "day").agg(
        F.count_if(is_order).alias("orders"),
        F.sum("lines").alias("lines"),
        F.sum("thousandths").alias("units_thousandths"),
        F.sum("order_cents").alias("revenue_cents"),
        F.max(value).alias("max_order_cents"),
        F.sum(value.cast("double") * value).alias("order_cents_squared"),
        F.sum("discount_cents").alias("discount_cents"),
        F.count_if(F.col("return_lines") > 0).alias("returns"),
        (-F.sum("returned_cents")).alias("returned_cents"),
        F.count_if(F.col("cancelled_lines") > 0).alias("cancellations"),
        (-F.sum("cancelled_cents")).alias("cancelled_cents"),
        *[
            F.array_sort(F.flatten(F.collect_list(name))).alias(name)
            for name in ("categories", "payment_methods", "products")
        ],
    )
    return CUSTOMER_DAYS.select(days)


def _is(kind: str) -> SparkColumn:
    return F.col("kind") == kind


def _total(column: str, kind: str) -> SparkColumn:
    return F.coalesce(F.sum(F.when(_is(kind), F.col(column))), F.lit(0))


def _distinct(column: str) -> SparkColumn:
    return F.collect_set(F.when(_is("purchase"), F.col(column)))
