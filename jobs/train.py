"""`repurchase train`: `features` and `labels` into a champion, `evaluations` and `models`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata, resources
from pathlib import Path

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.markup import escape

from conf.errors import InputError
from features.snapshots import Split, tuning_dates
from jobs.build_features import dates_to_train, feature_columns, made_with, up_to_date
from jobs.console import bar, console, handled, interval, say, show, step
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job, show_next
from jobs.tracking import track_training
from lake.contracts import LABELS
from lake.store import is_folder
from models import training
from models.blending import said
from models.candidates import LABEL
from models.challenge import Decision, Incumbent, decide
from models.checkpoints import Checkpoints
from models.importance import Importance
from models.judging import comparable, heard
from models.material import training_snapshots
from models.records import record
from models.registry import SAVED, find_champion, heard_then, register
from models.training import TrainingResult

# What a model is made of, at first or second hand.
READ = (
    *("transactions", "events", "customers", "customer_base", "features", "labels"),
    "models",  # whose champion it challenges
)
# Where the code is that trains.
PACKAGES = ("conf", "lake", "features", "models", "jobs")
SHOWN = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
    "top_decile_lift": "lift 10%",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
}


@dataclass(frozen=True)
class Trained:
    """What was trained, and whether it is the champion now."""

    version: str
    result: TrainingResult
    decision: Decision


def dates_to_learn_from(job: Job, span: LogSpan) -> tuple[list[date], Split]:
    """All training dates, and which of them tune; the last is held out.

    Raises InputError when the log is too short for both.
    """
    wanted = job.settings.snapshots
    dates = dates_to_train(job, span)
    tuning = tuning_dates(dates, dates[-1], wanted.horizon_days) if dates else []
    if tuning:
        return dates, Split(tuple(tuning), dates[-1], wanted.horizon_days)
    # The date that judges and the last one whose label window has ended by then.
    apart = -(-wanted.horizon_days // wanted.step_days)
    if wanted.count <= apart:
        raise InputError(
            f"snapshots.count is {wanted.count}, and with snapshots.step_days of "
            f"{wanted.step_days} the label window of {wanted.horizon_days} days before the date "
            f"that judges takes at least {apart + 1}"
        )
    days = apart * wanted.step_days
    needed = wanted.horizon_days + days + max(wanted.min_history_days, 1)
    raise InputError(
        f"the log before {span.as_of} covers {(span.end - span.first).days} days; training needs "
        f"{needed}: snapshots.min_history_days, {days} from a date to learn from to one to judge "
        f"by, and its label window of {wanted.horizon_days}"
    )


def train(job: Job, span: LogSpan) -> Trained:
    """Tune, judge and refit on the matured snapshots; publish what comes of it for `as_of` unless
    it is worse than what was there.
    """
    wanted, settings = job.settings.snapshots, job.settings.training
    dates, split = dates_to_learn_from(job, span)
    read = {table: job.lake.version(table) for table in READ if job.lake.exists(table)}
    known = snapshots_of(job, dates)
    say(str(split))
    version = f"{span.as_of}-{_fingerprint(job, known.snapshots)}"
    checkpoints = _checkpoints(job, version)
    result = training.train(
        known.snapshots, known.numeric, known.texts, split, settings, say, checkpoints
    )
    chosen = next(e for e in result.evaluations if e.name == result.champion.name)
    before = _incumbent(job, span.as_of, version, known, split.held_out)
    decision = decide(
        chosen, result.contest.against_baselines(chosen.name), before, split.held_out, settings
    )
    record(
        job.lake,
        split.held_out,
        wanted.horizon,
        result.contest,
        version,
        decision.comparisons,
    )
    register(
        job.lake,
        result.champion,
        version=version,
        trained_for=span.as_of,
        split=split,
        heard=chosen.some,
        horizon=wanted.horizon,
        settings=job.settings.without_secrets().model_dump_json(),
        data_versions=read,
        folder=_folder(job),
        decision=decision,
        code_version=_code_version(),
    )
    if checkpoints:
        checkpoints.remove()
    return Trained(version, result, decision)


def check_champion(job: Job, span: LogSpan, trained: Trained) -> None:
    """Raises InputError where what was trained is not published and there is no other champion."""
    if trained.decision.published:
        return
    if find_champion(job.lake, span.as_of, job.settings.snapshots.horizon) is None:
        raise InputError(
            f"{trained.result.champion.name} is not published: {trained.decision.reason}; there is "
            "no other champion. training.publish: always publishes it all the same"
        )


def _folder(job: Job) -> str:
    """Where models are saved."""
    return job.settings.lake.models_path or job.lake.folder(SAVED)


def _checkpoints(job: Job, version: str) -> Checkpoints | None:
    """Where an interrupted training goes on from; only where Python sees the folder too."""
    folder = _folder(job)
    return Checkpoints(Path(folder) / "being_tuned" / version) if is_folder(folder) else None


def _incumbent(
    job: Job, as_of: date, version: str, known: "Snapshots", held_out: date
) -> Incumbent | None:
    """The champion that the version challenges."""
    horizon = job.settings.snapshots.horizon
    found = find_champion(job.lake, as_of, horizon, other_than=version)
    if found is None:
        return None
    foretold = heard_then(job.lake, found) if found.held_out == held_out else None
    if foretold is not None:
        return Incumbent(found.version, found.trained_for, foretold, foretold=True)
    if why := found.lacks([*known.numeric, *known.texts]):
        say(f"{why}: it cannot be compared")
        return Incumbent(found.version, found.trained_for, None)
    judged = known.snapshots.where(F.col("as_of") == F.lit(held_out)).persist()
    try:
        scored = said(judged, found.members).select("customer_id", LABEL, found.probability)
        some = heard(scored, judged.count()).some
        return Incumbent(found.version, found.trained_for, some)
    finally:
        judged.unpersist()


def _code_version() -> str:
    """The release, and a digest of its code: one that somebody has changed is another version."""
    try:
        release = metadata.version("repurchase")
    except metadata.PackageNotFoundError:
        release = "not installed"
    digest = hashlib.sha256()
    for package in PACKAGES:
        modules = [file for file in resources.files(package).iterdir() if file.name.endswith(".py")]
        for module in sorted(modules, key=lambda file: file.name):
            digest.update(module.read_bytes())
    return f"{release}+{digest.hexdigest()[:8]}"


@dataclass(frozen=True)
class Snapshots:
    """Labelled snapshots of some dates, and which of their columns are features."""

    snapshots: DataFrame
    numeric: list[str]
    texts: list[str]


def snapshots_of(job: Job, dates: Sequence[date]) -> Snapshots:
    """The labelled snapshots of the dates.

    Raises InputError where the features were made with other settings, or a date is missing.
    """
    wanted = job.settings.snapshots
    features = job.lake.read("features")
    built = job.lake.properties("features")
    differing = [key for key, value in made_with(job).items() if built.get(key) != value]
    if differing:
        raise InputError(
            "the table features was built with other settings or by another release "
            f"({', '.join(differing)}): run `repurchase build-features` again"
        )
    job.lake.complete(LABELS)
    labels = job.lake.read("labels").where(wanted.horizon.where)
    snapshots = training_snapshots(features, labels, dates, wanted.active_within_days)
    _check_dates(snapshots, up_to_date(job), dates)
    columns = feature_columns(job)
    return Snapshots(
        snapshots,
        [f.name for f in columns if f.type != "string"],
        [f.name for f in columns if f.type == "string"],
    )


def show_trained(job: Job, trained: Trained) -> None:
    """Each model's figures beside the baselines', the top features, the deciles, and whether it
    is published.
    """
    result = trained.result
    chosen = result.champion
    for title, part in (("Cross-validated", "cross_validated"), ("Held out", "held_out")):
        show(
            title,
            ["model", *SHOWN.values()],
            [
                [("* " if e.name == chosen.name else "  ") + e.name]
                + [getattr(e, part)[metric] for metric in SHOWN]
                for e in result.evaluations
            ],
        )
    metric, by = job.settings.training.metric, comparable(job.settings.training.metric)
    say(
        f"* of those that none beats clearly on the held-out date, the blend, or else the best by "
        f"cross-validated {metric}; then refitted with every matured date"
    )
    for one in result.contest.against_baselines(chosen.name):
        if one.metric == by and one.verdict != "better":
            say(f"{chosen.name} against {one.other}: {one.verdict} ({one})")
    _show_importances(result.champion.importances)
    deciles = next(e.deciles for e in result.evaluations if e.name == chosen.name)
    show(
        "Deciles on the held-out date",
        ["decile", "customers", "predicted", "realised", "lift", ""],
        [
            [
                *(int(d["bin"]), round(d["n"]), d["predicted"], d["observed"]),
                *(f"{d['lift']:.2f}", bar(d["observed"], deciles["observed"].max())),
            ]
            for d in deciles.to_dict("records")
        ],
    )
    if trained.decision.published:
        say(f"published: {trained.version}, {trained.decision.reason}")
    else:
        console.print(
            f"  [yellow]not published[/yellow]: {escape(trained.decision.reason)}; "
            "the champion before it stays"
        )


def _show_importances(importances: Sequence[Importance]) -> None:
    top = importances[:10]
    most = max([one.gain for one in top], default=0.0)
    show(
        "Top features",
        ["feature", "share", "", "ROC-AUC lost without"],
        [
            [
                *(one.feature, f"{one.gain:.1%}", bar(one.gain, most), _lost(one)),
            ]
            for one in top
        ],
    )


def _lost(known: Importance) -> str:
    if known.permutation is None or known.low is None or known.high is None:
        return ""
    return f"{known.permutation:.4f}{interval(known.low, known.high, 4)}"


def _check_dates(snapshots: DataFrame, fresh: set[date], dates: Sequence[date]) -> None:
    present = {row[0] for row in snapshots.select("as_of").distinct().collect()}
    missing = sorted(set(dates) - (present & fresh))
    if missing:
        raise InputError(
            f"features or labels of {len(missing)} training dates are missing or no longer those "
            f"of the log, the first {missing[0]}: run `repurchase build-features` with the same "
            "--as-of and settings"
        )


def _fingerprint(job: Job, snapshots: DataFrame) -> str:
    content = snapshots.agg(F.count(F.lit(1)), F.expr("bit_xor(xxhash64(*))")).collect()[0]
    settings = job.settings
    made_of = (
        tuple(content),
        settings.features.model_dump_json(),
        settings.snapshots.model_dump_json(),
        settings.training.model_dump_json(),
        _code_version(),
    )
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]


@handled
def main(lake: LakeDir = None, as_of: AsOf = None, env: Env = "local", set_: Set = None) -> None:
    """Tune the models, choose the champion and save it."""
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    with step(f"Train as of {span.as_of}"):
        trained = train(job, span)
        track_training(job, trained.version)
    show_trained(job, trained)
    check_champion(job, span, trained)
    show_next("score", job, env, set_, as_of)


if __name__ == "__main__":
    typer.run(main)
