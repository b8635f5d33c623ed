"""The models that compete, one declaration each: its preparation and its Spark ML classifier.

To add one: an entry in CANDIDATES, and its grid in `training.models` of the configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.ml.base import Estimator
from pyspark.ml.classification import (
    GBTClassifier,
    LogisticRegression,
    RandomForestClassifier,
)

from models.preparation import VECTOR, Inputs, Stage, for_linear, for_trees

LABEL, WEIGHT = "label", "weight"


@dataclass(frozen=True)
class Candidate:
    """A kind of model: how its input is prepared, and its estimator for a seed."""

    name: str
    preparation: Callable[[Inputs], list[Stage]]
    estimator: Callable[[int], Estimator[Any]]


def _logistic_regression(seed: int) -> Estimator[Any]:
    return LogisticRegression(
        featuresCol=VECTOR,
        labelCol=LABEL,
        weightCol=WEIGHT,
        maxIter=100,
        tol=1e-5,
        standardization=False,
    )


def _random_forest(seed: int) -> Estimator[Any]:
    return RandomForestClassifier(
        featuresCol=VECTOR,
        labelCol=LABEL,
        weightCol=WEIGHT,
        seed=seed,
        minInstancesPerNode=20,
        maxMemoryInMB=1024,
    )


def _gbt(seed: int) -> Estimator[Any]:
    return GBTClassifier(
        featuresCol=VECTOR,
        labelCol=LABEL,
        weightCol=WEIGHT,
        seed=seed,
        stepSize=0.1,
        subsamplingRate=0.7,
        featureSubsetStrategy="0.3",
        minInstancesPerNode=20,
        maxMemoryInMB=1024,
    )


CANDIDATES = {
    candidate.name: candidate
    for candidate in (
        Candidate("logistic_regression", for_linear, _logistic_regression),
        Candidate("random_forest", for_trees, _random_forest),
        Candidate("gbt", for_trees, _gbt),
    )
}
