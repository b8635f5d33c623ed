"""The real logs as delivered give the figures that their README counted from the files."""

from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.settings import load_settings
from conf.source import load_source
from jobs.ingest import Ingested, ingest
from jobs.options import Job
from lake.contracts import CUSTOMERS
from lake.store import Lake

pytestmark = pytest.mark.slow

NO_CUSTOMER = "customer_id is missing"


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path) -> Job:
    """A job with an empty lake."""
    return Job(spark, Lake(spark, str(tmp_path / "lake")), load_settings("local"))


def of_kind(job: Job, kind: str) -> tuple[int, int, int]:
    """Lines, customers and orders of a kind."""
    lines = job.lake.read("transactions").where(F.col("kind") == kind)
    order = F.struct("customer_id", "ordered_on", "order_id")
    counted = lines.agg(F.count("*"), F.countDistinct("customer_id"), F.countDistinct(order))
    return tuple(counted.collect()[0])


def test_online_retail(job: Job, real_log: dict[str, str]) -> None:
    result = ingest(job, load_source("online_retail"), real_log["online_retail"])
    assert result == Ingested(rows=541_909, kept=406_829, refused=135_080)
    assert of_kind(job, "purchase") == (397_924, 4_339, 18_536)
    assert of_kind(job, "cancelled") == (8_905, 1_589, 3_654)
    transactions = job.lake.read("transactions")
    assert transactions.select("customer_id").distinct().count() == 4_372
    reasons = job.lake.read("quarantine").select("reasons").distinct().collect()
    assert [row.reasons for row in reasons] == [[NO_CUSTOMER]]
    # The whole log's invoices, and those that were cancelled, with and without a customer.
    raw = job.lake.read("quarantine").select(
        F.get_json_object("source_row", "$.InvoiceNo").alias("order_id")
    )
    invoices = transactions.select("order_id").union(raw).distinct()
    assert invoices.count() == 25_900
    assert invoices.where("order_id LIKE 'C%'").count() == 3_836


def test_cdnow(job: Job, real_log: dict[str, str]) -> None:
    result = ingest(job, load_source("cdnow"), real_log["cdnow"])
    assert result == Ingested(rows=69_659, kept=69_659, refused=0)
    lines, customers, orders = of_kind(job, "purchase")
    assert (lines, customers) == (69_659, 23_570)
    total, first = job.lake.read("transactions").agg(F.sum("amount"), F.min("customer_id")).first()
    assert (total, first) == (Decimal("2500315.63"), "00001")
    assert (
        orders
        == job.lake.read("transactions").select("customer_id", "ordered_on").distinct().count()
    )


def test_tafeng(job: Job, real_log: dict[str, str]) -> None:
    result = ingest(job, load_source("tafeng"), real_log["tafeng"])
    assert result.rows == 817_741 == result.kept + result.refused
    transactions = job.lake.read("transactions")
    days = transactions.agg(F.min("ordered_on"), F.max("ordered_on")).first()
    assert [str(day) for day in days] == ["2000-11-01", "2001-02-28"]
    assert transactions.select("customer_id").distinct().count() == 32_266
    assert transactions.where(F.length("customer_id") != 8).count() == 0
    ingest(job, load_source("tafeng"), real_log["tafeng"], CUSTOMERS)
    known = job.lake.read("customers")
    assert known.select("customer_id").distinct().count() == 32_266
    assert 0 < known.where("birth_year IS NULL").count() < known.where("location IS NULL").count()
