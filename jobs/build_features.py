"""`repurchase build-features`: `transactions` into `customer_days`, `features` and `labels`."""

from dataclasses import dataclass
from datetime import date

import typer
from pyspark.sql import functions as F

from conf.errors import InputError
from features.catalogue import catalogue
from features.customer_days import CUSTOMER_DAYS, customer_days
from features.labels import labels, matured
from features.snapshots import training_dates
from features.windows import Snapshots, customer_features
from jobs.console import console, handled, say, step
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job
from lake.contracts import FEATURES, LABELS
from lake.store import dated


@dataclass(frozen=True)
class Built:
    """How many snapshots, on which dates, with how many features."""

    snapshots: int
    dates: list[date]
    features: int


def dates_to_train(job: Job, span: LogSpan) -> list[date]:
    """The training dates that the settings ask for, as seen on `as_of`."""
    wanted = job.settings.snapshots
    dates = training_dates(
        span.end,
        span.first,
        horizon_days=wanted.horizon_days,
        step_days=wanted.step_days,
        count=wanted.count,
        min_history_days=wanted.min_history_days,
    )
    return matured(dates, wanted.horizon_days, span.end)


def build_features(job: Job, span: LogSpan) -> Built:
    """Features of the training dates and of `as_of`, labels of those that have matured."""
    horizon = job.settings.snapshots.horizon_days
    transactions = job.lake.read("transactions").where(F.col("ordered_on") < F.lit(span.as_of))
    job.lake.replace(CUSTOMER_DAYS, customer_days(transactions))
    days = job.lake.read("customer_days")
    if days.where("orders > 0").isEmpty():
        raise InputError(f"nobody ordered before {span.as_of}: there is nobody to look at")
    training = dates_to_train(job, span)
    dates = [*training, span.as_of]
    snapshots = Snapshots(
        tuple(dates), job.settings.features.windows, horizon, span.first, _country(job)
    )
    features = catalogue(snapshots.windows, horizon)
    contract = FEATURES.with_columns([feature.column() for feature in features])
    frame = customer_features(days, snapshots)
    job.lake.replace(contract, frame, dated("as_of", dates))
    job.lake.set_properties("features", made_with(job))
    if training:
        where = f"{dated('as_of', training)} AND horizon_days = {horizon}"
        job.lake.replace(LABELS, labels(days, training, horizon), where)
    count = job.lake.read("features").where(F.col("as_of").isin(dates)).count()
    return Built(count, dates, len(features))


def made_with(job: Job) -> dict[str, str]:
    """The settings on which the meaning of the feature columns depends."""
    return {
        "windows": " ".join(str(days) for days in job.settings.features.windows),
        "horizon_days": str(job.settings.snapshots.horizon_days),
    }


def show_built(built: Built) -> None:
    """One line on the snapshots."""
    say(
        f"{built.snapshots:,} snapshots on {len(built.dates)} dates "
        f"({built.dates[0]} .. {built.dates[-1]}), {built.features} features"
    )


def _country(job: Job) -> str | None:
    return (
        job.settings.features.country or job.lake.properties("transactions").get("country") or None
    )


@handled
def main(lake: LakeDir = None, as_of: AsOf = None, env: Env = "local", set_: Set = None) -> None:
    """Aggregate transactions into customer_days, features and labels."""
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    with step(f"Build features as of {span.as_of}"):
        built = build_features(job, span)
    show_built(built)
    console.print(f"Next: [bold]repurchase train --lake {job.lake.location}[/bold]")


if __name__ == "__main__":
    typer.run(main)
