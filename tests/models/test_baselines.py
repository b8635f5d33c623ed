"""Rankings by one number: those of the features, and of models fitted to the past."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from features.likelihood import fit_purchases
from features.probabilistic import BgNbd, History, ParetoNbd
from features.snapshots import Split
from models.baselines import FITTED, rankings
from models.material import Material

EARLY, LAST, HELD_OUT = dt.date(2024, 3, 1), dt.date(2024, 4, 1), dt.date(2024, 5, 1)
SPLIT = Split((EARLY, LAST), HELD_OUT, 30)


@pytest.fixture(scope="module")
def snapshots(spark):
    rng = np.random.default_rng(6)
    rows = []
    for k in range(1500):
        days = int(rng.poisson(2 * rng.gamma(1.0)))
        between = int(rng.integers(days, 200)) if days else 0
        tenure = between + int(rng.integers(1, 150))
        for as_of in SPLIT.tuning:
            rows.append((f"c{k}", as_of, tenure - between, days + 1, between, tenure))
        rows.append((f"c{k}", HELD_OUT, tenure - between + 30, days + 1, between, tenure + 30))
    schema = (
        "customer_id string, as_of date, recency_days int, active_days_lifetime int, "
        "first_to_last_order_days int, tenure_days int"
    )
    return spark.createDataFrame(rows, schema)


def _material(frame) -> Material:
    tuning = frame.where(frame["as_of"] < HELD_OUT)
    judged = frame.where(frame["as_of"] == HELD_OUT)
    return Material(frame, tuning, judged, 1500, 1.0, 1.0, SPLIT)


@pytest.mark.parametrize(("name", "kind"), [("bg_nbd", BgNbd), ("pareto_nbd", ParetoNbd)])
@pytest.mark.parametrize("as_of", [LAST, HELD_OUT])
def test_a_fitted_baseline_is_the_chance_of_an_order(snapshots, name, kind, as_of):
    score = rankings(_material(snapshots), print)[name].alias("score")
    then = snapshots.where(snapshots["as_of"] == as_of)
    found = then.select("*", score).toPandas()
    then = then.toPandas()
    known = then.assign(
        repeats=then["active_days_lifetime"] - 1,
        first_to_last=then["first_to_last_order_days"],
        tenure=then["tenure_days"],
        customers=1,
    )
    model = fit_purchases(kind, known).model
    of = found["active_days_lifetime"] - 1, found["first_to_last_order_days"], found["tenure_days"]
    expected = model.p_order(History(*[column.to_numpy(float) for column in of]), 30)
    assert found["score"].to_numpy() == pytest.approx(expected, rel=1e-4)
    assert 0 < found["score"].min() < found["score"].max() < 1


@pytest.mark.slow
def test_what_follows_the_tuning_dates_moves_no_score(snapshots):
    score = rankings(_material(snapshots), print)
    later = snapshots.where(snapshots["as_of"] != HELD_OUT).union(
        snapshots.where(snapshots["as_of"] == HELD_OUT).limit(10)
    )
    other = rankings(_material(later), print)
    tuning = _material(snapshots).tuning
    for name in FITTED:
        first, second = (
            tuning.select("customer_id", s[name].alias("p")).orderBy("customer_id", "p").collect()
            for s in (score, other)
        )
        assert first == second


def test_every_ranking_is_a_double_between_0_and_1(snapshots):
    frame = snapshots.selectExpr(
        *("*", "cast(recency_days < 30 as int) as orders_30d", "0.3D as order_probability"),
        "cast(null as double) as order_probability_regular",
    )
    scores = rankings(_material(frame), print)
    assert set(scores) == {"recency", "last_window", "mbg_nbd", "mbg_cnbd_2", *FITTED}
    found = _material(frame).judged.select([s.alias(name) for name, s in scores.items()])
    assert {kind for _, kind in found.dtypes} == {"double"}
    table = found.toPandas()
    assert table.min().min() >= 0
    assert table.max().max() <= 1


@pytest.mark.slow
def test_the_last_window_is_the_one_most_like_the_labels(snapshots):
    frame = snapshots.selectExpr("*", *[f"{d} as orders_{d}d" for d in (0, 20, 60)])
    for horizon, ordered in ((7, 0.25), (30, 0.75), (90, 0.75)):
        split = replace(SPLIT, horizon_days=horizon)
        score = rankings(replace(_material(frame), split=split), print)["last_window"]
        assert frame.select(score).distinct().collect() == [(ordered,)]


def test_there_are_as_many_as_the_features_allow(snapshots):
    assert set(rankings(_material(snapshots), print)) == {"recency", *FITTED}
    bare = snapshots.select("customer_id", "as_of", "recency_days")
    assert set(rankings(_material(bare), print)) == {"recency"}
    once = snapshots.where("active_days_lifetime = 1")
    told: list[str] = []
    assert set(rankings(_material(once), told.append)) == {"recency"}
    assert [line.split()[0] for line in told] == list(FITTED)
    assert "is no baseline here: nobody has ordered on a second day" in told[0]
