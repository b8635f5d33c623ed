"""What DuckDB reads of a table is what Delta means it to be, also where its files are not."""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf.errors import InputError
from serving.tables import Tables, names


def _by_arrow(folder, sql):
    with duckdb.connect() as database:
        for table in names(sql):
            database.register(table, DeltaTable(f"{folder}/{table}").to_pyarrow_dataset())
        return database.execute(sql).df()


def _same(folder, sql):
    ours, theirs = Tables(str(folder)).query(sql), _by_arrow(folder, sql)
    for rows in (ours, theirs):
        for name in rows.select_dtypes("datetimetz"):
            rows[name] = rows[name].dt.tz_convert("UTC")
    pd.testing.assert_frame_equal(ours, theirs)
    return ours


@pytest.mark.parametrize(
    "table", ["current_scores", "scores", "features", "transactions", "models"]
)
def test_the_same_rows(undisturbed, table):
    assert len(_same(undisturbed, f"SELECT * FROM {table} ORDER BY ALL"))


def test_a_column_that_came_later(tmp_path):
    place = str(tmp_path / "t")
    write_deltalake(place, pa.table({"a": [1]}))
    write_deltalake(place, pa.table({"a": [2], "b": ["x"]}), mode="append", schema_mode="merge")
    assert _same(tmp_path, "SELECT * FROM t ORDER BY a")["b"].isna().tolist() == [True, False]


def test_a_column_that_no_file_has_and_a_table_without_files(tmp_path):
    place = str(tmp_path / "t")
    write_deltalake(place, pa.table({"a": [1, 2]}))
    DeltaTable(place).alter.add_columns(
        [DeltaTable(place).schema().fields[0].__class__("b", "string")]
    )
    assert _same(tmp_path, "SELECT * FROM t ORDER BY a")["b"].isna().all()
    DeltaTable(place).delete()
    assert _same(tmp_path, "SELECT * FROM t").empty


def test_a_folder_that_is_called_as_a_column_with_a_value_tells_nothing(tmp_path):
    folder = tmp_path / "a=9"
    folder.mkdir()
    write_deltalake(str(folder / "t"), pa.table({"a": [1], "b": ["x"]}), partition_by=["b"])
    assert _same(folder, "SELECT * FROM t")["a"].tolist() == [1]


def test_deleted_rows_are_gone_and_a_folder_may_have_a_blank(tmp_path):
    folder = tmp_path / "a b's"
    folder.mkdir()
    write_deltalake(str(folder / "t"), pa.table({"a": [1, 2]}))
    DeltaTable(str(folder / "t")).delete("a = 1")
    assert _same(folder, "SELECT a FROM t")["a"].tolist() == [2]


def test_queries_at_the_same_time_have_tables_of_their_own(tmp_path):
    """Of the same name in other folders; and what a commit has changed is seen."""
    places = [tmp_path / str(place) for place in range(4)]
    for number, place in enumerate(places):
        write_deltalake(str(place / "t"), pa.table({"a": [number] * 1000}))
    count = "SELECT a, count(*) AS n FROM t GROUP BY a"
    asked = places * 10
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: Tables(str(place)).query(count), asked))
    told = [[tuple(row) for row in rows.to_numpy()] for rows in found]
    assert told == [[(int(place.name), 1000)] for place in asked]
    write_deltalake(str(places[0] / "t"), pa.table({"a": [7]}), mode="overwrite")
    assert Tables(str(places[0])).query(count).to_numpy().tolist() == [[7, 1]]


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(InputError, match="no table scores"):
        Tables(str(tmp_path)).query("SELECT * FROM scores")


def test_names_are_those_after_from_and_join():
    assert names("WITH x AS (SELECT 1 FROM a) SELECT * FROM x JOIN b USING (c)") == {"a", "b"}
