"""Ranges of a key hold every row of some files once, in order, however the files are written."""

import datetime as dt
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lake import key_ranges, store
from lake.contracts import Column, Table
from lake.key_ranges import KeyRanges, Kind, Pieces, Reading, pieces
from lake.store import Lake, dated

FIRST = dt.date(1969, 12, 30)
Visit = tuple[str, int, int]
SCHEMA = pa.schema([("who", pa.string()), ("day", pa.date32()), ("pages", pa.int32())])
COLUMNS = ("who", "day", "pages")


def stored(folder: Path, files: Sequence[Sequence[Visit]], group_rows: int = 3) -> Pieces:
    """Files of visits, a day counted from FIRST, in the order in which they are given."""
    paths = []
    for number, visits in enumerate(files):
        who, days, pages = zip(*visits, strict=True) if visits else ((), (), ())
        dates = [FIRST + dt.timedelta(day) for day in days]
        path = folder / f"{number}.parquet"
        pq.write_table(
            pa.table([who, dates, pages], schema=SCHEMA), path, row_group_size=group_rows
        )
        paths.append(str(path))
    found = pieces(paths, "who")
    assert found is not None
    return found


def read(ranges: KeyRanges, before: dt.date, columns: Sequence[str] = COLUMNS) -> list[list[Visit]]:
    """The rows of each range."""
    kind = Kind("visits", tuple(columns), lambda rows: rows)
    until = (before - dt.date(1970, 1, 1)).days
    reading = Reading(ranges, (kind,), until, lambda batches: batches)
    made = []
    for place in range(len(ranges)):
        asked = iter([pa.RecordBatch.from_pydict({"id": [place]})])
        rows = [row for batch in reading(asked) for row in batch.to_pylist()]
        made.append([(r["who"], (r["day"] - FIRST).days, r["pages"]) for r in rows])
    return made


# In the order of UTF-8, which is not that of UTF-16.
NAMES = ["", "A", "a", "a ", "aa", "b'", "é", "\uffee", "\U0001f600"]
visits = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 4), st.integers(0, 9)))


@settings(deadline=None)
@given(
    files=st.lists(visits, min_size=1, max_size=4), most=st.integers(1, 6), until=st.integers(0, 5)
)
def test_the_ranges_have_every_row_before_the_day_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[Visit]],
    most: int,
    until: int,
) -> None:
    found = stored(tmp_path_factory.mktemp("files"), files)
    ranges = KeyRanges.of({"visits": found}, "who", most)
    if ranges is None:
        assert not any(files)
        return
    assert 1 <= len(ranges) <= most
    made = read(ranges, FIRST + dt.timedelta(until))
    assert [*chain(*made)] == sorted(
        (visit for file in files for visit in file if visit[1] < until),
        key=lambda visit: (visit[0].encode(), visit[1]),
    )
    whose = [{who for who, _, _ in rows} for rows in made]
    assert sum(map(len, whose)) == len(set().union(*whose))


def test_ranges_are_about_alike_whatever_the_keys_of_a_file(tmp_path: Path) -> None:
    early = [(f"{n:03}", 0, n) for n in range(300)]
    late = [(f"{n:03}", 1, n) for n in range(200, 300)]
    ranges = KeyRanges.of({"visits": stored(tmp_path, [early, late], 20)}, "who", 4)
    assert ranges is not None
    assert [len(rows) for rows in read(ranges, FIRST + dt.timedelta(9))] == [100] * 4


def test_long_lists_make_ranges_of_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n:03}" for n in range(40)]
    rows = {"who": names, "day": [FIRST] * 40, "pages": [[*range(n)] for n in range(40)]}
    pq.write_table(pa.table(rows), tmp_path / "long.parquet", row_group_size=2)
    visits = pieces([str(tmp_path / "long.parquet")], "who")
    assert visits is not None
    assert sum(group.entries for group in visits.groups) == sum(range(1, 40)) + 1
    assert len(KeyRanges.of({"visits": visits}, "who", 1) or ()) == 1
    monkeypatch.setattr(key_ranges, "RANGE_ENTRIES", 200)
    assert len(KeyRanges.of({"visits": visits}, "who", 1) or ()) == 4


def test_where_one_has_most_rows_the_others_still_have_theirs(tmp_path: Path) -> None:
    files = [[("a", 0, 1), ("b", 0, 1)], [("m", day, 1) for day in range(50)], [("z", 1, 1)]]
    ranges = KeyRanges.of({"visits": stored(tmp_path, files)}, "who", 4)
    assert ranges is not None
    assert [len(rows) for rows in read(ranges, FIRST + dt.timedelta(99))] == [2, 51]


def test_rows_in_no_order_are_not_read_again_for_every_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ranges, "FEW_ROWS", 0)
    in_order = [(f"{n:03}", 0, n) for n in range(400)]
    (tmp_path / "mixed").mkdir()
    shuffled = [in_order[n * 7 % 400] for n in range(400)]
    mixed = {"visits": stored(tmp_path / "mixed", [shuffled], 100)}
    ordered = {"visits": stored(tmp_path, [in_order], 50)}
    for most, of_mixed in ((2, 2), (4, 2), (6, 0)):
        assert len(KeyRanges.of(ordered, "who", most) or ()) == most
        assert len(KeyRanges.of(mixed, "who", most) or ()) == of_mixed
    monkeypatch.setattr(key_ranges, "RANGE_ROWS", 100)
    assert len(KeyRanges.of(ordered, "who", 1) or ()) == 4
    assert KeyRanges.of(mixed, "who", 1) is None


def test_a_column_that_an_older_file_lacks_is_null_there(tmp_path: Path) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    table = pa.table([["a"], [FIRST], [1]], schema=SCHEMA)
    pq.write_table(table.drop_columns("pages"), old)
    pq.write_table(table, new)
    for files in ([old, new], [new, old]):
        found = pieces([str(file) for file in files], "who")
        assert found is not None
        ranges = KeyRanges.of({"visits": found}, "who", 2)
        assert ranges is not None
        (rows,) = read(ranges, FIRST + dt.timedelta(1))
        assert sorted(rows, key=str) == [("a", 0, 1), ("a", 0, None)]


def test_files_that_do_not_say_their_keys_or_differ_are_left_to_spark(tmp_path: Path) -> None:
    table = pa.table([["a"], [FIRST], [1]], schema=SCHEMA)
    plain, silent, nobody, other = (str(tmp_path / f"{n}.parquet") for n in range(4))
    pq.write_table(table, plain)
    assert pieces([plain], "who") is not None
    pq.write_table(table, silent, write_statistics=False)
    pq.write_table(pa.table([["a", None], [FIRST] * 2, [1, 1]], schema=SCHEMA), nobody)
    pq.write_table(table.set_column(2, "pages", pa.array(["one"])), other)
    for files in ([silent], [plain, nobody], [plain, other], [plain, str(tmp_path / "gone")]):
        assert pieces(files, "who") is None


def test_a_row_without_a_day_is_dated_before_none(tmp_path: Path) -> None:
    file = str(tmp_path / "visits.parquet")
    pq.write_table(pa.table([["a", "b"], [None, FIRST], [1, 2]], schema=SCHEMA), file)
    found = pieces([file], "who")
    assert found is not None
    ranges = KeyRanges.of({"visits": found}, "who", 1)
    assert ranges is not None
    assert read(ranges, dt.date(9999, 12, 31)) == [[("b", 0, 2)]]


VISITS = Table(
    "visits",
    "One row per visitor and day",
    (
        Column("who", "string", "The visitor"),
        Column("day", "date", "The day"),
        Column("pages", "int", "Pages seen"),
    ),
    in_pieces=True,
    in_order_of=("who", "day"),
)


@pytest.fixture
def daily(spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with visits of 400 visitors, a commit a day, in row groups of 20."""
    monkeypatch.setitem(store.ROW_GROUPS, "parquet.block.row.count.limit", "20")
    monkeypatch.setattr(key_ranges, "FEW_ROWS", 0)
    for day in (FIRST, FIRST + dt.timedelta(1)):
        rows = spark.range(0, 400, 1, 2).select(
            F.format_string("%03d", F.pmod(F.col("id") * 7, F.lit(400))).alias("who"),
            F.lit(day).alias("day"),
            F.col("id").alias("pages"),
        )
        lake.replace(VISITS, rows, dated("day", [day]))
    return lake


@pytest.mark.slow
def test_a_table_in_order_is_read_by_ranges_before_and_after_its_files_are_merged(
    daily: Lake,
) -> None:
    expected = sorted(map(tuple, daily.read("visits").collect()))
    for files in (4, 1):
        assert daily.size("visits")[0] == files
        ranges = daily.key_ranges(["visits"], "who", 4)
        assert ranges is not None
        assert len(ranges) == 4
        rows = chain(*read(ranges, FIRST + dt.timedelta(9)))
        assert [(who, FIRST + dt.timedelta(day), pages) for who, day, pages in rows] == expected
        daily.compact("visits")
    assert daily.spark.conf.get("parquet.block.row.count.limit", None) is None


@pytest.mark.slow
def test_a_table_that_somebody_has_clustered_is_merged_as_that_says(
    spark: SparkSession, lake: Lake
) -> None:
    spark.sql(
        f"CREATE TABLE {lake.name('visits')} (who STRING, day DATE, pages INT) USING DELTA "
        "CLUSTER BY (day) TBLPROPERTIES ('repurchase.in_order_of' = 'who day')"
    )
    rows = spark.createDataFrame([("a", FIRST, 1)], "who string, day date, pages int")
    lake.replace(VISITS, rows)
    lake.compact("visits")
    assert [tuple(row) for row in lake.read("visits").collect()] == [("a", FIRST, 1)]


@pytest.mark.slow
def test_merged_in_no_order_a_table_is_left_to_spark(
    daily: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ranges, "RANGE_ROWS", 200)
    assert daily.key_ranges(["visits"], "who", 4) is not None
    rows = daily.read("visits").repartition(1).orderBy(F.xxhash64("who"))
    daily.replace(Table("visits", "", VISITS.columns), rows.coalesce(1))
    assert daily.key_ranges(["visits"], "who", 4) is None


@pytest.mark.slow
def test_a_table_whose_files_may_hide_rows_or_of_partitions_is_left_to_spark(
    spark: SparkSession, lake: Lake
) -> None:
    rows = spark.createDataFrame([("a", FIRST, 1)], "who string, day date, pages int")
    hiding = (("delta.enableDeletionVectors", "true"),)
    lake.replace(Table("hiding", "", VISITS.columns, properties=hiding), rows)
    lake.replace(Table("parted", "", VISITS.columns, partitioned_by=("day",)), rows)
    lake.replace(VISITS, rows)
    assert lake.key_ranges(["visits"], "who", 1) is not None
    for table in ("hiding", "parted"):
        assert lake.key_ranges([table], "who", 1) is None
        assert lake.key_ranges(["visits", table], "who", 1) is None
