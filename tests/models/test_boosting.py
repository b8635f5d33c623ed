"""Boosters as Spark ML estimators, beside the packages themselves."""

import json
from dataclasses import replace

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from models import boosting
from models.boosting import CatBoost, LightGbm, XgBoost
from models.candidates import CANDIDATES, LABEL, WEIGHT
from models.preparation import VECTOR
from models.trees import forest

pytestmark = pytest.mark.slow

COLUMNS = ["x", "constant", "y"]
KINDS = {"lightgbm": LightGbm, "xgboost": XgBoost, "catboost": CatBoost}
PARAMETERS = {
    "lightgbm": {"numLeaves": 6},
    "xgboost": {"maxDepth": 3},
    "catboost": {"depth": 3},
}


@pytest.fixture(scope="module")
def rows(spark):
    rng = np.random.default_rng(7)
    return _rows(spark, rng.normal(size=(3000, 2)))


def _rows(spark, known):
    """Rows of which the first number tells the label, as far from 0 as a sum of money may be."""
    rng = np.random.default_rng(8)
    label = rng.random(len(known)) < 1 / (1 + np.exp(-2 * known[:, 0]))
    table = [
        (n, 1000 + float(x), 2.0, float(y), int(label[n]), 1.0) for n, (x, y) in enumerate(known)
    ]
    schema = f"id int, x double, constant double, y double, {LABEL} int, {WEIGHT} double"
    return spark.createDataFrame(table, schema).repartition(3, "id").sortWithinPartitions("id")


def _pipeline(name) -> Pipeline:
    columns = {"featuresCol": VECTOR, "labelCol": LABEL, "weightCol": WEIGHT}
    booster = KINDS[name](**columns, seed=3, maxIter=20, stepSize=0.1, **PARAMETERS[name])
    return Pipeline(stages=[VectorAssembler(inputCols=COLUMNS, outputCol=VECTOR), booster])


@pytest.fixture(scope="module", params=KINDS)
def name(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fitted(rows, name) -> PipelineModel:
    return _pipeline(name).fit(rows)


def _scored(model, rows):
    found = model.transform(rows).withColumn("p", vector_to_array("probability")[1])
    return found.select("id", *COLUMNS, "p", "prediction", "rawPrediction").toPandas()


def _by_the_package(name, rows):
    """What the package says of the rows, trained on the same in the same order, in one piece."""
    known = rows.toPandas()
    x, y, w = known[COLUMNS].to_numpy(), known[LABEL].to_numpy(float), known[WEIGHT].to_numpy()
    if name == "lightgbm":
        settings = {**boosting.OF_LIGHTGBM, "num_leaves": 6, "learning_rate": 0.1, "seed": 3}
        return lightgbm.train(settings, lightgbm.Dataset(x, y, weight=w), 20).predict(x)
    if name == "catboost":
        settings = {"depth": 3, "iterations": 20, "learning_rate": 0.1, "random_seed": 3}
        model = catboost.CatBoost({**boosting.OF_CATBOOST, **settings})
        model.fit(catboost.Pool(x, y, weight=w))
        return model.predict(x, prediction_type="Probability")[:, 1]
    settings = {k: v for k, v in boosting.OF_XGBOOST.items() if k != "num_workers"}
    settings |= {"max_depth": 3, "eta": 0.1, "seed": 3, "objective": "binary:logistic"}
    matrix = xgboost.DMatrix(x, y, weight=w)
    return xgboost.train(settings, matrix, 20).predict(matrix)


def test_workers_say_what_the_package_says(rows, fitted, name):
    found = _scored(fitted, rows)
    expected = _by_the_package(name, rows)
    # XGBoost counts in single precision.
    assert found["p"].to_numpy() == pytest.approx(
        expected, abs=1e-6 if name == "xgboost" else 1e-12
    )
    assert (found["prediction"] == (found["p"] > 0.5)).all()
    raw = np.array([vector.toArray()[1] for vector in found["rawPrediction"]])
    assert raw == pytest.approx(np.log(found["p"] / (1 - found["p"])), abs=1e-9)
    assert found["p"].corr(found["x"]) > 0.8


def test_no_row_takes_another_branch_than_in_the_package(spark, name):
    """Of 20,000 numbers many are next to a split, closer than single precision tells apart."""
    many = _rows(spark, np.random.default_rng(9).normal(size=(20_000, 2)))
    found = _scored(_pipeline(name).fit(many), many)
    expected = _by_the_package(name, many)
    assert np.abs(found["p"].to_numpy() - expected).max() < (1e-6 if name == "xgboost" else 1e-12)


def test_a_number_goes_where_single_precision_takes_it():
    rng = np.random.default_rng(10)
    known = np.concatenate([rng.normal(size=500) * 10.0 ** rng.integers(-8, 9, 500), [0.0, -1e18]])
    for border in known.astype(np.float32):
        threshold = boosting.up_to(border)
        assert np.float32(threshold) == border
        assert np.float32(np.nextafter(threshold, np.inf)) > border


def test_the_same_fit_gives_the_same_model(rows, fitted, name):
    assert _scored(_pipeline(name).fit(rows), rows).equals(_scored(fitted, rows))


def test_a_saved_model_scores_alike(rows, fitted, tmp_path):
    fitted.write().overwrite().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))
    assert _scored(loaded, rows).equals(_scored(fitted, rows))
    assert loaded.stages[-1].featureImportances == fitted.stages[-1].featureImportances


def test_importance_falls_on_what_moves_the_label(fitted):
    shares = fitted.stages[-1].featureImportances.toArray()
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > 0.7
    assert shares[1] == 0


def test_nobody_to_score(rows, fitted):
    assert _scored(fitted, rows.limit(0)).empty


def test_trees_that_do_not_help_the_watched_rows_are_not_grown(rows, name):
    watched = rows.withColumn("watched", F.col("id") % 4 == 0)
    assembler, booster = _pipeline(name).copy({}).getStages()
    most = booster.copy({booster.maxIter: 200, booster.stepSize: 0.3})
    stopping = most.copy()
    stopping.stop_early("watched", 5)
    assembled = assembler.transform(watched)
    learned, seen = assembled.where("not watched"), assembled.where("watched").toPandas()
    every, kept = (
        forest(json.loads(estimator.fit(known).getOrDefault("forest")))
        for estimator, known in ((most, learned), (stopping, assembled))
    )
    assert 1 <= len(kept.trees) < 100 < len(every.trees) == 200
    # The watched rows had no part in what was grown, only in how much.
    x, y = seen[COLUMNS].to_numpy().T, seen[LABEL].to_numpy()
    first = replace(every, trees=every.trees[: len(kept.trees)])
    assert kept.said(x) == pytest.approx(first.said(x), abs=1e-9)
    losses = [
        np.logaddexp(0, -(2 * y - 1) * replace(every, trees=every.trees[:n]).said(x)).mean()
        for n in range(1, len(kept.trees) + 6)
    ]
    assert np.argmin(losses) + 1 == len(kept.trees)


def test_a_package_that_is_not_there_is_named_with_the_remedy():
    absent = replace(CANDIDATES["lightgbm"], needs="no_such_package")
    assert "No module named 'no_such_package'" in absent.missing()
    assert "pip install 'repurchase[no_such_package]'" in absent.missing()
    assert [CANDIDATES[name].missing() for name in ("gbt", *KINDS)] == [None] * 4


@pytest.mark.parametrize("name", KINDS)
def test_trees_are_grown_where_few_order(spark, name):
    """Of 20,000 rows, 40 are positive: the leaves of a booster are not large enough for all."""
    rng = np.random.default_rng(5)
    x = rng.random(20_000).round(4)
    label = rng.random(20_000) < np.where(x > 0.9, 0.015, 0.0005)
    table = [(float(one), 0.0, 0.0, int(y), 1.0) for one, y in zip(x, label, strict=True)]
    rows = spark.createDataFrame(table, [*COLUMNS, LABEL, WEIGHT])
    said = _pipeline(name).fit(rows).transform(rows)
    p = vector_to_array("probability")[1]
    high, low = (
        said.where(where).agg(F.avg(p)).collect()[0][0] for where in ("x > 0.95", "x < 0.5")
    )
    assert high > 1.02 * low
