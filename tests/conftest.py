"""What all tests share: one local Spark session with Delta, a small log and one run of it,
processes, and the real logs where they are.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings, load_settings
from conf.source import load_source
from jobs.options import Job
from jobs.run import run
from jobs.session import spark_session
from lake.store import Lake
from lake.synthetic import SyntheticShop, synthetic_log
from tests.jobs.commands import BRIEF, Starter

REAL_LOGS = {
    "online_retail": "online_retail",
    "cdnow": "cdnow/CDNOW_master.txt",
    "tafeng": "tafeng/ta_feng_all_months_merged.csv.gz",
}
SHARED = Path(os.environ.get("REPURCHASE_SHARED", Path(__file__).parents[2] / "shared"))

SHOP = SyntheticShop(customers=400, days=400, seed=3)
END = SHOP.start + timedelta(SHOP.days)
# A day on which nothing happens, so that the log known on the morning after ends earlier.
QUIET_DAY = END - timedelta(80)
# Nothing but the champion differs from what the commands ship with, and all is small.
TINY = f"""
spark:
  master: local[2]
  config:
    spark.driver.extraJavaOptions: {BRIEF}
    spark.driver.memory: 1g
    spark.sql.shuffle.partitions: 2
    spark.ui.enabled: false
    spark.ui.showConsoleProgress: false
    spark.databricks.delta.snapshotPartitions: 1
features: {{windows: [30, 90]}}
snapshots: {{count: 6}}
training:
  models:
    logistic_regression: {{regParam: [0.1], maxIter: [8]}}
    random_forest: null
    gbt: null
    lightgbm: null
    xgboost: null
    catboost: null
  folds: 2
  partitions: 1
tracking: {{enabled: false}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a run of the job is slow."""
    for item in items:
        if "undisturbed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The local settings, with fewer shuffle partitions."""
    return load_settings("local", ["spark.config={spark.sql.shuffle.partitions: 2}"])


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[SparkSession]:
    """A local session as the commands make it."""
    session = spark_session(settings.spark)
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start a command; whatever still runs after the test, passed or failed, is ended."""
    folder = tmp_path / "output"
    folder.mkdir()
    started = Starter(folder)
    try:
        yield started
    finally:
        for process in reversed(started.processes):
            process.kill()


@pytest.fixture(scope="session")
def real_log() -> dict[str, str]:
    """The paths of the real logs; a test that asks for them skips where they are absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real logs are not in {SHARED / 'data'}")
    return {name: str(SHARED / "data" / path) for name, path in REAL_LOGS.items()}


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Have a folder made by whichever of the workers asks first: `once(name, make)`."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, make: Callable[[Path], object]) -> Path:
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / f"{name}.made").exists():
                make(shared / name)
                (shared / f"{name}.made").touch()
        return shared / name

    return made


@pytest.fixture(scope="session")
def small_log(spark: SparkSession, once: Callable[..., Path]) -> Path:
    """A synthetic log of 400 customers and 400 days, with a quiet day."""

    def make(path: Path) -> None:
        lines = synthetic_log(spark, SHOP).where(F.to_date("ordered_at") != F.lit(QUIET_DAY))
        lines.coalesce(2).write.mode("overwrite").parquet(str(path))

    return once("small_log", make)


@pytest.fixture(scope="session")
def tiny_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment file for trainings that take seconds."""
    path = tmp_path_factory.mktemp("env") / "tiny.yml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def run_in(spark: SparkSession, tiny_env: Path) -> Callable[[Path, Path, date | None], Job]:
    """The whole job in this process: `run_in(lake folder, log, as_of)`."""

    def run_there(folder: Path, log: Path, as_of: date | None = None) -> Job:
        job = Job(spark, Lake(spark, str(folder)), load_settings(str(tiny_env)))
        run(job, load_source("generated"), str(log), as_of)
        return job

    return run_there


@pytest.fixture(scope="session")
def undisturbed(run_in: Callable[..., Job], small_log: Path, once: Callable[..., Path]) -> Path:
    """The folder of the tables of one run of the small log; copy it before writing."""
    return once("undisturbed", lambda folder: run_in(folder, small_log))
