"""The label: whether a customer who has ordered before as_of orders in the days from it."""

import datetime as dt
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from features.calendar import Clock
from features.customer_days import customer_days
from features.labels import labels, labels_in_hours, matured
from tests.features import oracle
from tests.features.oracle import line, random_log, transactions

TODAY = dt.date(2021, 6, 1)


def engine(spark, lines, as_ofs, horizon):
    """What the code under test says, by customer and as-of date."""
    rows = labels(customer_days(transactions(spark, lines)), as_ofs, horizon).collect()
    assert {row.horizon_days for row in rows} <= {horizon}
    assert all(row.matured_on == row.as_of + dt.timedelta(horizon) for row in rows)
    answers = {(row.customer_id, row.as_of): row.repurchased for row in rows}
    assert len(answers) == len(rows)
    return answers


def test_the_label_window_holds_as_of_and_not_its_end(spark):
    lines = [
        *[line(customer, "2021-05-01") for customer in ("before", "at", "last", "after")],
        line("before", "2021-05-31"),
        line("at", "2021-06-01"),
        line("last", "2021-06-30"),
        line("after", "2021-07-01"),
    ]
    assert engine(spark, lines, [TODAY], 30) == {
        ("before", TODAY): False,
        ("at", TODAY): True,
        ("last", TODAY): True,
        ("after", TODAY): False,
    }


@pytest.mark.parametrize(
    ("horizon", "last", "after"),
    [(1, "2021-06-01", "2021-06-02"), (365, "2022-05-31", "2022-06-01")],
)
def test_a_horizon_of_a_day_and_of_a_year(spark, horizon, last, after):
    lines = [
        *[line(customer, "2021-05-31") for customer in ("last", "after")],
        line("last", last),
        line("after", after),
    ]
    assert engine(spark, lines, [TODAY], horizon) == {
        ("last", TODAY): True,
        ("after", TODAY): False,
    }


def test_returns_and_cancellations_are_no_orders(spark):
    lines = [
        line("returns", "2021-05-01"),
        line("returns", "2021-06-02", kind="return", amount="-10"),
        line("returns", "2021-06-03", kind="cancelled", amount="-10"),
        line("never ordered", "2021-05-01", kind="return", amount="-10"),
        line("never ordered", "2021-06-02"),
    ]
    assert engine(spark, lines, [TODAY], 30) == {("returns", TODAY): False}


def test_trap_no_negatives_of_customers_whose_first_order_lies_after_as_of(spark):
    lines = [
        line("known", "2021-05-31"),
        line("first at as_of", "2021-06-01"),
        line("first in the window", "2021-06-10"),
        line("first after the window", "2021-08-01"),
    ]
    assert engine(spark, lines, [TODAY], 30) == {("known", TODAY): False}


def test_trap_the_label_contains_nothing_of_the_past(spark):
    often_before = [line("loyal", dt.date(2021, 5, day), amount="999") for day in range(1, 32)]
    assert engine(spark, often_before, [TODAY], 30) == {("loyal", TODAY): False}


def test_every_as_of_has_a_label_of_its_own(spark):
    lines = [line("a", "2021-05-31"), line("a", "2021-06-02"), line("a", "2021-06-02", "o2")]
    dates = [dt.date(2021, 6, day) for day in (3, 1, 2)] + [dt.date(2021, 5, 31)]
    assert engine(spark, lines, dates, 1) == {
        ("a", dt.date(2021, 6, 1)): False,
        ("a", dt.date(2021, 6, 2)): True,
        ("a", dt.date(2021, 6, 3)): False,
    }


def test_trap_only_labels_whose_window_lies_wholly_inside_the_log_have_matured():
    log_end = dt.date(2021, 7, 1)  # the last day of the log is 30 June
    dates = [dt.date(2021, 5, 31), dt.date(2021, 6, 1), dt.date(2021, 6, 2)]
    assert matured(dates, 30, log_end) == [dt.date(2021, 5, 31), dt.date(2021, 6, 1)]
    assert matured([dt.date(2021, 6, 30)], 1, log_end) == [dt.date(2021, 6, 30)]
    assert matured([log_end], 1, log_end) == []
    assert matured([dt.date(2020, 7, 1), dt.date(2020, 7, 2)], 365, log_end) == [
        dt.date(2020, 7, 1)
    ]


def test_a_matured_label_never_changes_when_the_log_grows(spark):
    log_end = dt.date(2021, 7, 1)
    lines = [line("a", "2021-05-01"), line("b", "2021-05-01"), line("b", "2021-06-30")]
    later = [
        line("a", "2021-07-01"),
        line("b", "2021-07-01", kind="return"),
        line("c", "2021-07-01"),
    ]
    dates = matured([dt.date(2021, 6, day) for day in (1, 2)], 30, log_end)
    assert engine(spark, lines, dates, 30) == engine(spark, lines + later, dates, 30)


@pytest.mark.slow
@settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(seed=1, horizon=30)
@example(seed=2, horizon=1)
@example(seed=3, horizon=365)
@given(seed=st.integers(4, 2**32), horizon=st.integers(1, 365))
def test_every_label_agrees_with_the_oracle(spark, seed, horizon):
    random = Random(seed)
    as_ofs = [TODAY + dt.timedelta(n) for n in (0, 1, random.randint(2, 400))]
    lines = random_log(random, 60, as_ofs, (7, 365), horizon)
    lines += random_log(random, 60, [d + dt.timedelta(horizon) for d in as_ofs], (7,), horizon)
    assert engine(spark, lines, as_ofs, horizon) == oracle.labels(lines, as_ofs, horizon)


CLOCK = Clock("America/New_York", "14:00")
# In 2021 the clocks of New York skip the hour from 02:00 on 14 March.
SPRING = dt.date(2021, 3, 13)


def timed(spark, *orders: tuple[str, str, str]):
    """Lines with a time of New York's clocks: the log's customer-days and its lines."""
    zone = ZoneInfo(CLOCK.time_zone)
    rows = [
        (customer, kind, dt.datetime.fromisoformat(at).replace(tzinfo=zone))
        for customer, kind, at in orders
    ]
    lines = spark.createDataFrame(rows, "customer_id string, kind string, ordered_at timestamp")
    days = [
        (customer, at.date() - dt.timedelta(at.time() < dt.time(14)), int(kind == "purchase"))
        for customer, kind, at in rows
    ]
    return spark.createDataFrame(days, "customer_id string, day date, orders int"), lines


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (1, {"at the start"}),
        (12, {"at the start", "within 12 hours"}),
        (13, {"at the start", "within 12 hours", "after the skipped hour"}),
        (24, {"at the start", "within 12 hours", "after the skipped hour", "next day"}),
    ],
)
def test_hours_are_counted_from_the_time_at_which_the_day_begins(spark, hours, expected):
    orders = [
        ("at the start", "purchase", "2021-03-13 14:00"),
        ("before the start", "purchase", "2021-03-13 13:59:59"),
        ("within 12 hours", "purchase", "2021-03-14 01:59:59"),
        ("after the skipped hour", "purchase", "2021-03-14 03:00"),  # 12 hours have passed
        ("next day", "purchase", "2021-03-14 14:59:59"),
        ("too late", "purchase", "2021-03-14 15:00"),
        ("returns", "return", "2021-03-13 15:00"),
    ]
    known = [(customer, "purchase", "2021-03-01 10:00") for customer, _, _ in orders]
    days, lines = timed(spark, *known, *orders, ("stranger", "purchase", "2021-03-13 15:00"))
    made = labels_in_hours(days, lines, {SPRING: CLOCK.start(SPRING)}, hours).collect()
    assert {row.customer_id for row in made} == {customer for customer, _, _ in orders}
    assert {row.customer_id for row in made if row.repurchased} == expected
    assert {(row.horizon_days, row.horizon_hours) for row in made} == {(0, hours)}
    (matured_on,) = {row.matured_on for row in made}
    # 24 hours from the 13th reach an hour into the 14th, which begins after 23.
    assert matured_on == dt.date(2021, 3, 14 if hours < 24 else 15)
    assert CLOCK.start(SPRING) + dt.timedelta(hours=hours) <= CLOCK.start(matured_on)
