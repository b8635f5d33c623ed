"""The models that compete, one declaration each: its preparation, its Spark ML classifier, and the
package that it needs beside Spark.

To add one: an entry in CANDIDATES, and its grid in `training.models` of the configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pyspark.ml.base import Estimator
from pyspark.ml.classification import GBTClassifier, LogisticRegression

from models.boosting import Booster, CatBoost, LightGbm, XgBoost
from models.preparation import VECTOR, Inputs, Stage, for_linear, for_trees
from models.sharing import RandomForest

LABEL, WEIGHT = "label", "weight"


@dataclass(frozen=True)
class Candidate:
    """A kind of model: how its input is prepared, its estimator for a seed, the package that must
    be installed, and how it is told to stop early: by a column that is true for the rows to watch,
    and a number of rounds.
    """

    name: str
    preparation: Callable[[Inputs], list[Stage]]
    estimator: Callable[[int], Estimator[Any]]
    needs: str | None = None
    stop_early: Callable[[Any, str, int], object] | None = None

    def missing(self) -> str | None:
        """Why it cannot be trained here, if so."""
        if self.needs is None:
            return None
        try:
            import_module(self.needs)
        except (ImportError, OSError) as problem:
            return (
                f"{self.name} is left out: the package {self.needs} cannot be imported "
                f"({problem}); pip install 'repurchase[{self.needs.split('.')[0]}]'"
            )
        return None


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
    return RandomForest(
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


def _stop_gbt(estimator: GBTClassifier, column: str, rounds: int) -> None:
    # It knows no rounds: it stops at the first tree that does not help.
    estimator.setValidationIndicatorCol(column)
    estimator._set(validationTol=0.0)


def _boosted(kind: Callable[..., Booster]) -> Callable[[int], Estimator[Any]]:
    def estimator(seed: int) -> Estimator[Any]:
        return kind(featuresCol=VECTOR, labelCol=LABEL, weightCol=WEIGHT, seed=seed)

    return estimator


CANDIDATES = {
    candidate.name: candidate
    for candidate in (
        Candidate("logistic_regression", for_linear, _logistic_regression),
        Candidate("random_forest", for_trees, _random_forest),
        Candidate("gbt", for_trees, _gbt, stop_early=_stop_gbt),
        Candidate("lightgbm", for_trees, _boosted(LightGbm), "lightgbm", Booster.stop_early),
        Candidate("xgboost", for_trees, _boosted(XgBoost), "xgboost.spark", Booster.stop_early),
        Candidate("catboost", for_trees, _boosted(CatBoost), "catboost", Booster.stop_early),
    )
}
