"""LightGBM as a Spark ML estimator: trained on the driver, scored by the workers.

LightGBM has no jar for Spark 4. What is sampled for training fits a driver, and a histogram is made
there in a second, where a distributed tree needs a job a level. Ke and others (2017), LightGBM: a
highly efficient gradient boosting decision tree.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import DenseVector
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasLabelCol,
    HasMaxIter,
    HasSeed,
    HasStepSize,
    HasWeightCol,
)
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

# What the grid need not find: few features a tree and strong shrinkage of its leaves, since the
# features of a customer say much the same, and the same customers come on every date.
FIXED = {
    "objective": "binary",
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "min_child_samples": 100,
    "lambda_l2": 30.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
_POSITIVE = "positive_probability"


class _Boosted(HasFeaturesCol, HasLabelCol, HasWeightCol, HasSeed, HasMaxIter, HasStepSize):
    """The parameters of the estimator and of its model."""

    numLeaves: "Param[int]" = Param(  # noqa: N815 - Spark's way to write
        Params._dummy(), "numLeaves", "leaves of a tree", TypeConverters.toInt
    )


class LightGbm(
    Estimator["LightGbmModel"], _Boosted, DefaultParamsReadable["LightGbm"], DefaultParamsWritable
):
    """Gradient-boosted trees of `numLeaves` leaves, `maxIter` of them, each worth `stepSize`."""

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(numLeaves=8, maxIter=100, stepSize=0.05, seed=1)
        self._set(**params)

    def _fit(self, dataset: DataFrame) -> "LightGbmModel":
        import lightgbm  # noqa: PLC0415 - an extra

        columns = [
            vector_to_array(F.col(self.getFeaturesCol()), "float32").alias("x"),
            F.col(self.getLabelCol()).cast("double").alias("y"),
            F.col(self.getWeightCol()).cast("double").alias("w"),
        ]
        table = dataset.select(*columns).toPandas()
        settings = {
            **FIXED,
            "num_leaves": self.getOrDefault(self.numLeaves),
            "learning_rate": self.getStepSize(),
            "seed": self.getSeed() % 2**31,
        }
        known = lightgbm.Dataset(_matrix(table["x"]), table["y"], weight=table["w"])
        booster = lightgbm.train(settings, known, self.getMaxIter())
        model = LightGbmModel(booster=booster.model_to_string())
        return self._copyValues(model)


class LightGbmModel(Model, _Boosted, DefaultParamsReadable["LightGbmModel"], DefaultParamsWritable):
    """Adds `rawPrediction`, `probability` and `prediction`; `booster` is LightGBM's own text."""

    booster: "Param[str]" = Param(
        Params._dummy(), "booster", "the model as LightGBM writes it", TypeConverters.toString
    )

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._set(**params)

    @property
    def featureImportances(self) -> DenseVector:  # noqa: N802 - Spark's name
        """Each feature's share of the gain."""
        import lightgbm  # noqa: PLC0415 - an extra

        gain = lightgbm.Booster(model_str=self.getOrDefault(self.booster)).feature_importance(
            "gain"
        )
        return DenseVector(gain / (gain.sum() or 1.0))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        text = self.getOrDefault(self.booster)

        def predicted(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
            import lightgbm  # noqa: PLC0415 - an extra, here of a worker
            import numpy  # noqa: PLC0415 - the worker has no copy of this module
            import pandas  # noqa: PLC0415

            known = lightgbm.Booster(model_str=text)
            for rows in batches:
                matrix = numpy.stack(rows.tolist()) if len(rows) else numpy.empty((0, 0))
                found = known.predict(matrix, num_threads=1) if len(rows) else []
                yield pandas.Series(found, dtype="float64")

        predict = pandas_udf(predicted, "double")  # type: ignore[call-overload]
        features = vector_to_array(F.col(self.getFeaturesCol()), "float32")
        p = F.col(_POSITIVE)
        odds = F.log(p / (1 - p))
        return (
            dataset.withColumn(_POSITIVE, predict(features))
            .withColumns(
                {
                    "rawPrediction": array_to_vector(F.array(-odds, odds)),
                    "probability": array_to_vector(F.array(1 - p, p)),
                    "prediction": (p > 0.5).cast("double"),
                }
            )
            .drop(_POSITIVE)
        )


def _matrix(rows: pd.Series) -> npt.NDArray[np.float32]:
    return np.asarray(np.stack(rows.tolist()), np.float32)
