"""Forests of shares of orders."""

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.linalg import Vectors

from models.candidates import CANDIDATES, LABEL, WEIGHT
from models.preparation import VECTOR
from models.sharing import forest_of

ROWS = 4_000


def test_a_forest_tells_customers_apart_where_few_order(spark, tmp_path):
    """Spark's own classifier would make one leaf of all, for in none do more order than not."""
    rng = np.random.default_rng(4)
    x, noise = rng.random(ROWS), rng.random(ROWS)
    label = (rng.random(ROWS) < np.where(x > 0.5, 0.1, 0.01)).astype(int).tolist()
    vectors = [Vectors.dense(pair) for pair in zip(x, noise, strict=True)]
    table = spark.createDataFrame(
        [(one, y, 1.0) for one, y in zip(vectors, label, strict=True)], [VECTOR, LABEL, WEIGHT]
    )
    asked = spark.createDataFrame(
        [(Vectors.dense(0.2, 0.5),), (Vectors.dense(0.8, 0.5),)], [VECTOR]
    )
    fitted = Pipeline(stages=[CANDIDATES["random_forest"].estimator(1)]).fit(table)
    fitted.save(str(tmp_path / "saved"))
    for pipeline in (fitted, PipelineModel.load(str(tmp_path / "saved"))):
        assert forest_of(pipeline.stages[-1]).getNumTrees == 20
        said = pipeline.transform(asked).select("probability", "rawPrediction", "prediction")
        low, high = said.collect()
        assert low["probability"][1] == pytest.approx(0.01, abs=0.01)
        assert high["probability"][1] == pytest.approx(0.1, abs=0.03)
        assert sum(high["probability"]) == pytest.approx(1)
        assert low["rawPrediction"] == low["probability"]
        assert (low["prediction"], high["prediction"]) == (0, 0)
