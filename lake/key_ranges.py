"""Rows of tables by ranges of a key and in its order, in the worker that wants them: no exchange.

The files of such a table hold their rows in the order of the key, so that a row group spans few
keys, and its file says which. A worker reads the groups that its range touches and puts their rows
in order.

This module knows Arrow only: Spark sends it to the workers as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Batches = Iterator[pa.RecordBatch]
Ints = npt.NDArray[np.int64]
# Of a row group: few enough that most of one lies in the range that reads it.
GROUP_ROWS = 2**14
# What a range has, about, at most, for a worker holds all that it reads: rows, and entries of lists
# in them; and rows that a batch has.
RANGE_ROWS, RANGE_ENTRIES, BATCH_ROWS = 1_000_000, 8_000_000, 100_000
# So many rows tell where the ranges begin.
SAMPLED_ROWS = 1_000_000
# What ranges may read in all: so many times the rows that there are, and so many more. To read a
# row costs a fifth of what it costs to bring it through an exchange.
MOST_READ, FEW_ROWS = 2.5, 1_000_000
# A day, counted from 1970-01-01, in so many bits below the rank of a key, to sort by both.
_DAY_BITS, _BEFORE_1970 = 24, 2**22


@dataclass(frozen=True)
class RowGroup:
    """The group of rows at a place in a file, how many entries the longest column of lists has in
    it, and the first and last key.
    """

    file: str
    place: int
    rows: int
    entries: int
    first: str
    last: str

    def touches(self, begin: str | None, end: str | None) -> bool:
        """Whether it can have keys in [begin, end); None is an open end."""
        return (begin is None or self.last >= begin) and (end is None or self.first < end)


@dataclass(frozen=True)
class Pieces:
    """The row groups of a table, file by file, and the columns of its files; the key is a
    dictionary.
    """

    groups: tuple[RowGroup, ...]
    schema: pa.Schema

    def read(
        self, key: str, columns: Sequence[str], begin: str | None, end: str | None
    ) -> pa.Table:
        """The rows of the groups that touch [begin, end) of the key."""
        touched = [group for group in self.groups if group.touches(begin, end)]
        tables = [
            _read(file, groups, key, columns)
            for file, groups in groupby(touched, lambda group: group.file)
        ]
        nothing = self.schema.empty_table().select(list(columns))
        return pa.concat_tables([nothing, *tables], promote_options="default")


def pieces(files: Sequence[str], key: str) -> Pieces | None:
    """Those of Parquet files; None where one cannot be read, does not say which keys are in it, or
    has another type of a column than the others.
    """
    groups: list[RowGroup] = []
    schemas = []
    try:
        for file in files:
            opened = _opened(file, key)
            schemas.append(opened.schema_arrow)
            found = _groups(file, opened.metadata, key)
            if found is None:
                return None
            groups += found
        return Pieces(tuple(groups), pa.unify_schemas(schemas))
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return None


def _groups(file: str, about: pq.FileMetaData, key: str) -> list[RowGroup] | None:
    found = []
    column = about.schema.names.index(key)
    for place in range(about.num_row_groups):
        group = about.row_group(place)
        if not group.num_rows:
            continue
        keys = group.column(column).statistics
        if keys is None or not keys.has_min_max or keys.null_count:
            return None
        entries = max(group.column(n).num_values for n in range(group.num_columns))
        found.append(RowGroup(file, place, group.num_rows, entries, keys.min, keys.max))
    return found


@dataclass(frozen=True)
class KeyRanges:
    """Ranges of the values of `key`, a text, between `bounds`, and where their rows are in each of
    some tables.
    """

    key: str
    tables: Mapping[str, Pieces]
    bounds: tuple[str, ...]

    @classmethod
    def of(cls, tables: Mapping[str, Pieces], key: str, most: int) -> "KeyRanges | None":
        """At most so many ranges of about as many rows each, and at least half as many, or more
        where they would be too large.

        None where workers would read most groups again and again, for their rows are in no order,
        and where there are no rows.
        """
        groups = [*chain.from_iterable(table.groups for table in tables.values())]
        rows = sum(group.rows for group in groups)
        if not rows:
            return None
        entries = sum(group.entries for group in groups)
        fewest = max(-(-rows // RANGE_ROWS), -(-entries // RANGE_ENTRIES))
        keys, counts = _sampled(groups, key)
        for wanted in (max(most, fewest), max(-(-most // 2), fewest)):
            made = cls(key, tables, _bounds(keys, counts, wanted))
            read = sum(g.rows for at in made._ranges() for g in groups if g.touches(*at))
            if read <= MOST_READ * rows + FEW_ROWS:
                return made
        return None

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self.bounds) + 1

    def _ranges(self) -> list[tuple[str | None, str | None]]:
        return [*pairwise([None, *self.bounds, None])]

    def rows(self, place: int, kinds: Sequence["Kind"], before: int) -> pa.Table:
        """The rows of a range by key and `day`, those before a day, counted from 1970-01-01.

        What is equal in both is in the order of the kinds, and in that of the rows of a kind.
        """
        begin, end = self._ranges()[place]
        read = [kind.made(self.tables[kind.table], self.key, begin, end) for kind in kinds]
        rows = pa.concat_tables(read, promote_options="default")
        keys, ranks = ranked(rows[self.key])
        inside = np.ones(len(keys), dtype=bool)
        if begin is not None:
            inside &= pc.greater_equal(keys, begin).to_numpy(zero_copy_only=False)
        if end is not None:
            inside &= pc.less(keys, end).to_numpy(zero_copy_only=False)
        days = rows["day"].cast(pa.int32()).fill_null(before).to_numpy().astype(np.int64)
        kept = np.flatnonzero(inside[ranks] & (days < before))
        by_both = (ranks[kept] << _DAY_BITS) + days[kept] + _BEFORE_1970
        taken = kept[np.argsort(by_both, kind="stable")]
        made = {n: rows[n].take(pa.array(taken)) for n in rows.column_names if n != self.key}
        return pa.table({self.key: keys.take(pa.array(ranks[taken])), **made})


@dataclass(frozen=True)
class Kind:
    """What is read of a table, and the rows with a `day` that are made of it."""

    table: str
    columns: tuple[str, ...]
    rows: Callable[[pa.Table], pa.Table]

    def made(self, stored: Pieces, key: str, begin: str | None, end: str | None) -> pa.Table:
        """Those of the row groups that touch [begin, end) of the key."""
        return self.rows(stored.read(key, self.columns, begin, end))


@dataclass(frozen=True)
class Reading:
    """Makes of the numbers of ranges what `make` makes of their rows that are dated before a day,
    counted from 1970-01-01.
    """

    ranges: KeyRanges
    kinds: tuple[Kind, ...]
    before: int
    make: Callable[[Batches], Batches]

    def __call__(self, batches: Batches) -> Batches:
        """Each range, of which the first column of the batches has the numbers, on its own."""
        for batch in batches:
            for place in batch.column(0).to_pylist():
                rows = self.ranges.rows(place, self.kinds, self.before)
                yield from self.make(iter(rows.to_batches(max_chunksize=BATCH_ROWS)))


def _read(file: str, groups: Iterable[RowGroup], key: str, columns: Sequence[str]) -> pa.Table:
    places = [group.place for group in groups]
    return _opened(file, key).read_row_groups(places, columns=list(columns), use_threads=False)


def _opened(file: str, key: str) -> pq.ParquetFile:
    """Spark's moments, of 96 bits, reach further than those of Arrow in nanoseconds."""
    return pq.ParquetFile(file, read_dictionary=[key], coerce_int96_timestamp_unit="us")


def ranked(column: pa.ChunkedArray) -> tuple[pa.Array, Ints]:
    """The distinct values of a dictionary in their order, and the place of each row's in them."""
    unified = column.unify_dictionaries()
    values = unified.chunk(0).dictionary
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in unified.chunks])
    order = pc.sort_indices(values)
    rank = np.empty(len(values), np.int64)
    rank[order.to_numpy()] = np.arange(len(values))
    return values.take(order), rank[codes]


def _sampled(groups: Sequence[RowGroup], key: str) -> tuple[pa.Array, Ints]:
    """The keys in some of the groups in their order, and how many of their rows each has."""
    in_order = sorted(groups, key=lambda group: (group.first, group.last))
    every = -(-sum(group.rows for group in groups) // SAMPLED_ROWS)
    read = [_read(group.file, [group], key, [key]) for group in in_order[::every]]
    keys, ranks = ranked(pa.concat_tables(read)[key])
    return keys, np.bincount(ranks)


def _bounds(keys: pa.Array, rows: Ints, ranges: int) -> tuple[str, ...]:
    """Where ranges begin, but for the first, that have about as many rows each."""
    until = np.cumsum(rows)
    wanted = until[-1] * np.arange(1, ranges) / ranges
    places = np.unique(np.searchsorted(until, wanted, side="right"))
    return tuple(keys.take(pa.array(places[places > 0])).to_pylist())
