"""LightGBM as a Spark ML estimator, beside LightGBM itself."""

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array

from models.boosting import LightGbm
from models.candidates import CANDIDATES, LABEL, WEIGHT
from models.preparation import VECTOR

COLUMNS = ["x", "y"]


@pytest.fixture(scope="module")
def rows(spark):
    rng = np.random.default_rng(7)
    known = rng.normal(size=(3000, 2))
    label = rng.random(3000) < 1 / (1 + np.exp(-2 * known[:, 0]))
    table = [(n, float(x), float(y), int(label[n]), 1.0) for n, (x, y) in enumerate(known)]
    schema = f"id int, x double, y double, {LABEL} int, {WEIGHT} double"
    return spark.createDataFrame(table, schema).repartition(3, "id").sortWithinPartitions("id")


@pytest.fixture(scope="module")
def fitted(rows) -> PipelineModel:
    booster = LightGbm(
        featuresCol=VECTOR, labelCol=LABEL, weightCol=WEIGHT, seed=3, numLeaves=6, maxIter=20
    )
    stages = [VectorAssembler(inputCols=COLUMNS, outputCol=VECTOR), booster]
    return Pipeline(stages=stages).fit(rows)


def _scored(model, rows):
    found = model.transform(rows).withColumn("p", vector_to_array("probability")[1])
    return found.select("id", *COLUMNS, "p", "prediction", "rawPrediction").toPandas()


def test_workers_give_what_lightgbm_gives(rows, fitted):
    found = _scored(fitted, rows)
    model = fitted.stages[-1]
    booster = lightgbm.Booster(model_str=model.getOrDefault(model.booster))
    expected = booster.predict(found[COLUMNS].to_numpy(np.float32))
    assert found["p"].to_numpy() == pytest.approx(expected, abs=1e-12)
    assert (found["prediction"] == (expected > 0.5)).all()
    raw = np.array([vector.toArray()[1] for vector in found["rawPrediction"]])
    assert raw == pytest.approx(np.log(expected / (1 - expected)), abs=1e-9)
    assert booster.num_trees() == 20
    assert found["p"].corr(found["x"]) > 0.8


def test_the_same_fit_gives_the_same_model(rows, fitted):
    again = Pipeline(stages=[fitted.stages[0], _estimator(fitted)]).fit(rows)
    assert _scored(again, rows).equals(_scored(fitted, rows))


def _estimator(fitted):
    model = fitted.stages[-1]
    return LightGbm(
        featuresCol=VECTOR,
        labelCol=LABEL,
        weightCol=WEIGHT,
        seed=model.getSeed(),
        numLeaves=6,
        maxIter=model.getMaxIter(),
    )


def test_a_saved_model_scores_alike(rows, fitted, tmp_path):
    fitted.write().overwrite().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))
    assert _scored(loaded, rows).equals(_scored(fitted, rows))
    assert loaded.stages[-1].featureImportances == fitted.stages[-1].featureImportances


def test_importance_falls_on_what_moves_the_label(fitted):
    shares = fitted.stages[-1].featureImportances.toArray()
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > 0.8


def test_nobody_to_score(rows, fitted):
    assert _scored(fitted, rows.limit(0)).empty


def test_a_package_that_is_not_there_is_named_with_the_remedy():
    absent = replace(CANDIDATES["lightgbm"], needs="no_such_package")
    assert "No module named 'no_such_package'" in absent.missing()
    assert "pip install 'repurchase[boosting]'" in absent.missing()
    assert CANDIDATES["lightgbm"].missing() is None
    assert CANDIDATES["gbt"].missing() is None
