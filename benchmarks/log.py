"""A generated log, mapped onto the contract, as plain Parquet that every engine reads."""

import sys
from datetime import date
from pathlib import Path

from benchmarks.peers import spark_session
from conf.source import load_source
from lake.contracts import TRANSACTIONS
from lake.ingestion import Limits, business_session, mapped
from lake.synthetic import SyntheticShop, synthetic_log

UNUSED = ("ordered_at", "file")


def main() -> None:
    """Write the log of so many customers and days into a folder."""
    folder, customers, days = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    spark = spark_session()
    raw = folder / "raw"
    synthetic_log(spark, SyntheticShop(customers=customers, days=days, seed=1)).write.mode(
        "overwrite"
    ).parquet(str(raw))
    source = load_source("generated")
    with business_session(spark, source.time_zone):
        limits = Limits(1e9, 1e9, date(1970, 1, 1), date(2100, 1, 1))
        lines = TRANSACTIONS.select(mapped(spark.read.parquet(str(raw)), source, limits))
        lines.drop(*UNUSED).write.mode("overwrite").parquet(str(folder / "lines"))


if __name__ == "__main__":
    main()
