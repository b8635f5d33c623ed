"""Logistic regression with a ridge penalty by Newton's method: all grid points and folds of a
cross-validation in the same passes over the data.

Spark's own fit reads the data to standardise it, to cut it into blocks, and then once an iteration,
and does so again for every point and fold. Here the blocks are cut once. A pass gives each problem
its gradient, its Hessian as long as the one that is known does not do, and the loss of the rows
that it does not train on. The first line is that of a sample of the rows; folds begin where a step
of all rows leads, and with their Hessian.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.ml import Model
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import DenseVector
from pyspark.ml.param import Param
from pyspark.ml.wrapper import JavaWrapper
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote

Floats = npt.NDArray[np.float64]
Point = dict[Param[Any], Any]
# Before the inputs, a row of a block has its fold, its label and its weight.
AHEAD = 3
# An answer begins with weight and loss of the rows that train, and of those that do not.
SUMS = 4
# An end is reached where a step leads so near to the minimum of the objective, by its quadratic
# form and by how much nearer the step before has led.
NEAR = 1e-11
# A Hessian is made anew when a step with it has not brought the end so many times nearer.
SLOW = 100.0
# What two sums of the same rows may differ by.
ROUNDING = 1e-12
# Partitions of the blocks: as many on every machine, so that sums are the same to the last bit.
LEAST_PARTS, ROWS_OF_PART = 4, 100_000
# About so many rows make the sample, which the driver holds.
SAMPLE = 50_000
OF_SPARK = "org.apache.spark.ml.classification.LogisticRegressionModel"
# The objective of a line that says nothing.
NOTHING = float(np.log(2))


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
    rows that train and over those that do not, the gradient, and the Hessian if it is to be
    `curved`.
    """

    line: Floats
    without: float
    curved: bool

    @property
    def size(self) -> int:
        """How many numbers answer it: those of the Hessian last."""
        width = len(self.line)
        return SUMS + width + (width * width if self.curved else 0)


Look = Callable[[Sequence[Asked]], list[Floats]]


@dataclass(frozen=True)
class Reached:
    """Where a problem has come to: its line and what is known there; `decrement` is twice what the
    objective can still lose, `nearer` its ratio to the one before, and `unseen` the mean loss of
    the rows that do not train.
    """

    line: Floats
    objective: float = float("inf")
    unseen: float = float("nan")
    hessian: Floats | None = None
    step: Floats | None = None
    share: float = 1.0
    decrement: float = float("inf")
    nearer: float = 1.0
    slow: bool = True

    @property
    def there(self) -> bool:
        """Whether the next line is as good as it gets."""
        return self.decrement * self.nearer < NEAR or self.share < ROUNDING

    @property
    def next(self) -> Floats:
        """The line to look at next, or to end with."""
        return self.line if self.step is None else self.line - self.share * self.step

    def asks(self, problem: Problem) -> Asked:
        """What to look at next."""
        return Asked(self.next, problem.without, self.hessian is None or self.slow)

    def after(self, problem: Problem, asked: Asked, found: Floats) -> "Reached":
        """Where it is after a pass: at the line that was tried, unless that one is worse."""
        width, penalty = len(self.line), np.full(len(self.line), problem.penalty)
        penalty[-1] = 0.0
        (weight, loss, unseen_weight, unseen_loss), line = found[:SUMS], asked.line
        objective = float(loss / weight + penalty @ line**2 / 2)
        if objective > self.objective + ROUNDING:
            return replace(self, share=self.share / 2, slow=True)
        gradient = found[SUMS : SUMS + width] / weight + penalty * line
        hessian = self.hessian
        if hessian is None or asked.curved:
            hessian = found[SUMS + width :].reshape(width, width) / weight + np.diag(penalty)
        # Least squares: an input that never varies has no curvature.
        step = np.linalg.lstsq(hessian, gradient)[0]
        decrement = float(gradient @ step)
        nearer = decrement / self.decrement if self.decrement < float("inf") else 1.0
        slow = decrement * SLOW > self.decrement
        unseen = float(unseen_loss / unseen_weight) if unseen_weight else float("nan")
        return Reached(line, objective, unseen, hessian, step, 1.0, decrement, nearer, slow)


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
    train and their loss, those of the others, the gradient, and the Hessian if asked for.
    """
    fold, label, weight = (block[:, [k]] for k in range(AHEAD))
    inputs = block[:, AHEAD:]
    logit = inputs @ np.stack([one.line for one in asked], axis=1)
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-logit))
    trains = weight * (fold != np.array([one.without for one in asked]))
    losses = np.logaddexp(0, logit) - label * logit
    sums = [(w.sum(axis=0), (w * losses).sum(axis=0)) for w in (trains, weight - trains)]
    gradients = inputs.T @ (trains * (probability - label))
    curvature = np.sqrt(trains * probability * (1 - probability))
    parts = []
    for k, one in enumerate(asked):
        parts += [[of_rows[k] for pair in sums for of_rows in pair], gradients[:, k]]
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


@dataclass(frozen=True)
class Fitted:
    """For each point the model of all rows; for each fold those of the rows outside it, and their
    mean log loss in it, a step before the end.
    """

    whole: list[Model]
    of_folds: list[list[Model]]
    losses: list[list[float]]


def ridge_models(
    estimator: LogisticRegression,
    dataset: DataFrame,
    points: Sequence[Point],
    fold_column: str,
    folds: int,
) -> Fitted:
    """Every point fitted to all rows and to those outside each fold.

    The columns are those of the estimator; weights have one, and folds count from 0.
    """
    vector = F.col(estimator.getFeaturesCol())
    width = dataset.select(vector).take(1)[0][0].size + 1
    ahead = (fold_column, estimator.getLabelCol(), estimator.getWeightCol())
    rows = dataset.select(*[F.col(n).cast("double") for n in ahead], vector_to_array(vector))
    count = dataset.count()
    parts = max(LEAST_PARTS, count // ROWS_OF_PART)
    packed = partial(_packed, every=max(1, count // SAMPLE))
    blocks = rows.mapInArrow(packed, "block binary, sample binary").repartition(parts).persist()
    try:
        look, most = _looking(blocks.select("block"), width), estimator.getMaxIter()
        penalties = [float(estimator.copy(point).getRegParam()) for point in points]
        problems = [Problem(penalty) for penalty in penalties]
        nowhere = Reached(np.zeros(width))
        few = np.vstack([_rows(row["sample"], width) for row in blocks.select("sample").collect()])
        begun = descended(partial(answers, few), problems, [nowhere] * len(points), most)
        begun = descended(look, problems, [Reached(one.next) for one in begun], 1)
        begun = [one if one.objective < NOTHING else nowhere for one in begun]
        problems += [Problem(penalty, fold) for fold in range(folds) for penalty in penalties]
        begun += [Reached(one.next, hessian=one.hessian, slow=False) for one in begun] * folds
        reached = descended(look, problems, begun, most)
    finally:
        blocks.unpersist()
    each = len(points)
    models = [_model(estimator.copy(points[k % each]), one.next) for k, one in enumerate(reached)]
    whole, *of_folds = (models[k : k + each] for k in range(0, len(models), each))
    losses = [[one.unseen for one in reached[k * each :][:each]] for k in range(1, folds + 1)]
    return Fitted(whole, of_folds, losses)


def _packed(batches: Iterator[pa.RecordBatch], every: int) -> Iterator[pa.RecordBatch]:
    """A batch of rows as the bytes of one array, with an input that is 1 at the end, and those of
    every so many rows.
    """
    for batch in batches:
        if batch.num_rows:
            ahead = [column.to_numpy() for column in batch.columns[:AHEAD]]
            inputs = batch.column(AHEAD).flatten().to_numpy().reshape(batch.num_rows, -1)
            block = np.column_stack([*ahead, inputs, np.ones(batch.num_rows)])
            arrays = [pa.array([rows.tobytes()]) for rows in (block, block[::every])]
            yield pa.RecordBatch.from_arrays(arrays, names=["block", "sample"])


def _rows(block: bytes | pa.Buffer, width: int) -> Floats:
    return np.frombuffer(block).reshape(-1, AHEAD + width)


def _looking(blocks: DataFrame, width: int) -> Look:
    def look(asked: Sequence[Asked]) -> list[Floats]:
        def of_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            blocks = (
                _rows(block.as_buffer(), width) for batch in batches for block in batch.column(0)
            )
            if found := [summed(block, asked) for block in blocks]:
                total = pa.array([np.sum(found, axis=0).tobytes()])
                yield pa.RecordBatch.from_arrays([total], names=["sums"])

        parts = blocks.mapInArrow(of_partition, "sums binary").collect()
        return _apart(np.sum([np.frombuffer(part["sums"]) for part in parts], axis=0), asked)

    return look


def answers(rows: Floats, asked: Sequence[Asked]) -> list[Floats]:
    """What rows that are here answer."""
    return _apart(summed(rows, asked), asked)


def _apart(answers: Floats, asked: Sequence[Asked]) -> list[Floats]:
    ends = np.cumsum([one.size for one in asked])
    return np.split(answers, ends[:-1])


def _model(estimator: LogisticRegression, line: Floats) -> Model:
    """The line as Spark's own model, as Spark's own fit would make it."""
    terms = estimator.uid, DenseVector(line[:-1]), float(line[-1])
    made = LogisticRegressionModel(JavaWrapper._new_java_obj(OF_SPARK, *terms))
    return estimator._copyValues(made)
