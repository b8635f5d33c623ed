"""Tables are replaced in one commit, remember facts, and are read by others as they are."""

import datetime as dt
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from conf.errors import ConfigurationError, InputError
from lake.contracts import Column, Table
from lake.store import Lake, dated

VISITS = Table(
    "visits",
    "One row per visit: it's a test",
    (Column("who", "string", "The visitor's name"), Column("day", "date", "The day")),
    partitioned_by=("day",),
)
MONDAY, TUESDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


def visits(spark: SparkSession, *rows: tuple[str, dt.date]) -> DataFrame:
    return spark.createDataFrame(rows, "who string, day date")


def test_a_replaced_day_leaves_the_others_alone_and_a_repeat_changes_nothing(
    spark: SparkSession, lake: Lake
) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY), ("b", TUESDAY)))
    for _ in range(2):
        lake.replace(VISITS, visits(spark, ("c", TUESDAY)), dated("day", [TUESDAY]))
    assert sorted(map(tuple, lake.read("visits").collect())) == [("a", MONDAY), ("c", TUESDAY)]


def test_a_row_outside_the_replaced_days_is_an_error_and_nothing_is_written(
    spark: SparkSession, lake: Lake
) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY)))
    version = lake.version("visits")
    with pytest.raises(Exception, match="DELTA_REPLACE_WHERE_MISMATCH"):
        lake.replace(VISITS, visits(spark, ("c", MONDAY)), dated("day", [TUESDAY]))
    assert lake.version("visits") == version


def test_comments_describe_table_and_columns(spark: SparkSession, lake: Lake) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY)))
    table = DeltaTable(lake.folder("visits"))
    assert table.metadata().description == VISITS.description
    comments = {field.name: field.metadata["comment"] for field in table.schema().fields}
    assert comments == {"who": "The visitor's name", "day": "The day"}


def test_a_new_column_joins_and_old_days_keep_their_rows(spark: SparkSession, lake: Lake) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY)), dated("day", [MONDAY]))
    wider = VISITS.with_columns([Column("pages", "int", "Pages seen")])
    frame = visits(spark, ("b", TUESDAY)).selectExpr("*", "3 AS pages")
    lake.replace(wider, frame, dated("day", [TUESDAY]))
    rows = lake.read("visits").select("who", "pages").collect()
    assert sorted(map(tuple, rows)) == [("a", None), ("b", 3)]


def test_properties_are_remembered_and_told_again(spark: SparkSession, lake: Lake) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY)))
    lake.set_properties("visits", {"source": "it's \\ a shop", "country": ""})
    lake.set_properties("visits", {"country": "GB"})
    assert lake.properties("visits") == {"source": "it's \\ a shop", "country": "GB"}
    version = lake.version("visits")
    lake.set_properties("visits", {"country": "GB"})
    assert lake.version("visits") == version


def test_others_read_the_tables_as_they_are(spark: SparkSession, lake: Lake) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY), ("b", TUESDAY)))
    folder = lake.folder("visits")
    expected = [("a", MONDAY), ("b", TUESDAY)]
    assert sorted(pl.read_delta(folder).select("who", "day").rows()) == expected
    files = DeltaTable(folder).file_uris()
    found = duckdb.read_parquet(files, hive_partitioning=True).order("who")
    assert found.project("who, CAST(day AS DATE)").fetchall() == expected
    assert sorted(map(tuple, spark.read.format("delta").load(folder).collect())) == expected


def test_a_missing_table_names_the_command_that_builds_it(lake: Lake) -> None:
    with pytest.raises(InputError, match="build it first with `repurchase build-features`"):
        lake.read("features")


@pytest.mark.parametrize("schema", ["a.b.c", "a b", "x;drop table y", "`a`"])
def test_a_schema_that_is_no_name_is_refused(spark: SparkSession, schema: str) -> None:
    with pytest.raises(ConfigurationError, match=r"lake\.catalog_schema"):
        Lake(spark, "lakehouse", schema)


def test_a_folder_may_have_blanks_quotes_and_letters_of_any_alphabet(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, str(tmp_path / 'it\'s my "läke" 湖'))
    lake.replace(VISITS, visits(spark, ("a", MONDAY)))
    assert lake.read("visits").count() == 1
    with pytest.raises(ConfigurationError, match="backtick"):
        Lake(spark, "a`b")
