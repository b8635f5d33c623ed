"""Does one customer with very many lines cost more than those lines do?

`python -m benchmarks.skew` makes the features of two generated logs of as many lines, of a million
customers. In one of them a customer has a million lines, in the other these are spread over all. It
prints how long that takes, and by how much the largest part of the work exceeds the median one.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import load_settings
from features.customer_days import CUSTOMER_DAYS, by_range_of_days, customer_days
from features.products import popularity
from features.windows import Snapshots, made_features, stored_ranges
from jobs.console import say, show
from jobs.session import spark_session
from lake.store import Lake

HEAVY = "heavy"
LINES_EACH, DAYS, PRODUCTS = 4, 730, 5_000
START, WINDOWS = date(2023, 1, 1), (7, 30, 90, 180, 365)
AS_OFS = tuple(START + timedelta(DAYS - 30 * k) for k in range(12))
# Customers of the log that warms up for the others.
FEW = 20_000
LINES_OF_DAYS = "lines of a partition of days, largest / median"
ROWS_OF_RANGE = "rows of a range of customers, largest / median"
SECONDS_OF_RANGE = "seconds of a range of customers, largest / median"


def main() -> None:
    """Make the features of both logs, and show what the customer costs."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--customers", type=int, default=1_000_000)
    arguments.add_argument("--lines", type=int, default=1_000_000, help="of the one customer")
    given = arguments.parse_args()
    spark = spark_session(load_settings("local", []).spark)
    with tempfile.TemporaryDirectory() as folder:
        costs(lines(spark, FEW, FEW), f"{folder}/warm-up")
        found = []
        for heavy in (False, True):
            at = f"{folder}/{heavy}"
            lines(spark, given.customers, given.lines, heavy=heavy).write.parquet(f"{at}/lines")
            found.append(costs(spark.read.parquet(f"{at}/lines"), f"{at}/lake"))
            say(f"lines {'of one customer' if heavy else 'spread over all'}: done")
    rows = [(what, *(f"{each[what]:.2f}" for each in found)) for what in found[0]]
    title = f"{given.customers:,} customers of {LINES_EACH} lines each, and {given.lines:,} lines"
    show(title, ("", "spread over all", "of one customer"), rows)


def lines(spark: SparkSession, customers: int, more: int, *, heavy: bool = False) -> DataFrame:
    """Transactions of so many customers, an order in each line, and as many `more` lines, which one
    `heavy` customer has, or all of them.
    """
    place = F.col("id")
    everybody = F.concat(F.lit("c"), place % customers)
    one = F.when(place >= LINES_EACH * customers, HEAVY).otherwise(everybody)
    day = F.pmod(F.hash(place), F.lit(DAYS))
    return spark.range(LINES_EACH * customers + more).select(
        (one if heavy else everybody).alias("customer_id"),
        place.cast("string").alias("order_id"),
        F.date_add(F.lit(START), day).alias("ordered_on"),
        F.lit("purchase").alias("kind"),
        F.lit(1).cast("decimal(18,2)").alias("amount"),
        F.lit(1).cast("decimal(18,3)").alias("quantity"),
        F.lit(0).cast("decimal(18,2)").alias("discount"),
        F.lit(None).cast("string").alias("category"),
        F.lit("card").alias("payment_method"),
        F.concat(F.lit("p"), F.pmod(F.hash(place, F.lit(1)), F.lit(PRODUCTS))).alias("product_id"),
    )


def costs(log: DataFrame, folder: str) -> dict[str, float]:
    """Seconds of the steps from a log to features, in a lake of its own, and how even their parts
    are: partitions of days, of which customer-days are made, and ranges of customers, of which
    features are.
    """
    lake = Lake(log.sparkSession, folder)
    began = time.monotonic()
    lake.replace(CUSTOMER_DAYS, customer_days(log, by_range_of_days))
    stored = time.monotonic()
    days = lake.read(CUSTOMER_DAYS.name)
    snapshots = Snapshots(AS_OFS, WINDOWS, 30, START, None)
    ranges = stored_ranges(lake)
    assert ranges is not None
    made = made_features(days, snapshots, ranges=ranges, popular=popularity(days, AS_OFS))
    made.frame().write.format("noop").mode("overwrite").save()
    ended = time.monotonic()
    by_range = []
    for place in range(len(ranges)):
        before = time.monotonic()
        number = pa.record_batch({"id": pa.array([place], pa.int64())})
        rows = sum(batch.num_rows for batch in made.make(iter([number])))
        by_range.append((time.monotonic() - before, rows))
    return {
        "seconds: customer-days": stored - began,
        f"seconds: {len(made.schema.split(',')) - 2} features, {len(AS_OFS)} dates": ended - stored,
        LINES_OF_DAYS: _largest(lines_by_partition(customer_days(log, by_range_of_days))),
        ROWS_OF_RANGE: _largest([rows for _, rows in by_range]),
        SECONDS_OF_RANGE: _largest([seconds for seconds, _ in by_range]),
    }


def lines_by_partition(days: DataFrame) -> list[int]:
    """Lines of the log in each partition of customer-days."""
    counted = days.groupBy(F.spark_partition_id()).agg(F.sum("lines").alias("lines"))
    return [row["lines"] for row in counted.collect()]


def _largest(parts: Sequence[float]) -> float:
    return max(parts) / statistics.median(parts)


if __name__ == "__main__":
    main()
