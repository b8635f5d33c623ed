"""Matured snapshots to a champion: tuned by customer folds, judged on a date held out.

Every candidate is tuned on the dates whose label windows end by the held-out date. Its
out-of-fold predictions there calibrate it; the held-out date judges it. The best is refitted
on all matured dates, and calibrated on out-of-fold and held-out predictions together.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
)
from pyspark.ml.functions import vector_to_array
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.settings import TrainingSettings
from models.calibration import Calibration, fit_platt, undone
from models.candidates import CANDIDATES, LABEL, WEIGHT, Candidate
from models.metrics import (
    METRICS_WHERE_LESS_IS_BETTER,
    best_f1_threshold,
    metrics,
    reliability,
    score_histogram,
)
from models.preparation import VECTOR, Inputs, chosen_inputs

FOLD, RAW = "fold", "raw_probability"
RECENCY = "recency"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """A model's or a baseline's figures: cross-validated, and on the held-out date."""

    name: str
    cross_validated: dict[str, float]
    held_out: dict[str, float]
    deciles: pd.DataFrame


@dataclass(frozen=True)
class Tuned:
    """A candidate with its best grid point, and what its predictions showed."""

    candidate: Candidate
    parameters: dict[str, float]
    evaluation: Evaluation
    histogram: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Material:
    """What is learned from and what judges.

    `learned` holds the sampled snapshots of every date, `tuning` those of the tuning dates, and
    `judged` all of the held-out date. `share` of the customers are sampled; `ratio` is the weight
    of a positive over that of a negative.
    """

    learned: DataFrame
    tuning: DataFrame
    judged: DataFrame
    share: float
    ratio: float


@dataclass(frozen=True)
class Champion:
    """The model that scores: its pipeline, calibration, threshold and what it reads."""

    name: str
    pipeline: PipelineModel
    calibration: Calibration
    threshold: float
    inputs: Inputs
    parameters: dict[str, float]
    importances: dict[str, float]


@dataclass(frozen=True)
class TrainingResult:
    """The champion, and every evaluation that led to it."""

    champion: Champion
    evaluations: list[Evaluation]


def training_snapshots(
    features: DataFrame,
    labels: DataFrame,
    dates: Sequence[date],
    active_within_days: int | None,
) -> DataFrame:
    """The features of the labelled snapshots of these dates, with `label` (0 or 1): one row per
    snapshot of a customer whose last order is at most `active_within_days` days old.
    """
    wanted = F.col("as_of").isin(list(dates))
    labelled = labels.where(wanted).select(
        "customer_id", "as_of", F.col("repurchased").cast("int").alias(LABEL)
    )
    active = (
        F.lit(True) if active_within_days is None else F.col("recency_days") <= active_within_days
    )
    return features.where(wanted & active).join(labelled, ["customer_id", "as_of"])


def train(
    snapshots: DataFrame,
    numeric: Sequence[str],
    texts: Sequence[str],
    held_out: date,
    tuning: Sequence[date],
    settings: TrainingSettings,
    report: Report,
) -> TrainingResult:
    """The champion of the candidates in `settings.models`, and every evaluation.

    `snapshots` is what `training_snapshots` gives for the tuning dates, the held-out date and
    the dates between them, whose labels overlap both: those serve the last fit only.
    Raises InputError when there is too little to learn from.
    """
    unknown = set(settings.models) - set(CANDIDATES)
    if unknown:
        raise ConfigurationError(
            f"training.models: unknown {', '.join(sorted(unknown))}; known: {', '.join(CANDIDATES)}"
        )
    material = _material(snapshots, held_out, tuning, settings)
    inputs = chosen_inputs(material.tuning, numeric, texts)
    report(f"{len(inputs.names)} of {len(numeric) + len(texts)} features can teach something")
    try:
        tuned = [
            _tune(CANDIDATES[name], grid, material, inputs, settings, report)
            for name, grid in settings.models.items()
        ]
        best = _best(tuned, settings.metric)
        report(f"champion: {best.candidate.name}; refitting it with every matured date")
        champion = _refit(best, material, inputs, settings)
        baseline = _recency(material, settings)
    finally:
        material.learned.unpersist()
        material.judged.unpersist()
    return TrainingResult(champion, [*[t.evaluation for t in tuned], baseline])


def raw_probability(scored: DataFrame) -> DataFrame:
    """The frame with the positive class's probability as a number, in `raw_probability`."""
    return scored.withColumn(RAW, vector_to_array(F.col("probability"))[1])


def _material(
    snapshots: DataFrame, held_out: date, tuning: Sequence[date], settings: TrainingSettings
) -> Material:
    counts = snapshots.groupBy((F.col("as_of") <= F.lit(max(tuning))).alias("tunes")).agg(
        F.count(F.lit(1)).alias("n"), F.sum(LABEL).alias("positives")
    )
    rows = {row["tunes"]: row for row in counts.collect()}
    total = sum(row["n"] for row in rows.values())
    n, positives = (rows[True]["n"], rows[True]["positives"]) if True in rows else (0, 0)
    if n < 2 * settings.folds or positives in (0, n):
        raise InputError(
            f"nothing to learn from: of {n} snapshots on {len(tuning)} dates, {positives} are "
            "followed by an order in the label window; both outcomes are needed. A longer log, "
            "a longer snapshots.horizon_days or more snapshots.count may help"
        )
    share = min(1.0, (settings.max_snapshots or total) / total)
    kept = F.pmod(F.xxhash64("customer_id", F.lit("sample")), F.lit(1_000_000)) < share * 1_000_000
    ratio = (n - positives) / positives if settings.weight_positives == "balanced" else 1.0
    table = (
        snapshots.where(kept)
        .withColumns(
            {
                FOLD: F.pmod(F.xxhash64("customer_id"), F.lit(settings.folds)).cast("int"),
                WEIGHT: F.when(F.col(LABEL) == 1, F.lit(ratio)).otherwise(F.lit(1.0)),
            }
        )
        # Fixed partitions in a fixed order: the same fit on a laptop and on a cluster.
        .repartition(settings.partitions, "customer_id")
        .sortWithinPartitions("customer_id", "as_of")
        .persist()
    )
    return Material(
        table,
        table.where(F.col("as_of").isin(list(tuning))),
        snapshots.where(F.col("as_of") == F.lit(held_out)).persist(),
        share,
        ratio,
    )


def _tune(
    candidate: Candidate,
    grid: dict[str, tuple[float, ...]],
    material: Material,
    inputs: Inputs,
    settings: TrainingSettings,
    report: Report,
) -> Tuned:
    started = time.monotonic()
    ratio = material.ratio
    preparation = Pipeline(stages=candidate.preparation(inputs)).fit(material.tuning)
    prepared = preparation.transform(material.tuning).select(FOLD, LABEL, WEIGHT, VECTOR).persist()
    try:
        _check_folds(prepared, settings.folds)
        validated = _cross_validator(candidate, grid, settings).fit(prepared)
        scores, evaluator = validated.avgMetrics, _evaluator(settings.metric)
        choose = max if evaluator.isLargerBetter() else min
        index = scores.index(choose(scores))
        point = validated.getEstimatorParamMaps()[index]
        parameters = {param.name: float(value) for param, value in point.items()}
        out_of_fold = _histogram_out_of_fold(validated, index, prepared, ratio)
    finally:
        prepared.unpersist()
    calibration = fit_platt(out_of_fold, ratio)
    threshold = _threshold(_calibrated(out_of_fold, calibration), settings.threshold)
    ahead = validated.bestModel.transform(preparation.transform(material.judged))
    raw_held_out = _histogram(ahead, ratio)
    held_out = _calibrated(raw_held_out, calibration)
    evaluation = Evaluation(
        candidate.name,
        metrics(_calibrated(out_of_fold, calibration), threshold),
        metrics(held_out, threshold),
        reliability(held_out, bins=10),
    )
    shown = ", ".join(f"{name} {value:g}" for name, value in parameters.items())
    report(
        f"{candidate.name}: {len(scores)} grid points x {settings.folds} folds, best {shown}; "
        f"ROC-AUC cross-validated {evaluation.cross_validated['roc_auc']:.4f}, "
        f"held out {evaluation.held_out['roc_auc']:.4f}; {time.monotonic() - started:.0f} s"
    )
    # One customer in the sample counts as much on the held-out date as on any other.
    thinned = raw_held_out.assign(
        n=raw_held_out["n"] * material.share, positives=raw_held_out["positives"] * material.share
    )
    return Tuned(candidate, parameters, evaluation, _merged(out_of_fold, thinned))


def _check_folds(prepared: DataFrame, folds: int) -> None:
    counted = prepared.groupBy(FOLD).agg(F.sum(LABEL).alias("positives"), F.count(LABEL).alias("n"))
    rows = counted.collect()
    if len(rows) < folds or any(row["positives"] in (0, row["n"]) for row in rows):
        n = sum(row["n"] for row in rows)
        raise InputError(
            f"too few customers to cross-validate: {n} snapshots do not give both outcomes in each "
            f"of {folds} folds of customers; lower training.folds or use a longer log"
        )


def _cross_validator(
    candidate: Candidate, grid: dict[str, tuple[float, ...]], settings: TrainingSettings
) -> CrossValidator:
    estimator = candidate.estimator(settings.seed)
    points = ParamGridBuilder()
    for name, values in grid.items():
        if not estimator.hasParam(name):
            known = ", ".join(param.name for param in estimator.params)
            raise ConfigurationError(
                f"training.models.{candidate.name}.{name}: no such parameter; known: {known}"
            )
        param = estimator.getParam(name)
        points = points.addGrid(param, [_typed(value) for value in values])
    return CrossValidator(
        estimator=estimator,
        estimatorParamMaps=points.build(),
        evaluator=_evaluator(settings.metric),
        numFolds=settings.folds,
        foldCol=FOLD,
        parallelism=settings.parallelism,
        collectSubModels=True,
    )


def _typed(value: float) -> float | int:
    return int(value) if float(value).is_integer() and value >= 1 else value


def _evaluator(metric: str) -> Evaluator:
    if metric in ("roc_auc", "pr_auc"):
        area = BinaryClassificationEvaluator(labelCol=LABEL, weightCol=WEIGHT)
        return area.setMetricName("areaUnderROC" if metric == "roc_auc" else "areaUnderPR")
    # pyspark's stubs do not know logLoss, its documentation does.
    loss = MulticlassClassificationEvaluator(labelCol=LABEL, weightCol=WEIGHT)
    return loss.setMetricName("logLoss")  # type: ignore[arg-type]


def _histogram(scored: DataFrame, ratio: float) -> pd.DataFrame:
    raw = raw_probability(scored).select(LABEL, undone(F.col(RAW), ratio).alias("probability"))
    return score_histogram(raw)


def _histogram_out_of_fold(
    validated: CrossValidatorModel, index: int, prepared: DataFrame, ratio: float
) -> pd.DataFrame:
    parts = [
        _histogram(models[index].transform(prepared.where(F.col(FOLD) == fold)), ratio)
        for fold, models in enumerate(validated.subModels or [])
    ]
    return _merged(*parts)


def _merged(*histograms: pd.DataFrame) -> pd.DataFrame:
    joined = pd.concat(histograms).groupby("probability", as_index=False).sum()
    return joined.sort_values("probability", ascending=False, ignore_index=True)


def _calibrated(histogram: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    return _merged(histogram.assign(probability=calibration.of(histogram["probability"]).round(6)))


def _threshold(histogram: pd.DataFrame, wanted: str | float) -> float:
    return best_f1_threshold(histogram) if isinstance(wanted, str) else wanted


def _best(tuned: Sequence[Tuned], metric: str) -> Tuned:
    sign = -1.0 if metric in METRICS_WHERE_LESS_IS_BETTER else 1.0

    def merit(model: Tuned) -> float:
        value = model.evaluation.held_out[metric]
        return -math.inf if math.isnan(value) else sign * value

    return max(tuned, key=merit)


def _refit(best: Tuned, material: Material, inputs: Inputs, settings: TrainingSettings) -> Champion:
    estimator = best.candidate.estimator(settings.seed)
    fixed = estimator.copy({estimator.getParam(k): _typed(v) for k, v in best.parameters.items()})
    stages = best.candidate.preparation(inputs)
    pipeline = Pipeline(stages=[*stages, fixed]).fit(material.learned)
    calibration = fit_platt(best.histogram, material.ratio)
    threshold = _threshold(_calibrated(best.histogram, calibration), settings.threshold)
    return Champion(
        best.candidate.name,
        pipeline,
        calibration,
        threshold,
        inputs,
        best.parameters,
        importances(pipeline, material.learned, inputs),
    )


def importances(pipeline: PipelineModel, table: DataFrame, inputs: Inputs) -> dict[str, float]:
    """Each feature's share of the importance, largest first: of the gain for trees, of the
    absolute standardised coefficients for the linear model.
    """
    model: Any = pipeline.stages[-1]
    linear = isinstance(model, LogisticRegressionModel)
    vector = model.coefficients if linear else model.featureImportances
    weights = [abs(float(weight)) for weight in vector.toArray()]
    shares = dict.fromkeys(inputs.names, 0.0)
    for slot, weight in zip(_slots(pipeline, table, inputs), weights, strict=True):
        shares[slot] += weight / (sum(weights) or 1.0)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _slots(pipeline: PipelineModel, table: DataFrame, inputs: Inputs) -> list[str]:
    assembled = pipeline.transform(table.limit(1)).schema
    column = "assembled_features" if "assembled_features" in assembled.names else VECTOR
    groups = assembled[column].metadata["ml_attr"]["attrs"].values()
    named = {attr["idx"]: attr["name"] for group in groups for attr in group}
    exact = {f"x_{name}": name for name in inputs.numeric}

    def feature(slot: str) -> str:
        return exact.get(slot) or next(n for n in inputs.texts if slot.startswith(f"x_{n}_"))

    return [feature(named[index]) for index in sorted(named)]


def _recency(material: Material, settings: TrainingSettings) -> Evaluation:
    # The logit of 1 / (1 + days) is -log(days): Platt's scaling of it is a logistic
    # regression on log recency, and ranks as recency does.
    odds = 1 / (1 + F.col("recency_days"))
    seen, ahead = (
        score_histogram(rows.select(LABEL, odds.alias("probability")))
        for rows in (material.tuning, material.judged)
    )
    calibration = fit_platt(seen, 1.0)
    past, held_out = _calibrated(seen, calibration), _calibrated(ahead, calibration)
    threshold = _threshold(past, settings.threshold)
    return Evaluation(
        RECENCY,
        metrics(past, threshold),
        metrics(held_out, threshold),
        reliability(held_out, bins=10),
    )
