"""Matured snapshots to a champion: tuned by customer folds, judged on a date held out.

Every candidate is tuned on the dates whose label windows end by the held-out date. Its
out-of-fold predictions there calibrate it; the held-out date judges it, and the blend of all. The
best is refitted on all matured dates, and calibrated on out-of-fold and held-out predictions
together.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pandas as pd
from pyspark.ml import Model, Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
)
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.settings import TrainingSettings
from models.blending import BLEND, RAW, Member, blended, raw_probability
from models.calibration import IDENTITY, Calibration, fit_platt, undone
from models.candidates import CANDIDATES, LABEL, WEIGHT, Candidate
from models.metrics import (
    METRICS_WHERE_LESS_IS_BETTER,
    intervals,
    metrics,
    reliability,
    score_histogram,
)
from models.preparation import VECTOR, Inputs, chosen_inputs
from models.thresholds import threshold

FOLD = "fold"
RECENCY = "recency"
# By baseline, a feature and the score that it gives. The logit of 1 / (1 + days) is -log(days):
# Platt's scaling of it is a logistic regression on log recency, and ranks as recency does.
RANKINGS = {
    RECENCY: ("recency_days", "1 / (1 + recency_days)"),
    "mbg_nbd": ("order_probability", "coalesce(order_probability, 0)"),
    "mbg_cnbd_2": ("order_probability_regular", "coalesce(order_probability_regular, 0)"),
}
RFM = ("recency_days", "orders_lifetime", "revenue_lifetime")
RFM_GRID: dict[str, tuple[float, ...]] = {"regParam": (0.0,)}
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
    """A candidate with its best grid point, and what its predictions showed.

    `whole` is fitted to the tuning dates, each of `without_fold` to the customers of the other
    folds; all are calibrated alike.
    """

    candidate: Candidate
    parameters: dict[str, float]
    evaluation: Evaluation
    histogram: pd.DataFrame = field(repr=False)
    whole: Member = field(repr=False)
    without_fold: list[Member] = field(repr=False)


@dataclass(frozen=True)
class Blend:
    """All candidates together, and what their predictions showed."""

    tuned: list[Tuned]
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

    def release(self) -> None:
        """Give back the memory that the tables take."""
        self.learned.unpersist()
        self.judged.unpersist()


@dataclass(frozen=True)
class Champion:
    """The model that scores: its members, the calibration of what they say together, its threshold
    and what it reads.
    """

    name: str
    members: list[Member]
    calibration: Calibration
    threshold: float
    inputs: Inputs
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
    _check_models(settings)
    material = _material(snapshots, held_out, tuning, settings)
    try:
        inputs = _inputs(material, numeric, texts, report)
        rivals, baselines = _compete(material, inputs, settings, report)
        best = _best(rivals, settings.metric)
        report(f"champion: {best.evaluation.name}; refitting it with every matured date")
        champion = _refit(best, material, inputs, settings)
    finally:
        material.release()
    return TrainingResult(champion, [*[rival.evaluation for rival in rivals], *baselines])


def evaluate(
    snapshots: DataFrame,
    numeric: Sequence[str],
    texts: Sequence[str],
    held_out: date,
    tuning: Sequence[date],
    settings: TrainingSettings,
    report: Report,
) -> list[Evaluation]:
    """What `train` finds of every candidate and baseline on the held-out date; no champion is
    made. Raises the same errors.
    """
    _check_models(settings)
    material = _material(snapshots, held_out, tuning, settings)
    try:
        inputs = _inputs(material, numeric, texts, report)
        rivals, baselines = _compete(material, inputs, settings, report)
    finally:
        material.release()
    return [*[rival.evaluation for rival in rivals], *baselines]


def _check_models(settings: TrainingSettings) -> None:
    unknown = set(settings.models) - set(CANDIDATES)
    if unknown:
        raise ConfigurationError(
            f"training.models: unknown {', '.join(sorted(unknown))}; known: {', '.join(CANDIDATES)}"
        )


def _inputs(
    material: Material, numeric: Sequence[str], texts: Sequence[str], report: Report
) -> Inputs:
    inputs = chosen_inputs(material.tuning, numeric, texts)
    report(f"{len(inputs.names)} of {len(numeric) + len(texts)} features can teach something")
    return inputs


def _compete(
    material: Material, inputs: Inputs, settings: TrainingSettings, report: Report
) -> tuple[list[Tuned | Blend], list[Evaluation]]:
    missing = {name: why for name in settings.models if (why := CANDIDATES[name].missing())}
    for why in missing.values():
        report(why)
    if len(missing) == len(settings.models):
        raise ConfigurationError(f"training.models: nothing can be trained. {why}")
    tuned = [
        _tune(CANDIDATES[name], grid, material, inputs, settings, report)
        for name, grid in settings.models.items()
        if name not in missing
    ]
    rivals: list[Tuned | Blend] = [*tuned]
    if settings.blend and len(tuned) > 1:
        rivals.append(_blend(tuned, material, settings, report))
    return rivals, _baselines(material, inputs, settings, report)


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
        of_folds = [models[index] for models in validated.subModels or []]
        out_of_fold = _histogram_out_of_fold(of_folds, prepared, ratio)
    finally:
        prepared.unpersist()
    calibration = fit_platt(out_of_fold, ratio)

    def member(fitted: Model) -> Member:
        return Member(candidate.name, PipelineModel([preparation, fitted]), calibration, parameters)

    whole = member(validated.bestModel)
    raw_held_out = _histogram(whole.pipeline.transform(material.judged), ratio)
    evaluation = _evaluation(candidate.name, out_of_fold, raw_held_out, calibration, settings)
    shown = ", ".join(f"{name} {value:g}" for name, value in parameters.items())
    report(
        f"{candidate.name}: {len(scores)} grid points x {settings.folds} folds, best {shown}; "
        f"{_areas(evaluation)}; {time.monotonic() - started:.0f} s"
    )
    everything = _merged(out_of_fold, _thinned(raw_held_out, material))
    members = [member(fitted) for fitted in of_folds]
    return Tuned(candidate, parameters, evaluation, everything, whole, members)


def _blend(
    tuned: list[Tuned], material: Material, settings: TrainingSettings, report: Report
) -> Blend:
    started = time.monotonic()

    def shown(members: Sequence[Member], rows: DataFrame) -> pd.DataFrame:
        return score_histogram(blended(rows, members, [LABEL]))

    out_of_fold = _merged(
        *[
            shown([t.without_fold[fold] for t in tuned], material.tuning.where(F.col(FOLD) == fold))
            for fold in range(settings.folds)
        ]
    )
    held_out = shown([t.whole for t in tuned], material.judged)
    calibration = fit_platt(out_of_fold, 1.0)
    evaluation = _evaluation(BLEND, out_of_fold, held_out, calibration, settings)
    report(f"{BLEND} of these: {_areas(evaluation)}; {time.monotonic() - started:.0f} s")
    return Blend(tuned, evaluation, _merged(out_of_fold, _thinned(held_out, material)))


def _thinned(histogram: pd.DataFrame, material: Material) -> pd.DataFrame:
    """One customer in the sample counts as much on the held-out date as on any other."""
    return histogram.assign(
        n=histogram["n"] * material.share, positives=histogram["positives"] * material.share
    )


def _evaluation(
    name: str,
    past: pd.DataFrame,
    held_out: pd.DataFrame,
    calibration: Calibration,
    settings: TrainingSettings,
) -> Evaluation:
    past, held_out = _calibrated(past, calibration), _calibrated(held_out, calibration)
    chosen = threshold(past, settings.threshold, held_out["n"].sum())
    return Evaluation(
        name,
        metrics(past, chosen),
        {**metrics(held_out, chosen), **intervals(held_out, settings.seed)},
        reliability(held_out, bins=10),
    )


def _areas(evaluation: Evaluation) -> str:
    return (
        f"ROC-AUC cross-validated {evaluation.cross_validated['roc_auc']:.4f}, "
        f"held out {evaluation.held_out['roc_auc']:.4f}"
    )


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
    of_folds: Sequence[Model], prepared: DataFrame, ratio: float
) -> pd.DataFrame:
    parts = [
        _histogram(fitted.transform(prepared.where(F.col(FOLD) == fold)), ratio)
        for fold, fitted in enumerate(of_folds)
    ]
    return _merged(*parts)


def _merged(*histograms: pd.DataFrame) -> pd.DataFrame:
    joined = pd.concat(histograms).groupby("probability", as_index=False).sum()
    return joined.sort_values("probability", ascending=False, ignore_index=True)


def _calibrated(histogram: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    return _merged(histogram.assign(probability=calibration.of(histogram["probability"]).round(6)))


def _best(rivals: Sequence[Tuned | Blend], metric: str) -> Tuned | Blend:
    sign = -1.0 if metric in METRICS_WHERE_LESS_IS_BETTER else 1.0

    def merit(model: Tuned | Blend) -> float:
        value = model.evaluation.held_out[metric]
        return -math.inf if math.isnan(value) else sign * value

    return max(rivals, key=merit)


def _refit(
    best: Tuned | Blend, material: Material, inputs: Inputs, settings: TrainingSettings
) -> Champion:
    if isinstance(best, Blend):
        # Each keeps its calibration, by which the blend of all is judged and calibrated.
        members = [
            _refitted(t, t.whole.calibration, material, inputs, settings) for t in best.tuned
        ]
        calibration = fit_platt(best.histogram, 1.0)
        histogram = _calibrated(best.histogram, calibration)
    else:
        own = fit_platt(best.histogram, material.ratio)
        members = [_refitted(best, own, material, inputs, settings)]
        calibration, histogram = IDENTITY, _calibrated(best.histogram, own)
    shares = [importances(member.pipeline, material.learned, inputs) for member in members]
    mean = {name: sum(s[name] for s in shares) / len(shares) for name in inputs.names}
    return Champion(
        best.evaluation.name,
        members,
        calibration,
        threshold(histogram, settings.threshold, best.evaluation.held_out["snapshots"]),
        inputs,
        dict(sorted(mean.items(), key=lambda item: -item[1])),
    )


def _refitted(
    tuned: Tuned,
    calibration: Calibration,
    material: Material,
    inputs: Inputs,
    settings: TrainingSettings,
) -> Member:
    estimator = tuned.candidate.estimator(settings.seed)
    fixed = estimator.copy({estimator.getParam(k): _typed(v) for k, v in tuned.parameters.items()})
    stages = tuned.candidate.preparation(inputs)
    pipeline = Pipeline(stages=[*stages, fixed]).fit(material.learned)
    return Member(tuned.candidate.name, pipeline, calibration, tuned.parameters)


def importances(pipeline: PipelineModel, table: DataFrame, inputs: Inputs) -> dict[str, float]:
    """Each feature's share of the importance: of the gain for trees, of the
    absolute standardised coefficients for the linear model.
    """
    model: Any = pipeline.stages[-1]
    linear = isinstance(model, LogisticRegressionModel)
    vector = model.coefficients if linear else model.featureImportances
    weights = [abs(float(weight)) for weight in vector.toArray()]
    shares = dict.fromkeys(inputs.names, 0.0)
    for slot, weight in zip(_slots(pipeline, table, inputs), weights, strict=True):
        shares[slot] += weight / (sum(weights) or 1.0)
    return shares


def _slots(pipeline: PipelineModel, table: DataFrame, inputs: Inputs) -> list[str]:
    assembled = pipeline.transform(table.limit(1)).schema
    column = "assembled_features" if "assembled_features" in assembled.names else VECTOR
    groups = assembled[column].metadata["ml_attr"]["attrs"].values()
    named = {attr["idx"]: attr["name"] for group in groups for attr in group}
    exact = {f"x_{name}": name for name in inputs.numeric}

    def feature(slot: str) -> str:
        return exact.get(slot) or next(n for n in inputs.texts if slot.startswith(f"x_{n}_"))

    return [feature(named[index]) for index in sorted(named)]


def _baselines(
    material: Material, inputs: Inputs, settings: TrainingSettings, report: Report
) -> list[Evaluation]:
    """What the champion must beat: logistic regression on recency, frequency and monetary value,
    and rankings by a column, as far as there are such features.
    """
    rfm = tuple(name for name in RFM if name in inputs.numeric)
    found = []
    if len(rfm) == len(RFM):
        simple = replace(CANDIDATES["logistic_regression"], name="rfm")
        known = Inputs(rfm, {})
        found.append(_tune(simple, RFM_GRID, material, known, settings, report).evaluation)
    for name, (column, score) in RANKINGS.items():
        if column in material.judged.columns:
            seen, ahead = (
                score_histogram(rows.select(LABEL, F.expr(score).alias("probability")))
                for rows in (material.tuning, material.judged)
            )
            found.append(_evaluation(name, seen, ahead, fit_platt(seen, 1.0), settings))
    return found
