"""Logistic regression with a ridge penalty by Newton's method: all grid points and folds of a
cross-validation in the same passes over the data.

Spark's own fit reads the data to standardise it, to cut it into blocks, and then once an iteration,
and does so again for every point and fold. Here the blocks are cut once. A pass gives each problem
its gradient, and its Hessian as long as the one that is known does not do; folds begin at the line,
and with the Hessian, of all rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import SparkContext
from pyspark.ml import Model
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.common import _py2java
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import DenseVector
from pyspark.ml.param import Param
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote

Floats = npt.NDArray[np.float64]
Point = dict[Param[Any], Any]
# Before the inputs, a row of a block has its fold, its label and its weight.
AHEAD = 3
# An end is reached where the objective is so little above its minimum, by its quadratic form.
NEAR = 1e-12
# A Hessian is made anew when a step with it has not brought the end so many times nearer.
SLOW = 100.0
# What two sums of the same rows may differ by.
ROUNDING = 1e-12
# Partitions of the blocks: as many on every machine, so that sums are the same to the last bit.
LEAST_PARTS, ROWS_OF_PART = 4, 50_000


@dataclass(frozen=True)
class Problem:
    """What is to be fitted: rows of this fold do not train (nan: all do), and half of the penalty
    times the squared coefficients is added to the mean loss.
    """

    penalty: float
    without: float = float("nan")


@dataclass(frozen=True)
class Asked:
    """A line, coefficients and then the intercept, of which a pass is to find the loss over the
    rows that train, the gradient, and the Hessian if it is to be `curved`.
    """

    line: Floats
    without: float
    curved: bool

    @property
    def size(self) -> int:
        """How many numbers answer it: those of the Hessian last."""
        width = len(self.line)
        return 2 + width + (width * width if self.curved else 0)


Look = Callable[[Sequence[Asked]], list[Floats]]


@dataclass(frozen=True)
class Reached:
    """Where a problem has come to: its line and what is known there; `decrement` is twice what the
    objective can still lose.
    """

    line: Floats
    objective: float = float("inf")
    hessian: Floats | None = None
    step: Floats | None = None
    share: float = 1.0
    decrement: float = float("inf")
    slow: bool = True

    @property
    def there(self) -> bool:
        """Whether there is nothing left to gain."""
        return self.decrement < NEAR or self.share < ROUNDING

    def asks(self, problem: Problem) -> Asked:
        """What to look at next."""
        tried = self.line if self.step is None else self.line - self.share * self.step
        return Asked(tried, problem.without, self.hessian is None or self.slow)

    def after(self, problem: Problem, asked: Asked, found: Floats) -> "Reached":
        """Where it is after a pass: at the line that was tried, unless that one is worse."""
        width, penalty = len(self.line), np.full(len(self.line), problem.penalty)
        penalty[-1] = 0.0
        weight, line = found[0], asked.line
        objective = float(found[1] / weight + penalty @ line**2 / 2)
        if objective > self.objective + ROUNDING:
            return replace(self, share=self.share / 2, slow=True)
        gradient = found[2 : 2 + width] / weight + penalty * line
        hessian = self.hessian
        if hessian is None or asked.curved:
            hessian = found[2 + width :].reshape(width, width) / weight + np.diag(penalty)
        # Least squares: an input that never varies has no curvature.
        step = np.linalg.lstsq(hessian, gradient)[0]
        decrement = float(gradient @ step)
        slow = decrement * SLOW > self.decrement
        return Reached(line, objective, hessian, step, 1.0, decrement, slow)


def descended(
    look: Look, problems: Sequence[Problem], starts: Sequence[Reached], most: int
) -> list[Reached]:
    """The problems solved, in at most so many passes for all of them."""
    reached = list(starts)
    for _ in range(most):
        under_way = [k for k, one in enumerate(reached) if not one.there]
        if not under_way:
            break
        asked = [reached[k].asks(problems[k]) for k in under_way]
        for k, wanted, found in zip(under_way, asked, look(asked), strict=True):
            reached[k] = reached[k].after(problems[k], wanted, found)
    return reached


def summed(block: Floats, asked: Sequence[Asked]) -> Floats:
    """What a block adds to the answers, one after the other: of each the weight of the rows that
    train, their loss, its gradient, and its Hessian if asked for.
    """
    fold, label, weight = (block[:, [k]] for k in range(AHEAD))
    inputs = block[:, AHEAD:]
    logit = inputs @ np.stack([one.line for one in asked], axis=1)
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-logit))
    trains = weight * (fold != np.array([one.without for one in asked]))
    weights = trains.sum(axis=0)
    losses = (trains * (np.logaddexp(0, logit) - label * logit)).sum(axis=0)
    gradients = inputs.T @ (trains * (probability - label))
    curvature = np.sqrt(trains * probability * (1 - probability))
    parts = []
    for k, one in enumerate(asked):
        parts += [[weights[k], losses[k]], gradients[:, k]]
        if one.curved:
            bent = inputs * curvature[:, [k]]
            parts.append((bent.T @ bent).ravel())
    return np.concatenate(parts)


def is_ridge(estimator: object, points: Sequence[Point]) -> TypeGuard[LogisticRegression]:
    """Whether these points of a grid are what this module fits: Spark's binary logistic regression
    without a lasso, where Spark's own objects are at hand.
    """
    if not isinstance(estimator, LogisticRegression) or is_remote():
        return False
    if estimator.getStandardization() or not estimator.getFitIntercept():
        return False
    return all(
        {param.name for param in point} <= {"regParam", "elasticNetParam"}
        and estimator.copy(point).getElasticNetParam() == 0
        for point in points
    )


def ridge_models(
    estimator: LogisticRegression,
    dataset: DataFrame,
    points: Sequence[Point],
    fold_column: str,
    folds: int,
) -> tuple[list[Model], list[list[Model]]]:
    """For each point the model of all rows, and for each fold those of the rows outside it.

    The columns are those of the estimator; weights have one, and folds count from 0.
    """
    features = vector_to_array(F.col(estimator.getFeaturesCol()))
    ahead = [F.col(name).cast("double") for name in (fold_column, estimator.getLabelCol())]
    rows = dataset.select(*ahead, F.col(estimator.getWeightCol()).cast("double"), features)
    counted = dataset.agg(F.count(F.lit(1)).alias("rows"), F.max(F.size(features)).alias("inputs"))
    count, inputs = counted.collect()[0]
    parts = max(LEAST_PARTS, count // ROWS_OF_PART)
    blocks = rows.mapInArrow(_packed, "block binary").repartition(parts).persist()
    try:
        width = inputs + 1
        look, most = _looking(blocks, width), estimator.getMaxIter()
        penalties = [float(estimator.copy(point).getRegParam()) for point in points]
        of_all = [Problem(penalty) for penalty in penalties]
        whole = descended(look, of_all, [Reached(np.zeros(width))] * len(points), most)
        of_folds = [Problem(penalty, fold) for fold in range(folds) for penalty in penalties]
        begun = [Reached(one.line, hessian=one.hessian, slow=False) for one in whole] * folds
        without = descended(look, of_folds, begun, most)
    finally:
        blocks.unpersist()

    def models(found: Sequence[Reached]) -> list[Model]:
        pairs = zip(points, found, strict=True)
        return [_model(estimator.copy(point), one.line) for point, one in pairs]

    each = len(points)
    return models(whole), [models(without[k * each :][:each]) for k in range(folds)]


def _packed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A batch of rows as the bytes of one array, with an input that is 1 at the end."""
    for batch in batches:
        if batch.num_rows:
            ahead = [column.to_numpy() for column in batch.columns[:AHEAD]]
            inputs = batch.column(AHEAD).flatten().to_numpy().reshape(batch.num_rows, -1)
            block = np.column_stack([*ahead, inputs, np.ones(batch.num_rows)])
            yield pa.RecordBatch.from_arrays([pa.array([block.tobytes()])], names=["block"])


def _looking(blocks: DataFrame, width: int) -> Look:
    def look(asked: Sequence[Asked]) -> list[Floats]:
        def of_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            blocks = (
                np.frombuffer(block.as_buffer()).reshape(-1, AHEAD + width)
                for batch in batches
                for block in batch.column(0)
            )
            if found := [summed(block, asked) for block in blocks]:
                total = pa.array([np.sum(found, axis=0).tobytes()])
                yield pa.RecordBatch.from_arrays([total], names=["sums"])

        parts = blocks.mapInArrow(of_partition, "sums binary").collect()
        total = np.sum([np.frombuffer(part["sums"]) for part in parts], axis=0)
        ends = np.cumsum([one.size for one in asked])
        return np.split(total, ends[:-1])

    return look


def _model(estimator: LogisticRegression, line: Floats) -> LogisticRegressionModel:
    """The line as Spark's own model, as Spark's own fit would make it."""
    context = SparkContext._active_spark_context
    assert context is not None
    assert context._jvm is not None
    coefficients = _py2java(context, DenseVector(line[:-1]))
    kind = context._jvm.org.apache.spark.ml.classification.LogisticRegressionModel
    made = LogisticRegressionModel(kind(estimator.uid, coefficients, float(line[-1])))
    return estimator._copyValues(made)
