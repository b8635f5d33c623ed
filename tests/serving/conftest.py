"""What the tests of docs/sql.md share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.serving.sql_page import write_history


@pytest.fixture(scope="session")
def with_history(spark: SparkSession, undisturbed: Path, once: Callable[..., Path]) -> Path:
    """The folder of a lake on which every query has an answer; copy it before writing."""
    return once("with_history", lambda folder: write_history(spark, undisturbed, folder))
