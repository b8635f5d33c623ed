"""`repurchase build-features`: `transactions` into `customer_days`, `features` and `labels`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import InputError
from features.catalogue import catalogue
from features.custom import custom_columns, custom_features
from features.increments import due, update_customer_days
from features.labels import labels, matured
from features.snapshots import training_dates
from features.windows import Snapshots, customer_features, made_features
from jobs.console import console, handled, say, show, step
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job
from lake.contracts import FEATURE_DATES, FEATURES, LABELS, Column
from lake.store import dated

# Of a customer-day in the exchange, compressed, with all features, on the log of `make demo`.
BYTES_PER_DAY = 58


@dataclass(frozen=True)
class Built:
    """How many snapshots, on which dates, with how many features; which dates were made now."""

    snapshots: int
    dates: list[date]
    features: int
    made: list[date]


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


def build_features(
    job: Job, span: LogSpan, dates: Sequence[date] | None = None, *, again: bool = False
) -> Built:
    """Features of the dates, by default the training dates and `as_of`; labels of those that have
    matured.

    Dates whose features are there and up to date are left as they are, unless `again`. The others
    are made in chunks of `features.dates_per_chunk`, each of them kept once it is made.
    """
    columns = feature_columns(job)  # what is wrong with the user's own is said before the work
    work = due(job.lake, span.first, span.as_of)
    _forget_dates_after(job, work.first(otherwise=span.first))
    update_customer_days(job.lake, work, span.as_of)
    days = job.lake.read("customer_days")
    if days.where("orders > 0").isEmpty():
        raise InputError(f"nobody ordered before {span.as_of}: there is nobody to look at")
    dates = sorted(dates or {*dates_to_train(job, span), span.as_of})
    there = set() if again else _there(job)
    missing = [d for d in dates if d not in there]
    chunk = job.settings.features.dates_per_chunk
    for start in range(0, len(missing), chunk):
        part = missing[start : start + chunk]
        _build(job, span, days, columns, part)
        if len(missing) > chunk:
            say(f"{start + len(part)} of {len(missing)} dates: {part[0]} .. {part[-1]}")
    horizon = job.settings.snapshots.horizon_days
    labelled = matured(dates, horizon, span.end)
    if labelled:
        where = f"{dated('as_of', labelled)} AND horizon_days = {horizon}"
        job.lake.replace(LABELS, labels(days, labelled, horizon), where)
    count = job.lake.read("features").where(F.col("as_of").isin(dates)).count()
    return Built(count, dates, len(columns), missing)


def _build(
    job: Job, span: LogSpan, days: DataFrame, columns: Sequence[Column], dates: list[date]
) -> None:
    table = FEATURES.with_columns(columns)
    if job.settings.features.custom:
        frame = features_at(job, span, days, known_lines(job, span), dates)
        job.lake.replace(table, frame, dated("as_of", dates))
    else:
        job.lake.replace_dates(table, made_features(days, snapshots(job, span, dates)), dates)
    job.lake.set_properties("features", made_with(job))
    done = job.spark.createDataFrame([(d, _made_with(job)) for d in dates], FEATURE_DATES.schema)
    job.lake.replace(FEATURE_DATES, done, dated("as_of", dates))


def known_lines(job: Job, span: LogSpan) -> DataFrame:
    """The lines of the log before `as_of`."""
    return job.lake.read("transactions").where(F.col("ordered_on") < F.lit(span.as_of))


def features_at(
    job: Job, span: LogSpan, days: DataFrame, lines: DataFrame, dates: Sequence[date]
) -> DataFrame:
    """Every feature at the dates, the user's own too: one row per snapshot.

    `days` are customer-days, `lines` the lines of the log that they were made of.
    """
    frame = customer_features(days, snapshots(job, span, dates))
    if not job.settings.features.custom:
        return frame
    own = custom_features(lines, dates, job.settings.features.custom)
    return frame.join(own, ["customer_id", "as_of"], "left")


def snapshots(job: Job, span: LogSpan, dates: Sequence[date]) -> Snapshots:
    """What the features of these dates look at."""
    horizon, wanted = job.settings.snapshots.horizon_days, job.settings.features
    return Snapshots(tuple(dates), wanted.windows, horizon, span.first, country(job))


def feature_columns(job: Job) -> list[Column]:
    """The columns of every feature, the user's own at the end.

    Raises ConfigurationError where one of those is wrong.
    """
    wanted = job.settings.features
    known = [f.column() for f in catalogue(wanted.windows, job.settings.snapshots.horizon_days)]
    if not wanted.custom:
        return known
    transactions = job.lake.read("transactions")
    return [*known, *custom_columns(transactions, wanted.custom, [c.name for c in known])]


def _forget_dates_after(job: Job, day: date | None) -> None:
    if day is not None and job.lake.exists("feature_dates"):
        kept = job.lake.read("feature_dates").where(F.col("as_of") <= F.lit(day))
        frame = job.spark.createDataFrame(kept.collect(), FEATURE_DATES.schema)
        job.lake.replace(FEATURE_DATES, frame)


def _there(job: Job) -> set[date]:
    """The dates whose features are complete and up to date."""
    if not (job.lake.exists("feature_dates") and job.lake.exists("features")):
        return set()
    rows = job.lake.read("feature_dates").where(F.col("made_with") == _made_with(job))
    return {row["as_of"] for row in rows.collect()}


def made_with(job: Job) -> dict[str, str]:
    """The settings on which the meaning of the feature columns depends."""
    return {
        "windows": " ".join(str(days) for days in job.settings.features.windows),
        "horizon_days": str(job.settings.snapshots.horizon_days),
        "custom": json.dumps([feature.model_dump() for feature in job.settings.features.custom]),
    }


def _made_with(job: Job) -> str:
    return json.dumps({**made_with(job), "country": country(job)}, sort_keys=True)


def country(job: Job) -> str | None:
    """Whose public holidays the features count."""
    return (
        job.settings.features.country or job.lake.properties("transactions").get("country") or None
    )


def show_built(built: Built) -> None:
    """One line on the snapshots."""
    there = len(built.dates) - len(built.made)
    say(
        f"{built.snapshots:,} snapshots on {len(built.dates)} dates "
        f"({built.dates[0]} .. {built.dates[-1]}), {built.features} features"
        + (f"; {there} of the dates were there already" if there else "")
    )


def show_plan(job: Job, span: LogSpan, dates: list[date]) -> None:
    """What would be built, from one pass over two columns of `transactions`; nothing is written."""
    windows = job.settings.features.windows
    bought = F.when(F.col("kind") == "purchase", F.col("customer_id"))
    before = [
        F.approx_count_distinct(F.when(F.col("ordered_on") < F.lit(d), bought)).alias(str(d))
        for d in dates
    ]
    day = F.struct("customer_id", "ordered_on")
    counted = (
        known_lines(job, span)
        .agg(F.count(F.lit(1)).alias("lines"), F.approx_count_distinct(day).alias("days"), *before)
        .collect()[0]
    )
    there = _there(job)
    chunks = -(-len(dates) // job.settings.features.dates_per_chunk)
    facts = [
        ("lines of the log before as_of", counted["lines"]),
        ("customer-days, about", counted["days"]),
        ("as-of dates", f"{len(dates)}: {dates[0]} .. {dates[-1]}"),
        ("of these, there already", sum(d in there for d in dates)),
        ("windows", ", ".join([*[f"{days} d" for days in windows], "lifetime"])),
        ("features", len(feature_columns(job))),
        ("snapshots to come, about", sum(counted[str(d)] for d in dates if d not in there)),
        ("passes over customer_days", chunks),
        ("one exchange a pass, about", f"{counted['days'] * BYTES_PER_DAY / 2**20:,.0f} MiB"),
        ("plan", "window over each customer's days, numpy fold of all dates (features/fold.py)"),
    ]
    show("Plan", ["", "figure"], facts)


@handled
def main(
    lake: LakeDir = None,
    as_of: AsOf = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First date to fill."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Last date to fill.  [default: as-of]",
        ),
    ] = None,
    step_days: Annotated[
        int, typer.Option("--step", min=1, help="Days between the dates to fill.")
    ] = 1,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be built; write nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Build also the dates that are there already.")
    ] = False,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Aggregate transactions into customer_days, features and labels.

    Without --from: the training dates and as-of. What is there and up to date is not built again.
    """
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    dates = _filled(span, first, last, step_days)
    if plan:
        show_plan(job, span, dates or [*dates_to_train(job, span), span.as_of])
        return
    with step(f"Build features as of {span.as_of}"):
        built = build_features(job, span, dates, again=again)
    show_built(built)
    console.print(f"Next: [bold]repurchase train --lake {job.lake.location}[/bold]")


def _filled(
    span: LogSpan, first: datetime | None, last: datetime | None, step_days: int
) -> list[date] | None:
    if first is None:
        if last is not None:
            raise InputError("--to: give --from too")
        return None
    begin, end = first.date(), last.date() if last else span.as_of
    if not span.first < begin <= end <= span.as_of:
        raise InputError(
            f"--from {begin} --to {end}: choose days from {span.first + timedelta(1)} to "
            f"{span.as_of}, the first no later than the last"
        )
    return [begin + timedelta(days) for days in range(0, (end - begin).days + 1, step_days)]


if __name__ == "__main__":
    typer.run(main)
