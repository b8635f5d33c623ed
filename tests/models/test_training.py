"""Training on a small table with a known truth: fair folds, undone weights, no trap."""

import json
import os
import time
from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import GBTClassifier
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.settings import TrainingSettings
from features.snapshots import Split
from models.blending import BLEND, blended
from models.candidates import CANDIDATES
from models.checkpoints import Checkpoints
from models.fits import OutOfTimeError, Terms
from models.material import FOLD, NO_FOLD, WATCHED, WATCHED_OF, made_ready, training_snapshots
from models.preparation import VECTOR, chosen_inputs, for_linear
from models.training import HELD_OUT_SHARE, train
from models.tuning import refitted, tuned

pytestmark = pytest.mark.slow

DATES = [date(2024, 1, 1) + timedelta(30 * k) for k in range(4)]
SPLIT = Split(tuple(DATES[:-1]), DATES[-1], 30)
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
        "folds_by": "customers",
        "parallelism": 1,
        "partitions": 2,
        "weight_positives": "none",
        "metric": "roc_auc",
        "calibrations": ["platt"],
        "publish": "if_not_worse",
        "seed": 1,
    }
    return TrainingSettings.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def snapshots(spark) -> DataFrame:
    """3,000 customers on four dates: P(label) = 1 / (1 + exp(3 - signal)), favourite adds."""
    rng = np.random.default_rng(3)
    rows = []
    for customer in range(3000):
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


def _train(snapshots, settings, report=lambda _: None, checkpoints=None):
    numeric = ["signal", "noise", "constant", "recency_days"]
    return train(snapshots, numeric, ["favourite"], SPLIT, settings, report, checkpoints)


@pytest.fixture(scope="module")
def result(snapshots):
    return _train(snapshots, _settings(models=GRIDS))


@pytest.fixture(scope="module")
def of_one(snapshots):
    """Of logistic regression alone."""
    return _train(snapshots, _settings())


def test_every_model_beats_recency_and_is_calibrated(result):
    figures = {e.name: e.held_out for e in result.evaluations}
    assert set(figures) == {*GRIDS, BLEND, "recency"}
    for name in (*GRIDS, BLEND):
        assert figures[name]["roc_auc"] > figures["recency"]["roc_auc"] + 0.1
        mean_gap = figures[name]["ece"]
        # 3,000 customers in 15 bins: a perfect score has an ECE of about 0.02 by chance.
        assert mean_gap < 0.08


def test_every_figure_is_within_its_interval(result):
    for evaluation in result.evaluations:
        figures = evaluation.held_out
        judged = [name.removesuffix("_low") for name in figures if name.endswith("_low")]
        assert {"roc_auc", "brier", "precision", "recall", "f1", "calibration_slope"} <= {*judged}
        for name in judged:
            assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"], name


def test_the_champion_is_the_blend_or_the_best_cross_validated_of_those_that_none_beats(result):
    figures = {e.name: e for e in result.evaluations}
    rivals = [*GRIDS, BLEND]
    first = max(rivals, key=lambda n: figures[n].held_out["roc_auc"])
    beaten = {
        c.other if c.verdict == "better" else c.model
        for c in result.contest.comparisons
        if c.metric == "roc_auc"
        and first in (c.model, c.other)
        and c.verdict != "tie"
        and abs(c.difference) > 0.01 * figures[c.model].held_out["roc_auc"]
    }
    able = [n for n in rivals if n not in beaten]
    assert first in able
    best = max(able, key=lambda n: figures[n].cross_validated["roc_auc"])
    assert result.champion.name == (BLEND if BLEND in able else best)


def test_no_blend_competes_where_it_is_not_wanted_or_would_be_of_one(snapshots, of_one):
    assert [e.name for e in of_one.evaluations] == ["logistic_regression", "recency"]
    two = {name: GRIDS[name] for name in ("logistic_regression", "gbt")}
    without = _train(snapshots, _settings(models=two, blend=False))
    assert [e.name for e in without.evaluations] == [*two, "recency"]


def test_what_is_clearly_beaten_is_not_in_the_blend(snapshots):
    stump = {"maxIter": (1,), "maxDepth": (1,)}
    found = _train(snapshots, _settings(models={**GRIDS, "gbt": stump}))
    figures = {e.name: e.held_out["roc_auc"] for e in found.evaluations}
    assert figures["gbt"] < figures["lightgbm"] - 0.03
    assert found.champion.name == BLEND
    assert "gbt" not in [member.name for member in found.champion.members]


def test_a_line_is_not_led_astray_by_what_hardly_varied_while_it_was_fitted(snapshots, of_one):
    still = F.when(F.col("as_of") == DATES[-1], F.col("signal") * 7).otherwise(F.randn(1) / 1e6)
    moved = snapshots.withColumn("constant", still)
    before, after = (one.evaluations[0] for one in (of_one, _train(moved, _settings())))
    assert after.held_out["roc_auc"] == pytest.approx(before.held_out["roc_auc"], abs=0.02)
    assert after.held_out["log_loss"] == pytest.approx(before.held_out["log_loss"], abs=0.02)


def test_importance_falls_on_what_moves_the_label(result):
    found = {one.feature: one for one in result.champion.importances}
    assert next(iter(found)) == "signal"
    assert sum(one.gain for one in found.values()) == pytest.approx(1)
    assert "constant" not in found
    assert found["signal"].low > 0.1
    assert found["noise"].low < 0.01
    for one in found.values():
        assert one.low <= one.permutation <= one.high


@pytest.mark.parametrize(("dates", "share"), [(2, 1 / 3), (12, HELD_OUT_SHARE)])
def test_the_level_of_the_held_out_date_shows_in_the_last_calibration(spark, dates, share):
    """Of some rows of equal shares; 1 in 5 orders on the dates that tune, and then 1 in 2."""
    days = [date(2024, 1, 1) + timedelta(30 * k) for k in range(dates + 1)]
    rows = [
        (f"c{k}", day, float(k % 2), int((k // 2) % 10 < 1 + 2 * (k % 2) + 3 * (day == days[-1])))
        for k in range(400)
        for day in days
    ]
    table = spark.createDataFrame(rows, "customer_id string, as_of date, signal double, label int")
    split = Split(tuple(days[:-1]), days[-1], 30)
    found = train(table, ["signal"], [], split, _settings(), lambda _: None)
    said = found.champion.members[0].calibration.of(pd.Series([0.1, 0.3]))
    assert said.mean() == pytest.approx(0.2 + 0.3 * share, abs=0.005)


def test_balanced_weights_are_undone(snapshots, of_one):
    weighted = _train(snapshots, _settings(weight_positives="balanced"))
    assert weighted.champion.members[0].calibration.weight_ratio > 1.5
    means = [
        blended(snapshots, r.champion.members, [])
        .agg(F.avg(r.champion.calibration(F.col("probability"))))
        .collect()[0][0]
        for r in (of_one, weighted)
    ]
    base_rate = snapshots.agg(F.avg("label")).collect()[0][0]
    assert means[0] == pytest.approx(base_rate, abs=0.01)
    assert means[1] == pytest.approx(base_rate, abs=0.01)


def test_a_customer_is_in_one_fold_on_all_dates(snapshots):
    with made_ready(snapshots, SPLIT, _settings(folds=5)) as material:
        table = material.learned
        folds = table.groupBy("customer_id").agg(F.countDistinct(FOLD).alias("n"))
        assert folds.where("n > 1").count() == 0
        assert table.select(FOLD).distinct().count() == 5


def test_folds_in_time_are_validated_by_what_was_known_before(snapshots):
    settings = _settings(folds_by="time")
    with made_ready(snapshots, SPLIT, settings) as material:
        rows = material.learned.select("as_of", FOLD).distinct().collect()
    of_date = {row["as_of"]: row[FOLD] for row in rows}
    assert of_date == dict(zip(DATES, [NO_FOLD, 0, 1, NO_FOLD], strict=True))
    found = _train(snapshots, settings)
    assert found.evaluations[0].cross_validated["snapshots"] == 6000
    assert found.evaluations[0].cross_validated["roc_auc"] > 0.7
    with pytest.raises(InputError, match=r"do not give 3 folds in time"):
        _train(snapshots, _settings(folds_by="time", folds=3))


def test_thinning_keeps_snapshots_of_nearly_all_customers_and_of_every_date(snapshots):
    share = 0.4
    wanted = share * snapshots.count()
    with made_ready(snapshots, SPLIT, _settings(max_snapshots=round(wanted))) as material:
        table = material.learned
        assert table.count() == pytest.approx(wanted, rel=0.1)
        of_dates = {row["as_of"]: row["count"] for row in table.groupBy("as_of").count().collect()}
        assert of_dates == pytest.approx(dict.fromkeys(DATES, wanted / len(DATES)), rel=0.15)
        customers = table.select("customer_id").distinct().count()
        everybody = snapshots.select("customer_id").distinct().count()
        expected = everybody * (1 - (1 - share) ** len(DATES))
        assert customers == pytest.approx(expected, rel=0.05)
        judged = snapshots.where(F.col("as_of") == DATES[-1]).count()
        assert material.judged.count() == material.customers == judged


def test_an_interrupted_training_goes_on_from_what_was_tuned(snapshots, result, tmp_path):
    """And ends with the same model as one that was not."""
    checkpoints = Checkpoints(tmp_path / "tuning" / "v1", worth=0, fit_worth=0)
    told = []

    def interrupt(line):
        told.append(line)
        if line.startswith("2 of 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(snapshots, _settings(models=GRIDS), interrupt, checkpoints)
    again = _train(snapshots, _settings(models=GRIDS), told.append, checkpoints)
    taken_up = [line for line in told if line.endswith("was tuned before an interruption")]
    assert [line.split()[0] for line in taken_up] == list(GRIDS)[:2]
    assert again.champion.calibration == result.champion.calibration
    assert again.champion.importances == result.champion.importances
    for one, other in zip(again.evaluations, result.evaluations, strict=True):
        assert (one.name, one.held_out) == (other.name, other.held_out)
    # Another training may be at work; one of last week is not.
    for name, age in (("at_work", 60), ("left", 8 * 86_400)):
        (tmp_path / "tuning" / name).mkdir()
        os.utime(tmp_path / "tuning" / name, (time.time() - age,) * 2)
    checkpoints.remove()
    assert [path.name for path in (tmp_path / "tuning").iterdir()] == ["at_work"]


@pytest.fixture
def fits(monkeypatch) -> list[object]:
    """One entry for each fit of gradient-boosted trees that has begun."""
    original, begun = GBTClassifier.fit, []

    def fit(self, dataset, params=None):
        begun.append(params)
        return original(self, dataset, params)

    monkeypatch.setattr(GBTClassifier, "fit", fit)
    return begun


def test_a_model_that_was_interrupted_is_not_fitted_again_where_it_was(snapshots, fits, tmp_path):
    settings = _settings(models={"gbt": {"maxIter": (5, 6, 7), "maxDepth": (3,)}}, parallelism=2)
    expected = _train(snapshots, settings)
    # In two folds by three points, with both folds, and with every date.
    assert len(fits) == 2 * 3 + 1 + 1
    checkpoints, told = Checkpoints(tmp_path / "v1", worth=0, fit_worth=0), []

    def interrupt(line):
        if line.startswith("gbt: 4 of 7 fits (fold 2 of 2, maxIter 5, maxDepth 3), about"):
            told.append(line)
            raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.fits.SILENCE", -1)
        with pytest.raises(InterruptedError):
            _train(
                snapshots, settings.model_copy(update={"parallelism": 1}), interrupt, checkpoints
            )
    assert len(told) == 1
    fits.clear()
    told.clear()
    found = _train(snapshots, settings, told.append, checkpoints)
    assert len(fits) == 2 + 1 + 1
    assert told.count("gbt: goes on after an interruption") == 1
    for one, other in zip(found.evaluations, expected.evaluations, strict=True):
        assert (one.cross_validated, one.held_out) == (other.cross_validated, other.held_out)


def test_no_fit_begins_when_the_time_is_over(snapshots, fits, monkeypatch):
    """The clock shows how many fits have begun."""
    monkeypatch.setattr("models.fits.time", SimpleNamespace(monotonic=lambda: len(fits)))
    told = []
    terms = Terms(told.append, until=0.5)
    settings = _settings(models={"gbt": GRIDS["gbt"]})
    with made_ready(snapshots, SPLIT, settings) as material:
        inputs = chosen_inputs(material.tuning, ["signal"], [])
        with pytest.raises(OutOfTimeError, match="after 1 of 3 fits"):
            tuned(CANDIDATES["gbt"], GRIDS["gbt"], material, inputs, settings, terms)


def test_when_the_time_is_over_no_further_model_is_tuned(snapshots):
    told = []
    found = _train(snapshots, _settings(models=GRIDS, max_minutes=0.0001), told.append)
    assert [e.name for e in found.evaluations][:2] == ["logistic_regression", "recency"]
    assert sum("training.max_minutes are over" in line for line in told) == 3


def test_boosted_trees_stop_early_where_so_configured(snapshots):
    """Which customers are watched has nothing to do with folds, and every model stays able."""
    grids = {
        "gbt": {"maxIter": (60,), "maxDepth": (3,), "stepSize": (0.5,)},
        "lightgbm": {"maxIter": (300,), "numLeaves": (4,), "stepSize": (0.3,)},
    }
    settings = _settings(models=grids, early_stopping=5, metric="log_loss")
    with made_ready(snapshots, SPLIT, settings) as material:
        by_fold = material.tuning.groupBy(FOLD).agg(F.avg(F.col(WATCHED).cast("double")))
        assert all(0.05 < share < 0.15 for _, share in by_fold.collect())
        per_customer = material.learned.groupBy("customer_id").agg(F.countDistinct(WATCHED))
        assert per_customer.where("`count(DISTINCT watched)` > 1").count() == 0
        inputs = chosen_inputs(material.tuning, ["signal", "noise"], ["favourite"])
        for name, grid in grids.items():
            one = tuned(CANDIDATES[name], grid, material, inputs, settings, Terms(lambda _: None))
            again = refitted(one, one.whole.calibration, material, inputs, settings)
            for pipeline in (one.whole.pipeline, again.pipeline):
                model = pipeline.stages[-1]
                trees = (
                    model.getNumTrees
                    if name == "gbt"
                    else len(json.loads(model.getOrDefault("forest"))["trees"])
                )
                assert 1 <= trees < grid["maxIter"][0]


def test_too_few_customers_to_stop_early_are_told(snapshots):
    watched = F.pmod(F.xxhash64("customer_id", F.lit(WATCHED)), F.lit(WATCHED_OF)) == 0
    with pytest.raises(InputError, match=r"set training\.early_stopping to null"):
        _train(snapshots.where(~watched), _settings(models=GRIDS, early_stopping=5))


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


def test_what_is_one_number_or_missing_varies(snapshots):
    has = F.col("noise").isNotNull()
    others = {
        "reward": F.when(has, 0.7),
        "nothing": F.lit(None).cast("double"),
        "known_later": F.when(F.col("as_of") > DATES[0], 0.7),
    }
    inputs = chosen_inputs(snapshots.withColumns(others), ["signal", "constant", *others], [])
    assert inputs.numeric == ("signal", "reward")
    assert inputs.ranges["reward"] == (0.7, 0.7)


def test_what_is_one_number_or_missing_does_not_move_a_line(snapshots):
    known = snapshots.withColumn("reward", F.when(F.col("noise").isNotNull(), 0.7))
    inputs = chosen_inputs(known, ["signal", "reward"], [])
    fitted = Pipeline(stages=for_linear(inputs)).fit(known)
    assert list(fitted.stages[-1].std)[1] == 0
    read = fitted.transform(known).select(vector_to_array(VECTOR)[1].alias("x"))
    assert [row["x"] for row in read.distinct().collect()] == [0.0]


def test_the_inputs_of_a_wide_table_are_compiled(spark, tmp_path):
    names = [f"n{k}" for k in range(96)]
    numbers = [F.when(F.rand(k) > 0.1, F.rand(k) * 100).alias(n) for k, n in enumerate(names)]
    texts = F.concat(F.lit("t"), F.col("id") % 50).alias("text")
    spark.range(500).select(F.current_date().alias("as_of"), texts, *numbers).write.parquet(
        str(tmp_path / "wide")
    )
    wide = spark.read.parquet(str(tmp_path / "wide"))
    inputs = chosen_inputs(wide, names, ["text"])
    assert len(inputs.numeric) == 96
    prepared = Pipeline(stages=for_linear(inputs)).fit(wide).transform(wide)
    debug = getattr(spark._jvm.org.apache.spark.sql.execution.debug, "package$")
    plan = prepared.select(VECTOR)._jdf.queryExecution().executedPlan()
    told = getattr(debug, "MODULE$").codegenStringSeq(plan)
    sizes = [told.apply(k)._3().maxMethodCodeSize() for k in range(told.size())]
    # -1 where Java would not take it: Spark says so as an error, and goes on without.
    assert sizes
    assert min(sizes) > 0


def test_unseen_and_hostile_texts_are_scored(spark, snapshots, result):
    strange = snapshots.limit(3).withColumn("favourite", F.lit("it's \\ new ☕"))
    assert result.champion.members[0].pipeline.transform(strange).count() == 3


def test_what_only_tells_dates_apart_is_used_from_a_year_of_dates_on(snapshots):
    of_date = snapshots.withColumn("month", F.month("as_of"))
    assert chosen_inputs(of_date, ["signal", "month"], []).numeric == ("signal",)
    year = of_date.withColumn("as_of", F.date_add("as_of", F.col("month") * 150))
    assert chosen_inputs(year, ["signal", "month"], []).numeric == ("signal", "month")
