"""Every query of docs/sql.md runs as it stands there and has an answer."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from conf.settings import load_settings
from jobs.options import Job
from jobs.views import register
from lake.store import Lake
from serving.sql_views import tables_of, views
from tests.serving.sql_page import blocks

SCHEMA = "repurchase"


@pytest.fixture(scope="module")
def lake(
    spark: SparkSession, with_history: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    """A lake by path, and the same tables with the views in a schema of the catalog."""
    folder = shutil.copytree(with_history, tmp_path_factory.mktemp("page") / "lakehouse")
    lake = Lake(spark, str(folder))
    spark.sql(f"CREATE SCHEMA {SCHEMA}")
    for table in tables_of(views()):
        location = lake.folder(table)
        spark.sql(f"CREATE TABLE {SCHEMA}.{table} USING DELTA LOCATION '{location}'")
    settings = load_settings("local", [f"lake.catalog_schema={SCHEMA}"])
    register(Job(spark, Lake(spark, "", SCHEMA), settings))
    yield lake
    spark.sql(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.mark.parametrize("query", blocks("sql"), ids=lambda query: " ".join(query.split())[:60])
def test_spark_answers(lake: Lake, query: str) -> None:
    folder = lake.folder("current_scores").removesuffix("/current_scores")
    assert lake.spark.sql(query.replace("/data/lakehouse", folder)).collect()


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: " ".join(code.split())[:60])
def test_python_answers_without_spark(
    lake: Lake, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(lake.folder("scores")).parents[1])
    exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_the_crm_is_told_all_then_what_changed_then_nothing(
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(lake.folder("current_scores"), tmp_path / "lakehouse" / "current_scores")
    monkeypatch.chdir(tmp_path)
    (crm,) = (code for code in blocks("python") if "crm_has_seen" in code)
    customers = lake.read("current_scores").count()
    seen = tmp_path / "crm_has_seen.txt"

    def told() -> pl.DataFrame:
        names: dict[str, object] = {}
        exec(crm, names)
        news = names["news"]
        assert isinstance(news, pl.DataFrame)
        assert int(capsys.readouterr().out.split()[0]) == news.height
        return news

    assert told().height == customers
    assert told().height == 0
    table = DeltaTable("lakehouse/current_scores")
    before = table.version() - 1
    seen.write_text(str(before))
    changed = set(told()["customer_id"])
    assert 0 < len(changed) < customers / 2
    # A second commit has some of them and others: each is told once, as they were left.
    table.update({"band": "'medium'"}, predicate="band = 'high'")
    last = dict(pl.read_delta("lakehouse/current_scores").select("customer_id", "band").rows())
    seen.write_text(str(before))
    news = told()
    assert len(changed) < news.height == news["customer_id"].n_unique() < customers
    assert dict(news.select("customer_id", "band").rows()).items() <= last.items()
    table.delete("decile = 1")
    first = lake.read("current_scores").where("decile = 1").count()
    assert told().height == first > 0


def test_the_page_names_every_view() -> None:
    text = " ".join(blocks("sql"))
    assert all(f"repurchase.{name}" in text for name in views())
