"""Notebooks in Databricks source format run as they are, on local Spark with a real catalog."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from lake.store import Lake
from tests.jobs.commands import ROOT, comparable

pytestmark = pytest.mark.slow

SCHEMA = "notebook_test"


class Widgets:
    """What Databricks' widgets do; they exist nowhere else."""

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given
        self._defaults: dict[str, str] = {}

    def text(self, name: str, default: str, label: str) -> None:
        self._defaults[name] = default

    def get(self, name: str) -> str:
        return {**self._defaults, **self._given}[name]


@pytest.fixture
def schema(spark: SparkSession, tmp_path: Path) -> Iterator[str]:
    """A schema of the session's catalog, gone after the test."""
    spark.sql(f"CREATE SCHEMA {SCHEMA} LOCATION '{tmp_path / 'schema'}'")
    yield SCHEMA
    spark.sql(f"DROP SCHEMA {SCHEMA} CASCADE")


def test_the_job_runs_on_catalog_tables(
    spark: SparkSession,
    schema: str,
    small_log: Path,
    tiny_env: Path,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    widgets = Widgets(
        {
            "source": "generated",
            "input": str(small_log),
            "schema": schema,
            "models": str(tmp_path / "models"),
            "env": str(tiny_env),
        }
    )
    notebook = (ROOT / "notebooks" / "run_on_catalog.py").read_text()
    assert notebook.startswith("# Databricks notebook source\n")
    cells = {"spark": spark, "dbutils": SimpleNamespace(widgets=widgets)}
    for cell in notebook.split("# COMMAND ----------"):
        exec(cell, cells)
    assert "customers scored as of" in capsys.readouterr().out
    there, here = Lake(spark, "", schema), Lake(spark, str(undisturbed))
    for table in ("transactions", "features", "labels", "scores", "current_scores"):
        assert comparable(there.read(table)) == comparable(here.read(table)), table
    comments = {
        row.col_name: row.comment for row in spark.sql(f"DESCRIBE {schema}.scores").collect()
    }
    assert "calibrated" in comments["probability"].lower()
