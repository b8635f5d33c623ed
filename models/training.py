"""Matured snapshots to a champion: tuned by cross-validation, judged on a date held out.

Every candidate is tuned on the dates whose label windows end by the held-out date. What it says
there of customers whom it has not seen calibrates it; the held-out date judges it, and the blend of
all. The champion is refitted on all matured dates, and calibrated on out-of-fold and held-out
predictions together.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ConfigurationError
from conf.settings import TrainingSettings
from features.snapshots import Split
from models.baselines import RFM_GRID, rankings
from models.blending import BLEND, Member, blended
from models.calibration import FITS, IDENTITY, Calibration, fit_best, fit_platt
from models.candidates import CANDIDATES, LABEL
from models.checkpoints import Checkpoints
from models.fits import OutOfTimeError, Report, Terms
from models.importance import Importance, gains, permuted
from models.judging import (
    COMPARED,
    FAR,
    NEGLIGIBLE,
    Bootstrap,
    Comparison,
    Heard,
    bootstrap,
    comparable,
    heard,
    heard_of_each,
    some_of,
)
from models.material import FOLD, Material, made_ready
from models.metrics import (
    METRICS_WHERE_LESS_IS_BETTER,
    log_loss,
    merged,
    metrics,
    reliability,
    score_histogram,
    score_histograms,
    weighted,
)
from models.parallel import at_once
from models.preparation import Inputs, chosen_inputs, with_ranges
from models.segments import RFM, cuts_of, segments
from models.thresholds import threshold
from models.tuning import Grid, Tuned, refitted, tuned

# Predictions out of fold are of dates that the model has learned from. The held-out date, one of
# dozens, alone shows how the level moves from what was learned to what is to come: of the last
# calibration this is its share at least, chosen by past dates (docs/experiments.md).
HELD_OUT_SHARE = 0.25


@dataclass(frozen=True)
class Evaluation:
    """A model's or a baseline's figures: cross-validated, and on the held-out date.

    `later` is its score histogram of the held-out date, and `some` what it says there of some
    customers (`models.judging.Heard`), both calibrated.
    """

    name: str
    cross_validated: dict[str, float]
    held_out: dict[str, float]
    deciles: pd.DataFrame = field(repr=False)
    later: pd.DataFrame = field(repr=False)
    some: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Rival:
    """A candidate, or the blend of them (`of` several), and what its predictions showed.

    `past` and `later` are what it says out of fold and on the held-out date before `calibration`;
    one customer of one date counts the same in both.
    """

    of: list[Tuned]
    evaluation: Evaluation
    past: pd.DataFrame = field(repr=False)
    later: pd.DataFrame = field(repr=False)
    calibration: Calibration

    @property
    def members(self) -> list[Member]:
        """What was judged: fitted to the tuning dates."""
        return [one.whole for one in self.of]


@dataclass(frozen=True)
class Contest:
    """Everything that competed on the held-out date, how the figures vary with who is there, and
    the segment of each customer by whom they do; none where the features do not say it.
    """

    rivals: list[Rival]
    baselines: list[Evaluation]
    bootstrap: Bootstrap
    segments: pd.Series = field(repr=False)

    @property
    def evaluations(self) -> list[Evaluation]:
        """Of models, then of baselines."""
        return [*[rival.evaluation for rival in self.rivals], *self.baselines]

    @property
    def comparisons(self) -> list[Comparison]:
        """Every two models or baselines, on the same customers."""
        return self.bootstrap.comparisons()

    def against_baselines(self, model: str) -> list[Comparison]:
        """The model beside each baseline, by every metric."""
        return [
            self.bootstrap.compared(model, baseline.name, metric)
            for baseline in self.baselines
            for metric in COMPARED
        ]


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
    importances: list[Importance]


@dataclass(frozen=True)
class TrainingResult:
    """The champion, and the contest that it has won."""

    champion: Champion
    contest: Contest

    @property
    def evaluations(self) -> list[Evaluation]:
        """Of models, then of baselines."""
        return self.contest.evaluations


def train(
    snapshots: DataFrame,
    numeric: Sequence[str],
    texts: Sequence[str],
    split: Split,
    settings: TrainingSettings,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """The champion of the candidates in `settings.models`, and every evaluation.

    Candidates are kept in the checkpoints as soon as they are tuned, and taken from there.

    `snapshots` is what `training_snapshots` gives for the tuning dates, the held-out date and
    the dates between them, whose labels overlap both: those serve the last fit only.
    Raises InputError when there is too little to learn from.
    """
    with made_ready(snapshots, split, settings) as material:
        inputs = _inputs(material, numeric, texts, report)
        contest = _compete(material, inputs, settings, report, checkpoints)
        best = _best(contest, settings.metric)
        report(f"champion: {best.evaluation.name}; refitting it with every matured date")
        champion = _refit(best, material, inputs, settings, report)
    return TrainingResult(champion, contest)


def evaluate(
    snapshots: DataFrame,
    numeric: Sequence[str],
    texts: Sequence[str],
    split: Split,
    settings: TrainingSettings,
    report: Report,
) -> Contest:
    """What `train` finds of every candidate and baseline on the held-out date; no champion is
    made. Raises the same errors.
    """
    with made_ready(snapshots, split, settings) as material:
        inputs = _inputs(material, numeric, texts, report)
        return _compete(material, inputs, settings, report)


def _inputs(
    material: Material, numeric: Sequence[str], texts: Sequence[str], report: Report
) -> Inputs:
    inputs = chosen_inputs(material.tuning, numeric, texts)
    report(f"{len(inputs.names)} of {len(numeric) + len(texts)} features can teach something")
    return inputs


def _compete(
    material: Material,
    inputs: Inputs,
    settings: TrainingSettings,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> Contest:
    grids = _grids(settings, report)
    started = time.monotonic()
    rivals: list[Rival] = []
    for number, (name, grid) in enumerate(grids.items(), 1):
        one = checkpoints.load(name) if checkpoints else None
        if one is None:
            # The first has all the time that it needs: somebody must compete.
            limited = rivals and settings.max_minutes is not None
            until = started + 60 * (settings.max_minutes or 0) if limited else None
            terms = Terms(report, checkpoints.shelf(name) if checkpoints else None, until)
            try:
                one = tuned(CANDIDATES[name], grid, material, inputs, settings, terms)
            except OutOfTimeError as error:
                report(f"{name} is left out: training.max_minutes are over {error}")
                continue
            if checkpoints:
                checkpoints.save(one)
        else:
            report(f"{name} was tuned before an interruption")
        rival = _rival(one, material, settings)
        rivals.append(rival)
        shown = ", ".join(f"{k} {value:g}" for k, value in one.whole.parameters.items())
        report(
            f"{number} of {len(grids)}, {name}: best of {one.points} grid points {shown}; "
            f"{_areas(rival.evaluation)}; {one.seconds:.0f} s"
        )
    resampled = _resampled([rival.evaluation for rival in rivals], settings)
    able = _able(rivals, resampled, settings.metric, FAR)
    if settings.blend and len(able) > 1:
        blend = _blend([rival.of[0] for rival in able], material, settings)
        resampled |= _resampled([blend.evaluation], settings)
        rivals.append(blend)
        named = ", ".join(rival.evaluation.name for rival in able)
        report(f"{BLEND} of {named}: {_areas(blend.evaluation)}")
    report("judging the baselines")
    baselines = _baselines(material, inputs, settings, report)
    if baselines:
        resampled |= _resampled(baselines, settings)
    return Contest(rivals, baselines, resampled, _segments(material))


def _segments(material: Material) -> pd.Series:
    if not set(RFM) <= set(material.judged.columns):
        return pd.Series(dtype=object)
    some = some_of(material.judged, material.customers).select("customer_id", *RFM).toPandas()
    known = some.set_index("customer_id").astype(float)
    recency, orders, revenue = (known[name].to_numpy() for name in RFM)
    named = segments(recency, orders, revenue, cuts_of(known))
    return pd.Series(named, known.index, dtype=object)


def _resampled(evaluations: Sequence[Evaluation], settings: TrainingSettings) -> Bootstrap:
    """Their metrics on the same resamples at every call; the intervals go into the evaluations."""
    thresholds = {e.name: e.held_out["threshold"] for e in evaluations}
    found = bootstrap({e.name: e.some for e in evaluations}, settings.seed, thresholds)
    for evaluation in evaluations:
        figures = evaluation.held_out
        share = len(evaluation.some) / figures["snapshots"]
        figures.update(found.intervals(evaluation.name, figures, share))
    return found


def check_models(settings: TrainingSettings) -> None:
    """Raises ConfigurationError for a model that nobody knows."""
    unknown = set(settings.models) - set(CANDIDATES)
    if unknown:
        raise ConfigurationError(
            f"training.models: unknown {', '.join(sorted(unknown))}; known: {', '.join(CANDIDATES)}"
        )


def _grids(settings: TrainingSettings, report: Report) -> dict[str, Grid]:
    """The grids of the candidates that can be trained here."""
    check_models(settings)
    missing = {name: why for name in settings.models if (why := CANDIDATES[name].missing())}
    for why in missing.values():
        report(why)
    if len(missing) == len(settings.models):
        raise ConfigurationError(f"training.models: nothing can be trained. {why}")
    return {name: grid for name, grid in settings.models.items() if name not in missing}


def _rival(one: Tuned, material: Material, settings: TrainingSettings) -> Rival:
    calibration, past, later = one.whole.calibration, one.out_of_fold, one.held_out
    evaluation = _evaluation(one.candidate.name, past, later, calibration, settings)
    later_as_past = weighted(later.histogram, material.share)
    return Rival([one], evaluation, past, later_as_past, calibration)


def _blend(of: list[Tuned], material: Material, settings: TrainingSettings) -> Rival:
    keep = ["customer_id", LABEL]
    folds = range(settings.folds)

    def of_fold(fold: int) -> pd.DataFrame:
        rows = material.tuning.where(F.col(FOLD) == fold)
        return score_histogram(blended(rows, [one.without_fold[fold] for one in of], keep))

    spark, most = material.tuning.sparkSession, settings.parallelism
    past = merged(*at_once(spark, most, of_fold, folds))
    later = heard(blended(material.judged, [one.whole for one in of], keep), material.customers)
    calibration = fit_best(settings.calibrations, past, later.histogram, 1.0, log_loss)
    evaluation = _evaluation(BLEND, past, later, calibration, settings)
    later_as_past = weighted(later.histogram, material.share)
    return Rival(of, evaluation, past, later_as_past, calibration)


def _evaluation(
    name: str,
    past: pd.DataFrame,
    later: Heard,
    calibration: Calibration,
    settings: TrainingSettings,
) -> Evaluation:
    before, after = (_calibrated(h, calibration) for h in (past, later.histogram))
    chosen = threshold(before, settings.threshold, after["n"].sum())
    # Rounded as in the histograms, of which the threshold is one of the scores.
    some = later.some.assign(probability=calibration.of(later.some["probability"]).round(6))
    raw = later.histogram
    moved = (calibration.of(raw["probability"]) - raw["probability"]).abs()
    return Evaluation(
        name,
        metrics(before, chosen),
        {
            **metrics(after, chosen),
            "calibration_moved": float((moved * raw["n"]).sum() / raw["n"].sum()),
        },
        reliability(after, bins=10),
        after,
        some,
    )


def _areas(evaluation: Evaluation) -> str:
    return (
        f"ROC-AUC cross-validated {evaluation.cross_validated['roc_auc']:.4f}, "
        f"held out {evaluation.held_out['roc_auc']:.4f}"
    )


def _calibrated(histogram: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    return merged(histogram.assign(probability=calibration.of(histogram["probability"]).round(6)))


def _able(rivals: Sequence[Rival], resampled: Bootstrap, metric: str, margin: float) -> list[Rival]:
    """Of the rivals those that no other beats clearly and by more than this share of the metric on
    the held-out date, for a single date tells apart only what differs much.
    """
    first = max(rivals, key=lambda rival: _merit(rival.evaluation.held_out, metric))
    ahead = first.evaluation.name

    def stands(rival: Rival) -> bool:
        name, by = rival.evaluation.name, comparable(metric)
        compared = resampled.compared(ahead, name, by)
        little = abs(compared.difference) <= margin * rival.evaluation.held_out[by]
        return name == ahead or compared.verdict != "better" or little

    return [rival for rival in rivals if stands(rival)]


def _best(contest: Contest, metric: str) -> Rival:
    """Of the able ones the blend, which varies least from date to date, or else the best
    cross-validated one.
    """
    able = _able(contest.rivals, contest.bootstrap, metric, NEGLIGIBLE)
    if any(len(rival.of) > 1 for rival in able):
        return next(rival for rival in able if len(rival.of) > 1)
    return max(able, key=lambda rival: _merit(rival.evaluation.cross_validated, metric))


def _merit(figures: Mapping[str, float], metric: str) -> float:
    value = figures[metric]
    sign = -1.0 if metric in METRICS_WHERE_LESS_IS_BETTER else 1.0
    return -math.inf if math.isnan(value) else sign * value


def _refit(
    best: Rival, material: Material, inputs: Inputs, settings: TrainingSettings, report: Report
) -> Champion:
    last = FITS[best.calibration.kind](
        of_all_dates(best.past, best.later), best.calibration.weight_ratio
    )
    inputs = with_ranges(inputs, material.learned)
    several = len(best.of) > 1

    def fitted(one: Tuned) -> Member:
        # In a blend each keeps its calibration, by which the blend of all is judged and calibrated.
        calibration = one.whole.calibration if several else last
        member = refitted(one, calibration, material, inputs, settings)
        if several:
            report(f"{one.candidate.name} is refitted")
        return member

    spark, most = material.learned.sparkSession, settings.parallelism
    members = at_once(spark, most, fitted, best.of)
    report("trying it without each of the features that it uses most")
    return Champion(
        best.evaluation.name,
        members,
        last if several else IDENTITY,
        threshold(
            _calibrated(merged(best.past, best.later), last),
            settings.threshold,
            best.evaluation.held_out["snapshots"],
        ),
        inputs,
        permuted(gains(members, inputs), best.members, material, settings.seed),
    )


def of_all_dates(
    past: pd.DataFrame, held_out: pd.DataFrame, share: float = HELD_OUT_SHARE
) -> pd.DataFrame:
    """A score histogram of both, where the held-out date has this share of the weight at least."""
    evenly = past["n"].sum() / held_out["n"].sum()
    return merged(past, weighted(held_out, max(1.0, share / (1 - share) * evenly)))


def _baselines(
    material: Material, inputs: Inputs, settings: TrainingSettings, report: Report
) -> list[Evaluation]:
    """What the champion must beat, as far as there are such features."""
    found = []
    rfm = tuple(name for name in RFM if name in inputs.numeric)
    if len(rfm) == len(RFM):
        simple = replace(CANDIDATES["logistic_regression"], name="rfm")
        of_rfm = Inputs(rfm, {}, inputs.ranges)
        one = tuned(simple, RFM_GRID, material, of_rfm, settings, Terms(report))
        found.append(_rival(one, material, settings).evaluation)
    scores = rankings(material, report)
    if scores:
        said, names = [score.alias(name) for name, score in scores.items()], list(scores)
        past = score_histograms(material.tuning.select(LABEL, *said), names)
        judged = material.judged.select("customer_id", LABEL, *said)
        later = heard_of_each(judged, names, material.customers)
        found += [
            _evaluation(name, past[name], later[name], fit_platt(past[name], 1.0), settings)
            for name in names
        ]
    return found
