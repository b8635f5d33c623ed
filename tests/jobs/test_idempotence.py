"""Running a step again leaves the same rows; another day leaves the others alone; no future."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import load_settings
from jobs.build_features import build_features
from jobs.options import Job, log_span
from jobs.score import score
from jobs.train import train
from lake.store import Lake
from tests.conftest import END, QUIET_DAY
from tests.jobs.commands import stored, tables

pytestmark = pytest.mark.slow

Run = Callable[..., Job]
# The morning after a day without a line: what is known of the log ends a day earlier.
EARLIER = QUIET_DAY + timedelta(1)
DATED = ("features", "labels", "evaluations", "scores")


@pytest.fixture
def copied(undisturbed: Path, tmp_path: Path) -> Path:
    """The tables of the undisturbed run, to write to."""
    return Path(shutil.copytree(undisturbed, tmp_path / "lake"))


@pytest.fixture(scope="module")
def without_future(
    run_in: Run, spark: SparkSession, small_log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Lake:
    """The tables of a run as of an earlier day, into an empty folder, of a log without a line from
    that day on.
    """
    folder = tmp_path_factory.mktemp("earlier")
    log = spark.read.parquet(str(small_log))
    assert log.where(future()).count() > 500
    log.where(~future()).write.parquet(str(folder / "log"))
    return run_in(folder / "lake", folder / "log", EARLIER).lake


def test_every_step_again_leaves_the_same_rows(
    run_in: Run, small_log: Path, undisturbed: Path, copied: Path, spark: SparkSession
) -> None:
    first = Lake(spark, str(undisturbed))
    before = tables(first)
    again = run_in(copied, small_log).lake
    after = tables(again)
    # The first training too is saved beside, and not over, what it had saved.
    saved = [Path(lake.read("models").first()["path"]).name for lake in (first, again)]
    assert sorted(path.name for path in (copied / "saved_models").iterdir()) == sorted(set(saved))
    assert len(set(saved)) == 2
    for name, rows in before.items():
        assert rows or name == "quarantine", name
        assert after[name] == rows, name


def test_an_earlier_day_afterwards_leaves_the_other_days_alone(
    spark: SparkSession, tiny_env: Path, copied: Path, without_future: Lake
) -> None:
    job = Job(spark, Lake(spark, str(copied)), load_settings(str(tiny_env)))
    before = tables(job.lake)
    span = log_span(job, EARLIER)
    build_features(job, span)
    train(job, span)
    score(job, EARLIER)

    after = tables(job.lake)
    assert span.end == QUIET_DAY
    for name in DATED:
        kept = {row["as_of"] for row in before[name]}
        assert [row for row in after[name] if row["as_of"] in kept] == before[name], name
        assert {row["as_of"] for row in after[name]} > kept, name
    assert after["current_scores"] == before["current_scores"]
    assert {row["as_of"] for row in after["current_scores"]} == {END}
    assert {row["trained_for"] for row in after["models"]} == {END, EARLIER}
    # Neither what came later nor that there was a later run shows in what the earlier day has now.
    expected = tables(without_future)
    before_it = [row for row in after["customer_days"] if row["day"] < EARLIER]
    assert before_it == expected["customer_days"]
    for name in DATED:
        of_it = {row["as_of"] for row in expected[name]}
        assert [row for row in after[name] if row["as_of"] in of_it] == expected[name], name
    assert [row for row in after["models"] if row["trained_for"] == EARLIER] == expected["models"]


def future() -> Column:
    return F.col("ordered_at") >= F.lit(EARLIER).cast("timestamp_ntz")


def perturbed(log: DataFrame) -> DataFrame:
    """Everything from the day on is something else, and some of it breaks the contract."""
    other = F.concat(F.lit("N"), F.substr("customer_id", F.lit(3)))
    amount = F.when(F.hash("order_id") % 7 == 0, F.lit(None)).otherwise(F.abs("amount") * 40 + 1)
    changed = {
        "customer_id": F.when(F.hash("order_id") % 2 == 0, other).otherwise(F.col("customer_id")),
        "order_id": F.concat(F.lit("9"), "order_id"),
        "ordered_at": F.col("ordered_at") + F.expr("interval 3 days"),
        "kind": F.when(F.hash("order_id") % 5 == 0, F.lit("return")).otherwise(F.lit("purchase")),
        "category": F.concat(F.lit("a new "), "category"),
        "payment_method": F.lit("a new one"),
        "quantity": F.col("quantity") + 11,
        "amount": amount.cast("decimal(12,2)"),
    }
    return log.select(
        *[
            F.when(future(), changed[name]).otherwise(F.col(name)).alias(name)
            if name in changed
            else F.col(name)
            for name in log.columns
        ]
    )


def test_nothing_dated_on_or_after_as_of_has_any_influence(
    run_in: Run, spark: SparkSession, small_log: Path, tmp_path: Path, without_future: Lake
) -> None:
    log = spark.read.parquet(str(small_log))
    perturbed(log).write.parquet(str(tmp_path / "log"))
    told = run_in(tmp_path / "lake", tmp_path / "log", EARLIER).lake
    for name in ("customer_days", *DATED, "models", "current_scores"):
        assert stored(told, name) == stored(without_future, name), name
