"""The built wheel on a standalone cluster gives the scores of the local run."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from benchmarks.standalone import ENVIRONMENT, standalone
from jobs.cli import app
from lake.store import Lake
from tests.jobs.commands import BIN, BRIEF, ROOT, Starter, stored

SAME_ON_A_CLUSTER = ("features", "labels", "models", "evaluations", "scores", "current_scores")

pytestmark = pytest.mark.slow


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """The address of a standalone master with two workers of one core each."""
    with standalone(tmp_path) as address:
        yield address


def test_the_wheel_scores_on_two_workers_what_the_local_run_scores(
    start: Starter,
    master: str,
    wheel: Path,
    tiny_env: Path,
    small_log: Path,
    undisturbed: Path,
    spark: SparkSession,
    tmp_path: Path,
) -> None:
    script = tmp_path / "run.py"  # away from the checkout: what is imported comes of the wheel
    script.write_text((ROOT / "jobs" / "run.py").read_text())
    submitted = start(
        BIN / "spark-submit",
        *("--master", master, "--py-files", wheel, "--conf", "spark.executor.memory=1g"),
        *("--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.ui.enabled=false"),
        *("--conf", f"spark.executor.extraJavaOptions={BRIEF}", "--driver-java-options", BRIEF),
        script,
        *("--env", tiny_env, "--source", "generated", "--input", small_log),
        *("--lake", tmp_path / "lake"),
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(wheel)},
    )
    assert submitted.ends() == 0, submitted.said()[-5000:]
    executors = {path.parent.name for path in tmp_path.glob("worker*/app-*/*/stderr")}
    assert len(executors) == 2, executors
    there, here = Lake(spark, str(tmp_path / "lake")), Lake(spark, str(undisturbed))
    for table in SAME_ON_A_CLUSTER:
        assert stored(there, table) == stored(here, table), table


@pytest.mark.parametrize(
    "verb", sorted(p.stem for p in (ROOT / "jobs").glob("*.py") if "@handled" in p.read_text())
)
def test_every_command_is_also_a_script(
    start: Starter, wheel: Path, tmp_path: Path, verb: str
) -> None:
    # A module `features` or `models` in jobs/ would hide the package from a script there.
    lists = verb.startswith("list_")
    command = [verb.removeprefix("list_"), "list"] if lists else [verb.replace("_", "-")]
    script = ROOT / "jobs" / f"{verb}.py"
    plain = {"COLUMNS": "100", "NO_COLOR": "1"}
    asked = start(sys.executable, script, "--help", cwd=tmp_path, env=plain)
    assert asked.ends(60) == os.EX_OK, asked.said()
    told = CliRunner().invoke(app, [*command, "--help"], env=plain)
    assert asked.stdout.read_text().split("Options", 1)[1] == told.stdout.split("Options", 1)[1]
