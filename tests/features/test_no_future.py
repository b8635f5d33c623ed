"""Rule 1: whatever is dated on or after as_of changes no feature of that as_of."""

import datetime as dt
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import load_settings
from conf.source import load_source
from jobs.build_features import build_features
from jobs.options import Job, log_span
from lake.contracts import TRANSACTIONS
from lake.ingestion import Limits, business_session, mapped, read_log
from lake.store import Lake
from tests.features.oracle import Line, line, random_log
from tests.features.test_windows import engine

AS_OFS = [dt.date(2021, 2, 28), dt.date(2021, 3, 1), dt.date(2021, 3, 20), dt.date(2021, 9, 1)]


def deleted(random: Random, future: list[Line]) -> list[Line]:
    return []


def changed(random: Random, future: list[Line]) -> list[Line]:
    return [
        {
            **entry,
            "kind": "purchase",
            "amount": abs(entry["amount"]) * 3 + 1,
            "category": random.choice([None, "A new first", "zzz"]),
            "payment_method": random.choice([None, "A new first", "card"]),
        }
        for entry in future
        if random.random() < 0.7
    ]


def added(random: Random, future: list[Line]) -> list[Line]:
    first = min(entry["ordered_on"] for entry in future)
    customers = [*{entry["customer_id"]: None for entry in future}, "somebody new"]
    # Of the orders of the past, which have the same ids, some come back.
    return future + [
        line(
            customer,
            first + dt.timedelta(random.randint(0, 400)),
            "o1",
            kind=kind,
            amount="5000" if kind == "purchase" else "-5000",
            category=random.choice([None, "A new first", "zzz"]),
            payment_method=random.choice([None, "A new first", "zzz"]),
        )
        for customer in customers
        for kind in ("purchase", "return", "cancelled")
    ]


@settings(
    max_examples=2,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(seed=1, position=1, perturb=deleted)
@example(seed=2, position=0, perturb=changed)
@given(
    seed=st.integers(3, 2**32),
    position=st.integers(1, len(AS_OFS) - 1),
    perturb=st.sampled_from([added, changed, deleted]),
)
def test_perturbing_what_comes_later_changes_no_feature(spark, seed, position, perturb):
    random = Random(seed)
    lines = random_log(random, 40, AS_OFS, (7, 365), 30)
    cut = AS_OFS[position]
    past = [entry for entry in lines if entry["ordered_on"] < cut]
    future = [entry for entry in lines if entry["ordered_on"] >= cut]
    assert min(len(past), len(future)) > 50
    perturbed = past + perturb(random, future)
    before = engine(spark, lines, AS_OFS, (7, 365), country="GB")
    after = engine(spark, perturbed, AS_OFS, (7, 365), country="GB")
    assert upto(cut, before) == upto(cut, after)
    assert len(upto(cut, before)) > 20
    assert cut == AS_OFS[-1] or before != after  # later dates do see it


def upto(cut: dt.date, rows: dict) -> dict:
    return {key: row for key, row in rows.items() if key[1] <= cut}


TODAY = dt.date(2011, 9, 1)


@pytest.fixture(scope="module")
def online_retail(
    spark: SparkSession, real_log: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> DataFrame:
    """The transactions of every twelfth customer, ingested as `repurchase ingest` does."""
    source = load_source("online_retail")
    limits = Limits(10_000_000, dt.date(1970, 1, 1), dt.date(2012, 1, 1))
    lake = Lake(spark, str(tmp_path_factory.mktemp("online_retail")))
    with business_session(spark, source.time_zone):
        lines = mapped(read_log(spark, source, real_log["online_retail"]), source, limits)
        some = F.pmod(F.crc32("customer_id"), F.lit(12)) == 0
        lake.replace(TRANSACTIONS, lines.where((F.size("reasons") == 0) & some))
    return lake.read("transactions")


def turned_over(future: DataFrame, everybody: DataFrame) -> DataFrame:
    """Purchases become returns and returns purchases, at three times the money, in a category
    that is new; and everybody, with people who are new, buys and returns from as_of on.
    """
    kind = F.when(F.col("kind") == "purchase", "return").otherwise("purchase")
    amount = (F.col("amount") * -3).cast("decimal(18,2)")
    new = {"kind": kind, "amount": amount, "category": F.lit("A new first")}
    paid = F.lit("A new first")
    turned = future.withColumns({**new, "payment_method": paid})
    strangers = turned.withColumn("customer_id", F.concat(F.lit("new "), "customer_id"))
    on_as_of = {"ordered_on": F.lit(TODAY), "order_id": F.lit("new"), "payment_method": paid}
    orders = everybody.withColumns({**on_as_of, "kind": F.lit("purchase")})
    returns = everybody.withColumns(
        {**on_as_of, "kind": F.lit("return"), "amount": -F.abs("amount")}
    )
    return turned.unionByName(strangers).unionByName(orders).unionByName(returns)


@pytest.mark.slow
def test_on_online_retail_no_table_changes_with_what_comes_later(
    spark: SparkSession, online_retail: DataFrame, tmp_path
):
    past = online_retail.where(F.col("ordered_on") < F.lit(TODAY))
    future = online_retail.where(F.col("ordered_on") >= F.lit(TODAY))
    assert min(past.count(), future.count()) > 10_000
    logs = {
        "as it is": online_retail,
        "deleted": past,
        "turned over": past.unionByName(turned_over(future, past)),
    }
    built = {name: tables(spark, log, str(tmp_path / name)) for name, log in logs.items()}
    for table, rows in built["as it is"].items():
        assert len(rows) > 200
        assert rows == built["deleted"][table], table
        assert rows == built["turned over"][table], table


def tables(spark: SparkSession, log: DataFrame, path: str) -> dict[str, list[tuple]]:
    """What `repurchase build-features --as-of TODAY` makes of the log, in order."""
    lake = Lake(spark, path)
    lake.replace(TRANSACTIONS, log)
    lake.set_properties("transactions", {"country": "GB"})
    wanted = load_settings("local", ["snapshots.count=2", "snapshots.step_days=45"])
    job = Job(spark, lake, wanted)
    build_features(job, log_span(job, TODAY))
    names = ("customer_days", "features", "labels")
    return {
        name: sorted(map(tuple, lake.read(name).collect()), key=lambda r: r[:2]) for name in names
    }
