"""Whatever comes in ends in a sensible result, or in one message that names the remedy."""

import gzip
import shutil
import zlib
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from jobs.cli import app
from lake.store import Lake

pytestmark = pytest.mark.slow

SOURCE = """
name: mine
reader: {format: csv, options: {header: true}}
columns: {customer_id: id, ordered_at: at, amount: money}
time_zone: UTC
currency: EUR
"""
HEADER = "id,at,money"
START = date(2023, 1, 1)

Command = Callable[..., Result]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source file for logs with the columns id, at and money."""
    path = tmp_path / "mine.yml"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def command(spark: SparkSession, tiny_env: Path, source: Path, tmp_path: Path) -> Command:
    """A command line, in this process: `command(verb, text or path of the log, options)`."""

    def called(verb: str, log: str | bytes | Path | None, *options: str) -> Result:
        arguments = [verb, "--env", str(tiny_env), "--lake", str(tmp_path / "lake")]
        if isinstance(log, (str, bytes)):
            path = tmp_path / "log.csv"
            path.write_bytes(log.encode() if isinstance(log, str) else log)
            log = path
        if log is not None:
            arguments += ["--source", str(source), "--input", str(log)]
        return CliRunner().invoke(app, [*arguments, *options])

    return called


def lines(orders: Iterable[tuple[str, date]]) -> str:
    return (
        "\n".join(
            [
                HEADER,
                *[f"{customer},{day},{10 + i % 7}" for i, (customer, day) in enumerate(orders)],
            ]
        )
        + "\n"
    )


def on(offset: int) -> date:
    return START + timedelta(offset)


def refused(result: Result, *says: str) -> None:
    """One message, exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stderr.count("error: ") == 1, result.stderr
    for words in says:
        assert words in result.stderr


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("", "empty, there is not even a header"),
        (f"{HEADER}\n", "no rows after the header"),
        ("id,at,price\n1,2024-01-01,2\n", "the log has the columns id, at, price"),
        (f"{HEADER}\n1,soon,2\n2,later,3\n", "2 of 2 rows (100%) break the contract"),
        (f"{HEADER}\n1,2024-01-01,2\n,2024-01-01,3\n,2024-01-01,3\n", "2 of 3 rows (67%)"),
    ],
)
def test_a_log_without_usable_rows(command: Command, log: str, says: str) -> None:
    refused(command("ingest", log), says)


def test_a_missing_log(command: Command, tmp_path: Path) -> None:
    refused(command("run", tmp_path / "nowhere.csv"), "nowhere.csv: no such file or folder")


def test_a_lake_inside_the_folder_that_is_read(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "1.csv").write_text(f"{HEADER}\na,2023-01-01,1\n")
    inside, hidden = folder / "lake", folder / ".lake"
    away = folder / "in" / ".."
    for path in (folder, f"file://{folder}", f"{folder}/*", away):
        told = command("ingest", Path(path), "--lake", str(inside))
        refused(told, "is inside: its files would be read as lines")
        assert not (inside / "transactions").exists()
    assert command("ingest", folder, "--lake", str(hidden)).exit_code == 0
    assert (hidden / "transactions").exists()


@pytest.mark.parametrize("day", ["2030-01-01", "2023-01-01"])
def test_a_day_of_which_a_generated_log_tells_nothing(tmp_path: Path, day: str) -> None:
    output = tmp_path / "generated"
    told = CliRunner().invoke(app, ["generate", "--output", str(output), "--as-of", day])
    refused(told, f"--as-of {day}: the log is to cover 2023-01-01 .. 2024-12-30")
    assert not output.exists()


def test_what_is_no_generated_log_is_not_written_over(spark: SparkSession, tmp_path: Path) -> None:
    generate = ["generate", "--customers", "20", "--days", "60", "--output", str(tmp_path)]
    spark.range(3).write.parquet(str(tmp_path / "log"))
    refused(CliRunner().invoke(app, generate), "is there, and is no generated log")
    assert spark.read.parquet(str(tmp_path / "log")).count() == 3
    shutil.rmtree(tmp_path / "log")
    for day in ("2023-02-01", "2023-02-02"):
        told = CliRunner().invoke(app, [*generate, "--as-of", day])
        assert told.exit_code == 0, told.output
        assert [path.name for path in (tmp_path / "truth").iterdir()] == [f"as_of={day}"]


def test_a_number_too_large_for_an_expression(command: Command, source: Path) -> None:
    source.write_text(
        SOURCE.replace("ordered_at: at", "ordered_at: timestamp_millis(cast(at as bigint))")
    )
    refused(command("ingest", f"{HEADER}\n1,1709285400000000000,2\n"), "nanoseconds")


def test_a_missing_source(command: Command) -> None:
    refused(command("run", None, "--source", "nowhere"), "nowhere", "online_retail")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("snapshots.count=many", "snapshots.count: Input should be a valid integer"),
        ("snapshots.horizon=3", "unknown key; did you mean horizon_days?"),
        ("training.models.forest={}", "training.models: unknown forest"),
    ],
)
def test_wrong_settings(command: Command, override: str, says: str) -> None:
    refused(command("run", f"{HEADER}\n1,2024-01-01,2\n", "--set", override), says)


def test_a_bom_is_not_part_of_the_first_column(
    command: Command, spark: SparkSession, tmp_path: Path
) -> None:
    result = command("ingest", b"\xef\xbb\xbf" + b"id,at,money\n007,2024-01-01,2\n")
    assert result.exit_code == 0, result.output
    rows = Lake(spark, str(tmp_path / "lake")).read("transactions").collect()
    assert [row.customer_id for row in rows] == ["007"]


def test_mixed_date_formats_are_refused_one_by_one(
    command: Command, spark: SparkSession, tmp_path: Path
) -> None:
    days = [
        "2024-01-31",
        "2024-01-31 10:11:12",
        "2024-01-31T10:11:12",
        "31.01.2024",
        "1/31/2024",
        "20240131",
        "2024-02-30",
        "10:11",
    ]
    result = command(
        "ingest",
        "\n".join([HEADER, *[f"{n},{day},1" for n, day in enumerate(days)]]),
        "--set",
        "ingest.max_refused_share=0.9",
    )
    assert result.exit_code == 0, result.output
    lake = Lake(spark, str(tmp_path / "lake"))
    kept = {row.customer_id: row.ordered_on for row in lake.read("transactions").collect()}
    assert kept == dict.fromkeys(["0", "1", "2"], date(2024, 1, 31))
    bad = lake.read("quarantine").collect()
    assert len(bad) == 5
    assert {tuple(row.reasons) for row in bad} == {("ordered_at is missing or not a date",)}


def test_a_corrupted_line_in_the_middle_of_a_gzip_is_kept_as_it_came(
    command: Command, spark: SparkSession, tmp_path: Path
) -> None:
    good = [f"{n},2024-01-01,{n}" for n in range(1, 1000)]
    broken = '7,"2024-01-01,\x00\x07,,,,9'
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *good, broken, *good]).encode()))
    result = command("ingest", path)
    assert result.exit_code == 0, result.output
    lake = Lake(spark, str(tmp_path / "lake"))
    (row,) = lake.read("quarantine").collect()
    assert row.source_row == broken
    assert row.reasons[0] == "the line is malformed"
    assert row.file.endswith("log.csv.gz")
    assert lake.read("transactions").count() == 2 * len(good)


def test_a_name_that_spark_cannot_read_is_told(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "day:1.csv").write_text(lines([("1", on(1))]))
    refused(command("ingest", folder), "day:1.csv", "rename it")


@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_a_damaged_gzip_is_named(command: Command, tmp_path: Path, damage: str) -> None:
    text = lines((str(zlib.crc32(str(n).encode())), on(n % 400)) for n in range(20_000))
    whole = gzip.compress(text.encode())
    half = len(whole) // 2
    path = tmp_path / "log.csv.gz"
    path.write_bytes(
        whole[:half] if damage == "cut" else whole[:half] + bytes(200) + whole[half + 200 :]
    )
    refused(command("ingest", path), "log.csv.gz cannot be read", "fetch it again")
    assert not (tmp_path / "lake" / "transactions" / "part-00000").exists()


@pytest.mark.parametrize(
    ("orders", "says"),
    [
        ([("1", START)], "the log before 2023-01-02 covers 1 days; training needs"),
        ([(str(n), START) for n in range(300)], "covers 1 days; training needs"),
    ],
)
def test_a_log_too_short_to_learn_from(
    command: Command, orders: list[tuple[str, date]], says: str
) -> None:
    refused(command("run", lines(orders)), says)


@pytest.mark.parametrize("as_of", ["2022-12-31", "2023-01-01", "2026-01-01"])
def test_as_of_outside_the_log(command: Command, as_of: str) -> None:
    log = lines(("1", on(offset)) for offset in range(0, 200, 9))
    refused(
        command("run", log, "--as-of", as_of),
        f"--as-of {as_of} is outside the log",
        "2023-01-01 .. 2023-07-18",
    )


def test_as_of_that_is_no_date(command: Command) -> None:
    result = command("run", f"{HEADER}\n1,2024-01-01,2\n", "--as-of", "yesterday")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def alone() -> list[tuple[str, date]]:
    return [("1", on(offset)) for offset in range(0, 300, 5)]


def once_each() -> list[tuple[str, date]]:
    """Nobody ever orders again: no label is true."""
    return [(str(n), on(n)) for n in range(300)]


def every_week() -> list[tuple[str, date]]:
    """Everybody orders every week: every label is true."""
    return [(str(n), on(n % 7 + 7 * week)) for n in range(40) for week in range(40)]


@pytest.mark.parametrize(
    ("orders", "says"),
    [
        (alone, "of 3 snapshots on 3 dates, 3 are followed by an order"),
        (once_each, "of 690 snapshots on 3 dates, 0 are followed by an order"),
        (every_week, "of 120 snapshots on 3 dates, 120 are followed by an order"),
    ],
)
def test_a_label_that_nobody_or_everybody_fulfils(
    command: Command, orders: Callable[[], list[tuple[str, date]]], says: str
) -> None:
    refused(command("run", lines(orders())), says, "both outcomes are needed")
