"""Rule 1: whatever is dated on or after as_of changes no feature of that as_of."""

import datetime as dt
from functools import reduce
from random import Random

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import load_settings
from conf.source import load_source
from jobs.build_features import build_features
from jobs.options import Job, log_span
from lake.contracts import TRANSACTIONS
from lake.ingestion import Limits, business_session, mapped, read_log
from lake.store import Lake
from tests.features.behaviour_oracle import (
    day_of,
    event,
    moment,
    person,
    random_events,
    random_people,
)
from tests.features.oracle import Line, line, random_log
from tests.features.test_behaviour import engine as behaviour_engine
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
            "product_id": random.choice([None, "A new first", "p"]),
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
            product_id=random.choice([None, "A new first", "p"]),
        )
        for customer in customers
        for kind in ("purchase", "return", "cancelled")
    ]


@pytest.mark.slow
def test_perturbing_what_comes_later_changes_no_feature(spark):
    random = Random(1)
    cuts = random.sample(AS_OFS[:3], 3)
    lines = random_log(random, 100, AS_OFS, (7, 365), 30)
    before = engine(spark, lines, AS_OFS, (7, 365), country="GB")
    for cut, perturb in zip(cuts, [deleted, changed, added], strict=True):
        past = [entry for entry in lines if entry["ordered_on"] < cut]
        future = [entry for entry in lines if entry["ordered_on"] >= cut]
        assert min(len(past), len(future)) > 50
        perturbed = past + perturb(random, future)
        after = engine(spark, perturbed, AS_OFS, (7, 365), country="GB")
        assert upto(cut, before) == upto(cut, after)
        assert len(upto(cut, before)) > 50
        assert before != after  # later dates do see it


def upto(cut: dt.date, rows: dict) -> dict:
    return {key: row for key, row in rows.items() if key[1] <= cut}


def without_a_future(cut: dt.date, events: list, people: list) -> tuple[list, list]:
    start = moment(dt.datetime.combine(cut, dt.time()))
    return (
        [e for e in events if e["happened_at"] < start],
        [p for p in people if p["valid_from"] < start],
    )


def with_another_future(cut: dt.date, events: list, people: list) -> tuple[list, list]:
    """Everybody does other things from the cut on, moves then, and is known from then on; what ends
    and who signs up then or later does so on another day.
    """
    past, known = without_a_future(cut, events, people)
    start = moment(dt.datetime.combine(cut, dt.time()))
    later, customers = start + dt.timedelta(3), {row["customer_id"] for row in [*events, *people]}
    ends = {"valid_until": later, "valid_until_day": day_of(later)}
    changed = [
        {
            **p,
            **(ends if p["valid_until"] is None or p["valid_until"] >= start else {}),
            **(
                {"signed_up_on": cut + dt.timedelta(9)}
                if p["signed_up_on"] is not None and p["signed_up_on"] >= cut
                else {}
            ),
        }
        for p in known
    ]
    acts = [
        event(customer, f"{cut} {time}", kind, "s9", "paid")
        for customer in customers
        for time, kind in (("00:00", "cart"), ("18:00", "view"))
    ]
    moves = [person(customer, f"{cut} 00:00", born=2001, gender="x") for customer in customers]
    return [*past, *acts], [*changed, *moves]


@pytest.mark.slow
@pytest.mark.parametrize("perturbed", [without_a_future, with_another_future])
def test_perturbing_later_events_and_customers_changes_no_feature(spark, perturbed):
    random = Random(11)
    lines = random_log(random, 60, AS_OFS, (7, 365), 30)
    customers = sorted({entry["customer_id"] for entry in lines})
    events = random_events(random, customers, AS_OFS, (7, 365))
    people = random_people(random, customers, AS_OFS)
    before = behaviour_engine(spark, lines, events, people, AS_OFS, (7, 365))
    cut = AS_OFS[2]
    after = behaviour_engine(spark, lines, *perturbed(cut, events, people), AS_OFS, (7, 365))
    assert upto(cut, before) == upto(cut, after)
    assert len(upto(cut, before)) > 50
    assert before != after  # later dates do see it


TODAY = dt.date(2011, 9, 1)


@pytest.fixture(scope="module")
def online_retail(
    spark: SparkSession, real_log: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> DataFrame:
    """A summer of the lines of every fourth customer, ingested as `repurchase ingest` does."""
    source = load_source("online_retail")
    limits = Limits(10_000_000, 1e9, dt.date(1970, 1, 1), dt.date(2012, 1, 1))
    lake = Lake(spark, str(tmp_path_factory.mktemp("online_retail")))
    path = real_log["online_retail"] + "/2011-0[7-9]-*.csv"
    with business_session(spark, source.time_zone):
        lines = mapped(read_log(spark, source, path), source, limits)
        some = F.pmod(F.crc32("customer_id"), F.lit(4)) == 0
        lake.replace(TRANSACTIONS, lines.where((F.size("reasons") == 0) & some))
    return lake.read("transactions")


def another_future(past: DataFrame, future: DataFrame) -> DataFrame:
    """The future that was, and the same once more with purchases as returns and returns as
    purchases, at three times the money and in a category that is new; of new people too. And
    everybody buys and returns on as_of.
    """
    kind = F.when(F.col("kind") == "purchase", "return").otherwise("purchase")
    amount = (F.col("amount") * -3).cast("decimal(18,2)")
    names = {"category": F.lit("A new first"), "payment_method": F.lit("A new first")}
    turned = future.withColumns({"kind": kind, "amount": amount, **names})
    strangers = turned.withColumn("customer_id", F.concat(F.lit("new "), "customer_id"))
    on_as_of = {"ordered_on": F.lit(TODAY), **names}
    orders = past.withColumns({**on_as_of, "kind": F.lit("purchase")})
    returns = past.withColumns({**on_as_of, "kind": F.lit("return"), "amount": -F.abs("amount")})
    everything = [future, turned, strangers, orders, returns]
    return reduce(DataFrame.unionByName, everything)


@pytest.mark.slow
def test_on_online_retail_no_table_changes_with_what_comes_later(
    spark: SparkSession, online_retail: DataFrame, tmp_path
):
    past = online_retail.where(F.col("ordered_on") < F.lit(TODAY))
    future = online_retail.where(F.col("ordered_on") >= F.lit(TODAY))
    assert min(past.count(), future.count()) > 5_000
    without = tables(spark, past, str(tmp_path / "without"))
    other = tables(spark, past.union(another_future(past, future)), str(tmp_path / "other"))
    for table, rows in without.items():
        assert len(rows) > 200
        assert rows == other[table], table


def tables(spark: SparkSession, log: DataFrame, path: str) -> dict[str, list[tuple]]:
    """What `repurchase build-features --as-of TODAY` makes of the log, in order."""
    lake = Lake(spark, path)
    lake.replace(TRANSACTIONS, log)
    lake.set_properties("transactions", {"country": "GB"})
    wanted = load_settings("local", ["features.windows=[30, 365]", "snapshots.count=2"])
    job = Job(spark, lake, wanted)
    build_features(job, log_span(job, TODAY))
    names = ("customer_days", "features", "labels")
    return {
        name: sorted(map(tuple, lake.read(name).collect()), key=lambda r: r[:2]) for name in names
    }
