"""The Delta tables without Spark: delta-rs knows the files, DuckDB reads them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable

from conf.errors import InputError
from conf.settings import Horizon

# Before the names of the job's own table properties.
NOTED = "repurchase."
# How `models.registry` orders what was trained.
LAST_FIRST = "trained_for DESC, data_versions['models'] DESC NULLS LAST"
PARTITION = "partition.as_of"
# What DuckDB takes for a pattern of paths, or for a column in the name of a folder.
_GLOB = set("*?[]{}=")
_READ = re.compile(r"\b(?:from|join)\s+(\w+)", re.IGNORECASE)
_WITHIN = re.compile(r"\b(\w+)\s+as\s*\(", re.IGNORECASE)


def horizon_of(row: Mapping[Any, Any]) -> Horizon:
    """The horizon of a row of a table; those of an earlier release know days alone."""
    hours = row.get("horizon_hours")
    return Horizon(int(row["horizon_days"]), None if pd.isna(hours) else int(hours))


def names(sql: str) -> set[str]:
    """The tables that a statement reads."""
    return set(_READ.findall(sql)) - set(_WITHIN.findall(sql))


class MissingTable(InputError):  # noqa: N818 - its name says what is wrong
    """A table that has not been written yet."""

    def __init__(self, table: str, location: str) -> None:
        self.table = table
        super().__init__(f"no table {table} in {location}: `repurchase run` makes it")


@dataclass(frozen=True)
class Tables:
    """The tables under a folder, on a disk or in an object store."""

    location: str

    def exists(self, table: str) -> bool:
        """Whether the table has been written."""
        return DeltaTable.is_deltatable(self._path(table))

    def state(self, table: str) -> str:
        """What is another with every commit, and where the table has been made anew in its place:
        its id and its Delta version.
        """
        opened = self._opened(table)
        return f"{opened.metadata().id} {opened.version()}"

    def descriptions(self, table: str) -> dict[str, str]:
        """By column, its comment."""
        fields = self._opened(table).schema().fields
        return {field.name: str(field.metadata.get("comment", "")) for field in fields}

    def types(self, table: str) -> dict[str, str]:
        """By column, its Delta type: `double`, `string`, ..., and `nested` for any other."""
        fields = self._opened(table).schema().fields
        return {field.name: getattr(field.type, "type", "nested") for field in fields}

    def properties(self, table: str) -> dict[str, str]:
        """What the job has noted of the table: time_zone, country, windows, ..."""
        known = self._opened(table).metadata().configuration
        return {k.removeprefix(NOTED): v for k, v in known.items() if k.startswith(NOTED) and v}

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, as_of: date | None = None
    ) -> pd.DataFrame:
        """What DuckDB's SQL gives over the tables, each by its name; parameters are `$name`, and
        moments in UTC. With `as_of`, of tables partitioned by it the files of other dates are not
        looked at.

        Raises MissingTable.
        """
        with _database().cursor() as database:
            database.execute("SET TimeZone = 'UTC'")
            for table in sorted(names(sql)):
                self._offer(database, table, as_of)
            found: pd.DataFrame = database.execute(sql, dict(parameters or {})).df()
        return found

    def history(self, table: str) -> pd.DataFrame:
        """The table's commits, the last first: `version`, `timestamp`, `operation` and how many
        `rows` it wrote, where the writer has told.
        """
        commits = [
            {
                "version": commit["version"],
                "timestamp": pd.Timestamp(commit["timestamp"], unit="ms", tz="UTC"),
                "operation": str(commit.get("operation", "")),
                "rows": _rows_written(commit.get("operationMetrics") or {}),
            }
            for commit in self._opened(table).history()
        ]
        return pd.DataFrame(commits, columns=["version", "timestamp", "operation", "rows"])

    def _offer(self, database: duckdb.DuckDBPyConnection, table: str, as_of: date | None) -> None:
        """Let DuckDB read the table's files, of which it skips what a query does not need, where
        these are the table's rows as they stand; else by way of Arrow.
        """
        opened = self._opened(table)
        actions = pa.table(opened.get_add_actions(flatten=True))
        paths = [str(path) for path in actions["path"].to_pylist()]
        if as_of is not None and PARTITION in actions.column_names:
            dates = actions[PARTITION].to_pylist()
            its = [path for path, day in zip(paths, dates, strict=True) if str(day) == str(as_of)]
            paths = its or paths
        if not _plain(self.location, opened, paths):
            database.register(table, opened.to_pyarrow_dataset())
            return
        parts = bool(opened.metadata().partition_columns)
        files = [f"{self._path(table)}/{unquote(path)}" for path in paths]
        scan = database.read_parquet(files, hive_partitioning=parts, union_by_name=True)
        fields = {field.name: field for field in opened.schema().fields}
        if set(scan.columns) != set(fields):
            database.register(table, opened.to_pyarrow_dataset())
            return
        moments = {name for name, f in fields.items() if getattr(f.type, "type", "") == "timestamp"}
        columns = ", ".join(_column(name, name in moments) for name in fields)
        rows = scan.project(columns).sql_query()
        database.execute(f"CREATE TEMP VIEW {table} AS {rows}")

    def _path(self, table: str) -> str:
        return f"{self.location}/{table}"

    def _opened(self, table: str) -> DeltaTable:
        if not self.exists(table):
            raise MissingTable(table, self.location)
        return DeltaTable(self._path(table))


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """What every query of the process shares: the footers of the files, once read. The tables are
    offered to each query alone, whose cursor has its own.
    """
    database = duckdb.connect()
    database.execute("SET parquet_metadata_cache = true")
    return database


def _rows_written(metrics: Mapping[str, Any]) -> float | None:
    """Spark and delta-rs call the same by other names."""
    told = metrics.get("numOutputRows", metrics.get("num_added_rows"))
    return None if told is None else float(told)


def _plain(location: str, opened: DeltaTable, paths: Sequence[str]) -> bool:
    """Whether its files, as they are, are its rows."""
    features = set(opened.protocol().reader_features or ())
    return (
        bool(paths)
        and Path(location).is_dir()
        and not any(path.startswith("/") or "://" in path for path in paths)
        and not _GLOB & set(location)
        and not features & {"deletionVectors", "columnMapping"}
        and opened.metadata().configuration.get("delta.columnMapping.mode", "none") == "none"
    )


def _column(name: str, moment: bool) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    # Some writers leave out that a moment is of UTC.
    return f"{quoted}::TIMESTAMP::TIMESTAMPTZ AS {quoted}" if moment else quoted
