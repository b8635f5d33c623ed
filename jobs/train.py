"""`repurchase train`: `features` and `labels` into a champion, `evaluations` and `models`."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import InputError
from features.snapshots import tuning_dates
from jobs.build_features import dates_to_train, feature_columns, made_with
from jobs.console import bar, console, handled, say, show, step
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job
from lake.contracts import EVALUATIONS, LABELS
from models import training
from models.registry import register
from models.training import Evaluation, TrainingResult, training_snapshots

# What a model is made of, at first or second hand.
READ = ("transactions", "events", "customers", "features", "labels")
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


def dates_to_learn_from(job: Job, span: LogSpan) -> tuple[list[date], list[date]]:
    """All training dates, of which the last is held out, and those of them that tune.

    Raises InputError when the log is too short for both.
    """
    wanted = job.settings.snapshots
    dates = dates_to_train(job, span)
    tuning = tuning_dates(dates, dates[-1], wanted.horizon_days) if dates else []
    if not tuning:
        needed = 2 * wanted.horizon_days + max(wanted.min_history_days, 1)
        raise InputError(
            f"the log before {span.as_of} covers {(span.end - span.first).days} days; training "
            f"needs {needed}: snapshots.min_history_days and two label windows of "
            f"{wanted.horizon_days} days, one to learn from and one to judge by"
        )
    return dates, tuning


def train(job: Job, span: LogSpan) -> TrainingResult:
    """Tune, judge and refit on the matured snapshots; register the champion for `as_of`.

    Raises InputError where the champion is not as well calibrated as the settings ask; its figures
    are in `evaluations` all the same.
    """
    wanted = job.settings.snapshots
    dates, tuning = dates_to_learn_from(job, span)
    held_out = dates[-1]
    known = snapshots_of(job, dates)
    say(f"{len(tuning)} dates tune ({tuning[0]} .. {tuning[-1]}), {held_out} is held out")
    result = training.train(
        known.snapshots, known.numeric, known.texts, held_out, tuning, job.settings.training, say
    )
    version = f"{span.as_of}-{_fingerprint(job, known.snapshots)}"
    record(job, held_out, result.evaluations, version)
    if why := _unfit(result, job.settings.training.max_ece):
        raise InputError(f"{why}; the champion before it, if any, stays")
    register(
        job.lake,
        result.champion,
        version=version,
        trained_for=span.as_of,
        horizon=wanted.horizon,
        settings=job.settings.model_dump_json(),
        data_versions={t: job.lake.version(t) for t in READ if job.lake.exists(t)},
        folder=job.settings.lake.models_path or job.lake.folder("saved_models"),
    )
    return result


def _unfit(result: TrainingResult, max_ece: float | None) -> str | None:
    """Why the champion must not be published, if so."""
    name = result.champion.name
    ece = next(e.held_out["ece"] for e in result.evaluations if e.name == name)
    if max_ece is None or ece <= max_ece:
        return None
    return (
        f"the champion {name} is not published: its calibration error (ECE) on the held-out date "
        f"is {ece:.4f}, above training.max_ece of {max_ece:g}"
    )


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
            f"the table features was built with other settings ({', '.join(differing)}) than those "
            "of now: run `repurchase build-features` again"
        )
    job.lake.complete(LABELS)
    labels = job.lake.read("labels").where(wanted.horizon.where)
    snapshots = training_snapshots(features, labels, dates, wanted.active_within_days)
    _check_dates(snapshots, dates)
    columns = feature_columns(job)
    return Snapshots(
        snapshots,
        [f.name for f in columns if f.type != "string"],
        [f.name for f in columns if f.type == "string"],
    )


def record(job: Job, judged_on: date, evaluations: Sequence[Evaluation], version: str) -> None:
    """Write the figures of every model and baseline on a date into `evaluations`."""
    horizon = job.settings.snapshots.horizon
    rows = [
        (evaluation.name, judged_on, horizon.days, metric, value, version, horizon.hours)
        for evaluation in evaluations
        for metric, value in _metrics(evaluation).items()
    ]
    where = f"as_of = DATE'{judged_on}' AND {horizon.where}"
    job.lake.complete(EVALUATIONS)
    job.lake.replace(EVALUATIONS, job.spark.createDataFrame(rows, EVALUATIONS.schema), where)


def show_trained(job: Job, result: TrainingResult) -> None:
    """Each model's figures beside recency's, the top features and the deciles."""
    champion = result.champion
    for title, part in (("Cross-validated", "cross_validated"), ("Held out", "held_out")):
        show(
            title,
            ["model", *SHOWN.values()],
            [
                [("* " if e.name == champion.name else "  ") + e.name]
                + [getattr(e, part)[metric] for metric in SHOWN]
                for e in result.evaluations
            ],
        )
    held_out = {e.name: e.held_out for e in result.evaluations}
    chosen, recency = held_out[champion.name], held_out[training.RECENCY]
    say(f"* champion by {job.settings.training.metric} on the held-out date, then refitted")
    if not chosen["roc_auc"] > recency["roc_auc"]:
        console.print(
            "[yellow]warning:[/yellow] the champion ranks no better than recency alone on the "
            "held-out date: look at the log before you trust its scores"
        )
    _show_importances(champion.importances)
    deciles = next(e.deciles for e in result.evaluations if e.name == champion.name)
    show(
        "Deciles of the champion on the held-out date",
        ["decile", "customers", "predicted", "realised", "lift", ""],
        [
            [
                *(int(d["bin"]), round(d["n"]), d["predicted"], d["observed"]),
                *(f"{d['lift']:.2f}", bar(d["observed"], deciles["observed"].max())),
            ]
            for d in deciles.to_dict("records")
        ],
    )


def _show_importances(importances: dict[str, float]) -> None:
    top = list(importances.items())[:10]
    most = max([share for _, share in top], default=0.0)
    show("Top features", ["feature", "share", ""], [[n, f"{s:.1%}", bar(s, most)] for n, s in top])


def _check_dates(snapshots: DataFrame, dates: Sequence[date]) -> None:
    present = {row[0] for row in snapshots.select("as_of").distinct().collect()}
    missing = sorted(set(dates) - present)
    if missing:
        raise InputError(
            f"features or labels of {len(missing)} training dates are missing, the first "
            f"{missing[0]}: run `repurchase build-features` with the same --as-of and settings"
        )


def _metrics(evaluation: Evaluation) -> dict[str, float | None]:
    named = {
        **evaluation.held_out,
        **{f"cv_{name}": value for name, value in evaluation.cross_validated.items()},
    }
    return {name: None if math.isnan(value) else value for name, value in named.items()}


def _fingerprint(job: Job, snapshots: DataFrame) -> str:
    content = snapshots.agg(F.count(F.lit(1)), F.expr("bit_xor(xxhash64(*))")).collect()[0]
    settings = job.settings
    made_of = (
        tuple(content),
        settings.features.model_dump_json(),
        settings.snapshots.model_dump_json(),
        settings.training.model_dump_json(),
    )
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]


@handled
def main(lake: LakeDir = None, as_of: AsOf = None, env: Env = "local", set_: Set = None) -> None:
    """Tune the models, choose the champion and save it."""
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    with step(f"Train as of {span.as_of}"):
        result = train(job, span)
    show_trained(job, result)
    console.print(f"Next: [bold]repurchase score --lake {job.lake.location}[/bold]")


if __name__ == "__main__":
    typer.run(main)
