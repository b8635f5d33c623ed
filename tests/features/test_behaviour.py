"""Features of events and of customers' rows, at every boundary; the logs' exchanges."""

import datetime as dt
import io
import math
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from features.calendar import Clock
from features.catalogue import catalogue
from features.customer_days import by_range_of_days, customer_days
from features.event_days import Vocabulary, event_days
from features.windows import Snapshots, customer_features
from tests.features import behaviour_oracle as oracle
from tests.features.behaviour_oracle import (
    CUSTOMER_SCHEMA,
    EVENT_SCHEMA,
    ZONE,
    Event,
    Person,
    event,
    frame,
    person,
    random_events,
    random_people,
    recut,
)
from tests.features.oracle import Line, Row, line, random_log, transactions
from tests.features.test_windows import configured

WINDOWS = (7, 30)
CLOCK = Clock(ZONE.key)
COUNTED = Vocabulary(("view", "cart"), ("email", "paid"))
TODAY = dt.date(2021, 6, 30)
AS_OFS = (dt.date(2021, 3, 14), dt.date(2021, 3, 15), TODAY, dt.date(2021, 7, 1))


def engine(
    spark: SparkSession,
    lines: Sequence[Line],
    events: Sequence[Event],
    people: Sequence[Person],
    as_ofs: Sequence[dt.date] = AS_OFS,
    windows: tuple[int, ...] = WINDOWS,
    counted: Vocabulary = COUNTED,
    clock: Clock = CLOCK,
) -> dict[tuple[str, dt.date], Row]:
    """What the engine under test makes of them, by customer and as-of date."""
    names = {f.name for f in catalogue(windows, 30, counted, customers=True) if f.needs}
    log_start = min(entry["ordered_on"] for entry in lines)
    made = customer_features(
        customer_days(transactions(spark, lines)),
        Snapshots(tuple(as_ofs), windows, 30, log_start, None, counted, clock),
        names,
        event_days=event_days(frame(spark, events, EVENT_SCHEMA), counted),
        customers=frame(spark, people, CUSTOMER_SCHEMA),
    )
    rows = [row.asDict() for row in made.collect()]
    keyed = {(row.pop("customer_id"), row.pop("as_of")): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


# Every test below has customers of its own; all of them ordered long ago.
EVENTS = [
    event("edges", "2021-06-30 00:00"),  # at the start of as_of
    event("edges", "2021-06-29 23:59:59.999999"),  # the last moment before
    event("edges", "2021-06-23 00:00"),  # the first moment of as_of - 7
    event("edges", "2021-06-22 23:59:59"),
    event("edges", "2021-05-31 00:00"),  # the first moment of as_of - 30
    event("edges", "2021-05-30 23:59:59"),
    event("carts", "2021-06-20 10:00", "cart"),
    event("carts", "2021-06-20 11:00", "cart"),
    event("carts", "2021-06-21 10:00", "cart"),
    event("carts", "2021-06-25 10:00", "cart"),
    event("carts", "2021-06-26 10:00", "view"),
    event("night", "2021-06-28 23:50", session="s"),
    event("night", "2021-06-29 00:10", session="s"),
    event("night", "2021-06-29 00:20", session="s"),
    event("night", "2021-06-29 00:30"),
    event("sources", "2021-06-01 10:00", source="email"),
    event("sources", "2021-06-02 10:00", source="other"),
    event("sources", "2021-06-03 10:00"),
    event("sources", "2021-06-04 10:00", source="email"),
    event("sources", "2021-06-30 10:00", source="paid"),
    # On 2021-03-14 the clocks skip the hour from 02:00.
    event("clock changes", "2021-03-13 22:00"),
    event("clock changes", "2021-03-14 22:00"),
    event("never ordered", "2021-06-29 10:00"),
]
PEOPLE = [
    person("moved", "2020-01-01", "2021-06-30", location="York"),
    person("moved", "2021-06-30", location="Hull"),
    person("left", "2020-01-01", "2021-06-29", gender="f", born=1980),
    person("overlap", "2020-01-01", None, location="old"),
    person("overlap", "2021-01-01", "2021-06-29 12:00", location="ended"),
    person("overlap", "2021-01-01 12:00", None, location="new"),
    person("twice a day", "2021-06-29 09:00", "2021-06-29 17:00", location="by day"),
    person("twice a day", "2021-06-29 17:00", None, location="by night"),
    person("grows older", "2020-01-01", born=1980, signed_up="2021-06-30"),
    person("never ordered", "2020-01-01", gender="m"),
]
LINES = [
    *[
        line(name, "2020-06-01")
        for name in {row["customer_id"] for row in [*EVENTS, *PEOPLE]} - {"never ordered"}
    ],
    line("nobody knows", "2020-06-01"),
    line("carts", "2021-06-20"),
    line("carts", "2021-06-25", kind="return", amount="-5"),
    line("never ordered", "2021-06-30"),
]


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> dict[tuple[str, dt.date], Row]:
    return engine(spark, LINES, EVENTS, PEOPLE)


def of(found: dict, customer: str, *names: str, as_of: dt.date = TODAY) -> list[object]:
    return [found[customer, as_of][name] for name in names]


def test_a_window_of_events_holds_its_first_moment_and_not_that_of_as_of(found):
    names = ("events_7d", "events_30d", "events_lifetime", "view_events_7d", "cart_events_7d")
    assert of(found, "edges", *names) == [2, 4, 5, 2, 0]
    tomorrow = dt.date(2021, 7, 1)
    assert of(found, "edges", *names, as_of=tomorrow) == [2, 4, 6, 2, 0]


def test_a_cart_is_without_an_order_if_nothing_was_ordered_that_day(found):
    # The 20th has an order, the 25th a return only; two carts of a day are one day.
    names = ("cart_events_30d", "cart_days_without_order_30d", "cart_days_without_order_7d")
    assert of(found, "carts", *names) == [4, 2, 1]


def test_a_session_that_goes_on_after_midnight_counts_on_both_days(found):
    assert of(found, "night", "sessions_7d", "events_7d") == [2, 4]


def test_shares_are_of_all_events_and_of_none_are_null(found):
    names = ("traffic_email_share", "traffic_paid_share")
    assert of(found, "sources", *names) == [0.5, 0.0]
    assert of(found, "nobody knows", *names) == [None, None]


def test_hours_are_those_that_passed_and_not_those_that_the_clocks_show(found):
    hours = "hours_since_last_event"
    assert of(found, "clock changes", hours, as_of=dt.date(2021, 3, 14)) == [2.0]
    assert of(found, "clock changes", hours, as_of=dt.date(2021, 3, 15)) == [2.0]
    assert of(found, "nobody knows", hours) == [None]
    assert of(found, "edges", hours) == [pytest.approx(1e-6 / 3600)]


def test_an_hour_before_the_time_at_which_days_begin_is_an_hour(spark):
    events = recut([event("a", "2021-06-30 13:00"), event("a", "2021-06-30 14:00")], dt.time(14))
    clock = Clock(ZONE.key, "14:00")
    found = engine(spark, [line("a", "2021-01-01")], events, [], clock=clock)
    assert of(found, "a", "events_7d", "hours_since_last_event") == [1, 1.0]


def test_what_changes_on_as_of_is_not_known_at_its_start(found):
    tomorrow = dt.date(2021, 7, 1)
    assert of(found, "moved", "location") == ["York"]
    assert of(found, "moved", "location", as_of=tomorrow) == ["Hull"]
    assert of(found, "left", "gender", "age_years") == [None, None]
    assert of(found, "left", "gender", "age_years", as_of=dt.date(2021, 3, 14)) == ["f", 41]


def test_of_rows_that_hold_the_one_with_the_latest_valid_from_counts(found):
    assert of(found, "overlap", "location") == ["new"]
    assert of(found, "twice a day", "location") == ["by night"]


def test_a_row_that_has_ended_gives_way_to_an_earlier_one_that_has_not(spark):
    people = [
        person("a", "2020-01-01", None, location="always"),
        person("a", "2020-02-01", "2021-06-29", location="for a while"),
    ]
    found = engine(spark, [line("a", "2020-01-01")], [], people)
    assert of(found, "a", "location") == ["always"]
    assert of(found, "a", "location", as_of=dt.date(2021, 3, 14)) == ["for a while"]


def test_a_sign_up_on_as_of_is_not_known_yet(found):
    tomorrow = dt.date(2021, 7, 1)
    assert of(found, "grows older", "age_years", "days_since_sign_up") == [41, None]
    assert of(found, "grows older", "days_since_sign_up", as_of=tomorrow) == [1]


def test_who_never_ordered_before_as_of_is_no_snapshot(found):
    assert ("never ordered", TODAY) not in found
    assert of(found, "never ordered", "events_7d", "gender", as_of=dt.date(2021, 7, 1)) == [1, "m"]


def test_the_literal_rows_agree_with_the_oracle(found):
    expected = oracle.features(LINES, EVENTS, PEOPLE, AS_OFS, WINDOWS, COUNTED)
    assert_equal(found, expected)


def assert_equal(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for key, row in expected.items():
        assert set(found[key]) == set(row)
        wrong = {n: (found[key][n], v) for n, v in row.items() if not same(found[key][n], v)}
        assert not wrong, f"{key}: (found, expected) {wrong}"


def same(found: object, expected: object) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9)
    return type(found) is type(expected) and found == expected


@settings(
    max_examples=2,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(seed=1, windows=(7, 30, 90))
@given(
    seed=st.integers(2, 2**32),
    windows=st.lists(st.integers(1, 400), min_size=1, max_size=3, unique=True)
    .map(sorted)
    .map(tuple),
)
def test_every_feature_agrees_with_the_oracle(spark, seed, windows):
    lines, events, people, as_ofs = random_shop(Random(seed), windows)
    found = engine(spark, lines, events, people, as_ofs, windows)
    assert_equal(found, oracle.features(lines, events, people, as_ofs, windows, COUNTED))


@pytest.mark.slow
def test_where_days_begin_at_another_hour_every_window_begins_and_ends_then(spark):
    lines, events, people, as_ofs = random_shop(Random(9), WINDOWS)
    # 2021-03-14 has no hour from 02:00, and 2021-11-07 has that from 01:00 twice.
    for starts_at in (dt.time(1), dt.time(2), dt.time(17)):
        acts, rows = recut(events, starts_at), recut(people, starts_at)
        clock = Clock(ZONE.key, f"{starts_at:%H:%M}")
        found = engine(spark, lines, acts, rows, as_ofs, clock=clock)
        expected = oracle.features(lines, acts, rows, as_ofs, WINDOWS, COUNTED, starts_at)
        assert_equal(found, expected)


def random_shop(random: Random, windows: Sequence[int]):
    # The clocks change on 2021-03-14 and 2021-11-07.
    start = random.choice([dt.date(2021, 3, 13), dt.date(2021, 11, 6)])
    as_ofs = [start + dt.timedelta(n) for n in (0, 1, 2, random.randint(3, 300))]
    lines = random_log(random, 40, as_ofs, windows, 30)
    customers = [*sorted({entry["customer_id"] for entry in lines}), "a stranger"]
    events = random_events(random, customers, as_ofs, windows)
    people = random_people(random, customers, as_ofs)
    return lines, events, people, as_ofs


def test_the_features_of_the_log_are_as_without_events_and_customers(spark):
    lines, events, people, as_ofs = random_shop(Random(7), WINDOWS)
    days = customer_days(transactions(spark, lines))
    snapshots = Snapshots(tuple(as_ofs), WINDOWS, 30, dt.date(2018, 1, 1), "US", COUNTED, CLOCK)
    alone = customer_features(days, snapshots)
    beside = customer_features(
        days,
        snapshots,
        event_days=event_days(frame(spark, events, EVENT_SCHEMA), COUNTED),
        customers=frame(spark, people, CUSTOMER_SCHEMA),
    )
    assert alone.columns == beside.columns[: len(alone.columns)]
    assert rows_of(alone) == rows_of(beside.select(alone.columns))


def rows_of(frame: DataFrame) -> list[tuple]:
    return sorted(map(tuple, frame.collect()), key=lambda row: row[:2])


def test_partitions_neither_duplicate_nor_lose_rows(spark):
    lines, events, people, as_ofs = random_shop(Random(5), WINDOWS)
    results = []
    for partitions in (1, 7):
        with configured(spark, {"spark.sql.shuffle.partitions": str(partitions)}):
            results.append(engine(spark, lines, events, people, as_ofs))
    assert results[0] == results[1]


def exchanges_of(frame: DataFrame) -> list[str]:
    plan = io.StringIO()
    with redirect_stdout(plan):
        frame.explain(mode="simple")
    return re.findall(r"(?<!Broadcast)Exchange (.+)", plan.getvalue())


def test_each_log_is_exchanged_once_and_the_stored_tables_together_once(spark):
    lines, events, people, as_ofs = random_shop(Random(3), WINDOWS)
    snapshots = Snapshots(tuple(as_ofs), WINDOWS, 30, dt.date(2018, 1, 1), "US", COUNTED, CLOCK)
    days = customer_days(transactions(spark, lines))
    seen = event_days(frame(spark, events, EVENT_SCHEMA), COUNTED)
    from_logs = exchanges_of(customer_features(days, snapshots, event_days=seen))
    assert len(from_logs) == 2
    assert all(re.match(r"hashpartitioning\(customer_id#\d+, \d+\)", e) for e in from_logs)

    def stored(made: DataFrame) -> DataFrame:
        return spark.createDataFrame(made.collect(), made.schema)

    people_frame = frame(spark, people, CUSTOMER_SCHEMA)
    from_tables = customer_features(
        stored(days), snapshots, event_days=stored(seen), customers=people_frame
    )
    assert len(exchanges_of(from_tables)) == 1


def test_by_day_the_events_are_exchanged_once(spark):
    seen = event_days(frame(spark, EVENTS, EVENT_SCHEMA), COUNTED, by_range_of_days)
    assert len(exchanges_of(seen)) == 1


def test_a_day_of_events(spark):
    events = [
        event("a", "2021-06-29 10:00", "view", "s1", "email"),
        event("a", "2021-06-29 23:00", "cart", "s1", "paid"),
        event("a", "2021-06-29 11:00", "search", "s2", "other"),
        event("a", "2021-06-29 12:00", "search"),
    ]
    seen = event_days(frame(spark, events, EVENT_SCHEMA), COUNTED)
    (row,) = seen.drop("last_event_at").collect()
    assert row.asDict() == {
        "customer_id": "a",
        "day": dt.date(2021, 6, 29),
        **{"events": 4, "sessions": 2, "kind_view": 1, "kind_cart": 1},
        **{"source_email": 1, "source_paid": 1},
    }
    (micros,) = seen.selectExpr("unix_micros(last_event_at)").first()
    assert micros == events[1]["happened_at"].timestamp() * 1_000_000


def test_the_oracle_knows_every_feature_that_needs_more_than_the_log():
    for counted in (COUNTED, Vocabulary(), Vocabulary(("cart",), ())):
        names = {f.name for f in catalogue(WINDOWS, 30, counted, customers=True) if f.needs}
        made = oracle.features([line("a", "2020-06-01")], [], [], [TODAY], WINDOWS, counted)
        assert set(made["a", TODAY]) == names


def test_without_events_and_customers_the_catalogue_is_that_of_the_log():
    assert not any(feature.needs for feature in catalogue(WINDOWS, 30))
    assert {f.needs for f in catalogue(WINDOWS, 30, COUNTED)} == {"", "events"}
    assert {f.needs for f in catalogue(WINDOWS, 30, customers=True)} == {"", "customers"}
