"""One real local Spark session with Delta for all tests, and the real logs where they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings, load_settings
from jobs.session import spark_session
from lake.store import Lake

REAL_LOGS = {
    "online_retail": "online_retail",
    "cdnow": "cdnow/CDNOW_master.txt",
    "tafeng": "tafeng/ta_feng_all_months_merged.csv.gz",
}
SHARED = Path(os.environ.get("REPURCHASE_SHARED", Path(__file__).parents[2] / "shared"))


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


@pytest.fixture(scope="session")
def real_log() -> dict[str, str]:
    """The paths of the real logs; a test that asks for them skips where they are absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real logs are not in {SHARED / 'data'}")
    return {name: str(SHARED / "data" / path) for name, path in REAL_LOGS.items()}
