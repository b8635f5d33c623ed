"""What workers write and delta-rs commits is the table that Spark would have written."""

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from lake import part_files, store
from lake.contracts import Column, Table
from lake.store import Lake, Made
from tests.jobs.commands import BIN, ROOT, Starter

pytestmark = pytest.mark.slow

FIRST = dt.date(2024, 2, 28)
DAYS = [FIRST + dt.timedelta(n) for n in range(4)]
VISITS = Table(
    "visits",
    "One row per visitor and day",
    (
        Column("who", "string", "The visitor"),
        Column("day", "date", "The day"),
        Column("pages", "int", "Pages seen; null: nobody counted"),
        Column("minutes", "double", "Minutes spent"),
    ),
    partitioned_by=("day",),
)
VISITORS = 500
SCHEMA = "who string, day date, pages int, minutes double"


def visits(days: list[dt.date], pages: int = 0) -> Callable[[Any], Iterator[pa.RecordBatch]]:
    """Makes of visitors their visits on these days, a third of the visitors each day."""

    def make(batches: Any) -> Iterator[pa.RecordBatch]:
        visitors = [n for batch in batches for n in batch.column("id").to_pylist()]
        for some in (visitors[n : n + 40] for n in range(0, len(visitors), 40)):
            made = [
                {
                    "who": f"v{n}",
                    "day": day,
                    "pages": n + pages if n % 5 else None,
                    "minutes": n / 7,
                }
                for day in days
                for n in some
                if (n + day.day) % 3 == 0
            ]
            types = [("who", pa.string()), ("day", pa.date32())]
            types += [("pages", pa.int32()), ("minutes", pa.float64())]
            yield pa.RecordBatch.from_pylist(made, schema=pa.schema(types))

    return make


def made(spark: SparkSession, days: list[dt.date], pages: int = 0) -> Made:
    return Made(spark.range(VISITORS, numPartitions=3).toDF("id"), visits(days, pages), SCHEMA)


def rows(lake: Lake) -> list[tuple[Any, ...]]:
    return sorted(
        map(tuple, lake.read("visits").select("day", "who", "pages", "minutes").collect())
    )


@pytest.fixture
def by_spark(spark: SparkSession, tmp_path: Path) -> Lake:
    """A lake to which the same rows are written by Spark."""
    return Lake(spark, str(tmp_path / "by spark"))


def test_the_table_is_that_which_spark_writes(
    spark: SparkSession, lake: Lake, by_spark: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_files, "HELD_ROWS", 100)  # so that a file has many row groups
    lake.replace_dates(VISITS, made(spark, DAYS), DAYS)
    by_spark.replace(VISITS, made(spark, DAYS).frame())
    assert rows(lake) == rows(by_spark)
    folder = lake.folder("visits")
    assert DeltaTable(folder).schema() == DeltaTable(by_spark.folder("visits")).schema()
    assert max(pq.ParquetFile(f).num_row_groups for f in DeltaTable(folder).file_uris()) > 1
    assert pl.read_delta(folder).height == len(rows(lake))
    files = DeltaTable(folder).file_uris()
    counted = duckdb.sql(f"SELECT count(*), sum(pages) FROM read_parquet({files})").fetchone()
    assert counted == (len(rows(lake)), sum(row[2] or 0 for row in rows(lake)))


def test_replaced_days_leave_the_others_alone_and_a_repeat_changes_nothing(
    spark: SparkSession, lake: Lake, by_spark: Lake
) -> None:
    lake.replace_dates(VISITS, made(spark, DAYS), DAYS)
    for _ in range(2):
        lake.replace_dates(VISITS, made(spark, DAYS[1:3], pages=1000), DAYS[1:3])
    by_spark.replace(VISITS, made(spark, [DAYS[0], DAYS[3]]).frame())
    by_spark.replace(
        VISITS,
        made(spark, DAYS[1:3], pages=1000).frame(),
        f"pages >= 1000 OR day IN (DATE'{DAYS[1]}', DATE'{DAYS[2]}')",
    )
    assert rows(lake) == rows(by_spark)


def test_a_day_without_rows_is_emptied(spark: SparkSession, lake: Lake) -> None:
    lake.replace_dates(VISITS, made(spark, DAYS), DAYS)
    lake.replace_dates(VISITS, made(spark, []), DAYS[:1])
    assert {row[0] for row in rows(lake)} == set(DAYS[1:])


def test_a_new_column_joins_and_old_days_keep_their_rows(spark: SparkSession, lake: Lake) -> None:
    narrow = Table(VISITS.name, "", VISITS.columns[:3], VISITS.partitioned_by)

    def without_minutes(batches: Any) -> Iterator[pa.RecordBatch]:
        for batch in visits(DAYS[:1])(batches):
            yield batch.drop_columns(["minutes"])

    source = spark.range(VISITORS).toDF("id")
    lake.replace_dates(narrow, Made(source, without_minutes, SCHEMA), DAYS[:1])
    lake.replace_dates(VISITS, made(spark, DAYS[1:]), DAYS[1:])
    assert {row[3] is None for row in rows(lake) if row[0] == DAYS[0]} == {True}
    assert {row[3] is None for row in rows(lake) if row[0] != DAYS[0]} == {False}
    comments = {f.name: f.metadata.get("comment") for f in lake.read("visits").schema.fields}
    assert comments["minutes"] == "Minutes spent"


def test_what_delta_rs_may_not_write_spark_writes(spark: SparkSession, lake: Lake) -> None:
    lake.replace_dates(VISITS, made(spark, DAYS), DAYS)
    name = lake.name("visits")
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    lake.replace_dates(VISITS, made(spark, DAYS, pages=7), DAYS)
    history = spark.sql(f"DESCRIBE HISTORY {name} LIMIT 1").collect()[0]
    assert history["engineInfo"].startswith("Apache-Spark")
    assert min(row[2] for row in rows(lake) if row[2] is not None) >= 7


def test_many_writers_of_different_days_all_succeed(spark: SparkSession, lake: Lake) -> None:
    days = [FIRST + dt.timedelta(n) for n in range(12)]
    lake.replace_dates(VISITS, made(spark, []), days)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda day: lake.replace_dates(VISITS, made(spark, [day]), [day]), days))
    assert (
        len(rows(lake))
        == len(set(rows(lake)))
        == sum(len(range(VISITORS)[-d.day % 3 :: 3]) for d in days)
    )


def test_two_writers_of_the_same_day_leave_the_rows_of_the_second(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other commits between what this one has read of the table and its commit."""
    day = FIRST
    lake.replace_dates(VISITS, made(spark, [day]), [day])
    alone, opened = rows(lake), store.DeltaTable

    def late(folder: str) -> DeltaTable:
        table = opened(folder)
        monkeypatch.setattr(store, "DeltaTable", opened)
        lake.replace_dates(VISITS, made(spark, [day]), [day])
        return table

    def commit(*given: object) -> None:
        monkeypatch.setattr(store, "_commit", committing)
        monkeypatch.setattr(store, "DeltaTable", late)
        committing(*given)

    committing = store._commit
    monkeypatch.setattr(store, "_commit", commit)
    lake.replace_dates(VISITS, made(spark, [day]), [day])
    assert rows(lake) == alone
    assert lake.version("visits") == 3


RETRIED = """
from pathlib import Path

from conf.settings import load_settings
from jobs.session import spark_session
from lake import part_files
from lake.store import Lake, Made
from tests.lake.test_part_files import DAYS, SCHEMA, VISITS, VISITORS, visits

part_files.HELD_ROWS = 100
settings = load_settings("local", ["spark.master='local[2,4]'"])
spark = spark_session(settings.spark)


def fails_at_first(batches):
    for number, batch in enumerate(visits(DAYS)(batches)):
        yield batch
        marker = Path({folder!r}) / f"tried{{number}}"
        if not marker.exists():
            marker.touch()
            raise OSError("the disk was full for a moment")


lake = Lake(spark, {folder!r})
source = spark.range(VISITORS, numPartitions=3).toDF("id")
lake.replace_dates(VISITS, Made(source, fails_at_first, SCHEMA), DAYS)
"""


def test_files_of_an_attempt_that_failed_are_no_part_of_the_table(
    start: Starter, spark: SparkSession, lake: Lake, by_spark: Lake, tmp_path: Path
) -> None:
    folder = tmp_path / "retried"
    folder.mkdir()
    script = tmp_path / "retried.py"
    script.write_text(RETRIED.format(folder=str(folder)))
    run = start(BIN / "python", script, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert run.ends() == 0, run.said()
    assert list(folder.glob("tried*"))
    by_spark.replace(VISITS, made(spark, DAYS).frame())
    retried = Lake(spark, str(folder))
    assert rows(retried) == rows(by_spark)
    written = set(Path(retried.folder("visits")).glob("*/*.parquet"))
    listed = {Path(file) for file in DeltaTable(retried.folder("visits")).file_uris()}
    assert listed < written
