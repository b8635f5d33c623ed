"""The built wheel on a standalone cluster gives the scores of the local run."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from lake.store import Lake
from tests.jobs.commands import BIN, ROOT, Starter, comparable

SPARK = Path(pyspark.__file__).parent
SPARK_ENV = {
    "SPARK_HOME": str(SPARK),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_PYTHON": sys.executable,
}
SAME_ON_A_CLUSTER = ("features", "labels", "models", "evaluations", "scores", "current_scores")

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def master(start: Starter, tmp_path: Path) -> str:
    """The address of a standalone master with two workers of one core each."""
    daemon = [SPARK / "bin" / "spark-class", "org.apache.spark.deploy"]
    port = str(free_port())
    listening = ["--host", "127.0.0.1", "--webui-port", "0"]
    address = f"spark://127.0.0.1:{port}"
    leader = start(
        daemon[0], f"{daemon[1]}.master.Master", *listening, "--port", port, cwd=tmp_path,
        env=SPARK_ENV,
    )  # fmt: skip
    leader.until("I have been elected leader")
    for number in (1, 2):
        size = ["--cores", "1", "--memory", "1g", "--work-dir", tmp_path / f"worker{number}"]
        worker = start(
            daemon[0], f"{daemon[1]}.worker.Worker", *listening, *size, address, cwd=tmp_path,
            env=SPARK_ENV,
        )  # fmt: skip
        worker.until("Successfully registered with master")
    return address


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
        *("--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.ui.enabled=false", script),
        *("--env", tiny_env, "--source", "generated", "--input", small_log),
        *("--lake", tmp_path / "lake"),
        cwd=tmp_path,
        env={**SPARK_ENV, "PYTHONPATH": str(wheel)},
    )
    assert submitted.ends() == 0, submitted.said()[-5000:]
    executors = {path.parent.name for path in tmp_path.glob("worker*/app-*/*/stderr")}
    assert len(executors) == 2, executors
    there, here = Lake(spark, str(tmp_path / "lake")), Lake(spark, str(undisturbed))
    for table in SAME_ON_A_CLUSTER:
        assert comparable(there.read(table)) == comparable(here.read(table)), table


@pytest.mark.parametrize(
    "verb", sorted(p.stem for p in (ROOT / "jobs").glob("*.py") if "@handled" in p.read_text())
)
def test_every_command_is_also_a_script(
    start: Starter, wheel: Path, tmp_path: Path, verb: str
) -> None:
    said: Callable[..., str] = lambda *command: _help_of(start, tmp_path, *command)  # noqa: E731 - two calls
    # A module `features` in jobs/ would hide the package when a script runs from there.
    command = ["features", "list"] if verb == "list_features" else [verb.replace("_", "-")]
    script = ROOT / "jobs" / f"{verb}.py"
    assert said(sys.executable, script) == said(BIN / "repurchase", *command)


def _help_of(start: Starter, cwd: Path, *command: str | Path) -> str:
    asked = start(*command, "--help", cwd=cwd, env={"COLUMNS": "100", "NO_COLOR": "1"})
    assert asked.ends(60) == os.EX_OK, asked.said()
    return asked.stdout.read_text().split("Options", 1)[1]
