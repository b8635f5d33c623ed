"""Do the tables stay tidy when a log grows by a file a day?

`python -m benchmarks.daily` takes a generated log day by day: an ingest every morning, features
every so many. It prints how many files each table has as the days go by, and how long an ingest
takes in the beginning and in the end.
"""

import argparse
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from conf.settings import load_settings
from conf.source import load_source
from jobs.build_features import build_features
from jobs.console import say, show
from jobs.ingest import ingest
from jobs.options import Job, log_span
from jobs.session import spark_session
from lake.store import TABLES, Lake
from lake.synthetic import SyntheticShop, synthetic_log

CUSTOMERS = 2_000
# The log of the first ingest has so many days already.
BEFORE = 60
# Seconds are medians of so many ingests.
FEW = 15


def main() -> None:
    """Take the log day by day, and show what comes of it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--days", type=int, default=300, help="daily ingests")
    arguments.add_argument("--build-every", type=int, default=30, help="days between features")
    arguments.add_argument("--show-every", type=int, default=100, help="days between counts")
    given = arguments.parse_args()
    settings = load_settings("local", [])
    spark = spark_session(settings.spark)
    with tempfile.TemporaryDirectory() as folder:
        log, lake = Path(folder) / "log", Lake(spark, f"{folder}/lake")
        log.mkdir()
        job, generated = Job(spark, lake, settings), load_source("generated")
        reader = {"format": "csv", "options": {"header": "true"}}
        source = generated.model_copy(update={"reader": generated.reader.model_copy(update=reader)})
        shop = SyntheticShop(customers=CUSTOMERS, days=BEFORE + given.days, seed=1)
        lines = synthetic_log(spark, shop).toPandas()
        day_of_line = lines["ordered_at"].dt.date
        first = shop.start + timedelta(BEFORE)
        lines[day_of_line < first].to_csv(log / "before.csv", index=False)
        ingest(job, source, str(log))
        counts: dict[str, dict[str, str]] = {}
        seconds = []
        for number in range(1, given.days + 1):
            day = first + timedelta(number - 1)
            lines[day_of_line == day].to_csv(log / f"{day}.csv", index=False)
            started = time.monotonic()
            ingest(job, source, str(log))
            seconds.append(time.monotonic() - started)
            if number % given.build_every == 0:
                build_features(job, log_span(job, None), [day + timedelta(1)])
            if number % given.show_every == 0:
                counts[f"{number} days"] = _files(lake)
                say(f"{day}: {number} of {given.days} ingests")
    known = [table for table in TABLES if any(table in count for count in counts.values())]
    rows = [(table, *[count.get(table, "") for count in counts.values()]) for table in known]
    show("Files (MiB)", ["table", *counts], rows)
    begin, end = (statistics.median(part) for part in (seconds[:FEW], seconds[-FEW:]))
    say(f"an ingest takes {begin:.1f} s in the beginning, {end:.1f} s in the end")


def _files(lake: Lake) -> dict[str, str]:
    sizes = {table: lake.size(table) for table in TABLES if lake.exists(table)}
    return {table: f"{files} ({size / 2**20:.1f})" for table, (files, size) in sizes.items()}


if __name__ == "__main__":
    main()
