"""Small files do not pile up, and maintenance changes no row."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.settings import load_settings
from jobs.maintain import maintain
from jobs.options import Job
from lake.contracts import TRANSACTIONS
from lake.store import Lake, among
from tests.jobs.commands import stored

pytestmark = pytest.mark.slow


def test_a_table_written_file_by_file_stays_in_few_files(
    spark: SparkSession, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.store.SMALL_FILES", 3)
    lake = Lake(spark, str(tmp_path / "lake"))
    job = Job(spark, lake, load_settings("local"))
    line = Lake(spark, str(undisturbed)).read("transactions").limit(1)
    written = 5
    for day in range(written):
        name = f"{day:03}.csv"
        frame = line.withColumn("file", F.lit(name))
        lake.replace(TRANSACTIONS, frame, among("file", [name]))
    files, _ = lake.size("transactions")
    assert files < written
    rows = stored(lake, "transactions")
    ((table, before, after, _),) = maintain(job, keep_days=7)
    assert (table, before, after) == ("transactions", files, 1)
    assert stored(lake, "transactions") == rows
    assert len(rows) == written


def test_where_there_is_no_table_it_is_told(lake: Lake) -> None:
    with pytest.raises(InputError, match=r"no tables in .*--lake"):
        maintain(Job(lake.spark, lake, load_settings("local")), keep_days=7)
