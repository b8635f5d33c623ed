"""Features at every boundary: literal tables, then a naive second implementation."""

import datetime as dt
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from random import Random

import pytest
from holidays import country_holidays
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from features.catalogue import catalogue
from features.customer_days import customer_days
from features.products import popularity
from features.windows import Snapshots, customer_features
from tests.features import oracle
from tests.features.oracle import Line, line, random_log, transactions

WINDOWS = (7, 30, 365)
TODAY = dt.date(2021, 6, 30)  # a Wednesday
TOMORROW = dt.date(2021, 7, 1)
AS_OFS = (
    *(dt.date(2020, 3, 1), dt.date(2021, 2, 28), dt.date(2021, 3, 1)),
    *(dt.date(2021, 3, 29), TODAY, TOMORROW, dt.date(2022, 1, 31)),
)

# Every test below has customers of its own.
LOG = [
    # The amounts are powers of two: a sum tells which orders are in it.
    line("edges", "2021-06-30", amount="1"),  # at as_of
    line("edges", "2021-06-29", amount="2"),  # as_of - 1
    line("edges", "2021-06-23", amount="4"),  # as_of - 7
    line("edges", "2021-06-22", amount="8"),  # as_of - 8
    line("edges", "2021-05-31", amount="16"),  # as_of - 30
    line("edges", "2021-05-30", amount="32"),  # as_of - 31
    line("edges", "2020-06-30", amount="64"),  # as_of - 365
    line("edges", "2020-06-29", amount="128"),  # as_of - 366
    line("first on as_of", "2021-06-30"),
    line("leap day", "2020-02-29"),
    line("clock changes", "2021-03-28"),
    line("clock changes", "2021-03-27"),
    line("returns later", "2021-06-25", amount="100"),
    line("returns later", "2021-06-30", kind="return", amount="-40"),
    line("returns long after", "2021-01-10", amount="100"),
    line("returns long after", "2021-06-29", kind="return", amount="-30"),
    line("returns long after", "2021-06-28", "c1", kind="cancelled", amount="-50"),
    line("returns long after", "2021-06-28", "c2", kind="cancelled", amount="-20"),
    line("only returns", "2021-06-01", kind="return", amount="-5"),
    line("only returns", "2021-06-02", kind="cancelled", amount="-5"),
    line("order after returns", "2021-06-01", kind="return", amount="-5"),
    line("order after returns", "2021-06-30"),
    line("two a day", "2021-06-29", "a", amount="10"),
    line("two a day", "2021-06-29", "a", amount="20"),
    line("two a day", "2021-06-29", "b", amount="50"),
    line("order id twice", "2021-06-01", "a", amount="10"),
    line("order id twice", "2021-06-02", "a", amount="20"),
    line("dormant", "2018-02-01", "a", amount="10", category="tea", payment_method="cash"),
    line("dormant", "2018-02-11", "b", amount="30", category="tea", payment_method="cash"),
    line("tied", "2021-01-01", "a", category="pear", payment_method="cash"),
    line("tied", "2021-01-02", "b", category="apple", payment_method="card"),
    line("tied", "2021-01-03", "c", category="pear", payment_method="cash"),
    line("tied", "2021-01-03", "c", category="pear", payment_method="cash"),
    line("tied", "2021-01-03", "c", category="pear", payment_method="cash"),
    line("tied", "2021-01-04", "d", category="apple", payment_method="card"),
    line("tied", "2021-07-30", "e", category="pear", payment_method="cash"),
    line("favourite passes", "2021-06-01", "a", category="b"),
    line("favourite passes", "2021-06-02", "a", category="a"),
    line("favourite passes", "2021-06-30", "a", category="a"),
    line("unnamed", "2021-06-01"),
    line("extremes", "2021-06-24", amount="10"),
    line("extremes", "2021-06-25", amount="50"),
    line("extremes", "2021-06-26", amount="20"),
    line("extremes", "2021-06-01", amount="70"),
    # 2021-06-26 is a Saturday.
    *[line("weekend", "2021-06-26", "a") for _ in range(5)],
    line("weekend", "2021-06-23", "b"),
    line("weekend", "2021-06-24", "c"),
    line("weekend", "2021-06-25", "d"),
    line("thrice", "2021-06-01"),
    line("thrice", "2021-06-11"),
    line("thrice", "2021-06-25"),
    line("last year", "2020-06-29", amount="1"),
    line("last year", "2020-06-30", amount="2"),
    line("last year", "2020-07-29", amount="4"),
    line("last year", "2020-07-30", amount="8"),
    line("cents apart", "2021-06-01", amount="19999.99"),
    line("cents apart", "2021-06-02", amount="20000.00"),
    line("cents apart", "2021-06-03", amount="20000.00"),
    line("free", "2021-06-28", amount="0"),
    # One product twice in an order counts once, one that only comes back not at all.
    line("favours common products", "2021-06-02", "a", product_id="rare"),
    line("favours common products", "2021-06-10", "b", product_id="common"),
    line("favours common products", "2021-06-10", "b", product_id="common"),
    line("favours common products", "2021-06-10", "b", product_id=None),
    line("favours common products", "2021-06-11", kind="return", product_id="rare"),
    line("favours rare products", "2021-06-10", "a", product_id="common"),
    line("favours rare products", "2021-06-12", "a", product_id="rarest"),
    line("favours rare products", "2021-06-12", "b", product_id="rare"),
    line("favours rare products", "2021-06-12", "b", product_id="common"),
]


def engine(
    spark: SparkSession,
    lines: Sequence[Line],
    as_ofs: Sequence[dt.date],
    windows: tuple[int, ...] = WINDOWS,
    horizon: int = 30,
    country: str | None = None,
    partitions: int | None = None,
) -> dict[tuple[str, dt.date], oracle.Row]:
    """What the engine under test makes of the lines, by customer and as-of date."""
    log = transactions(spark, lines)
    days = customer_days(log if partitions is None else log.repartition(partitions))
    log_start = min(entry["ordered_on"] for entry in lines)
    snapshots = Snapshots(tuple(as_ofs), windows, horizon, log_start, country)
    popular = popularity(days, as_ofs)
    rows = [row.asDict() for row in customer_features(days, snapshots, popular=popular).collect()]
    keyed = {(row.pop("customer_id"), row.pop("as_of")): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


@contextmanager
def configured(spark: SparkSession, values: dict[str, str]) -> Iterator[None]:
    before = {key: spark.conf.get(key) for key in values}
    try:
        for key, value in values.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            spark.conf.set(key, old)


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> dict[tuple[str, dt.date], oracle.Row]:
    return engine(spark, LOG, AS_OFS)


def of(
    found: dict[tuple[str, dt.date], oracle.Row], customer: str, as_of: dt.date, *names: str
) -> list[object]:
    row = found[customer, as_of]
    return [row[name] for name in names]


SPENT = ("revenue_7d", "revenue_30d", "revenue_365d", "revenue_lifetime")


@pytest.mark.slow
def test_a_window_holds_its_first_day_and_not_as_of(found):
    assert of(found, "edges", TODAY, *SPENT) == [2 + 4, 2 + 4 + 8 + 16, 126, 126 + 128]


def test_on_the_next_day_every_window_has_moved_by_one_day(found):
    assert of(found, "edges", TOMORROW, *SPENT) == [1 + 2, 15, 63, 255]


def test_trap_no_window_is_inclusive_at_both_ends(found):
    # 7 daily orders fill a week; an eighth at either end would show.
    ages = [(TODAY - entry["ordered_on"]).days for entry in LOG if entry["customer_id"] == "edges"]
    assert of(found, "edges", TODAY, "orders_7d") == [sum(1 <= age <= 7 for age in ages)]
    assert of(found, "edges", TODAY, "orders_30d") == [sum(1 <= age <= 30 for age in ages)]


def test_trap_who_orders_first_on_or_after_as_of_is_no_snapshot(found):
    assert ("first on as_of", TODAY) not in found
    assert of(found, "first on as_of", TOMORROW, "orders_lifetime", "recency_days") == [1, 1]


def test_29_february_is_365_days_before_28_february(found):
    names = ("orders_365d", "recency_days", "orders_same_period_last_year", "month_2_share")
    assert of(found, "leap day", dt.date(2020, 3, 1), *names) == [1, 1, 0, 1.0]
    assert of(found, "leap day", dt.date(2021, 2, 28), *names) == [1, 365, 1, 1.0]
    assert of(found, "leap day", dt.date(2021, 3, 1), *names) == [0, 366, 0, 1.0]


def test_the_day_on_which_clocks_change_is_one_day(found):
    names = ("orders_7d", "recency_days", "gap_last_days", "weekday_7_share")
    assert of(found, "clock changes", dt.date(2021, 3, 29), *names) == [2, 1, 1, 0.5]


def test_days_do_not_depend_on_the_time_zone_of_the_session(spark):
    # In Sao Paulo 2018-11-04 has no midnight.
    lines = [line("a", "2018-11-03"), line("a", "2018-11-04"), line("a", "2018-11-05")]
    as_ofs = (dt.date(2018, 11, 4), dt.date(2018, 11, 5))
    with configured(spark, {"spark.sql.session.timeZone": "America/Sao_Paulo"}):
        rows = engine(spark, lines, as_ofs, windows=(1,))
    names = ("orders_1d", "orders_lifetime", "recency_days", "tenure_days", "weekday_7_share")
    assert of(rows, "a", as_ofs[0], *names) == [1, 1, 1, 1, 0.0]
    assert of(rows, "a", as_ofs[1], *names) == [1, 2, 1, 2, 0.5]


def test_trap_a_return_counts_from_its_own_day_and_not_from_the_orders(found):
    names = ("return_rate_7d", "returned_share_7d", "revenue_7d", "lifetime_value")
    assert of(found, "returns later", TODAY, *names) == [0.0, 0.0, 100.0, 100.0]
    assert of(found, "returns later", TOMORROW, *names) == [1.0, 0.4, 100.0, 60.0]


def test_an_order_and_its_return_in_different_windows(found):
    row = found["returns long after", TODAY]
    for window in ("7d", "30d"):
        assert row[f"orders_{window}"] == 0
        assert row[f"return_rate_{window}"] is None
        assert row[f"returned_share_{window}"] is None
        assert row[f"cancellation_rate_{window}"] is None
    for window in ("365d", "lifetime"):
        assert row[f"return_rate_{window}"] == 1.0
        assert row[f"returned_share_{window}"] == 0.3
        assert row[f"cancellation_rate_{window}"] == 2.0
        assert row[f"revenue_{window}"] == 100.0
    assert row["lifetime_value"] == 0.0


def test_a_return_moves_no_day_of_an_order(found):
    names = ("recency_days", "active_days_lifetime", "gap_last_days", "first_to_last_order_days")
    assert of(found, "returns long after", TODAY, *names) == [171, 1, None, 0]


def test_customers_with_nothing_but_returns_are_no_snapshots(found):
    assert not [key for key in found if key[0] == "only returns"]


def test_a_return_before_the_first_order_makes_no_earlier_snapshot(found):
    assert ("order after returns", TODAY) not in found
    assert of(found, "order after returns", TOMORROW, "tenure_days", "return_rate_lifetime") == [
        1,
        1,
    ]


def test_two_orders_on_one_day_are_two_orders_and_one_active_day(found):
    row = found["two a day", TODAY]
    assert (row["orders_7d"], row["lines_7d"], row["active_days_7d"]) == (2, 3, 1)
    assert (row["average_order_value_7d"], row["max_order_value_7d"]) == (40.0, 50.0)
    assert row["std_order_value_7d"] == pytest.approx(200**0.5, rel=1e-12)
    assert (row["gap_mean_days"], row["days_since_2nd_last_order"]) == (None, None)


def test_an_order_id_that_is_used_again_on_another_day_is_another_order(found):
    row = found["order id twice", TODAY]
    assert (row["orders_30d"], row["active_days_30d"], row["max_order_value_30d"]) == (2, 2, 20.0)
    assert row["gap_last_days"] == 1


def test_a_dormant_customer_keeps_a_lifetime_and_has_empty_windows(found):
    row = found["dormant", TODAY]
    assert (row["orders_lifetime"], row["revenue_lifetime"], row["max_order_value_lifetime"]) == (
        *(2, 40.0, 30.0),
    )
    assert (row["recency_days"], row["tenure_days"], row["gap_last_days"]) == (1235, 1245, 10)
    assert (row["favourite_category"], row["favourite_payment_method"]) == ("tea", "cash")
    assert (row["category_diversity_lifetime"], row["orders_per_active_month_lifetime"]) == (1, 2.0)
    assert (row["orders_365d"], row["revenue_365d"], row["category_diversity_365d"]) == (0, 0.0, 0)
    assert (row["average_order_value_365d"], row["max_order_value_365d"]) == (None, None)
    assert (row["orders_trend_30d_365d"], row["weekend_share_365d"]) == (None, None)
    assert row["orders_decayed_30d"] == 0.0


def test_who_has_ordered_is_a_snapshot_of_every_later_date_and_of_no_earlier_one(found):
    dates = {customer: [d for c, d in found if c == customer] for customer in ("dormant", "edges")}
    assert sorted(dates["dormant"]) == sorted(AS_OFS)
    assert sorted(dates["edges"]) == sorted(d for d in AS_OFS if d > dt.date(2020, 6, 29))


def test_an_as_of_long_after_the_log_looks_back_from_itself(found):
    # The window's end is as_of, never the log's last day (2021-07-30).
    last = dt.date(2022, 1, 31)
    assert of(found, "tied", last, "orders_7d", "orders_30d", "recency_days") == [0, 0, 185]
    assert of(found, "edges", last, "orders_365d") == [6]


def test_of_equally_many_orders_the_favourite_is_the_first_by_name(found):
    row = found["tied", TODAY]
    assert (row["favourite_category"], row["favourite_category_share"]) == ("apple", 0.5)
    assert row["favourite_payment_method"] == "card"
    assert row["category_diversity_lifetime"] == 2


def test_a_favourite_changes_when_another_has_more_orders(found):
    last = dt.date(2022, 1, 31)
    assert of(found, "tied", last, "favourite_category", "favourite_category_share") == [
        "pear",
        0.6,
    ]
    assert of(found, "tied", last, "favourite_payment_method") == ["cash"]
    assert of(found, "favourite passes", TODAY, "favourite_category") == ["a"]
    assert of(found, "favourite passes", TOMORROW, "favourite_category_share") == [2 / 3]


def test_without_categories_and_payment_methods_there_are_no_favourites(found):
    names = ("favourite_category", "favourite_category_share", "favourite_payment_method")
    assert of(found, "unnamed", TODAY, *names) == [None, None, None]
    assert of(found, "unnamed", TODAY, "category_diversity_30d") == [0]


def test_trap_the_maximum_of_a_window_is_no_sum_of_daily_maxima(found):
    names = ("max_order_value_7d", "max_order_value_30d", "max_order_value_lifetime")
    assert of(found, "extremes", TODAY, *names) == [50.0, 70.0, 70.0]


def test_trap_weekend_share_counts_weekend_orders_and_not_every_row(found):
    names = ("orders_7d", "lines_7d", "weekend_share_7d", "weekday_6_share", "weekend_lift_7d")
    assert of(found, "weekend", TODAY, *names) == [4, 8, 0.25, 0.25, 0.25 / (2 / 7)]


def test_gaps_are_between_consecutive_days_with_an_order(found):
    row = found["thrice", TODAY]
    assert (row["gap_mean_days"], row["gap_last_days"]) == (12.0, 14)
    assert row["gap_std_days"] == pytest.approx(8**0.5, rel=1e-12)
    assert row["recency_over_gap_mean"] == 5 / 12
    assert (row["days_since_2nd_last_order"], row["days_since_3rd_last_order"]) == (19, 29)
    assert row["days_since_5th_last_order"] is None


def test_popularity_counts_a_product_once_an_order_and_averages_logarithms(found):
    name = "last_order_popularity"
    shares = [3 / 6, 2 / 6, 1 / 6]  # of common, rare and rarest
    of_common, of_rare = (found[f"favours {what} products", TODAY] for what in ("common", "rare"))
    assert of_common[name] == pytest.approx(math.log10(shares[0]), abs=2.0**-21)
    assert of_rare[name] == pytest.approx(sum(map(math.log10, shares)) / 3, abs=2.0**-21)
    assert found["unnamed", TODAY][name] is None


def test_the_same_period_last_year_starts_365_days_back_and_lasts_the_horizon(found):
    names = ("orders_same_period_last_year", "revenue_same_period_last_year")
    assert of(found, "last year", TODAY, *names) == [2, 2.0 + 4.0]
    assert of(found, "last year", TOMORROW, *names) == [2, 4.0 + 8.0]


def test_the_spread_of_large_orders_a_cent_apart_is_not_lost_in_rounding(found):
    row = found["cents apart", TODAY]
    assert row["std_order_value_30d"] == pytest.approx(0.01 / 3**0.5, rel=1e-9)


def test_shares_of_nothing_are_null_and_not_zero(found):
    row = found["free", TODAY]
    assert (row["orders_7d"], row["revenue_7d"], row["average_order_value_7d"]) == (1, 0.0, 0.0)
    assert (row["discount_share_7d"], row["returned_share_7d"]) == (None, None)
    assert (row["revenue_trend_7d_30d"], row["orders_trend_7d_30d"]) == (None, 30 / 7)


def test_the_literal_log_agrees_with_the_oracle(found):
    log_start = min(entry["ordered_on"] for entry in LOG)
    assert_equal_to_oracle(found, oracle.features(LOG, AS_OFS, WINDOWS, 30, log_start), LOG)


def test_an_as_of_alone_gives_what_it_gives_among_others(spark, found):
    alone = engine(spark, LOG, [TODAY])
    assert alone == {key: row for key, row in found.items() if key[1] == TODAY}


@settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(seed=1, windows=(7, 30, 90, 180, 365), horizon=30, country="GB")
@example(seed=2, windows=(3, 14), horizon=1, country=None)
@example(seed=3, windows=(30, 365, 2600), horizon=365, country="US")
@given(
    seed=st.integers(4, 2**32),
    windows=st.lists(st.integers(1, 800), min_size=1, max_size=3, unique=True)
    .map(sorted)
    .map(tuple),
    horizon=st.integers(1, 366),
    country=st.sampled_from([None, "GB", "US", "TW"]),
)
def test_every_feature_agrees_with_the_oracle(spark, seed, windows, horizon, country):
    random = Random(seed)
    start = dt.date(2019, 1, 1) + dt.timedelta(random.randint(0, 1500))
    as_ofs = [
        start + dt.timedelta(n) for n in (0, 1, random.randint(2, 30), random.randint(31, 500))
    ]
    lines = random_log(random, 40, as_ofs, windows, horizon)
    log_start = min(entry["ordered_on"] for entry in lines)
    public = country_holidays(country, years=range(2005, 2030)) if country else ()
    assert_equal_to_oracle(
        engine(spark, lines, as_ofs, windows, horizon, country),
        oracle.features(lines, as_ofs, windows, horizon, log_start, public),
        lines,
    )


def assert_equal_to_oracle(found, expected, lines):
    assert set(found) == set(expected)
    for (customer, as_of), row in expected.items():
        wrong = oracle.differences(found[customer, as_of], row)
        own = [tuple(entry.values()) for entry in lines if entry["customer_id"] == customer]
        assert not wrong, f"{customer} as of {as_of}: {wrong} of {sorted(own, key=lambda e: e[2])}"


def test_the_oracle_knows_every_feature_of_the_catalogue():
    lines = [line("a", "2021-06-01")]
    for windows in ((7, 30, 90, 180, 365), (3, 14), (1,), (30, 400)):
        for horizon in (1, 30, 366):
            (row,) = oracle.features(lines, [TODAY], windows, horizon, TODAY).values()
            known = catalogue(windows, horizon, popularity=True)
            assert set(row) == {feature.name for feature in known}


@pytest.mark.slow
def test_trap_partitions_neither_duplicate_nor_lose_rows(spark):
    lines = random_log(Random(5), 40, [TODAY, TOMORROW], (7,), 30)

    def result(shuffle_partitions: int, input_partitions: int):
        settings = {
            "spark.sql.shuffle.partitions": str(shuffle_partitions),
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
        }
        with configured(spark, settings):
            return engine(spark, lines, [TODAY, TOMORROW], (7,), partitions=input_partitions)

    assert result(1, 1) == result(5, 3)


@pytest.mark.parametrize("as_ofs", [[TODAY], [TODAY - dt.timedelta(7 * n) for n in range(52)]])
def test_the_log_is_exchanged_exactly_once_for_all_windows_and_dates(spark, as_ofs):
    log = transactions(spark, LOG)
    snapshots = Snapshots(tuple(as_ofs), (7, 30, 90, 180, 365), 30, dt.date(2018, 2, 1), "GB")
    exchanges = exchanges_of(customer_features(customer_days(log), snapshots))
    assert len(exchanges) == 1
    assert re.match(r"hashpartitioning\(customer_id#\d+, \d+\), REPARTITION_BY_NUM", exchanges[0])


def exchanges_of(frame) -> list[str]:
    """Every shuffle of the physical plan; broadcasts are none."""
    plan = io.StringIO()
    with redirect_stdout(plan):
        frame.explain(mode="simple")
    assert "Aggregate" in plan.getvalue()
    return re.findall(r"(?<!Broadcast)Exchange (.+)", plan.getvalue())
