"""Whole commands as tests see them: processes and their output, and the tables they leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, Row

from lake.store import Lake

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TABLES = (
    *("transactions", "quarantine", "customer_days", "features", "labels"),
    *("evaluations", "comparisons", "curves", "reliability", "importances", "models"),
    "segment_reliability",
    *("scores", "current_scores", "lifetime_value", "customer_base"),
)
# Of a JVM that is over before what its second compiler makes is worth the time.
BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# When it was written, where it is, and which versions of the tables it read.
MAY_DIFFER = ("scored_at", "path", "data_versions")


def comparable(frame: DataFrame) -> list[Row]:
    """The rows in an order of their own, without what a repetition may change."""
    rows = frame.drop(*MAY_DIFFER).collect()
    return sorted(rows, key=repr)


def stored(lake: Lake, name: str) -> list[dict[str, Any]]:
    """The same of a whole table of a folder, read without Spark: in a tenth of the time."""
    rows = DeltaTable(lake.folder(name)).to_pyarrow_table()
    told = rows.select(sorted(set(rows.column_names) - set(MAY_DIFFER)))
    return sorted(told.to_pylist(), key=repr)


def tables(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """The comparable rows of every table of the lake."""
    return {name: stored(lake, name) for name in TABLES}


@dataclass
class Process:
    """A command in a process group of its own, whose output goes to a file."""

    popen: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def said(self) -> str:
        return self.stdout.read_text(errors="replace") + self.stderr.read_text(errors="replace")

    def until(self, text: str, seconds: float = 600) -> None:
        """Wait for the text in its output; fail if it ends before or takes too long."""
        deadline = time.monotonic() + seconds
        while text not in self.said():
            ended = self.popen.poll()
            if (ended is not None and text not in self.said()) or time.monotonic() > deadline:
                pytest.fail(f"no {text!r} (exit {ended}) in:\n{self.said()[-5000:]}")
            time.sleep(0.05)

    def ends(self, seconds: float = 900) -> int:
        """Its exit code."""
        return self.popen.wait(seconds)

    def alive(self) -> bool:
        """Whether anything of its process group still runs."""
        try:
            os.killpg(self.popen.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """End the whole group at once, as a power cut would."""
        if self.alive():
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(30)


@dataclass
class Starter:
    folder: Path
    processes: list[Process] = field(default_factory=list)

    def __call__(
        self, *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> Process:
        number = len(self.processes)
        stdout, stderr = self.folder / f"{number}.out", self.folder / f"{number}.err"
        with stdout.open("wb") as out, stderr.open("wb") as err:
            popen = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.processes.append(Process(popen, stdout, stderr))
        return self.processes[-1]
