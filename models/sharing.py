"""Random forests whose leaves keep their shares of orders."""

from typing import Any, cast

from pyspark.ml import Model, PipelineModel
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.regression import RandomForestRegressionModel, RandomForestRegressor
from pyspark.sql import DataFrame

_SHARE, _REST = "share_of_orders", "share_of_none"


class RandomForest(RandomForestRegressor):
    """A classifier of the labels 0 and 1 by Spark's regression of them: the mean of a leaf is its
    share of ones, and the variance that splits minimise is half of Gini's impurity.

    Spark's own classifier merges leaves of the same likelier class, and there is no way to tell it
    not to (SPARK-34591): where few customers order, all leaves become one.
    """

    def __init__(self, **params: Any) -> None:
        super().__init__(**params, predictionCol=_SHARE, featureSubsetStrategy="sqrt")

    def _fit(self, dataset: DataFrame) -> Model:  # type: ignore[override]
        """The forest, followed by what gives the columns of a classifier."""
        told = f"SELECT *, 1 - {_SHARE} AS {_REST}, double({_SHARE} > 0.5) AS prediction"
        both = [_REST, _SHARE]
        return PipelineModel(
            [
                cast(Any, super()._fit(dataset)),
                SQLTransformer(statement=f"{told} FROM __THIS__"),
                VectorAssembler(inputCols=both, outputCol="probability"),
                VectorAssembler(inputCols=both, outputCol="rawPrediction"),
            ]
        )


def forest_of(model: Any) -> RandomForestRegressionModel | None:
    """The forest of what `RandomForest` has fitted; None of any other model."""
    first = model.stages[0] if isinstance(model, PipelineModel) else None
    return first if isinstance(first, RandomForestRegressionModel) else None
