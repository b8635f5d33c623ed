"""The commands of docs/sql.md: a Thrift server by JDBC, asked by beeline."""

import shutil
import socket
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lake.store import Lake
from tests.jobs.commands import BIN, Process, Starter
from tests.serving.sql_page import blocks

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_views_are_written_served_and_asked_as_the_page_says(
    spark: SparkSession, with_history: Path, start: Starter, tmp_path: Path
) -> None:
    folder = shutil.copytree(with_history, tmp_path / "lakehouse")
    lake = Lake(spark, str(folder))
    shell, write, serve, ask = blocks("bash")
    port = str(free_port())

    (tmp_path / ".venv").symlink_to(BIN.parent)

    def run(block: str) -> Process:
        return start("bash", "-ec", block.replace("10000", port), cwd=tmp_path)

    counted = run(shell)
    assert counted.ends() == 0, counted.said()
    assert counted.stdout.read_text().split() == [str(lake.read("current_scores").count())]
    written = run(write)
    assert written.ends() == 0, written.said()
    run(serve).until(f"Starting ThriftBinaryCLIService on port {port}")
    asked = run(ask)
    assert asked.ends() == 0, asked.said()
    latest = lake.read("scores").agg({"as_of": "max"}).collect()[0][0]
    said = asked.stdout.read_text().split()
    assert said[said.index("segment,customers") :][-2:] == ["latest", str(latest)]
    sizes = [line.rsplit(",", 1) for line in asked.stdout.read_text().splitlines() if "," in line]
    customers = sum(int(size) for _, size in sizes if size.isdigit())
    assert customers == lake.read("current_scores").count()
