"""The options that commands share, and the job that they open."""

import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.markup import escape

from conf.errors import ConfigurationError, InputError
from conf.settings import Settings, load_settings, without_secret
from features.calendar import Clock
from jobs.console import console, say
from jobs.session import spark_session
from lake.store import Lake

Env = Annotated[
    str,
    typer.Option(
        help="Environment: local, demo, base, databricks, connect, a YAML file, or several: "
        "local,FILE lays the file over local."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="A setting; may be repeated."),
]
LakeDir = Annotated[
    str | None,
    typer.Option("--lake", metavar="DIR", help="Folder of the tables.", show_default="lakehouse"),
]
SourceFile = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="FILE",
        help="How the log maps onto the contract: a YAML file, or the name of a shipped one.",
    ),
]
InputPath = Annotated[
    str | None, typer.Option("--input", metavar="PATH", help="The log: file, folder or table.")
]
EventsPath = Annotated[
    str | None,
    typer.Option("--events", metavar="PATH", help="The events, which the source maps too."),
]
CustomersPath = Annotated[
    str | None,
    typer.Option("--customers", metavar="PATH", help="The customers, which the source maps too."),
]


def _day_or_moment(text: str) -> date:
    """A day, or a datetime where a time is said with it: that of midnight is no day alone."""
    with suppress(ValueError):
        return datetime.strptime(text, "%Y-%m-%d").date()
    with suppress(ValueError):
        return datetime.strptime(text, "%Y-%m-%dT%H:%M")
    raise typer.BadParameter(f"{text!r} is no day, such as 2024-03-01, and no 2024-03-01T14:00")


AsOf = Annotated[
    date | None,
    typer.Option(
        "--as-of",
        parser=_day_or_moment,
        metavar="DATE",
        help="Today is this day: nothing from it on is used.",
        show_default="the day after the log",
    ),
]


@dataclass(frozen=True)
class Job:
    """What every step works with."""

    spark: SparkSession
    lake: Lake
    settings: Settings


@dataclass(frozen=True)
class LogSpan:
    """The first day of the log, its last day before `as_of`, and the day that is today."""

    first: date
    last: date
    as_of: date

    @property
    def end(self) -> date:
        """The day after the last day that may be used: labels mature up to here."""
        return self.last + timedelta(1)


def show_next(
    command: str,
    job: Job,
    env: str,
    overrides: list[str] | None,
    as_of: date | None = None,
) -> None:
    """Say which command comes next, with the options that this one was given."""
    options = [] if job.settings.lake.catalog_schema else ["--lake", job.lake.location]
    if as_of is not None:
        options += ["--as-of", f"{as_of:%FT%R}" if isinstance(as_of, datetime) else str(as_of)]
    say_next([command, *options], env, overrides)


def say_next(words: list[str], env: str, overrides: list[str] | None) -> None:
    """Say that the command of these words comes next, with the settings that this one was given."""
    settings = [] if env == "local" else ["--env", env]
    for override in overrides or []:
        settings += ["--set", without_secret(override)]
    line = escape(shlex.join(["repurchase", *words, *settings]))
    console.print(f"Next: [bold]{line}[/bold]", soft_wrap=True)


def open_job(env: str, overrides: list[str] | None, lake_dir: str | None) -> Job:
    """The session, the tables and the settings that the options name.

    Raises ConfigurationError for a folder where the settings have a catalog's schema.
    """
    settings = load_settings(env, overrides or [])
    if lake_dir and settings.lake.catalog_schema:
        raise ConfigurationError(
            f"--lake {lake_dir}: lake.catalog_schema is {settings.lake.catalog_schema}, where the "
            "tables then are; leave --lake out, or --set lake.catalog_schema=null"
        )
    spark = spark_session(settings.spark)
    lake = Lake(spark, lake_dir or settings.lake.path, settings.lake.catalog_schema)
    return Job(spark, lake, settings)


def check_output(path: Path) -> None:
    """Raises InputError where the file cannot be written, before the work and not after it."""
    if not path.parent.is_dir():
        raise InputError(f"--output {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"--output {path}: a folder; name the file")


def clock(job: Job, table: str = "transactions") -> Clock:
    """Where and when the days of an ingested table begin."""
    known = job.lake.properties(table)
    return Clock(known.get("time_zone", "UTC"), known.get("day_starts_at", "00:00"))


def log_span(job: Job, as_of: date | None) -> LogSpan:
    """The span of the ingested log with `as_of`, by default the day after its last day; a datetime
    is the day that begins at that time.

    Raises InputError when `as_of` lies outside the log, or has a time at which no day begins.
    """
    day = as_of.date() if isinstance(as_of, datetime) else as_of
    # Only what is known at the start of `as_of`: lines from that day on may not move the end.
    known = F.lit(True) if day is None else F.col("ordered_on") < F.lit(day)
    days = job.lake.read("transactions").agg(
        F.min("ordered_on").alias("first"),
        F.max("ordered_on").alias("last"),
        F.max(F.when(known, F.col("ordered_on"))).alias("last_known"),
    )
    _check_time(as_of, clock(job))
    first, last, last_known = days.collect()[0]
    if first is None:
        raise InputError(f"the table transactions in {job.lake.location} has no rows")
    if day is None:
        return LogSpan(first, last, last + timedelta(1))
    horizon = job.settings.snapshots.horizon_days
    if not first < day <= last + timedelta(horizon):
        raise InputError(
            f"--as-of {day} is outside the log, which covers {first} .. {last}: choose a day from "
            f"{first + timedelta(1)} to {last + timedelta(horizon)}"
        )
    if day > last + timedelta(1):
        say(f"note: the log ends {last}, {(day - last).days - 1} days before as_of {day}")
    return LogSpan(first, last_known, day)


def _check_time(as_of: date | None, days: Clock) -> None:
    if isinstance(as_of, datetime) and f"{as_of:%H:%M}" != days.day_starts_at:
        raise InputError(
            f"--as-of {as_of:%Y-%m-%dT%H:%M}: the days of this log begin at {days.day_starts_at}; "
            "say that time or none, or change day_starts_at in the source file and ingest again"
        )
