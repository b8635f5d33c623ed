"""Ctrl-C ends cleanly; killed at any moment and started again, the tables are as undisturbed."""

import os
import signal
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lake.store import Lake
from tests.jobs.commands import BIN, Process, Starter, tables

pytestmark = pytest.mark.slow

STEPS = ("1/4 Ingest", "2/4 Build features", "3/4 Train", "4/4 Score")


def run(start: Starter, tiny_env: Path, log: Path, folder: Path) -> Process:
    return start(
        *(BIN / "repurchase", "run", "--env", tiny_env, "--source", "generated"),
        *("--input", log, "--lake", folder / "lake"),
        cwd=folder,
    )


@pytest.mark.parametrize("during", [STEPS[1], STEPS[2]])
def test_ctrl_c_ends_cleanly(
    start: Starter, tiny_env: Path, small_log: Path, tmp_path: Path, during: str
) -> None:
    process = run(start, tiny_env, small_log, tmp_path)
    process.until(during)
    time.sleep(2)  # well inside the step
    os.killpg(process.popen.pid, signal.SIGINT)  # a terminal sends it to Spark's process too
    assert process.ends(60) == 130, process.said()
    said = process.stderr.read_text()
    assert "interrupted; running the same command again is safe" in said
    assert "Traceback" not in process.said()
    assert "\tat " not in said, said
    deadline = time.monotonic() + 20
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not process.alive()


def test_killed_in_every_step_and_started_again_the_tables_are_as_undisturbed(
    start: Starter,
    tiny_env: Path,
    small_log: Path,
    undisturbed: Path,
    spark: SparkSession,
    tmp_path: Path,
) -> None:
    for number, step in enumerate(STEPS):
        process = run(start, tiny_env, small_log, tmp_path)
        process.until(step)
        time.sleep(0.5 + number / 2)
        assert process.popen.poll() is None
        process.kill()
    last = run(start, tiny_env, small_log, tmp_path)
    assert last.ends() == 0, last.said()
    expected = tables(Lake(spark, str(undisturbed)))
    found = tables(Lake(spark, str(tmp_path / "lake")))
    for name, rows in expected.items():
        assert found[name] == rows, name
