"""Ctrl-C ends cleanly; killed at any moment and started again, the tables are as undisturbed."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from jobs.cli import app
from lake.store import Lake
from tests.jobs.commands import BIN, Process, Starter, tables

pytestmark = pytest.mark.slow

# What each says when it has begun.
COMMANDS = {
    "ingest": "Ingest",
    "build-features": "Build features",
    "train": "Train",
    "score": "Score",
}


def interrupted(process: Process, during: str) -> None:
    """Press Ctrl-C in the step and see how it ends."""
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


def test_ctrl_c_ends_a_run_cleanly(
    start: Starter, tiny_env: Path, small_log: Path, tmp_path: Path
) -> None:
    command = (BIN / "repurchase", "run", "--env", tiny_env, "--source", "generated")
    files = ("--input", small_log, "--lake", tmp_path / "lake")
    interrupted(start(*command, *files, cwd=tmp_path), "2/4 Build features")


def test_ctrl_c_ends_a_training_cleanly(
    start: Starter, tiny_env: Path, undisturbed: Path, tmp_path: Path
) -> None:
    lake = shutil.copytree(undisturbed, tmp_path / "lake")
    command = (BIN / "repurchase", "train", "--env", tiny_env, "--lake", lake)
    interrupted(start(*command, cwd=tmp_path), COMMANDS["train"])


def test_killed_in_every_step_and_started_again_the_tables_are_as_undisturbed(
    start: Starter,
    tiny_env: Path,
    small_log: Path,
    undisturbed: Path,
    spark: SparkSession,
    tmp_path: Path,
) -> None:
    log = ("--source", "generated", "--input", small_log)
    for number, (command, said) in enumerate(COMMANDS.items()):
        words = [command, "--env", tiny_env, "--lake", tmp_path / "lake"]
        words += log if command == "ingest" else ()
        killed = start(BIN / "repurchase", *words, cwd=tmp_path)
        killed.until(said)
        time.sleep(0.5 + number / 2)
        assert killed.popen.poll() is None
        killed.kill()
        again = CliRunner().invoke(app, [str(word) for word in words])
        assert again.exit_code == 0, again.output
    expected = tables(Lake(spark, str(undisturbed)))
    found = tables(Lake(spark, str(tmp_path / "lake")))
    for name, rows in expected.items():
        assert found[name] == rows, name
