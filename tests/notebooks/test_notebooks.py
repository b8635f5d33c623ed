"""Notebooks in Databricks source format run as they are, on local Spark with a real catalog."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from lake.store import Lake
from tests.conftest import TINY
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


@dataclass
class Shown:
    """What a notebook has shown: tables, and pages and plots as HTML."""

    tables: list[pd.DataFrame]
    html: list[str]

    def plots(self) -> int:
        """The plots beside whole pages."""
        return sum(text.startswith("<svg") for text in self.html)


def run_notebook(name: str, spark: SparkSession, given: dict[str, str]) -> Shown:
    """Run the cells of a notebook with these parameters, as the platform does."""
    notebook = (ROOT / "notebooks" / name).read_text()
    assert notebook.startswith("# Databricks notebook source\n# MAGIC %md\n# MAGIC # ")
    assert "At the end you have" in notebook.split("# COMMAND ----------")[0].replace(
        "\n# MAGIC ", " "
    )
    shown = Shown([], [])
    cells = {
        "spark": spark,
        "dbutils": SimpleNamespace(widgets=Widgets(given)),
        "display": shown.tables.append,
        "displayHTML": shown.html.append,
    }
    for cell in notebook.split("# COMMAND ----------"):
        exec(cell, cells)
    return shown


@pytest.fixture(scope="module")
def begun(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], Shown]:
    """The quick start: the parameters of the lake that it made, and what it has shown."""
    folder = tmp_path_factory.mktemp("notebooks")
    # So small a log may teach a model less than a baseline knows.
    env = folder / "env.yml"
    env.write_text(TINY.replace("training:\n", "training:\n  publish: always\n"))
    given = {"lake": str(folder / "lake"), "env": str(env)}
    size = {"log": str(folder / "generated"), "customers": "400", "days": "330"}
    return given, run_notebook("quick_start.py", spark, given | size)


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
    run_notebook(
        "run_on_catalog.py",
        spark,
        {
            "source": "generated",
            "input": str(small_log),
            "schema": schema,
            "models": str(tmp_path / "models"),
            "env": str(tiny_env),
        },
    )
    assert "customers scored as of" in capsys.readouterr().out
    there, here = Lake(spark, "", schema), Lake(spark, str(undisturbed))
    for table in ("transactions", "features", "labels", "scores", "current_scores"):
        assert comparable(there.read(table)) == comparable(here.read(table)), table
    comments = {
        row.col_name: row.comment for row in spark.sql(f"DESCRIBE {schema}.scores").collect()
    }
    assert "calibrated" in comments["probability"].lower()


def test_the_quick_start_shows_what_followed_what_it_predicted(
    spark: SparkSession, begun: tuple[dict[str, str], Shown]
) -> None:
    given, shown = begun
    assert shown.plots() == 3
    (deciles,) = shown.tables
    lake = Lake(spark, given["lake"])
    by_day = lake.read("scores").groupBy("as_of").count().orderBy("as_of").collect()
    (then, customers), (now, _) = by_day
    assert (now - then).days == 30
    assert deciles["customers"].sum() == customers
    assert deciles["repurchased"].sum() > 0


def test_a_feature_of_ones_own_is_audited(
    spark: SparkSession, begun: tuple[dict[str, str], Shown], capsys: pytest.CaptureFixture[str]
) -> None:
    given, _ = begun
    tables = {name: Lake(spark, given["lake"]).version(name) for name in ("features", "scores")}
    shown = run_notebook("own_features.py", spark, given)
    said = capsys.readouterr().out
    assert "no feature, no label and no score depends on the future" in said
    assert "weekend_orders_90d of C" in said
    assert shown.plots() == 2
    assert "yours: weekend_orders_90d" in shown.html[-1]
    assert tables == {name: Lake(spark, given["lake"]).version(name) for name in tables}


def test_a_model_is_reviewed(
    spark: SparkSession, begun: tuple[dict[str, str], Shown], tmp_path: Path
) -> None:
    card = tmp_path / "card.html"
    shown = run_notebook("review_model.py", spark, begun[0] | {"card": str(card)})
    assert shown.plots() == 4
    assert "logistic_regression" in shown.tables[0].index
    assert card.read_text() == shown.html[-1]


def test_a_campaign_keeps_to_its_budget_and_is_a_file_and_a_table(
    spark: SparkSession, begun: tuple[dict[str, str], Shown], tmp_path: Path
) -> None:
    given, file = begun[0], tmp_path / "campaign.csv"
    shown = run_notebook("plan_campaign.py", spark, given | {"csv": str(file), "budget": "60"})
    chosen = pd.read_csv(file)
    contacted = chosen[~chosen["control"]]
    assert 0 < len(contacted) <= 60 / 1.5
    assert chosen["expected_profit"].is_monotonic_decreasing
    table = spark.table(f"delta.`{given['lake']}/campaign_spring`").toPandas()
    assert set(table["customer_id"]) == set(chosen["customer_id"])
    assert shown.plots() == 2


def test_an_analyst_is_answered(spark: SparkSession, begun: tuple[dict[str, str], Shown]) -> None:
    shown = run_notebook("sql_for_analysts.py", spark, begun[0])
    assert shown.plots() == 2
    described, likeliest, sizes, moved, deciles, _ = shown.tables
    assert described["comment"].str.len().min() > 0
    assert len(likeliest) == 10
    assert sizes["share"].sum() <= 1 + 1e-9
    assert moved["customers"].sum() > 0
    assert len(deciles) == 10


def test_every_notebook_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert all(f'"{path.name}"' in text for path in (ROOT / "notebooks").glob("*.py"))
