"""Tables are replaced in one commit, remember facts, and are read by others as they are."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from lake.contracts import CHANGE_FEED, Column, Table
from lake.store import Lake, dated, is_folder, located, quoted

pytestmark = pytest.mark.slow

VISITS = Table(
    "visits",
    "One row per visit: it's a test",
    (Column("who", "string", "The visitor's name"), Column("day", "date", "The day")),
    partitioned_by=("day",),
)
MONDAY, TUESDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)

PLANS = Table(
    "plans",
    "One row per visitor",
    (
        Column("who", "string", "The visitor"),
        Column("visits", "array<int>", "Pages of each"),
        Column("room", "int", "The room, where there is one"),
        Column("written_at", "string", "When the row was written"),
    ),
    properties=(CHANGE_FEED,),
)
BEFORE = [("a", [1], 1, "then"), ("a", [2], None, "then"), ("b", [3], 1, "then")]
AFTER = [("a", [1], 1, "now"), ("a", [5], None, "now"), ("c", [], 1, "now")]


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


FINDINGS = Table(
    "findings",
    "One row per finding: it's a test",
    (
        Column("of", "string", "What it is of"),
        Column("day", "date", "Its day"),
        Column("n", "int", "How many, where that is known"),
        Column("days", "array<date>", "Others"),
        Column("read", "map<string,bigint>", "What was read, by table"),
        Column("found_at", "timestamp", "When"),
    ),
)
NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
FOUND = [
    ("a", MONDAY, 1, [MONDAY], {"log": 2**40}, NOON),
    ("b", MONDAY, None, None, None, None),
    ("it's \\ c", TUESDAY, 3, [], {}, NOON),
]


# What changes are to be told of, Spark writes.
@pytest.mark.parametrize(("properties", "engine"), [((), "delta-rs"), ((CHANGE_FEED,), "Spark")])
def test_rows_that_are_here_take_the_place_of_others(
    lake: Lake, properties: tuple[tuple[str, str], ...], engine: str
) -> None:
    table = replace(FINDINGS, properties=properties)

    def found() -> list[tuple[object, ...]]:
        return sorted(map(tuple, lake.read("findings").drop("found_at").collect()), key=str)

    def rows(*these: tuple[object, ...]) -> list[tuple[object, ...]]:
        return sorted([row[:5] for row in these], key=str)

    lake.put(table, FOUND)
    assert found() == rows(*FOUND)
    seconds = lake.read("findings").where("n = 1").select(F.unix_seconds("found_at"))
    assert [row[0] for row in seconds.collect()] == [NOON.timestamp()]
    # Where n is null, whether the row fulfils the predicate is not known, and it stays.
    new = ("a", MONDAY, 1, None, None, None)
    for _ in range(2):
        lake.put(table, [new], "n = 1")
        assert found() == rows(new, *FOUND[1:])
    log = DeltaTable(lake.folder("findings"))
    assert engine in log.history(1)[0]["engineInfo"]
    with pytest.raises(Exception, match=r"violate|invalid|MISMATCH"):
        lake.put(table, [new], "n = 3")
    lake.put(table, [], f"of = {quoted(FOUND[2][0])}")
    assert found() == rows(new, FOUND[1])
    lake.put(table, [])
    assert found() == []


def test_a_table_whose_rows_were_here_is_one_like_any_other(
    spark: SparkSession, lake: Lake
) -> None:
    earlier = replace(FINDINGS, columns=FINDINGS.columns[:2])
    lake.put(earlier, [("z", TUESDAY)])
    lake.put(FINDINGS, FOUND[:2], dated("day", [MONDAY]))
    lake.replace(FINDINGS, lake.read("findings").where("n = 1"), dated("day", [MONDAY]))
    assert sorted(row["of"] for row in lake.read("findings").collect()) == ["a", "z"]
    comments = {field.name: field.metadata["comment"] for field in lake.read("findings").schema}
    assert comments == {column.name: column.description for column in FINDINGS.columns}


def plans(spark: SparkSession, rows: list[tuple[object, ...]]) -> DataFrame:
    return spark.createDataFrame(rows, PLANS.schema)


def told(lake: Lake, version: int) -> list[tuple[str, str, list[int]]]:
    """What the change feed says, to a reader without Spark, of the commits after a version."""
    feed = DeltaTable(lake.folder("plans")).load_cdf(version + 1, allow_out_of_range=True)
    rows = pl.DataFrame(feed.read_all()).select("_change_type", "who", "visits").rows()
    return sorted(rows)


def test_an_amended_table_has_the_new_rows_and_its_change_feed_only_what_differs(
    spark: SparkSession, lake: Lake
) -> None:
    def amend(rows: list[tuple[object, ...]]) -> int:
        lake.amend(PLANS, plans(spark, rows), ["who", "room"], ignoring=["written_at"])
        return lake.version("plans")

    first = amend(BEFORE)
    second = amend(AFTER)
    kept = [("a", [1], 1, "then"), *AFTER[1:]]
    assert sorted(map(tuple, lake.read("plans").collect()), key=str) == sorted(kept, key=str)
    assert told(lake, first) == [
        ("delete", "b", [3]),
        ("insert", "c", []),
        ("update_postimage", "a", [5]),
        ("update_preimage", "a", [2]),
    ]
    assert amend([(*row[:3], "later") for row in AFTER]) == second
    lake.compact("plans")
    assert told(lake, second) == []


def test_what_is_amended_ends_where_the_predicate_does(spark: SparkSession, lake: Lake) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY), ("b", TUESDAY)))
    now = visits(spark, ("c", TUESDAY))
    lake.amend(VISITS, now, ["who", "day"], dated("day", [TUESDAY]))
    assert sorted(map(tuple, lake.read("visits").collect())) == [("a", MONDAY), ("c", TUESDAY)]


def test_an_older_table_is_given_the_properties_that_it_lacks_and_keeps_its_own(
    spark: SparkSession, lake: Lake
) -> None:
    older = replace(PLANS, properties=(), columns=PLANS.columns[:3])
    lake.replace(older, plans(spark, BEFORE))
    lake.amend(PLANS, plans(spark, AFTER), ["who", "room"])
    assert DeltaTable(lake.folder("plans")).metadata().configuration == dict([CHANGE_FEED])
    assert sorted(map(tuple, lake.read("plans").collect()), key=str) == sorted(AFTER, key=str)
    spark.sql(f"ALTER TABLE {lake.name('plans')} SET TBLPROPERTIES ('{CHANGE_FEED[0]}' = 'false')")
    lake.complete(PLANS)
    assert DeltaTable(lake.folder("plans")).metadata().configuration == {CHANGE_FEED[0]: "false"}


def test_a_table_written_in_pieces_has_its_small_files_merged_when_there_are_many(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.store.SMALL_FILES", 4)
    pieces = replace(VISITS, partitioned_by=(), in_pieces=True)
    days = [MONDAY + dt.timedelta(n) for n in range(5)]
    for table, counts in (
        (pieces, [1, 2, 3, 4, 2]),
        (replace(pieces, name="whole", in_pieces=False), [1, 2, 3, 4, 5]),
    ):
        for day, files in zip(days, counts, strict=True):
            lake.replace(table, visits(spark, ("a", day)).coalesce(1), dated("day", [day]))
            assert lake.size(table.name)[0] == files
        assert sorted(row.day for row in lake.read(table.name).collect()) == days


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


@pytest.fixture(params=["folder", "schema"])
def anywhere(request: pytest.FixtureRequest, spark: SparkSession, lake: Lake) -> Iterator[Lake]:
    """A lake whose log Python reads itself, and one of which it must ask Spark."""
    if request.param == "folder":
        yield lake
        return
    spark.sql(f"CREATE SCHEMA facts LOCATION '{lake.folder('schema')}'")
    yield Lake(spark, "", "facts")
    spark.sql("DROP SCHEMA facts CASCADE")


def test_facts_are_committed_with_the_rows_that_they_are_of(
    spark: SparkSession, anywhere: Lake
) -> None:
    table = replace(VISITS, properties=(CHANGE_FEED,))
    anywhere.replace(table, visits(spark, ("a", MONDAY)), facts={"until": "it's \\ late"})
    first = anywhere.version("visits")
    assert anywhere.facts("visits") == {"until": "it's \\ late"}
    tuesday = dated("day", [TUESDAY])
    anywhere.replace(table, visits(spark, ("b", TUESDAY)), tuesday, {"until": "later"})
    second = anywhere.version("visits")
    assert (second, anywhere.facts("visits")) == (first + 1, {"until": "later"})
    # Nothing comes and nothing goes, but the facts.
    nobody = visits(spark, ("b", TUESDAY)).limit(0)
    anywhere.replace(table, nobody, "day > DATE'2030-01-01'", {"until": "latest"})
    assert anywhere.facts("visits") == {"until": "latest"}
    anywhere.compact("visits")
    anywhere.complete(table.with_columns([Column("pages", "int", "Pages seen")]))
    assert anywhere.facts("visits") == {"until": "latest"}
    anywhere.replace(table, visits(spark, ("c", TUESDAY)), tuesday)
    assert anywhere.facts("visits") == {}
    changes = anywhere.changes("visits", first, anywhere.version("visits"))
    assert changes is not None
    assert sorted(row.who for row in changes.collect()) == ["b", "b", "c"]
    assert anywhere.changes("visits", first - 1, second) is None
    assert anywhere.size("visits")[0] == 2


def test_the_log_tells_the_days_of_files_that_came_until_rows_go(
    spark: SparkSession, lake: Lake
) -> None:
    table = replace(VISITS, partitioned_by=())
    lake.replace(table, visits(spark, ("a", MONDAY), ("b", TUESDAY)).coalesce(1))
    first = lake.version("visits")
    wednesday = TUESDAY + dt.timedelta(1)
    lake.replace(table, visits(spark, ("c", wednesday)), dated("day", [wednesday]))
    second = lake.version("visits")
    both = [(False, MONDAY, TUESDAY), (True, wednesday, wednesday)]
    assert sorted(lake.days_of_files("visits", "day", first, second) or []) == both
    lake.replace(table, visits(spark, ("d", TUESDAY)), dated("day", [TUESDAY]))
    assert lake.days_of_files("visits", "day", second, lake.version("visits")) is None
    assert sorted(lake.days_of_files("visits", "day", first, second) or []) == both


@pytest.mark.parametrize(
    "changed",
    [
        "RESTORE {} TO VERSION AS OF 0",
        "DELETE FROM {} WHERE who = 'a'",
        "CREATE OR REPLACE TABLE {} USING DELTA AS SELECT 'b' AS who, DATE'2024-01-01' AS day",
        "INSERT INTO {} VALUES ('b', DATE'2024-01-02')",
    ],
)
def test_facts_are_no_longer_true_when_somebody_else_has_changed_the_rows(
    spark: SparkSession, lake: Lake, changed: str
) -> None:
    table = replace(VISITS, partitioned_by=())
    lake.replace(table, visits(spark, ("a", MONDAY)), facts={"until": "now"})
    assert lake.facts("visits") == {"until": "now"}
    spark.sql(changed.format(lake.name("visits")))
    assert lake.facts("visits") == {}


def test_what_others_say_of_their_commits_is_no_fact(spark: SparkSession, lake: Lake) -> None:
    lake.replace(VISITS, visits(spark, ("a", MONDAY)), facts={"until": "now"})
    key = "spark.databricks.delta.commitInfo.userMetadata"
    for said in ("nightly run 7", "7", '{"repurchase": 7}'):
        spark.conf.set(key, said)
        try:
            spark.sql(f"ALTER TABLE {lake.name('visits')} SET TBLPROPERTIES ('said' = '{said}')")
        finally:
            spark.conf.unset(key)
        assert lake.facts("visits") == {"until": "now"}


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


def test_a_folder_is_the_same_however_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = str(tmp_path / "lake")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in (whole, "~/lake", f"file:{whole}", f"file://{whole}", "lake", "x/../lake"):
        assert located(path) == whole
    for path in ("s3a://shop/lake", "dbfs:/lake", "hdfs:/lake"):
        assert located(path) == path
        assert not is_folder(path)


def test_a_folder_may_have_blanks_quotes_and_letters_of_any_alphabet(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, str(tmp_path / 'it\'s my {"läke"} 湖'))
    lake.replace(VISITS, visits(spark, ("a", MONDAY)))
    lake.amend(VISITS, visits(spark, ("b", MONDAY)), ["who"])
    assert [row.who for row in lake.read("visits").collect()] == ["b"]
    assert lake.version("visits") == 2
    with pytest.raises(ConfigurationError, match="backtick"):
        Lake(spark, "a`b")
    with pytest.raises(ConfigurationError, match="contains %20: rename the folder"):
        Lake(spark, "my%20lake")
