"""Training on a small table with a known truth: fair folds, undone weights, no trap."""

from datetime import date, timedelta

import numpy as np
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.settings import TrainingSettings
from models.blending import BLEND, blended
from models.preparation import chosen_inputs
from models.training import FOLD, _material, train, training_snapshots

DATES = [date(2024, 1, 1) + timedelta(30 * k) for k in range(4)]
HELD_OUT, TUNING = DATES[-1], DATES[:-1]
GRIDS = {
    "logistic_regression": {"regParam": (0.001,)},
    "random_forest": {"numTrees": (10,), "maxDepth": (4,)},
    "gbt": {"maxIter": (5,), "maxDepth": (3,)},
    "lightgbm": {"maxIter": (20,), "numLeaves": (4,)},
}


def _settings(**changes) -> TrainingSettings:
    values = {
        "models": {"logistic_regression": GRIDS["logistic_regression"]},
        "blend": True,
        "folds": 2,
        "parallelism": 1,
        "partitions": 2,
        "weight_positives": "none",
        "metric": "roc_auc",
        "seed": 1,
    }
    return TrainingSettings.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def snapshots(spark) -> DataFrame:
    """1,000 customers on four dates: P(label) = 1 / (1 + exp(3 - signal)), favourite adds."""
    rng = np.random.default_rng(3)
    rows = []
    for customer in range(1000):
        for as_of in DATES:
            signal = float(rng.gamma(2.0))
            favourite = "tea" if rng.random() < 0.3 else None
            p = 1 / (1 + np.exp(3 - signal - (1.0 if favourite else 0.0)))
            nulls = None if rng.random() < 0.2 else float(rng.normal())
            label = int(rng.random() < p)
            recency = int(rng.integers(1, 400))
            rows.append((f"c{customer}", as_of, signal, nulls, 7.0, favourite, recency, label))
    schema = (
        "customer_id string, as_of date, signal double, noise double, constant double, "
        "favourite string, recency_days int, label int"
    )
    return spark.createDataFrame(rows, schema).cache()


def _train(snapshots, settings):
    numeric = ["signal", "noise", "constant", "recency_days"]
    return train(snapshots, numeric, ["favourite"], HELD_OUT, TUNING, settings, lambda _: None)


@pytest.fixture(scope="module")
def result(snapshots):
    return _train(snapshots, _settings(models=GRIDS))


def test_every_model_beats_recency_and_is_calibrated(result):
    figures = {e.name: e.held_out for e in result.evaluations}
    assert set(figures) == {*GRIDS, BLEND, "recency"}
    for name in (*GRIDS, BLEND):
        assert figures[name]["roc_auc"] > figures["recency"]["roc_auc"] + 0.1
        mean_gap = figures[name]["ece"]
        # 1,000 customers in 15 bins: a perfect score has an ECE of about 0.04 by chance.
        assert mean_gap < 0.08


def test_the_champion_is_the_best_on_the_held_out_date(result):
    figures = {e.name: e.held_out["roc_auc"] for e in result.evaluations}
    assert result.champion.name == max((*GRIDS, BLEND), key=lambda n: figures[n])


def test_no_blend_competes_where_it_is_not_wanted_or_would_be_of_one(snapshots):
    one = _train(snapshots, _settings())
    assert [e.name for e in one.evaluations] == ["logistic_regression", "recency"]
    two = {name: GRIDS[name] for name in ("logistic_regression", "gbt")}
    without = _train(snapshots, _settings(models=two, blend=False))
    assert [e.name for e in without.evaluations] == [*two, "recency"]


def test_importance_falls_on_what_moves_the_label(result):
    shares = result.champion.importances
    assert next(iter(shares)) == "signal"
    assert sum(shares.values()) == pytest.approx(1)
    assert "constant" not in shares


def test_balanced_weights_are_undone(snapshots):
    plain = _train(snapshots, _settings())
    weighted = _train(snapshots, _settings(weight_positives="balanced"))
    assert weighted.champion.members[0].calibration.weight_ratio > 1.5
    means = [
        blended(snapshots, r.champion.members, [])
        .agg(F.avg(r.champion.calibration(F.col("probability"))))
        .collect()[0][0]
        for r in (plain, weighted)
    ]
    base_rate = snapshots.agg(F.avg("label")).collect()[0][0]
    assert means[0] == pytest.approx(base_rate, abs=0.01)
    assert means[1] == pytest.approx(base_rate, abs=0.01)


def test_a_customer_is_in_one_fold_on_all_dates(snapshots):
    table = _material(snapshots, DATES[-1], TUNING, _settings(folds=5)).learned
    folds = table.groupBy("customer_id").agg(F.countDistinct(FOLD).alias("n"))
    assert folds.where("n > 1").count() == 0
    assert table.select(FOLD).distinct().count() == 5


def test_thinning_keeps_all_dates_of_the_customers_it_keeps(snapshots):
    material = _material(snapshots, DATES[-1], TUNING, _settings(max_snapshots=2000))
    table = material.learned
    per_customer = table.groupBy("customer_id").count()
    assert per_customer.where(F.col("count") != len(DATES)).count() == 0
    assert 1500 < table.count() < 2500
    assert material.judged.count() == snapshots.where(F.col("as_of") == DATES[-1]).count()


def test_training_twice_gives_the_same_model(snapshots, result):
    again = _train(snapshots, _settings(models=GRIDS))
    assert again.champion.calibration == result.champion.calibration
    assert again.champion.importances == result.champion.importances


def test_trap_negatives_from_customers_whose_first_order_is_later(spark):
    """Only customers with features, so with an order before as_of, can be negatives."""
    as_of = DATES[0]
    features = spark.createDataFrame(
        [("old", as_of, 5)], "customer_id string, as_of date, recency_days int"
    )
    labels = spark.createDataFrame(
        [("old", as_of, False), ("comes later", as_of, False)],
        "customer_id string, as_of date, repurchased boolean",
    )
    found = training_snapshots(features, labels, [as_of], None)
    assert [row["customer_id"] for row in found.collect()] == ["old"]


def test_the_dormant_do_not_train_where_so_configured(spark):
    as_of = DATES[0]
    rows = [("active", as_of, 365), ("dormant", as_of, 366)]
    features = spark.createDataFrame(rows, "customer_id string, as_of date, recency_days int")
    labels = features.select("customer_id", "as_of", F.lit(True).alias("repurchased"))
    assert training_snapshots(features, labels, [as_of], 365).count() == 1
    assert training_snapshots(features, labels, [as_of], None).count() == 2


@pytest.mark.parametrize("label", [0, 1])
def test_a_label_of_one_value_is_refused_with_the_reason(snapshots, label):
    same = snapshots.withColumn("label", F.lit(label))
    with pytest.raises(InputError, match="both outcomes are needed"):
        _train(same, _settings())


def test_an_unknown_model_or_parameter_is_named(snapshots):
    with pytest.raises(ConfigurationError, match=r"unknown prophet; known: logistic_regression"):
        _train(snapshots, _settings(models={"prophet": {}}))
    with pytest.raises(ConfigurationError, match=r"gbt\.depth: no such parameter"):
        _train(snapshots, _settings(models={"gbt": {"depth": (3,)}}))


def test_inputs_that_do_not_vary_are_left_out(snapshots):
    inputs = chosen_inputs(snapshots, ["signal", "constant"], ["favourite"])
    assert inputs.numeric == ("signal",)
    assert inputs.texts == {"favourite": ("tea",)}


def test_unseen_and_hostile_texts_are_scored(spark, snapshots, result):
    strange = snapshots.limit(3).withColumn("favourite", F.lit("it's \\ new ☕"))
    assert result.champion.members[0].pipeline.transform(strange).count() == 3


def test_what_only_tells_dates_apart_is_used_from_a_year_of_dates_on(snapshots):
    of_date = snapshots.withColumn("month", F.month("as_of"))
    assert chosen_inputs(of_date, ["signal", "month"], []).numeric == ("signal",)
    year = of_date.withColumn("as_of", F.date_add("as_of", F.col("month") * 150))
    assert chosen_inputs(year, ["signal", "month"], []).numeric == ("signal", "month")
