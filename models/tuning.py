"""A candidate at its best grid point, found by CrossValidator with folds of customers."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from pyspark import cloudpickle
from pyspark.ml import Estimator, Pipeline, PipelineModel
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
)
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.settings import TrainingSettings
from features.snapshots import Split
from models import newton
from models.blending import RAW, Member, raw_probability
from models.calibration import Calibration, fit_best, undone
from models.candidates import LABEL, WEIGHT, Candidate
from models.fits import Terms, Watched
from models.judging import Heard, heard
from models.material import FOLD, NO_FOLD, WATCHED, Material
from models.metrics import log_loss, merged, score_histogram
from models.parallel import at_once
from models.preparation import VECTOR, Inputs

# Workers need numpy and Arrow, and no copy of this package.
cloudpickle.register_pickle_by_value(newton)  # type: ignore[no-untyped-call]
Grid = dict[str, tuple[float, ...]]
# What a cross-validation reads.
READ = ("as_of", FOLD, WATCHED, LABEL, WEIGHT, VECTOR)
# The metrics that Spark has as areas; every other chooses by log loss.
AREAS: dict[str, Literal["areaUnderROC", "areaUnderPR"]] = {
    "roc_auc": "areaUnderROC",
    "pr_auc": "areaUnderPR",
}


@dataclass(frozen=True)
class Tuned:
    """A candidate with its best grid point.

    `whole` is fitted to the tuning dates, each of `without_fold` to the customers of the other
    folds; all are calibrated alike, by `out_of_fold`: what they say, undone of weights, of the
    customers whom they have not seen. `held_out` is what `whole` says of the held-out date, undone
    too.
    """

    candidate: Candidate
    whole: Member
    without_fold: list[Member] = field(repr=False)
    out_of_fold: pd.DataFrame = field(repr=False)
    held_out: Heard = field(repr=False)
    seconds: float
    points: int


def tuned(
    candidate: Candidate,
    grid: Grid,
    material: Material,
    inputs: Inputs,
    settings: TrainingSettings,
    terms: Terms,
) -> Tuned:
    """The candidate, tuned on the tuning dates; tells how far it has come.

    Raises InputError where a fold has only one outcome, ConfigurationError where the grid names
    what the estimator does not have, and OutOfTimeError where the terms do not leave the time.
    """
    terms.check_time("before its first fit")
    started = time.monotonic()
    preparation = Pipeline(stages=candidate.preparation(inputs)).fit(material.tuning)
    prepared = preparation.transform(material.tuning).select(*READ).persist()
    try:
        _check_folds(prepared, settings)
        validated = cross_validator(candidate, grid, material.split, settings, terms).fit(prepared)
        scores = validated.avgMetrics
        index = _best(_evaluator(settings.metric), scores)
        point = validated.getEstimatorParamMaps()[index]
        parameters = {param.name: float(value) for param, value in point.items()}
        of_folds = [models[index] for models in validated.subModels or []]

        def of_fold(fold: int) -> pd.DataFrame:
            unseen = prepared.where(F.col(FOLD) == fold)
            return score_histogram(_undone(of_folds[fold].transform(unseen), material))

        spark, most = prepared.sparkSession, settings.parallelism
        out_of_fold = merged(*at_once(spark, most, of_fold, range(len(of_folds))))
    finally:
        prepared.unpersist()
    whole = PipelineModel([preparation, validated.bestModel])
    scored = _undone(whole.transform(material.judged), material, "customer_id")
    held_out = heard(scored, material.customers)
    calibration = fit_best(
        settings.calibrations, out_of_fold, held_out.histogram, material.ratio, log_loss
    )

    def member(fitted: PipelineModel) -> Member:
        return Member(candidate.name, fitted, calibration, parameters)

    return Tuned(
        candidate,
        member(whole),
        [member(PipelineModel([preparation, fitted])) for fitted in of_folds],
        out_of_fold,
        held_out,
        time.monotonic() - started,
        len(scores),
    )


def refitted(
    tuned: Tuned,
    calibration: Calibration,
    material: Material,
    inputs: Inputs,
    settings: TrainingSettings,
) -> Member:
    """The candidate at its best grid point, fitted to every date."""
    estimator = _estimator(tuned.candidate, settings)
    parameters = tuned.whole.parameters
    fixed = estimator.copy({estimator.getParam(k): _typed(v) for k, v in parameters.items()})
    stages = tuned.candidate.preparation(inputs)
    pipeline = Pipeline(stages=[*stages, fixed]).fit(material.learned)
    return Member(tuned.candidate.name, pipeline, calibration, parameters)


def _estimator(candidate: Candidate, settings: TrainingSettings) -> Estimator[Any]:
    estimator = candidate.estimator(settings.seed)
    if candidate.stop_early and settings.early_stopping:
        candidate.stop_early(estimator, WATCHED, settings.early_stopping)
    return estimator


def _undone(scored: DataFrame, material: Material, *keep: str) -> DataFrame:
    probability = undone(F.col(RAW), material.ratio).alias("probability")
    return raw_probability(scored).select(*keep, LABEL, probability)


def _check_folds(prepared: DataFrame, settings: TrainingSettings) -> None:
    validated = prepared.where(F.col(FOLD) != NO_FOLD)
    counted = validated.groupBy(FOLD).agg(
        F.sum(LABEL).alias("positives"),
        F.count(LABEL).alias("n"),
        F.count_if(WATCHED).alias("watched"),
    )
    rows, folds = counted.collect(), settings.folds
    if len(rows) < folds or any(row["positives"] in (0, row["n"]) for row in rows):
        n = sum(row["n"] for row in rows)
        raise InputError(
            f"too few customers to cross-validate: {n} snapshots do not give both outcomes in each "
            f"of {folds} folds of customers; lower training.folds or use a longer log"
        )
    if settings.early_stopping and not all(row["watched"] for row in rows):
        raise InputError(
            "too few customers to stop early: a tenth of them leaves nobody to watch in some fold; "
            "set training.early_stopping to null"
        )


def cross_validator(
    candidate: Candidate,
    grid: Grid,
    split: Split,
    settings: TrainingSettings,
    terms: Terms,
) -> CrossValidator:
    """Spark ML's, with the folds of the settings, for rows with the columns READ.

    Raises ConfigurationError where the grid names what the estimator does not have.
    """
    estimator = _estimator(candidate, settings)
    points = ParamGridBuilder()
    for name, values in grid.items():
        if not estimator.hasParam(name):
            known = ", ".join(param.name for param in estimator.params)
            raise ConfigurationError(
                f"training.models.{candidate.name}.{name}: no such parameter; known: {known}"
            )
        param = estimator.getParam(name)
        points = points.addGrid(param, [_typed(value) for value in values])
    built = points.build()
    validator = _AtOnce if settings.folds_by == "customers" else _InTime
    made = validator(
        estimator=Watched(estimator, candidate.name, len(built), settings.folds, terms),
        estimatorParamMaps=built,
        evaluator=_evaluator(settings.metric),
        numFolds=settings.folds,
        foldCol=FOLD,
        parallelism=settings.parallelism,
        collectSubModels=True,
    )
    if isinstance(made, _InTime):
        made.split = split
    return made


class _AtOnce(CrossValidator):
    """Folds of customers; a ridge regression has all its fits in the same passes over the data,
    which find its log loss too.
    """

    def _fit(self, dataset: DataFrame) -> CrossValidatorModel:
        estimator = cast(Watched, self.getEstimator()).estimator
        points = self.getEstimatorParamMaps()
        if not newton.is_ridge(estimator, points):
            return super()._fit(dataset)
        fitted = newton.ridge_models(estimator, dataset, points, FOLD, self.getNumFolds())
        evaluator, losses = self.getEvaluator(), fitted.losses
        if evaluator.isLargerBetter():  # an area, and not the log loss
            unseen = [dataset.where(F.col(FOLD) == k) for k in range(len(fitted.of_folds))]
            losses = [
                [evaluator.evaluate(model.transform(rows)) for model in models]
                for rows, models in zip(unseen, fitted.of_folds, strict=True)
            ]
        scores = np.mean(losses, axis=0).tolist()
        best = fitted.whole[_best(evaluator, scores)]
        return self._copyValues(CrossValidatorModel(best, scores, fitted.of_folds))


class _InTime(CrossValidator):
    """Each fold is validated by what was known before it: snapshots whose label windows reach into
    it, or lie after it, do not train.
    """

    split: Split

    def _kFold(self, dataset: DataFrame) -> list[tuple[DataFrame, DataFrame]]:  # noqa: N802
        days = self.split.folds_in_time(self.getNumFolds())
        as_of = F.col("as_of")
        return [
            (
                dataset.where(as_of.isin(self.split.known_by(fold[0]))),
                dataset.where(as_of.isin(fold)),
            )
            for fold in days
        ]


def _best(evaluator: Evaluator, scores: list[float]) -> int:
    return scores.index((max if evaluator.isLargerBetter() else min)(scores))


def _typed(value: float) -> float | int:
    return int(value) if float(value).is_integer() and value >= 1 else value


def _evaluator(metric: str) -> Evaluator:
    if metric in AREAS:
        return BinaryClassificationEvaluator(
            labelCol=LABEL, weightCol=WEIGHT, metricName=AREAS[metric]
        )
    # pyspark's stubs do not know logLoss, its documentation does.
    loss = MulticlassClassificationEvaluator(labelCol=LABEL, weightCol=WEIGHT)
    return loss.setMetricName("logLoss")  # type: ignore[arg-type]
