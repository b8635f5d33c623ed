"""Rows to the Parquet files of a table partitioned by a date, in the worker that makes the rows.

This module knows Arrow only: Spark sends it to the workers as it is.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Batches = Iterator[pa.RecordBatch]
# Rows of all dates that a worker holds before it writes them.
HELD_ROWS = 300_000
SCHEMA = "path string, size bigint, rows bigint, day date"
_ARROW_SCHEMA = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("rows", pa.int64()), ("day", pa.date32())]
)


@dataclass(frozen=True)
class PartFiles:
    """Writes what `rows` makes of a partition: a file for each date, under `folder`.

    Every attempt writes files of its own names; the result names those of this attempt. Only a
    commit that lists them makes them part of the table.
    """

    folder: str
    date_column: str
    # The batches that it makes are sorted by the date column.
    rows: Callable[[Batches], Batches]

    def __call__(self, batches: Batches) -> Batches:
        """One row per file: `path` under the folder, its `size` in bytes, its `rows`, its `day`."""
        files: dict[date, _File] = {}
        held: dict[date, list[pa.RecordBatch]] = {}
        count = 0
        for batch in self.rows(batches):
            for day, part in self._by_day(batch):
                held.setdefault(day, []).append(part)
            count += batch.num_rows
            if count >= HELD_ROWS:
                self._write(held, files)
                held, count = {}, 0
        self._write(held, files)
        written = [file.close() for file in files.values()]
        yield pa.RecordBatch.from_pylist(written, schema=_ARROW_SCHEMA)

    def _by_day(self, batch: pa.RecordBatch) -> Iterator[tuple[date, pa.RecordBatch]]:
        days = batch.column(self.date_column)
        numbers = days.cast(pa.int32()).to_numpy()
        ends = [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        rest = batch.drop_columns([self.date_column])
        begin = 0
        for end in ends if len(numbers) else []:
            yield days[begin].as_py(), rest.slice(begin, end - begin)
            begin = end

    def _write(self, held: dict[date, list[pa.RecordBatch]], files: "dict[date, _File]") -> None:
        for day, parts in held.items():
            if day not in files:
                path = f"{self.date_column}={day}/part-{uuid.uuid4()}.snappy.parquet"
                files[day] = _File(self.folder, path, day, parts[0].schema)
            files[day].write(pa.Table.from_batches(parts))


class _File:
    def __init__(self, folder: str, path: str, day: date, schema: pa.Schema) -> None:
        self._place = os.path.join(folder, path)
        self._path, self._day, self._rows = path, day, 0
        os.makedirs(os.path.dirname(self._place), exist_ok=True)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        # Few floats are alike: to look for those takes a third of the time to write a file, and
        # makes it 6 % smaller.
        repeated = [field.name for field in schema if not pa.types.is_floating(field.type)]
        self._writer = pq.ParquetWriter(
            self._place,
            schema,
            compression="snappy",
            use_dictionary=repeated,
            write_statistics=texts,
        )

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)
        self._rows += rows.num_rows

    def close(self) -> dict[str, object]:
        self._writer.close()
        size = os.path.getsize(self._place)
        return {"path": self._path, "size": size, "rows": self._rows, "day": self._day}
