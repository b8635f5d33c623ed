"""Do the tables stay tidy, and right, when a log grows by a file a day?

`python -m benchmarks.daily` takes a generated log day by day: an ingest every morning, features
every so many. It prints how many files each table has as the days go by, how long an ingest takes
in the beginning and in the end, and whether the tables are those that all files at once give. With
`--input` the log is a folder of files, one a day, and `--source` says how they are mapped.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.settings import load_settings
from conf.source import Source, load_source
from jobs.build_features import build_features
from jobs.console import say, show
from jobs.ingest import ingest
from jobs.options import Job, log_span
from jobs.session import spark_session
from lake.store import TABLES, Lake
from lake.synthetic import SyntheticShop, synthetic_log

CUSTOMERS = 2_000
# Of the generated log, the first file has so many days.
BEFORE = 60
# Seconds are medians of so many ingests.
FEW = 15
COMPARED = ("transactions", "quarantine", "customer_days", "features")


def main() -> None:
    """Take the log day by day, and show what comes of it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--input", type=Path, help="a folder of files, one a day")
    arguments.add_argument("--source", default="generated", help="of the files in the folder")
    arguments.add_argument("--days", type=int, default=300, help="daily ingests")
    arguments.add_argument("--build-every", type=int, default=30, help="days between features")
    arguments.add_argument("--show-every", type=int, default=100, help="days between counts")
    given = arguments.parse_args()
    settings = load_settings("local", [])
    spark = spark_session(settings.spark)
    with tempfile.TemporaryDirectory() as folder:
        log, source = Path(folder) / "log", load_source(given.source)
        log.mkdir()
        if given.input:
            files = sorted(given.input.iterdir())[: given.days + 1]
        else:
            source = _as_csv(source)
            files = _generated(spark, Path(folder) / "files", given.days)
        job = Job(spark, Lake(spark, f"{folder}/lake"), settings)
        shutil.copy(files[0], log)
        ingest(job, source, str(log))
        counts: dict[str, dict[str, str]] = {}
        seconds, dates = [], []
        for number, file in enumerate(files[1:], 1):
            shutil.copy(file, log)
            started = time.monotonic()
            ingest(job, source, str(log))
            seconds.append(time.monotonic() - started)
            if number % given.build_every == 0:
                span = log_span(job, None)
                build_features(job, span, [span.as_of])
                dates.append(span.as_of)
            if number % given.show_every == 0:
                counts[f"{number} days"] = _files(job.lake)
                say(f"{file.name}: {number} of {len(files) - 1} ingests")
        known = [table for table in TABLES if any(table in count for count in counts.values())]
        rows = [(table, *[count.get(table, "") for count in counts.values()]) for table in known]
        show("Files (MiB)", ["table", *counts], rows)
        begin, end = (statistics.median(part) for part in (seconds[:FEW], seconds[-FEW:]))
        say(f"an ingest takes {begin:.1f} s in the beginning, {end:.1f} s in the end")
        whole = Job(spark, Lake(spark, f"{folder}/whole"), settings)
        ingest(whole, source, str(log))
        build_features(whole, log_span(whole, None), dates)
        differ = {table: differing(job.lake, whole.lake, table, dates) for table in COMPARED}
    show(
        "Rows that all files at once would not give, or not leave out",
        ["table", "rows"],
        [(table, str(count)) for table, count in differ.items()],
    )
    if any(differ.values()):
        sys.exit(1)


def _as_csv(source: Source) -> Source:
    reader = source.reader.model_copy(update={"format": "csv", "options": {"header": "true"}})
    return source.model_copy(update={"reader": reader})


def _generated(spark: SparkSession, folder: Path, days: int) -> list[Path]:
    """The files of a generated log, in their order: the first of many days, the others of one."""
    folder.mkdir()
    shop = SyntheticShop(customers=CUSTOMERS, days=BEFORE + days, seed=1)
    lines = synthetic_log(spark, shop).toPandas()
    day_of_line = lines["ordered_at"].dt.date
    first = shop.start + timedelta(BEFORE)
    mornings = [first + timedelta(number) for number in range(days)]
    parts = [("before", day_of_line < first), *[(str(day), day_of_line == day) for day in mornings]]
    files = []
    for name, inside in parts:
        files.append(folder / f"{name}.csv")
        lines[inside].to_csv(files[-1], index=False)
    return files


def _files(lake: Lake) -> dict[str, str]:
    sizes = {table: lake.size(table) for table in TABLES if lake.exists(table)}
    return {table: f"{files} ({size / 2**20:.1f})" for table, (files, size) in sizes.items()}


def differing(one: Lake, other: Lake, table: str, dates: Sequence[date]) -> int:
    """How many rows of either lake's table the other has not; of features, those of the dates."""
    left, right = (lake.read(table) for lake in (one, other))
    if table == "features":
        left, right = (rows.where(F.col("as_of").isin(list(dates))) for rows in (left, right))
    return left.exceptAll(right).count() + right.exceptAll(left).count()


if __name__ == "__main__":
    main()
