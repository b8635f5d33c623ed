"""Where the Delta tables are; reading them, and writing them so that a repeat changes nothing."""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction
from pyspark import cloudpickle
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.sql.utils import is_remote

from conf.errors import ConfigurationError, InputError, TryAgainError
from lake import key_ranges, part_files
from lake.contracts import Column, Table
from lake.key_ranges import GROUP_ROWS, KeyRanges, Pieces, pieces

# Workers need Arrow, and no copy of this package.
for module in (part_files, key_ranges):
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]

_BUILT_BY = {
    "transactions": "ingest",
    "quarantine": "ingest",
    "ingested_files": "ingest",
    "events": "ingest",
    "customers": "ingest",
    "customer_days": "build-features",
    "event_days": "build-features",
    "customer_base": "build-features",
    "features": "build-features",
    "feature_dates": "build-features",
    "labels": "build-features",
    "models": "train",
    "evaluations": "train",
    "comparisons": "train",
    "curves": "train",
    "reliability": "train",
    "segment_reliability": "train",
    "importances": "train",
    "scores": "score",
    "current_scores": "score",
    "lifetime_value": "score",
}


TABLES = tuple(_BUILT_BY)
# Of tables written in pieces: so many files beyond those of this size are merged.
SMALL_FILES, FILE_BYTES = 50, 128 * 2**20
# Of tables whose rows are in an order: the property that says so, and what is set while they are
# written.
IN_ORDER_OF = "in_order_of"
ROW_GROUPS = {
    "parquet.block.row.count.limit": str(GROUP_ROWS),
    "spark.databricks.io.skipping.mdc.sortWithinFiles": "true",
}
# Facts are looked for in so many commits, the newest of a table.
LOOKED_BACK = 50
# Where they are: in what a write says of itself, and in a property where nothing was written.
FACTS, FACTS_PROPERTY = "repurchase", "repurchase.facts"
KEEP_ROWS = {
    *("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES"),
    *("ADD COLUMNS", "CHANGE COLUMN", "UPGRADE PROTOCOL"),
}
# What begins so in a session becomes a property of every new table.
DEFAULTS = "spark.databricks.delta.properties.defaults."
# The newest protocol that both Spark and delta-rs write for plain tables.
PLAIN_WRITER = 2
# So often is a commit tried that others come before.
COMMIT_ATTEMPTS = 10
# The newest protocol by which a file's columns are called what the table calls them.
PLAIN_READER = 1
# From this protocol on, a file may hold rows that a vector beside it deletes.
HIDES_ROWS = 3


@dataclass(frozen=True)
class Commit:
    """What the log says of a commit: the predicate of what it replaced or removed, and the facts
    that this project left with it.
    """

    version: int
    operation: str | None
    predicate: str | None
    facts: dict[str, str] | None

    @property
    def keeps_rows(self) -> bool:
        """Whether the rows are the same after it."""
        return self.operation in KEEP_ROWS

    @property
    def tells_changes(self) -> bool:
        """Whether the change feed tells what it changed: it did not replace the whole table."""
        if self.operation == "WRITE":
            return self.predicate not in (None, "[]", '["true"]', "true")
        return self.operation == "DELETE" or self.keeps_rows


@dataclass(frozen=True)
class Made:
    """Rows that the workers make of a frame, a batch at a time."""

    source: DataFrame
    make: Callable[[part_files.Batches], part_files.Batches]
    # The columns of the rows and their types, as Spark SQL writes a schema.
    schema: str

    def frame(self) -> DataFrame:
        """The rows, handed back to Spark."""
        return self.source.mapInArrow(self.make, self.schema)


class Lake:
    """The project's tables, as `PATH/<table>` or as `catalog.schema.<table>`."""

    def __init__(self, spark: SparkSession, path: str, catalog_schema: str | None = None) -> None:
        self.spark = spark
        self._schema = catalog_schema
        self._path = located(path)
        if catalog_schema is not None and not re.fullmatch(r"\w+(\.\w+)?", catalog_schema):
            raise ConfigurationError(
                f"lake.catalog_schema: {catalog_schema!r} is not schema or catalog.schema"
            )
        if "`" in self._path:
            raise ConfigurationError(f"lake.path: {path!r} contains a backtick")
        # Delta-rs takes it for the character that it stands for in an address.
        if encoded := re.search("%[0-9A-Fa-f]{2}", self._path):
            raise ConfigurationError(
                f"lake.path: {path!r} contains {encoded[0]}: rename the folder"
            )

    @property
    def location(self) -> str:
        """The folder or the schema, for people to read."""
        return self._schema or self._path

    @property
    def is_folder(self) -> bool:
        """Whether Python sees the tables' files, in a folder."""
        return not self._schema and is_folder(self._path) and not is_remote()

    def folder(self, name: str) -> str:
        """A folder for files that belong to the tables."""
        return f"{self._path}/{name}"

    def name(self, table: str) -> str:
        """The table's name in SQL."""
        return f"{self._schema}.{table}" if self._schema else f"delta.`{self._path}/{table}`"

    def exists(self, table: str) -> bool:
        """Whether the table has been written."""
        if self.is_folder and not os.path.isdir(f"{self.folder(table)}/_delta_log"):
            return False
        if self._log(table) is not None:
            return True
        try:
            return bool(self.spark.table(self.name(table)).columns)
        except AnalysisException:
            return False

    def read(self, table: str) -> DataFrame:
        """The table; raises InputError, naming the command that builds it, if there is none."""
        if not self.exists(table):
            command = _BUILT_BY.get(table, "run")
            raise InputError(
                f"no table {table} in {self.location}: build it first with `repurchase {command}`"
            )
        return self.spark.table(self.name(table))

    def at_version(self, table: str, version: int) -> DataFrame:
        """The table as it was in a version."""
        return self.spark.sql(f"SELECT * FROM {self.name(table)} VERSION AS OF {version}")

    def replace(
        self,
        table: Table,
        frame: DataFrame,
        where: str | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """Write the frame in the place of the rows that fulfil `where` (SQL), or of all rows.

        One atomic Delta commit: readers see the old rows or the new ones, and writing the
        same frame again leaves the same table. Every row of the frame must fulfil `where`.
        The facts are committed with the rows (see `facts`).
        """
        self._create(table)
        if table.in_pieces and where is not None:
            self._merge_small_files(table)
        # What differs in columns is a new feature, or one no longer built: old dates keep theirs.
        rows = table.select(frame)
        is_in_order = self._is_in_order(table)
        if is_in_order:
            rows = rows.sortWithinPartitions(*table.in_order_of)
        writer = rows.writeTo(self.name(table.name)).option("mergeSchema", "true")
        if facts is not None:
            writer = writer.option("userMetadata", json.dumps({FACTS: facts}))
        with self._small_row_groups(is_in_order):
            writer.overwrite(F.expr(where or "true"))
        # Where no row comes and none goes, Delta commits nothing.
        if facts is not None and self.facts(table.name) != facts:
            self._note(table.name, facts)

    def put(self, table: Table, rows: Sequence[Sequence[Any]], where: str | None = None) -> None:
        """`replace` with rows that are here, of values in the order of the table's columns; and the
        table has all of its columns afterwards (see `complete`).

        Where Python sees the table's files, delta-rs writes them: a few rows take it some
        hundredths of a second, and Spark a second.
        """
        self._create(table)
        self.complete(table)
        # A backslash means something to Spark alone.
        if self._plain_log(table) is None or "\\" in (where or ""):
            self.replace(table, self.spark.createDataFrame(rows, table.schema), where)
            return

        def write(log: DeltaTable) -> None:
            write_deltalake(log, _arrow(table, rows, log), mode="overwrite", predicate=where)

        _committed(self.folder(table.name), write)

    def _is_in_order(self, table: Table) -> bool:
        """Whether workers can make use of the order that the table's rows are to be in."""
        return bool(table.in_order_of) and self.is_folder

    def _merge_small_files(self, table: Table) -> None:
        """Compact the table where many of its files must be small.

        Delta's own auto compaction counts anew in every process: a job that writes a file a day
        would rewrite it each day. Before a write, so that what is read next is as it was written.
        """
        files, size = self.size(table.name)
        if files - size // FILE_BYTES >= SMALL_FILES:
            self.compact(table.name)

    def amend(
        self,
        table: Table,
        frame: DataFrame,
        keys: Sequence[str],
        where: str = "true",
        ignoring: Sequence[str] = (),
    ) -> None:
        """Give the table the rows that `replace` would, in one commit that writes what differs: a
        row whose columns, but for those ignored, are as they were stays, and the change feed is
        silent about it. Every row of the frame must fulfil `where`, and no two have the same keys.
        """
        self._create(table)
        self.complete(table)
        names = [column.name for column in table.columns]
        there = self.read(table.name).where(where).select(names)
        differing = _differing(table.select(frame), there, keys, ignoring).persist()
        try:
            if not differing.isEmpty():
                self._merge(table, differing, keys, where)
        finally:
            differing.unpersist()

    def _merge(self, table: Table, differing: DataFrame, keys: Sequence[str], where: str) -> None:
        names = [column.name for column in table.columns]
        self.spark.sql(
            f"MERGE INTO {_unformatted(self.name(table.name))} USING {{differing}} "
            f"ON {_equal(keys)} AND ({where}) "
            "WHEN MATCHED AND gone THEN DELETE "
            f"WHEN MATCHED THEN UPDATE SET {', '.join(f'{n} = new_{n}' for n in names)} "
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) "
            f"VALUES ({', '.join(f'new_{n}' for n in names)})",
            differing=differing,
        )

    def update(self, table: Table, values: dict[str, str], where: str) -> None:
        """Give columns of the rows that fulfil `where` (SQL) other values, SQL expressions."""
        changed = ", ".join(f"{column} = {value}" for column, value in values.items())
        self.spark.sql(f"UPDATE {self.name(table.name)} SET {changed} WHERE {where}")

    def replace_dates(self, table: Table, made: Made, days: Sequence[date]) -> None:
        """Write the rows in the place of those of these days; `table` is partitioned by the day.

        Where all machines see the tables as files of their own, the workers that make the rows
        write them as well, and delta-rs commits the files: rows do not pass through Spark. Like
        `replace`, one atomic commit, and the same table after a repeat.
        """
        (column,) = table.partitioned_by
        self._create(table)
        if not self._holds_plain_files(table):
            self.replace(table, made.frame(), dated(column, days))
            return
        folder = self.folder(table.name)
        writer = part_files.PartFiles(folder, column, made.make)
        files = made.source.mapInArrow(writer.__call__, part_files.SCHEMA).collect()
        missing = [row.path for row in files if not _is_whole(f"{folder}/{row.path}", row.size)]
        if missing:
            raise InputError(
                f"{folder}: the workers have written {missing[0]}, which is not to be seen here; "
                "choose a folder that all machines share (--lake)"
            )
        self._add_columns(table)
        _commit(folder, column, days, [(row.path, row.size, row.rows, row.day) for row in files])

    def _plain_log(self, table: Table) -> DeltaTable | None:
        """The table's log (see `_log`), where delta-rs may write to it as Spark does."""
        log = self._log(table.name)
        is_plain = log is not None and log.protocol().min_writer_version <= PLAIN_WRITER
        return log if is_plain else None

    def _holds_plain_files(self, table: Table) -> bool:
        """Whether the table's files are in a folder, and nothing is asked of who adds one."""
        if self._plain_log(table) is None:
            return False
        schema = self.spark.table(self.name(table.name)).schema
        types = {f.name: f.dataType.simpleString() for f in schema}
        return all(types.get(column.name, column.type) == column.type for column in table.columns)

    def _add_columns(self, table: Table) -> None:
        log = self._log(table.name)
        if log is not None:
            there = [field.name for field in log.schema().fields]
        else:
            there = self.spark.table(self.name(table.name)).columns
        new = [_defined(column) for column in table.columns if column.name not in there]
        if new:
            self.spark.sql(f"ALTER TABLE {self.name(table.name)} ADD COLUMNS ({', '.join(new)})")

    def complete(self, table: Table) -> None:
        """Add the columns and properties that the table of an earlier release of this project
        lacks; a property that has another value keeps it.
        """
        if self.exists(table.name):
            self._add_columns(table)
            self._add_properties(table)

    def _add_properties(self, table: Table) -> None:
        there = self._all_properties(table.name) if table.properties else {}
        new = [f"'{key}' = '{value}'" for key, value in table.properties if key not in there]
        if new:
            self.spark.sql(
                f"ALTER TABLE {self.name(table.name)} SET TBLPROPERTIES ({', '.join(new)})"
            )

    def _log(self, table: str) -> DeltaTable | None:
        """The table's log, for questions that delta-rs answers in milliseconds and Spark in up to a
        second; None where Python does not see its files, or there is no table.
        """
        if not self.is_folder:
            return None
        try:
            return DeltaTable(self.folder(table))
        except DeltaError:
            return None

    def version(self, table: str) -> int:
        """The Delta version of the table as it is now."""
        log = self._log(table)
        return self.commits(table, 1)[0].version if log is None else int(log.version())

    def commits(self, table: str, most: int) -> list[Commit]:
        """The latest commits of the table, at most so many, the newest first. Of one whose log is
        gone, or says nothing of it, there is no operation.
        """
        if (log := self._log(table)) is not None:
            told = {int(row["version"]): row for row in log.history(most)}
            versions = range(log.version(), -1, -1)[:most]
            return [_told(version, told.get(version, {})) for version in versions]
        history = self.spark.sql(f"DESCRIBE HISTORY {self.name(table)} LIMIT {most}").select(
            *("version", "operation", "operationParameters.predicate", "userMetadata"),
            "operationParameters.properties",
        )
        return [Commit(row[0], row[1], row[2], _facts(row[3], row[4])) for row in history.collect()]

    def identity(self, table: str) -> str:
        """The table's id, which a table made anew in its place does not share."""
        if (log := self._log(table)) is not None:
            return str(log.metadata().id)
        detail = self.spark.sql(f"DESCRIBE DETAIL {self.name(table)}")
        return str(detail.select("id").collect()[0][0])

    def changes(self, table: str, since: int, until: int) -> DataFrame | None:
        """The rows that the commits after version `since` wrote or removed, up to that of `until`.

        None when that cannot be told: one of them replaced the whole table, or the history
        that far back is gone.
        """
        if since == until:
            return self.read(table).limit(0)
        latest = self.commits(table, max(1, self.version(table) - since))
        between = [one for one in latest if since < one.version <= until]
        if len(between) != until - since or not all(commit.tells_changes for commit in between):
            return None
        reader = self.spark.read.format("delta").options(
            readChangeFeed="true", startingVersion=str(since + 1), endingVersion=str(until)
        )
        return reader.table(self.name(table)) if self._schema else reader.load(self.folder(table))

    def days_of_files(
        self, table: str, column: str, since: int, until: int
    ) -> list[tuple[bool, date, date]] | None:
        """Of each file of the version `until`, whether it has come after `since`, and the first and
        last day in `column`, as the log says it.

        None when it does not, or Python does not see it, or rows have gone.
        """
        log = self._log(table)
        if log is None or log.protocol().min_reader_version >= HIDES_ROWS:
            return None
        try:
            log.load_as_version(since)
            before = set(_files(log)["path"].to_pylist())
            log.load_as_version(until)
        except DeltaError:  # the history that far back is gone
            return None
        files = _files(log)
        names = [f"min.{column}", f"max.{column}"]
        if not before <= set(files["path"].to_pylist()) or not {*names} <= {*files.column_names}:
            return None
        told = list(zip(*[files[name].to_pylist() for name in ("path", *names)], strict=True))
        if any(first is None or last is None for _, first, last in told):
            return None
        return [(path not in before, first, last) for path, first, last in told]

    def size(self, table: str) -> tuple[int, int]:
        """The number of files of the table's latest version, and their bytes."""
        if (log := self._log(table)) is not None:
            sizes = _files(log)["size_bytes"]
            return len(sizes), pc.sum(sizes).as_py() or 0
        detail = self.spark.sql(f"DESCRIBE DETAIL {self.name(table)}")
        files, size = detail.select("numFiles", "sizeInBytes").collect()[0]
        return int(files), int(size)

    def compact(self, table: str) -> None:
        """Merge the table's small files, into some whose rows are again in order, where they were:
        by the ranges of Delta's Z-order, which are a thousandth of the table each.
        """
        key = self.properties(table).get(IN_ORDER_OF, "").partition(" ")[0]
        with self._small_row_groups(bool(key)), suppress(AnalysisException):
            if key:
                self.spark.sql(f"OPTIMIZE {self.name(table)} ZORDER BY ({key})")
                return
        # Somebody may have given the table a clustering of its own.
        self.spark.sql(f"OPTIMIZE {self.name(table)}")

    @contextmanager
    def _small_row_groups(self, wanted: bool) -> Iterator[None]:
        """What the session writes meanwhile, in any thread, has small row groups."""
        before: dict[str, str | None] = {}
        try:
            for key, value in ROW_GROUPS.items() if wanted else ():
                with suppress(PySparkException):  # some platforms have the last word
                    before[key] = self.spark.conf.get(key, None)
                    self.spark.conf.set(key, value)
            yield
        finally:
            for key, known in before.items():
                with suppress(PySparkException):
                    if known is None:
                        self.spark.conf.unset(key)
                    else:
                        self.spark.conf.set(key, known)

    def key_ranges(self, tables: Sequence[str], key: str, most: int) -> KeyRanges | None:
        """The rows of the tables as they are now, by at most so many ranges of a key, or more of
        very large ones, for workers to read; None where they do not see the files, or the rows are
        in no order.
        """
        found = {table: self._pieces(table, key) for table in tables}
        known = {table: some for table, some in found.items() if some is not None}
        return KeyRanges.of(known, key, most) if known.keys() == found.keys() else None

    def _pieces(self, table: str, key: str) -> Pieces | None:
        log = self._log(table)
        if log is None or log.protocol().min_reader_version > PLAIN_READER:
            return None
        paths = _files(log)["path"].to_pylist()
        if not paths or any("/" in path for path in paths):  # of a partition, or of another table
            return None
        return pieces([f"{self.folder(table)}/{path}" for path in paths], key)

    def vacuum(self, table: str, hours: int) -> None:
        """Remove the files that no version of the last `hours` needs."""
        self.spark.sql(f"VACUUM {self.name(table)} RETAIN {hours} HOURS")

    def set_properties(self, table: str, properties: dict[str, str]) -> None:
        """Remember facts about the table's content with the table."""
        current = self.properties(table)
        if any(current.get(key) != value for key, value in properties.items()):
            pairs = ", ".join(f"'repurchase.{k}' = {quoted(v)}" for k, v in properties.items())
            self.spark.sql(f"ALTER TABLE {self.name(table)} SET TBLPROPERTIES ({pairs})")

    def properties(self, table: str) -> dict[str, str]:
        """What `set_properties` remembered."""
        return {
            key.removeprefix("repurchase."): value
            for key, value in self._all_properties(table).items()
            if key.startswith("repurchase.")
        }

    def _all_properties(self, table: str) -> dict[str, str]:
        if (log := self._log(table)) is not None:
            return dict(log.metadata().configuration)
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {self.name(table)}").collect()
        return {row["key"]: row["value"] for row in rows}

    def facts(self, table: str) -> dict[str, str]:
        """What the last `replace` with facts said of the rows; nothing if somebody has changed them
        since, or if its commit has left the log.
        """
        for commit in self.commits(table, LOOKED_BACK):
            if commit.facts is not None:
                return commit.facts
            if not commit.keeps_rows:
                break
        return {}

    def _note(self, table: str, facts: Mapping[str, str]) -> None:
        """Leave facts with a commit that changes no row."""
        said = quoted(json.dumps(facts))
        self.spark.sql(
            f"ALTER TABLE {self.name(table)} SET TBLPROPERTIES ('{FACTS_PROPERTY}' = {said})"
        )

    def _create(self, table: Table) -> None:
        if self.exists(table.name):
            return
        order = f"repurchase.{IN_ORDER_OF}", " ".join(table.in_order_of)
        wanted = [*table.properties, *([order] if self._is_in_order(table) else [])]
        if self._is_free(table) and not self._has_defaults():
            DeltaTable.create(
                self.folder(table.name),
                _delta_schema(table),
                mode="ignore",
                partition_by=list(table.partitioned_by),
                description=table.description,
                configuration=dict(wanted),
                raise_if_key_not_exists=False,
            )
            return
        columns = ", ".join(_defined(column) for column in table.columns)
        partitions = (
            f"PARTITIONED BY ({', '.join(table.partitioned_by)})" if table.partitioned_by else ""
        )
        pairs = ", ".join(f"'{key}' = '{value}'" for key, value in wanted)
        properties = f"TBLPROPERTIES ({pairs})" if pairs else ""
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self.name(table.name)} ({columns}) USING DELTA "
            f"{partitions} COMMENT {quoted(table.description)} {properties}"
        )

    def _is_free(self, table: Table) -> bool:
        """Whether the table is to be made in a folder where nothing is yet."""
        folder = self.folder(table.name)
        return self.is_folder and not (os.path.exists(folder) and os.listdir(folder))

    def _has_defaults(self) -> bool:
        """Whether the session gives new tables properties that only Spark knows of."""
        return any(key.startswith(DEFAULTS) for key in self.spark.conf.getAll)


def _delta_schema(table: Table) -> Schema:
    """The table's columns as its log has them."""
    schema = json.loads(StructType.fromDDL(table.schema).json())
    for field, column in zip(schema["fields"], table.columns, strict=True):
        field["metadata"] = {"comment": column.description}
    return Schema.from_json(json.dumps(schema))


def _commit(
    folder: str, column: str, days: Sequence[date], files: Sequence[tuple[str, int, int, date]]
) -> None:
    """Make the files the table's rows of these days, in one commit of the table at `folder`."""
    now = int(time.time() * 1000)
    actions = [
        AddAction(path, size, {column: str(day)}, now, True, json.dumps({"numRecords": rows}))
        for path, size, rows, day in files
    ]

    def commit(table: DeltaTable) -> None:
        table.create_write_transaction(
            list(actions),
            "overwrite",
            table.schema(),
            partition_by=[column],
            partition_filters=[(column, "in", [str(day) for day in sorted(days)])],
            # A retry of delta-rs's own would leave the rows that another has committed meanwhile.
            commit_properties=CommitProperties(max_commit_retries=0),
        )

    _committed(folder, commit)


def _committed(folder: str, commit: Callable[[DeltaTable], None]) -> None:
    """Commit to the table at `folder`, again where another has come before."""
    for _ in range(COMMIT_ATTEMPTS):
        table = DeltaTable(folder)
        version = table.version()
        try:
            commit(table)
            return
        except CommitFailedError:
            if DeltaTable(folder).version() == version:  # nobody has
                raise
    raise TryAgainError(
        f"{folder}: other commands commit to this table all the time; run this one again"
    )


def _arrow(table: Table, rows: Sequence[Sequence[Any]], log: DeltaTable) -> pa.Table:
    """The rows as the table at `log` has them; what else it has is null."""
    values = dict(zip([c.name for c in table.columns], zip(*rows, strict=True), strict=False))
    schema = pa.schema(log.schema().to_arrow())
    columns = []
    for field in schema:
        found: Sequence[Any] = values.get(field.name, [None] * len(rows))
        if pa.types.is_map(field.type):
            found = [None if one is None else list(one.items()) for one in found]
        columns.append(pa.array(found, field.type))
    return pa.table(columns, schema=schema)


def _files(log: DeltaTable) -> pa.Table:
    """One row per file of the version: its `path`, its `size_bytes`, what is known of columns."""
    return pa.table(log.get_add_actions(flatten=True))


def _told(version: int, row: Mapping[str, Any]) -> Commit:
    """A commit as delta-rs tells of it."""
    how = row.get("operationParameters", {})
    facts = _facts(row.get("userMetadata"), how.get("properties"))
    return Commit(version, row.get("operation"), how.get("predicate"), facts)


def _facts(metadata: str | None, properties: str | None) -> dict[str, str] | None:
    """Those of a commit, in what it says of itself or in the properties that it has set."""
    with suppress(ValueError, TypeError, KeyError):
        return dict(json.loads(metadata or "{}")[FACTS])
    with suppress(ValueError, TypeError, KeyError):
        return dict(json.loads(json.loads(properties or "{}")[FACTS_PROPERTY]))
    return None


def is_folder(path: str) -> bool:
    """Whether Python sees the path too, and not only Spark."""
    return not re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*:", path)


def located(path: str) -> str:
    """The path as everything that reads it calls it: a folder's whole one, whether it was told as
    `~/lake`, `file:/data/lake` or from where one is.
    """
    if not is_folder(path):
        return path
    return os.path.abspath(os.path.expanduser(re.sub(r"^file:/*(?=/|$)", "", path)))


def _differing(
    rows: DataFrame, there: DataFrame, keys: Sequence[str], ignoring: Sequence[str]
) -> DataFrame:
    """The rows that are not among those that are there, and the keys of those that are `gone`;
    the columns have `new_` before their names.
    """
    names = rows.columns
    # Names of their own: in a merge, a predicate on the table then means the table.
    new = rows.toDF(*[f"new_{name}" for name in names]).withColumn("gone", F.lit(False))
    both = new.join(there, F.expr(_equal(keys)), "full_outer")
    same = _equal([name for name in names if name not in ignoring])
    kept = {key: f"coalesce(new_{key}, {key})" for key in keys}
    columns = [F.expr(kept.get(name, f"new_{name}")).alias(f"new_{name}") for name in names]
    gone = F.coalesce("gone", F.lit(True)).alias("gone")
    return both.where(f"gone IS NULL OR NOT ({same})").select(*columns, gone)


def _equal(names: Sequence[str]) -> str:
    return " AND ".join(f"{name} <=> new_{name}" for name in names)


def _unformatted(name: str) -> str:
    """The name, for a query with named frames, where braces mean something."""
    return name.replace("{", "{{").replace("}", "}}")


def _is_whole(file: str, size: int) -> bool:
    return os.path.exists(file) and os.path.getsize(file) == size


def _defined(column: Column) -> str:
    return f"`{column.name}` {column.type} COMMENT {quoted(column.description)}"


def among(column: str, values: Iterable[str]) -> str:
    """The predicate that a text column is one of the values."""
    return f"{column} IN ({', '.join(map(quoted, sorted(values)))})"


def dated(column: str, days: Sequence[date]) -> str:
    """The predicate that a date column is one of the days."""
    literals = ", ".join(f"DATE'{day}'" for day in sorted(days))
    return f"{column} IN ({literals})"


def quoted(text: str) -> str:
    """The text as a literal of Spark SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
