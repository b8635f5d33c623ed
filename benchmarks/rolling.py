"""What would it save to roll yesterday's features on, by the days that enter and leave a window?

`python -m benchmarks.rolling` makes the features of a day from stored customer-days, as a night
does, and beside that copies those of the day before, a day older, as if no order had entered or
left a window. Whoever reads yesterday's features must do that at least. It prints seconds, medians
in one run, and the bytes of what is read and written, for the 53 features of the other benchmarks
and for all that the catalogue makes of customer-days alone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Collection
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from benchmarks.peers import FEATURES as FEW
from benchmarks.peers import REPEATS, WARM_UPS, WINDOWS, spark_session
from benchmarks.speed import LAST, ROOT, START, log_of
from features.calendar import numbered
from features.catalogue import Feature, catalogue
from features.customer_days import CUSTOMER_DAYS, by_range_of_days, customer_days
from features.fold import Fold
from features.windows import Snapshots, made_features, stored_ranges
from jobs.console import mebibytes, say, show
from lake.contracts import FEATURES, Table
from lake.part_files import Batches
from lake.store import Lake, Made

HORIZON_DAYS = 30
CATALOGUE = catalogue(WINDOWS, HORIZON_DAYS)
# What grows by a day from one night to the next.
AGES = ("recency_days", "tenure_days")
YESTERDAY, TODAY = LAST, LAST + timedelta(1)


def main() -> None:
    """Make and copy the features of a day, and show what either costs."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--millions", type=float, default=20, help="million lines of the log")
    arguments.add_argument("--logs", type=Path, default=ROOT / "lakehouse" / "benchmarks")
    given = arguments.parse_args()
    log = log_of(given.logs, given.millions)
    spark = spark_session()
    with tempfile.TemporaryDirectory() as folder:
        stored = Lake(spark, f"{folder}/stored")
        lines = spark.read.parquet(str(log))
        stored.replace(CUSTOMER_DAYS, customer_days(lines, by_range_of_days))
        say("customer-days are stored")
        rows = []
        for names in ([f.name for f in CATALOGUE], FEW):
            rows += costs(stored, Lake(spark, f"{folder}/{len(names)}"), names)
            say(f"{len(names)} features: done")
    title = f"The features of a night, {given.millions:g} million lines"
    show(title, ("features", "how", "seconds", "read", "written"), rows)


def costs(stored: Lake, made: Lake, names: Collection[str]) -> list[tuple[str, ...]]:
    """What it costs to make the features of customer-days, and to copy those of the day before."""
    make(stored, made, names, YESTERDAY)
    anew = _median(lambda: make(stored, made, names, TODAY))
    read = _bytes(stored, CUSTOMER_DAYS.name, _folded(names).reads())
    written = _bytes(made, FEATURES.name, names, TODAY)
    copied = _median(lambda: copy(made, names, YESTERDAY, TODAY))
    yesterdays = _bytes(made, FEATURES.name, names, YESTERDAY)
    size = str(len(names))
    return [
        (size, "made of customer-days", f"{anew:.2f}", mebibytes(read), mebibytes(written)),
        (size, "copied, a day older", f"{copied:.2f}", mebibytes(yesterdays), mebibytes(written)),
    ]


def _median(run: Callable[[], None]) -> float:
    taken = []
    for _ in range(WARM_UPS + REPEATS):
        began = time.monotonic()
        run()
        taken.append(time.monotonic() - began)
    return statistics.median(taken[WARM_UPS:])


def _snapshots(day: date) -> Snapshots:
    return Snapshots((day,), WINDOWS, HORIZON_DAYS, START, None)


def _called(names: Collection[str]) -> list[Feature]:
    return [feature for feature in CATALOGUE if feature.name in names]


def _folded(names: Collection[str]) -> Fold:
    return _snapshots(TODAY).fold(_called(names))


def _table(names: Collection[str]) -> Table:
    return FEATURES.with_columns([feature.column() for feature in _called(names)])


def make(stored: Lake, made: Lake, names: Collection[str], day: date) -> None:
    """The features of a day, from stored customer-days."""
    days, ranges = stored.read(CUSTOMER_DAYS.name), stored_ranges(stored)
    features = made_features(days, _snapshots(day), names, ranges=ranges)
    made.replace_dates(_table(names), features, [day])


def copy(made: Lake, names: Collection[str], of: date, day: date) -> None:
    """The features of one day as those of another, with nothing but their ages changed."""
    files = [(file,) for file in _files(made, FEATURES.name, of)]
    number, older = numbered(day), (day - of).days

    def aged(batches: Batches) -> Batches:
        for batch in batches:
            for file in batch.column(0).to_pylist():
                for rows in pq.ParquetFile(file).iter_batches():
                    yield _aged(rows, number, older)

    every = made.spark.createDataFrame(files, "file string").repartition(2)
    made.replace_dates(_table(names), Made(every, aged, _table(names).schema), [day])


def _aged(rows: pa.RecordBatch, day: int, older: int) -> pa.RecordBatch:
    for name in AGES:
        place = rows.schema.get_field_index(name)
        age = pc.add(rows.column(place), pa.scalar(older, pa.int32()))
        rows = rows.set_column(place, rows.schema.field(place), age)
    as_of = pa.repeat(pa.scalar(day, pa.int32()), rows.num_rows).cast(pa.date32())
    return rows.append_column("as_of", as_of)


def _files(lake: Lake, table: str, day: date | None = None) -> list[str]:
    of_day = None if day is None else [("as_of", "=", str(day))]
    return DeltaTable(lake.folder(table)).file_uris(file_pruning_predicate=of_day)


def _bytes(lake: Lake, table: str, columns: Collection[str], day: date | None = None) -> int:
    """Of these columns in the table's files, compressed."""
    total = 0
    for file in _files(lake, table, day):
        about = pq.read_metadata(file)
        for group in map(about.row_group, range(about.num_row_groups)):
            chunks = map(group.column, range(group.num_columns))
            total += sum(
                chunk.total_compressed_size
                for chunk in chunks
                if chunk.path_in_schema.partition(".")[0] in {"customer_id", *columns}
            )
    return total


if __name__ == "__main__":
    main()
