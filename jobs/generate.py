"""`repurchase generate`: a seeded synthetic log, and the truth behind it."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.settings import load_settings
from jobs.console import handled, say, step
from jobs.options import Env, Set, say_next
from jobs.session import spark_session
from lake.synthetic import SyntheticShop, synthetic_log, true_probabilities

FIRST_DAY = datetime(2023, 1, 1)
# By which a generated log is known.
OF_A_LOG = ("customer_id", "order_id", "line_number", "ordered_at", "payment_method", "channel")


def generate(
    spark: SparkSession, shop: SyntheticShop, output: str, as_ofs: list[date], horizon_days: int
) -> int:
    """Write `OUTPUT/log` and, for each as-of date, `OUTPUT/truth/as_of=DATE`, both Parquet.

    Gives the number of lines. Running it again with the same arguments writes the same rows; the
    truth of other dates goes, which may be of another log.
    Raises InputError where `OUTPUT/log` is no log of its own.
    """
    _check_own(spark, f"{output}/log")
    for folder in Path(output, "truth").glob("as_of=*"):
        shutil.rmtree(folder)
    synthetic_log(spark, shop).write.mode("overwrite").parquet(f"{output}/log")
    for as_of in as_ofs:
        truth = true_probabilities(spark, shop, as_of, horizon_days).drop("as_of")
        truth.write.mode("overwrite").parquet(f"{output}/truth/as_of={as_of}")
    return spark.read.parquet(f"{output}/log").count()


def _check_own(spark: SparkSession, path: str) -> None:
    """Raises InputError where there is something else than a generated log."""
    try:
        is_own = set(OF_A_LOG) <= set(spark.read.parquet(path).columns)
    except AnalysisException as problem:
        is_own = "PATH_NOT_FOUND" in str(problem)
    if not is_own:
        raise InputError(f"{path} is there, and is no generated log: choose another --output")


@handled
def main(
    output: Annotated[str, typer.Option(metavar="DIR", help="Folder for the log and the truth.")],
    customers: Annotated[int, typer.Option(min=1, help="Customers.")] = 20_000,
    days: Annotated[int, typer.Option(min=1, max=36_525, help="Days of log.")] = 730,
    seed: Annotated[int, typer.Option(help="The same seed gives the same log.")] = 1,
    start: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="First day of the log.",
            show_default=f"{FIRST_DAY:%Y-%m-%d}",
        ),
    ] = FIRST_DAY,
    as_of: Annotated[
        list[datetime] | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Day to write the true probabilities for; may be repeated.",
            show_default="the day after the log, and one horizon before",
        ),
    ] = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Write a synthetic log of customers who buy till they die, and the true probabilities."""
    settings = load_settings(env, set_ or [])
    horizon = settings.snapshots.horizon_days
    shop = SyntheticShop(customers=customers, days=days, seed=seed, start=start.date())
    try:
        end = shop.start + timedelta(days)
    except OverflowError:
        raise ConfigurationError(
            f"--start {shop.start}: no calendar has {days} days more"
        ) from None
    if as_of:
        asked = [day.date() for day in as_of]
        _check_dates(asked, shop, end)
    else:
        asked = [day for day in (end - timedelta(horizon), end) if day > shop.start]
    with step(f"Generate {customers:,} customers over {days:,} days, seed {seed}"):
        spark = spark_session(settings.spark)
        lines = generate(spark, shop, output, asked, horizon)
        say(f"{lines:,} lines in {output}/log")
    for day in asked:
        truth = spark.read.parquet(f"{output}/truth/as_of={day}")
        mean = truth.agg(F.avg("probability")).collect()[0][0]
        say(f"truth for {day} in {output}/truth/as_of={day}: mean probability {mean or 0:.4f}")
    say_next(["run", "--source", "generated", "--input", f"{output}/log"], env, set_)


def _check_dates(days: list[date], shop: SyntheticShop, end: date) -> None:
    for day in days:
        if not shop.start < day <= end:
            raise ConfigurationError(
                f"--as-of {day}: the log is to cover {shop.start} .. {end - timedelta(1)}; choose "
                f"a day from {shop.start + timedelta(1)} to {end}"
            )


if __name__ == "__main__":
    typer.run(main)
