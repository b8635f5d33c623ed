"""Snapshots are counted by history, and sampled the same way each time."""

import datetime as dt

import pytest
from pyspark.sql import DataFrame, SparkSession

from features.histories import (
    histories,
    history_columns,
    mean_spend,
    spends,
)
from features.likelihood import fit_purchases
from features.probabilistic import MbgNbd
from features.snapshots import sampled

DAY, LATER = dt.date(2021, 6, 30), dt.date(2021, 7, 30)
SCHEMA = (
    "customer_id string, as_of date, active_days_lifetime int, first_to_last_order_days int, "
    "tenure_days int, recency_days int, gap_last_days int, days_since_3rd_last_order int, "
    "revenue_lifetime double"
)


@pytest.fixture(scope="module")
def features(spark: SparkSession) -> DataFrame:
    rows = [
        ("a", DAY, 1, 0, 10, 10, None, None, 20.0),
        ("b", DAY, 1, 0, 10, 10, None, None, 20.001),
        ("c", DAY, 1, 0, 11, 11, None, None, 0.0),
        # Order days 40, 30 and 10 days before: gaps of 10 and 20.
        ("d", DAY, 3, 30, 40, 10, 20, 40, 90.0),
        ("d", LATER, 3, 30, 70, 40, 20, 70, 90.0),
    ]
    return spark.createDataFrame(rows, SCHEMA)


def as_rows(frame: DataFrame) -> set[tuple]:
    return {tuple(row) for row in frame.collect()}


def test_customers_of_the_same_history_are_one_row(features):
    assert as_rows(histories(features)) == {
        (DAY, 0, 0, 10, 2),
        (DAY, 0, 0, 11, 1),
        (DAY, 2, 30, 40, 1),
        (LATER, 2, 30, 70, 1),
    }


def test_it_is_what_the_models_are_fitted_to(features):
    frame = histories(features).toPandas()
    fitted = fit_purchases(MbgNbd, frame[frame["as_of"] == DAY])
    assert fitted.customers == 4
    columns = fitted.model.p_order(history_columns(), 30)
    found = features.where("customer_id = 'd'").select(columns.alias("p")).first()["p"]
    assert 0 < found < 1


def test_nearly_the_same_spends_are_one_row(features):
    rows = sorted(as_rows(spends(features).where("as_of = '2021-06-30'")))
    assert [(row[1], row[3]) for row in rows] == [(1, 2), (3, 1)]
    assert [row[2] for row in rows] == pytest.approx([20.0, 30.0], rel=0.005)


def test_spend_is_that_of_a_day(features):
    assert as_rows(features.where("customer_id = 'd'").select(mean_spend())) == {(30.0,)}


def test_a_sample_is_of_customers_and_always_the_same(spark):
    frame = spark.range(10_000).selectExpr(
        "cast(id as string) as customer_id",
        "explode(array(date'2021-06-30', date'2021-07-30')) as as_of",
        "2 as active_days_lifetime",
        "cast(id as int) as first_to_last_order_days",
        "20000 as tenure_days",
    )
    chosen = histories(sampled(frame, 0.1)).toPandas()
    again = histories(sampled(frame.repartition(3), 0.1)).toPandas()
    by_date = [set(rows["first_to_last"]) for _, rows in chosen.groupby("as_of")]
    assert by_date[0] == by_date[1] == set(again["first_to_last"])
    assert len(by_date[0]) == pytest.approx(1000, abs=100)
