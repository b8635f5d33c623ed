"""The synthetic log keeps its promises, and its truth is true."""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from statistics import NormalDist, fmean, stdev

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from benchmarks.ceiling import probability_by_history
from lake.synthetic import SyntheticShop, _calendar, _histories, synthetic_log, true_probabilities

pytestmark = pytest.mark.slow

SHOP = SyntheticShop(customers=800, days=400, seed=11)
CROWD = SyntheticShop(customers=9_000, days=450, seed=13)
MAYFLIES = SyntheticShop(
    customers=5_000, days=100, seed=19, purchase_scale=0.2, dropout_shape=1.5, dropout_scale=0.1
)
IMMORTALS = SyntheticShop(customers=2_000, days=400, seed=17, dropout_scale=1e-12)
TODAY = dt.date(2023, 11, 10)


def bound(comparisons: int) -> float:
    """What none of so many standard normal numbers exceeds in size, but once in 10^6 seeds."""
    return NormalDist().inv_cdf(1 - 1e-6 / (2 * comparisons))


@contextmanager
def session_settings(spark: SparkSession, values: dict[str, str]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in values}
    try:
        for key, value in values.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


def order_days(log: Iterable[Row], shop: SyntheticShop) -> dict[str, list[int]]:
    """The days since the start on which each customer orders, in order."""
    days: dict[str, list[int]] = defaultdict(list)
    for row in log:
        if row.kind == "purchase" and row.line_number == 1:
            days[row.customer_id].append((row.ordered_at.date() - shop.start).days)
    return {customer: sorted(dates) for customer, dates in days.items()}


def order_days_of(spark: SparkSession, shop: SyntheticShop) -> dict[str, list[int]]:
    orders = synthetic_log(spark, shop).where("kind = 'purchase' AND line_number = 1")
    columns = orders.select("customer_id", "kind", "line_number", "ordered_at")
    return order_days(columns.collect(), shop)


@pytest.fixture(scope="module")
def log(spark: SparkSession) -> list[Row]:
    return synthetic_log(spark, SHOP).collect()


@pytest.fixture(scope="module")
def truth(spark: SparkSession) -> dict[str, Row]:
    """The row of each customer on the day TODAY."""
    return {row.customer_id: row for row in true_probabilities(spark, SHOP, TODAY).collect()}


@pytest.fixture(scope="module")
def documents(log: list[Row]) -> dict[str, list[Row]]:
    """The lines of each order, return and cancellation, by order_id and in order."""
    lines = defaultdict(list)
    for row in sorted(log, key=lambda row: (row.order_id, row.line_number)):
        lines[row.order_id].append(row)
    return lines


def test_a_log_and_its_truth_depend_on_the_shop_and_not_on_partitions(
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
    log: list[Row],
    truth: dict[str, Row],
) -> None:
    elsewhere = {
        "spark.sql.shuffle.partitions": "3",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.session.timeZone": "America/New_York",
    }
    session = type(spark)
    in_five = partial(session.range, spark, 0, step=1, numPartitions=5)
    monkeypatch.setattr(session, "range", lambda _, end: in_five(end))
    with session_settings(spark, elsewhere):
        again = synthetic_log(spark, SHOP).select("*", F.spark_partition_id()).collect()
        still_true = true_probabilities(spark, SHOP, TODAY).collect()
    assert {row[-1] for row in again} == set(range(5))
    assert sorted(row[:-1] for row in again) == sorted(map(tuple, log))
    assert {row.customer_id for row in still_true} == set(truth)
    for row in still_true:
        assert row.probability == pytest.approx(truth[row.customer_id].probability, abs=1e-12)


def test_another_seed_makes_another_log(spark: SparkSession, log: list[Row]) -> None:
    other = synthetic_log(spark, replace(SHOP, seed=12)).select("ordered_at").collect()
    times = {row.ordered_at for row in log}
    assert len(times.intersection(row.ordered_at for row in other)) < 0.01 * len(times)


def test_lines_are_unique_and_numbered_from_1_within_one_document(
    log: list[Row], documents: dict[str, list[Row]]
) -> None:
    assert len({(row.order_id, row.line_number) for row in log}) == len(log)
    assert {row.customer_id for row in log} == {f"C{i:07d}" for i in range(SHOP.customers)}
    for order_id, lines in documents.items():
        assert [row.line_number for row in lines] == list(range(1, len(lines) + 1))
        assert len(lines) <= 6
        shared = {
            (row.customer_id, row.ordered_at, row.kind, row.payment_method, row.channel)
            for row in lines
        }
        assert len(shared) == 1
        letter = {"purchase": "O", "return": "R", "cancelled": "X"}[lines[0].kind]
        assert order_id.startswith(letter + lines[0].customer_id.removeprefix("C") + "-")


def test_no_line_lies_outside_the_span(log: list[Row]) -> None:
    last_day = SHOP.start + dt.timedelta(SHOP.days - 1)
    assert {row.kind for row in log} == {"purchase", "return", "cancelled"}
    assert all(SHOP.start <= row.ordered_at.date() <= last_day for row in log)
    assert max(row.ordered_at.date() for row in log) == last_day


def test_an_amount_is_the_price_of_the_pieces_less_the_discount(log: list[Row]) -> None:
    for row in log:
        net = row.quantity * row.unit_price - row.discount
        assert row.amount == (net if row.kind == "purchase" else -net)
        assert 0 <= row.discount < net
        assert row.quantity >= 1


def test_a_reversal_follows_its_order_and_mirrors_its_lines(
    documents: dict[str, list[Row]],
) -> None:
    def goods(row: Row) -> tuple[object, ...]:
        return row.product_id, row.category, row.quantity, row.unit_price, row.discount

    days_later = defaultdict(set)
    partly = set()
    for order_id, lines in documents.items():
        if lines[0].kind == "purchase":
            continue
        order = documents["O" + order_id[1:]]
        assert [goods(row) for row in lines] == [goods(row) for row in order[: len(lines)]]
        assert lines[0].ordered_at >= order[0].ordered_at
        waited = lines[0].ordered_at.date() - order[0].ordered_at.date()
        days_later[lines[0].kind].add(waited.days)
        if len(lines) < len(order):
            partly.add(lines[0].kind)
    assert days_later == {"return": set(range(1, 31)), "cancelled": {0, 1}}
    assert partly == {"return"}


def test_gamma_numbers_are_distributed_as_gamma_numbers(spark: SparkSession) -> None:
    """By Dvoretzky, Kiefer and Wolfowitz, n numbers stray from their distribution function by
    more than e with a chance below 2 exp(-2 n e^2)."""
    n = 20_000
    distributions = {
        0.5: lambda x: math.erf(math.sqrt(x)),
        1.0: lambda x: 1 - math.exp(-x),
        1.5: lambda x: math.erf(math.sqrt(x)) - 2 * math.sqrt(x / math.pi) * math.exp(-x),
        2.0: lambda x: 1 - (1 + x) * math.exp(-x),
    }
    draws = spark.range(n).select(*[SHOP.gamma(shape, "trial", "id") for shape in distributions])
    for distribution, numbers in zip(
        distributions.values(), zip(*draws.collect(), strict=True), strict=True
    ):
        below = map(distribution, sorted(numbers))
        straying = max(abs(share - rank / n) for rank, share in enumerate(below))
        assert straying < math.sqrt(math.log(2e6) / (2 * n)) + 1 / n


def test_orders_fall_on_days_as_their_season_says(spark: SparkSession) -> None:
    """Of somebody who never drops out, each later order has the day d with chance s(d) / sum s."""
    shop, dates = IMMORTALS, [IMMORTALS.start + dt.timedelta(d) for d in range(IMMORTALS.days)]
    groups = {f"weekday {n}": [date.weekday() == n for date in dates] for n in range(7)}
    groups["before Christmas"] = [(11, 20) <= (day.month, day.day) <= (12, 23) for day in dates]
    groups["after"] = [(day.month, day.day) >= (12, 24) for day in dates]
    seasons = [shop.season(date) for date in dates]
    histories = order_days_of(spark, shop).values()
    for group, within in groups.items():
        excess = variance = 0.0
        for first, *later in histories:
            if first < shop.days - 1:
                ahead = range(first + 1, shop.days)
                chance = sum(seasons[d] for d in ahead if within[d]) / sum(
                    seasons[d] for d in ahead
                )
                excess += sum(within[d] for d in later) - len(later) * chance
                variance += len(later) * chance * (1 - chance)
        assert abs(excess) < bound(len(groups)) * math.sqrt(variance), group


def test_orders_and_nights_are_as_many_as_the_gamma_rates_say(spark: SparkSession) -> None:
    """k days after the first, E[lambda] E[exp(-mu k)] s orders are due, and the second factor is
    (1 + scale k)^-shape of the dropout rate."""
    shop = MAYFLIES
    seasons = [shop.season(shop.start + dt.timedelta(day)) for day in range(shop.days)]

    def expected(first: int) -> float:
        alive = [
            math.pow(1 + shop.dropout_scale * k, -shop.dropout_shape) for k in range(shop.days)
        ]
        due = sum(season * share for season, share in zip(seasons[first:], alive, strict=False))
        return shop.purchase_shape * shop.purchase_scale * (due - seasons[first])

    after_first_day = [expected(first) for first in range(shop.days)]
    excess = [
        len(later) - after_first_day[first] for first, *later in order_days_of(spark, shop).values()
    ]
    assert abs(fmean(excess)) < bound(1) * stdev(excess) / math.sqrt(len(excess))


def test_the_truth_is_about_everybody_who_ordered_before(
    log: list[Row], truth: dict[str, Row]
) -> None:
    today = (TODAY - SHOP.start).days
    known = {customer for customer, days in order_days(log, SHOP).items() if days[0] < today}
    assert set(truth) == known
    assert {(row.as_of, row.horizon_days) for row in truth.values()} == {(TODAY, 30)}
    assert all(0 <= row.probability <= 1 for row in truth.values())


def test_the_truth_is_the_chance_of_silence_over_all_days_of_dropout(
    spark: SparkSession, log: list[Row], truth: dict[str, Row]
) -> None:
    """A second way to it: 1 - P(silent to the horizon) / P(silent so far), dropout by dropout."""
    today = (TODAY - SHOP.start).days
    seasons = [SHOP.season(SHOP.start + dt.timedelta(day)) for day in range(SHOP.days)]

    def silence(rate: float, dropout: float, last: int, until: int) -> float:
        """No order after day `last` and before day `until`, for one who was alive on `last`."""
        chance = 0.0
        for final in range(last, until):  # the last day alive, or the last that matters
            reached = math.exp(-dropout * (final - last))
            dropped = 1.0 if final == until - 1 else 1 - math.exp(-dropout)
            chance += reached * dropped * math.exp(-rate * sum(seasons[last + 1 : final + 1]))
        return chance

    days = order_days(log, SHOP)
    histories = _histories(SHOP, _calendar(spark, SHOP.clock(SHOP.days))).where("customer < 60")
    compared = 0
    for hidden in histories.drop("moments").collect():
        customer = f"C{hidden.customer:07d}"
        rates = hidden.purchase_rate, hidden.dropout_rate
        past = [day for day in days[customer] if day < today]
        if past:
            ratio = silence(*rates, past[-1], today + 30) / silence(*rates, past[-1], today)
            assert truth[customer].probability == pytest.approx(1 - ratio, abs=1e-12)
            compared += 1
    assert compared > 20


def test_the_truth_is_calibrated(spark: SparkSession) -> None:
    """Given the truth, outcomes are independent Bernoulli numbers (over time, martingale
    differences), so the excess of a bin over its sum of p has variance sum of p (1 - p)."""
    days = order_days_of(spark, CROWD)
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for as_of in (dt.date(2023, 9, 1), dt.date(2023, 12, 1)):
        today = (as_of - CROWD.start).days
        for row in true_probabilities(spark, CROWD, as_of).collect():
            repeated = any(today <= day < today + 30 for day in days[row.customer_id])
            bins[min(int(10 * row.probability), 8)].append((row.probability, repeated))
    everybody = [outcome for outcomes in bins.values() for outcome in outcomes]
    for outcomes in (everybody, *bins.values()):
        excess = sum(repeated - p for p, repeated in outcomes)
        variance = sum(p * (1 - p) for p, repeated in outcomes)
        assert variance > 25, "too few customers for the normal bound"
        assert abs(excess) < bound(1 + len(bins)) * math.sqrt(variance)
    assert set(bins) == set(range(9))


def test_what_a_history_says_is_the_mean_of_the_truth(spark: SparkSession) -> None:
    """Whatever the histories of some customers are, what is open of their rates averages out."""
    as_of = dt.date(2023, 12, 1)
    today = (as_of - CROWD.start).days
    rows = [
        (customer, CROWD.start + dt.timedelta(day))
        for customer, days in order_days_of(spark, CROWD).items()
        for day in days
        if day < today
    ]
    purchases = pd.DataFrame(rows, columns=["customer_id", "ordered_on"])
    said = probability_by_history(CROWD, purchases, as_of)
    collected = true_probabilities(spark, CROWD, as_of).collect()
    truth = pd.Series({row.customer_id: row.probability for row in collected})
    assert set(said.index) == set(truth.index)
    apart = truth.reindex(said.index) - said
    orders = purchases.groupby("customer_id").size().clip(upper=12)
    fifths = np.ceil(said.rank(pct=True) * 5)
    groups = [*apart.groupby(orders), *apart.groupby(fifths)]
    assert len(groups) == 17
    for _, of_some in groups:
        error = of_some.std() / math.sqrt(len(of_some))
        assert abs(of_some.mean()) < bound(len(groups)) * error
        assert error < 0.02, "too few customers to tell"


def test_a_shop_or_a_date_that_cannot_be_simulated_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match=r"gamma shape of 0\.7"):
        SyntheticShop(purchase_shape=0.7)
    with pytest.raises(ValueError, match="0 customers"):
        SyntheticShop(customers=0)
    with pytest.raises(ValueError, match="without season"):
        SyntheticShop(holiday_strength=1.0)
    for as_of in (SHOP.start - dt.timedelta(1), SHOP.start + dt.timedelta(SHOP.days + 1)):
        with pytest.raises(ValueError, match="have no truth"):
            true_probabilities(spark, SHOP, as_of)
