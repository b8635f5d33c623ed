"""The whole job on a Spark Connect server gives the features and scores of the local run."""

import re
import socket
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from benchmarks.standalone import ENVIRONMENT
from lake.store import Lake
from tests.jobs.commands import BIN, BRIEF, Process, Starter, stored

SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
CONFIGURATION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "1",
}
PARTS = ("conf", "features", "jobs", "lake", "models", "serving")
SAME = ("transactions", "customer_days", "features", "labels", "scores", "lifetime_value")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _listens(process: Process, port: int) -> bool:
    with socket.socket() as probe:
        return process.popen.poll() is None and probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def server(start: Starter, tmp_path: Path) -> str:
    """The address of a Spark Connect server."""
    port = _free_port()
    known = {**CONFIGURATION, "spark.connect.grpc.binding.port": str(port)}
    flags = [part for pair in known.items() for part in ("--conf", "=".join(pair))]
    process = start(
        *(BIN / "spark-submit", "--master", "local[2]", "--driver-memory", "2g"),
        *("--driver-java-options", BRIEF),
        *("--class", SERVER, *flags, "spark-internal"),
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    process.until("Spark Connect server started", 120)
    assert _listens(process, port)
    return f"sc://127.0.0.1:{port}"


def test_no_module_speaks_to_the_context_or_the_jvm_of_a_session() -> None:
    root = Path(__file__).parents[2]
    sources = [path for part in PARTS for path in (root / part).rglob("*.py")]
    assert len(sources) > len(PARTS)
    wrong = re.compile(r"\bsparkContext\b|\bSparkContext\b|\.rdd\b|\b_jvm\b|\b_jsc\b|\b_jdf\b")
    assert [str(path) for path in sources if wrong.search(path.read_text())] == []


@pytest.mark.slow
def test_the_job_on_a_connect_server_scores_what_the_local_run_scores(
    start: Starter,
    server: str,
    tiny_env: Path,
    small_log: Path,
    undisturbed: Path,
    spark: SparkSession,
    tmp_path: Path,
) -> None:
    settings = yaml.safe_load(tiny_env.read_text())
    runtime = {"spark.sql.shuffle.partitions": 2, "spark.databricks.delta.snapshotPartitions": 1}
    settings["spark"] = {"remote": server, "config": runtime}
    env = tmp_path / "remote.yml"
    env.write_text(yaml.safe_dump(settings))
    run = start(
        *(BIN / "repurchase", "run", "--env", env, "--source", "generated"),
        *("--input", small_log, "--lake", tmp_path / "lake"),
        cwd=tmp_path,
    )
    assert run.ends(1500) == 0, run.said()[-5000:]
    there, here = Lake(spark, str(tmp_path / "lake")), Lake(spark, str(undisturbed))
    for table in SAME:
        assert stored(there, table) == stored(here, table), table
