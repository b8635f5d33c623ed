"""The models of the customer base know nothing but what lies before their date."""

import datetime as dt
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from features import customer_base
from features.catalogue import PREDICTIONS
from features.customer_base import CUSTOMER_BASE, fitted_customer_base, predictions
from features.customer_days import customer_days
from features.histories import history_columns, mean_spend
from features.predictions import YEAR
from features.probabilistic import GammaGamma, MbgNbd
from features.windows import Snapshots, customer_features
from tests.features.oracle import Line, line, random_log, transactions

AS_OFS = [dt.date(2021, 3, 1), dt.date(2021, 6, 1), dt.date(2021, 9, 1)]
HORIZON = 30
NAMES = [feature.name for feature in PREDICTIONS]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return random_log(Random(5), 300, AS_OFS, (30, 90), HORIZON)


def snapshots(as_ofs: Sequence[dt.date]) -> Snapshots:
    return Snapshots(tuple(as_ofs), (30, 90), HORIZON, dt.date(2018, 1, 1), None)


def fitted(spark: SparkSession, lines: Sequence[Line], as_ofs: Sequence[dt.date]) -> DataFrame:
    days = customer_days(transactions(spark, lines))
    return fitted_customer_base(days, snapshots(as_ofs), 1.0)


def features(spark: SparkSession, lines: Sequence[Line], as_ofs: Sequence[dt.date]) -> DataFrame:
    days = customer_days(transactions(spark, lines))
    known = predictions(fitted(spark, lines, as_ofs), as_ofs, HORIZON)
    return customer_features(days, snapshots(as_ofs), predicted=known)


def by_key(frame: DataFrame) -> dict[tuple[str, dt.date], list[float | None]]:
    rows = frame.select("customer_id", "as_of", *NAMES).collect()
    return {(row[0], row[1]): list(row[2:]) for row in rows}


@pytest.mark.slow
def test_the_columns_are_the_formulas_over_the_table_of_parameters(spark, lines) -> None:
    base = fitted(spark, lines, AS_OFS)
    assert {row["model"] for row in base.collect()} == {"mbg_nbd", "mbg_cnbd_2", "gamma_gamma"}
    wide = (
        base.groupBy("as_of")
        .pivot("model")
        .agg(F.map_from_entries(F.collect_list(F.struct("parameter", "estimate"))))
    )

    def model(kind, name, **fixed):
        return kind(**{p: F.col(name)[p] for p in kind.parameters()}, **fixed)

    made = features(spark, lines, AS_OFS).join(wide, "as_of")
    history, purchases = history_columns(), model(MbgNbd, "mbg_nbd")
    spend = F.when(
        F.col("revenue_lifetime") > 0,
        model(GammaGamma, "gamma_gamma").expected_spend(
            F.col("active_days_lifetime"), mean_spend()
        ),
    )
    year = purchases.discounted_orders(history, **YEAR)
    expected = [
        purchases.p_alive(history),
        purchases.p_order(history, HORIZON),
        model(MbgNbd, "mbg_cnbd_2", k=2).p_order(history, HORIZON),
        purchases.expected_orders(history, HORIZON),
        spend,
        year * spend,
    ]
    rows = made.select(*NAMES, *[e.alias(f"e{n}") for n, e in enumerate(expected)]).toPandas()
    assert len(rows) > 500
    for number, name in enumerate(NAMES):
        np.testing.assert_allclose(rows[name], rows[f"e{number}"], rtol=1e-8, err_msg=name)
        assert rows[name].nunique() > 100, name
    assert rows["alive_probability"].between(0, 1).all()
    assert rows["order_probability"].between(0, 1).all()


@pytest.mark.slow
def test_what_comes_later_changes_nothing_and_neither_do_other_dates(spark, lines) -> None:
    whole = by_key(features(spark, lines, AS_OFS))
    for as_of in AS_OFS[:2]:
        past = [entry for entry in lines if entry["ordered_on"] < as_of]
        future = [line(f"c{n}", as_of + dt.timedelta(n % 9), f"new{n}") for n in range(400)]
        alone = by_key(features(spark, past + future, [as_of]))
        assert alone == {key: row for key, row in whole.items() if key[1] == as_of}


@pytest.mark.slow
def test_dates_one_by_one_are_fitted_as_all_together(spark, lines, monkeypatch) -> None:
    together = fitted(spark, lines, AS_OFS).collect()
    monkeypatch.setattr(customer_base, "MOST_HISTORIES", 1)
    alone = fitted(spark, lines, AS_OFS).collect()
    assert {row["as_of"] for row in together} == set(AS_OFS)
    assert alone == together


def test_where_nobody_has_come_back_there_is_nothing_to_predict(spark) -> None:
    once = [line(f"c{n}", AS_OFS[0] - dt.timedelta(n + 1), "o1") for n in range(20)]
    twice = [line("c0", AS_OFS[0] + dt.timedelta(n), "o2") for n in (1, 9)]
    base = fitted(spark, once + twice, AS_OFS[:2]).collect()
    assert {row["as_of"] for row in base} == {AS_OFS[1]}
    made = by_key(features(spark, once + twice, AS_OFS[:2]))
    assert len(made) == 40
    for (_, as_of), row in made.items():
        missing = [value is None for value in row]
        assert all(missing) if as_of == AS_OFS[0] else not any(missing)


def test_the_table_says_how_sure_the_estimates_are(spark, lines) -> None:
    rows = CUSTOMER_BASE.select(fitted(spark, lines, AS_OFS[:1])).collect()
    assert {row["parameter"] for row in rows if row["model"] == "mbg_nbd"} == set(
        MbgNbd.parameters()
    )
    assert all(row["standard_error"] is None or row["standard_error"] > 0 for row in rows)
    assert len({row["customers"] for row in rows if row["model"] != "gamma_gamma"}) == 1
