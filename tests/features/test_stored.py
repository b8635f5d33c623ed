"""What workers make of stored tables that they read is what the exchange makes of them."""

import datetime as dt
from random import Random

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from features import stored
from features.customer_days import CUSTOMER_DAYS, customer_days
from features.event_days import event_days
from features.products import popularity
from features.windows import Snapshots, made_features, stored_ranges
from lake import store
from lake.contracts import CUSTOMERS
from lake.key_ranges import KeyRanges, Pieces
from lake.store import Lake
from tests.features.behaviour_oracle import CUSTOMER_SCHEMA, EVENT_SCHEMA, frame
from tests.features.oracle import transactions
from tests.features.test_behaviour import (
    CLOCK,
    COUNTED,
    WINDOWS,
    exchanges_of,
    random_shop,
    rows_of,
)
from tests.features.test_windows import configured


def halved(lake: Lake, table: store.Table, rows: DataFrame, day: dt.date) -> None:
    """Write the rows in two commits: those before the day, and the others."""
    lake.replace(table, rows.where(f"day < DATE'{day}'"))
    lake.replace(table, rows.where(f"day >= DATE'{day}'"), f"day >= DATE'{day}'")


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "ranges"), [(1, 5), (2, 1)])
def test_read_by_workers_the_features_are_those_of_the_exchange(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch, seed: int, ranges: int
) -> None:
    monkeypatch.setitem(store.ROW_GROUPS, "parquet.block.row.count.limit", "25")
    lines, events, people, as_ofs = random_shop(Random(seed), WINDOWS)
    days = customer_days(transactions(spark, lines))
    halved(lake, CUSTOMER_DAYS, days, as_ofs[1])
    snapshots = Snapshots(tuple(as_ofs), WINDOWS, 30, dt.date(2018, 1, 1), "US", COUNTED, CLOCK)
    popular = popularity(days, as_ofs)
    settings = {"spark.sql.shuffle.partitions": str(ranges)}
    beside: dict[str, DataFrame] = {}
    for _ in range(2):
        with configured(spark, settings):
            monkeypatch.setattr("features.customer_days.PARTITION_BYTES", 1)
            found = stored_ranges(lake)
            assert found is not None
            assert len(found) == ranges
            stored_days = lake.read("customer_days")
            made = made_features(stored_days, snapshots, ranges=found, popular=popular, **beside)
            assert exchanges_of(made.frame()) == []
            by_exchange = made_features(stored_days, snapshots, popular=popular, **beside)
            assert rows_of(made.frame()) == rows_of(by_exchange.frame())
        halved(
            lake,
            COUNTED.table,
            event_days(frame(spark, events, EVENT_SCHEMA), COUNTED),
            as_ofs[2],
        )
        known = frame(spark, people, CUSTOMER_SCHEMA)
        lake.replace(CUSTOMERS, known.withColumn("file", F.lit(None)))
        beside = {"event_days": lake.read("event_days"), "customers": lake.read("customers")}


@pytest.mark.slow
def test_what_is_dated_later_is_not_looked_at(spark: SparkSession, lake: Lake) -> None:
    lines, _, _, as_ofs = random_shop(Random(4), WINDOWS)
    first = min(as_ofs)
    snapshots = Snapshots((first,), WINDOWS, 30, dt.date(2018, 1, 1), "US")
    made = []
    for day in ("9999-12-31", first):
        days = customer_days(transactions(spark, lines)).where(f"day < DATE'{day}'")
        lake.replace(CUSTOMER_DAYS, days)
        found = stored_ranges(lake)
        assert found is not None
        made.append(rows_of(made_features(days, snapshots, ranges=found).frame()))
    assert made[0] == made[1] != []


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_moments_are_in_microseconds_whatever_the_files_have(unit: str, zone: str | None) -> None:
    at = pa.array([dt.datetime(2024, 1, 1, 12)]).cast(pa.timestamp(unit, zone))
    events = pa.table({"customer_id": ["a"], "last_event_at": at})
    ranges = KeyRanges("customer_id", {"event_days": Pieces((), events.schema)}, ())
    (kind,) = stored.kinds(ranges, ["event_days"], ["customer_id", "last_event_micros"])
    assert kind.rows(events)["last_event_micros"].to_pylist() == [1_704_110_400_000_000]
