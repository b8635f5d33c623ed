"""A log that grows, shrinks and is corrected file by file gives the tables of all files at once."""

import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from conf.errors import InputError, TryAgainError
from conf.settings import load_settings
from conf.source import Source, load_source
from features.increments import ORDERS, _Days, _days_read, _days_told, due, update_customer_days
from jobs import build_features as building
from jobs.build_features import build_features, known_features
from jobs.ingest import check, ingest
from jobs.inputs import Input
from jobs.options import Job, log_span
from jobs.score import score
from jobs.train import snapshots_of
from lake.ingestion import read_log
from lake.rules import Limits
from lake.store import Lake
from tests.jobs.commands import stored

pytestmark = pytest.mark.slow

SOURCE = """
name: files
reader: {format: csv, options: {header: true}}
columns: {customer_id: who, ordered_at: day, amount: money, order_id: basket}
kind: "case when money < 0 then 'return' else 'purchase' end"
time_zone: Europe/London
currency: GBP
exact_duplicates: DUPLICATES
"""
START = date(2024, 1, 1)
HEADER = "who,day,money,basket\n"


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], Source]:
    """The source of the test's files."""

    def of(duplicates: str = "keep") -> Source:
        path = tmp_path / "files.yml"
        path.write_text(SOURCE.replace("DUPLICATES", duplicates))
        return load_source(str(path))

    return of


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path) -> Callable[..., Job]:
    """A job with tables of its own."""

    def in_lake(name: str, *overrides: str) -> Job:
        small = ["snapshots.count=2", "features.windows=[7, 30]", "ingest.max_refused_share=1"]
        changed = [*small, *overrides]
        return Job(spark, Lake(spark, str(tmp_path / name)), load_settings("local", changed))

    return in_lake


def line(customer: int, day: int, cents: int, basket: int = 0) -> str:
    return f"c{customer},{START + timedelta(day)},{cents / 100},{basket}\n"


def write(folder: Path, name: str, lines: list[str]) -> None:
    """The file with these lines; two writings within a clock tick differ in their times too."""
    path = folder / name
    newest = max([p.stat().st_mtime for p in folder.iterdir()], default=0)
    path.write_text(HEADER + "".join(lines))
    os.utime(path, (newest + 10, newest + 10))


def up_to_date(job: Job, source: Source, log: Path, as_of: date | None = None) -> Job:
    ingest(job, source, str(log))
    span = log_span(job, as_of)
    work = due(job.lake, span.first, span.as_of)
    update_customer_days(job.lake, work, span.as_of)
    return job


def same(job: Job, other: Job, *names: str) -> None:
    for name in names:
        assert stored(job.lake, name) == stored(other.lake, name), name


ALL = ("transactions", "quarantine", "customer_days")


def test_what_has_come_is_told_and_which_files_have_no_row(job, files, tmp_path, capsys) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500), line(2, 1, 700)])
    growing = job("growing")
    ingest(growing, files(), str(log))
    write(log, "2.csv", [line(1, 2, 900), f",{START},1,0\n"])
    write(log, "3.csv", [])
    ingest(growing, files(), str(log))
    said = capsys.readouterr().out
    assert "files: 2 new or changed, 0 gone, 1 there already" in said
    assert "2 rows of these = 1 kept + 1 quarantined" in said
    assert "no row in 3.csv" in said


def test_a_check_is_of_the_files_that_would_be_taken(job, files, tmp_path, capsys) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500), line(2, 1, 700)])
    growing, given_log = job("growing"), Input(files(), str(log))
    check(growing, given_log)
    assert "of the first 2 rows, 2 would be kept" in capsys.readouterr().out
    ingest(growing, files(), str(log))
    write(log, "2.csv", [line(1, 2, 900)])
    check(growing, given_log)
    said = capsys.readouterr().out
    assert "files: 1 new or changed, 0 gone, 1 there already" in said
    assert "of the first 1 rows, 1 would be kept" in said
    ingest(growing, files(), str(log))
    capsys.readouterr()
    check(growing, given_log)
    assert "of the first" not in capsys.readouterr().out
    assert growing.lake.read("transactions").count() == 3


def test_the_log_of_another_source_is_not_put_in_the_place_of_one(job, files, tmp_path) -> None:
    ours, theirs = tmp_path / "log", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        write(folder, "1.csv", [line(1, 0, 500)])
    there = up_to_date(job("there"), files(), ours)
    other = files().model_copy(update={"name": "other"})
    refused = "transactions of the source files"
    with pytest.raises(InputError, match=refused):
        check(there, Input(other, str(theirs)))
    with pytest.raises(InputError, match=refused):
        ingest(there, other, str(theirs))
    assert there.lake.read("transactions").count() == 1
    # The same files under another name are the same log, and so is what comes beside them.
    write(theirs, "2.csv", [line(1, 0, 500), line(2, 1, 500)])
    ingest(there, other, str(ours))
    beside = job("there", "ingest.gone_files=keep")
    ingest(beside, files(), str(theirs))
    assert there.lake.read("transactions").count() == 1 + 1 + 2


def test_of_files_of_one_day_each_the_log_of_the_table_tells_the_days(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500), line(2, 1, 700)])
    growing = up_to_date(job("growing"), files(), log)
    since = growing.lake.version("transactions")
    write(log, "2.csv", [line(1, 2, 900), line(2, 2, 100)])
    ingest(growing, files(), str(log))
    now, until = growing.lake.version("transactions"), START + timedelta(2)
    told = _days_told(growing.lake, ORDERS, since, now, until)
    assert told == _Days({until}, set(), until)
    assert told == _days_read(growing.lake, ORDERS, since, now, until)
    write(log, "3.csv", [line(1, 3, 900), line(2, 5, 100)])
    ingest(growing, files(), str(log))
    latest = growing.lake.version("transactions")
    assert _days_told(growing.lake, ORDERS, now, latest, until) is None


def test_a_file_is_taken_once_and_a_corrected_one_again(job, files, tmp_path, capsys) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500), line(2, 1, 700), line(3, 400, -100), "c4,never,1,1\n"])
    growing = up_to_date(job("growing"), files(), log)
    write(log, "2.csv", [line(1, 2, 900)])
    up_to_date(growing, files(), log)
    assert "files: 1 new or changed, 0 gone, 1 there already" in capsys.readouterr().out
    version = growing.lake.version("transactions")
    up_to_date(growing, files(), log)
    assert "files: 0 new or changed, 0 gone, 2 there already" in capsys.readouterr().out
    assert growing.lake.version("transactions") == version
    write(log, "1.csv", [line(1, 0, 600), line(3, 400, -100)])
    same(up_to_date(growing, files(), log), up_to_date(job("fresh1"), files(), log), *ALL)
    (log / "2.csv").unlink()
    same(up_to_date(growing, files(), log), up_to_date(job("fresh2"), files(), log), *ALL)
    write(log, "3.csv", [])
    same(up_to_date(growing, files(), log), up_to_date(job("fresh3"), files(), log), *ALL)


def test_files_that_were_archived_may_stay(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    keeping = job("keeping", "ingest.gone_files=keep")
    write(log, "1.csv", [line(1, 0, 500)])
    up_to_date(keeping, files(), log)
    (log / "1.csv").unlink()
    write(log, "2.csv", [line(1, 1, 500)])
    up_to_date(keeping, files(), log)
    assert keeping.lake.read("transactions").count() == 2
    # What is kept cannot be cut at another hour, and the table has but one clock.
    other = files().model_copy(update={"day_starts_at": "14:00"})
    with pytest.raises(InputError, match=r"day_starts_at is 14:00 .* 00:00 .* 1 files .*1\.csv"):
        ingest(keeping, other, str(log))
    assert keeping.lake.properties("transactions")["day_starts_at"] == "00:00"
    assert keeping.lake.read("transactions").count() == 2


def test_files_that_are_gone_cannot_be_compared_line_by_line(job, files, tmp_path) -> None:
    log, away = tmp_path / "log", tmp_path / "archived.csv"
    log.mkdir()
    keeping = job("keeping", "ingest.gone_files=keep")
    write(log, "1.csv", [line(1, 0, 500)])
    write(log, "2.csv", [line(1, 1, 500)])
    up_to_date(keeping, files("refuse"), log)
    (log / "1.csv").rename(away)
    assert ingest(keeping, files("refuse"), str(log)).kept == 2
    write(log, "3.csv", [line(1, 2, 500)])
    with pytest.raises(InputError, match=r"1 of the files that were taken are gone.*1\.csv.*Bring"):
        ingest(keeping, files("refuse"), str(log))
    assert keeping.lake.read("transactions").count() == 2
    away.rename(log / "1.csv")
    assert ingest(keeping, files("refuse"), str(log)).kept == 3


def test_a_file_that_comes_while_the_folder_is_read_is_taken_the_next_time(
    job, files, tmp_path, monkeypatch
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500)])
    growing = up_to_date(job("growing"), files(), log)
    write(log, "2.csv", [line(1, 1, 500)])

    def late(*given):
        write(log, "3.csv", [line(1, 2, 500)])
        return read_log(*given)

    monkeypatch.setattr("jobs.ingest.read_log", late)
    assert ingest(growing, files(), str(log)).kept == 2
    monkeypatch.undo()
    same(up_to_date(growing, files(), log), up_to_date(job("fresh"), files(), log), *ALL)
    assert growing.lake.read("transactions").count() == 3


def test_quarantine_that_somebody_has_taken_away_is_made_anew(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500), "c4,never,1,1\n"])
    growing = up_to_date(job("growing"), files(), log)
    shutil.rmtree(tmp_path / "growing" / "quarantine")
    assert ingest(growing, files(), str(log)).refused == 1


def test_the_refused_are_a_share_of_the_whole_input_and_not_of_its_new_files(
    job, files, tmp_path
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    quarter = job("quarter", "ingest.max_refused_share=0.25")
    write(log, "1.csv", [line(1, day, 500) for day in range(6)])
    up_to_date(quarter, files(), log)
    write(log, "2.csv", ["c4,never,1,1\n", "c5,never,1,1\n"])
    up_to_date(quarter, files(), log)
    same(quarter, up_to_date(job("fresh", "ingest.max_refused_share=0.25"), files(), log), *ALL)
    write(log, "3.csv", [line(2, 1, 500), "c6,never,1,1\n"])
    with pytest.raises(InputError, match=r"3 of 10 rows \(30%\) break the contract"):
        ingest(quarter, files(), str(log))
    assert quarter.lake.read("transactions").count() == 6


def test_a_line_whose_day_has_not_come_waits_in_quarantine(
    job, files, tmp_path, capsys, monkeypatch
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    waiting = job("waiting")
    write(log, "1.csv", [line(1, 0, 500), "c1,2999-01-01,1,1\n"])
    write(log, "2.csv", [line(1, 1, 500)])
    up_to_date(waiting, files(), log)
    version = waiting.lake.version("transactions")
    ingest(waiting, files(), str(log))
    assert "0 gone, 2 there already" in capsys.readouterr().out
    assert waiting.lake.version("transactions") == version

    allowed = Limits(1e7, 1e9, date(1970, 1, 1), date(2999, 1, 1))
    for module in ("jobs.ingest", "jobs.inputs"):
        monkeypatch.setattr(f"{module}.limits_of", lambda job, given: allowed)
    ingest(waiting, files(), str(log))
    assert "1 of these read again" in capsys.readouterr().out
    assert waiting.lake.read("transactions").count() == 3
    assert waiting.lake.read("quarantine").isEmpty()


def test_it_is_told_that_lines_go(job, files, tmp_path, capsys) -> None:
    log = tmp_path / "log"
    log.mkdir()
    told = job("told")
    write(log, "1.csv", [line(1, 0, 500)])
    write(log, "2.csv", [line(1, 1, 500)])
    up_to_date(told, files(), log)
    for name in ("1.csv", "2.csv"):
        (log / name).unlink()
    write(log, "3.csv", [line(1, 2, 500)])
    up_to_date(told, files(), log)
    said = capsys.readouterr().out
    assert "files: 1 new or changed, 2 gone, 0 there already" in said
    assert "ingest.gone_files: keep lets them stay" in said


def test_another_source_file_reads_every_file_again(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500), line(1, 0, 500)])
    one = up_to_date(job("one"), files(), log)
    up_to_date(one, files("refuse"), log)
    assert one.lake.read("transactions").count() == 1
    # The repeated line may come in another file, and the file that came first may change.
    write(log, "0.csv", [line(1, 0, 500), line(2, 0, 500)])
    same(
        up_to_date(one, files("refuse"), log),
        up_to_date(job("fresh"), files("refuse"), log),
        "transactions",
        "customer_days",
    )


def test_a_killed_ingest_of_another_log_is_made_good(job, files, tmp_path, monkeypatch) -> None:
    """Killed after the lines, before the list of files; then the first log is ingested again."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, cents in ((first, 500), (second, 700)):
        folder.mkdir()
        write(folder, "1.csv", [line(1, 0, cents)])
    killed = up_to_date(job("killed"), files(), first)
    replace = Lake.replace

    def dying(self, table, frame, where=None) -> None:
        replace(self, table, frame, where)
        if table.name == "transactions":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            ingest(killed, files(), str(second))
    same(up_to_date(killed, files(), first), up_to_date(job("fresh"), files(), first), *ALL)


def test_features_are_made_again_only_where_the_log_has_changed(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(c, d, 500 + c) for c in range(5) for d in range(0, 60, 7 + c)])
    growing, source = job("growing"), files()

    def built(one: Job, *days: int) -> list[date]:
        ingest(one, source, str(log))
        dates = [START + timedelta(day) for day in days]
        return build_features(one, log_span(one, None), dates).made

    days = [START + timedelta(day) for day in (20, 30, 40)]
    assert built(growing, 20, 30, 40) == days
    assert built(growing, 20, 30, 40) == []
    write(log, "2.csv", [line(1, 30, 999)])  # late: it changes what is seen after day 30
    assert built(growing, 20, 30, 40) == days[2:]
    fresh = job("fresh")
    assert built(fresh, 20, 30, 40) == days
    same(growing, fresh, *ALL, "features", "labels")
    span = log_span(growing, None)
    assert build_features(growing, span, days, again=True).made == days


def test_days_whose_changes_have_been_vacuumed_are_all_made_again(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, day, 500) for day in range(40)])
    growing = up_to_date(job("growing"), files(), log)
    for day in (3, 4):
        write(log, "2.csv", [line(2, day, 700)])
        ingest(growing, files(), str(log))
    growing.lake.compact("transactions")
    check = "spark.databricks.delta.retentionDurationCheck.enabled"
    growing.spark.conf.set(check, "false")
    growing.lake.vacuum("transactions", 0)
    growing.spark.conf.unset(check)
    span = log_span(growing, None)
    assert due(growing.lake, span.first, span.as_of).days is None
    same(up_to_date(growing, files(), log), up_to_date(job("fresh"), files(), log), *ALL)


def test_labels_of_a_log_in_one_file_follow_its_correction(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    lines = [line(c, day, 500) for c in range(5) for day in (0, 60 + c)]
    write(log, "1.csv", lines)
    growing, source, scored = job("growing"), files(), START + timedelta(20)

    def built(one: Job, *dates: date) -> None:
        ingest(one, source, str(log))
        build_features(one, log_span(one, None), dates)

    built(growing, scored)
    assert growing.lake.read("labels").where("repurchased").isEmpty()
    write(log, "1.csv", [*lines, line(3, 30, 700)])
    built(growing, START + timedelta(64))
    fresh = job("fresh")
    built(fresh, scored)
    same(growing, fresh, "labels")
    assert growing.lake.read("labels").where("repurchased").count() == 1


def test_a_table_that_goes_on_while_it_is_read_is_taken_as_it_was(
    job, files, spark, tmp_path, monkeypatch
) -> None:
    orders, growing = str(tmp_path / "orders"), job("growing")

    def come(*lines: str) -> None:
        # As from elsewhere: of what its own session writes, Spark reads the new rows.
        rows = zip(*(text.strip().split(",") for text in lines), strict=True)
        named = dict(zip(("who", "day", "money", "basket"), map(list, rows), strict=True))
        write_deltalake(orders, pa.table(named), mode="append")

    def meanwhile(*given) -> None:
        come(line(3, 2, 500))

    come(line(1, 0, 500), line(2, 1, 700))
    source = files()
    mapping = source.model_copy(
        update={"reader": source.reader.model_copy(update={"format": "delta", "options": {}})}
    )
    monkeypatch.setattr("jobs.ingest._check_share", meanwhile)
    found = ingest(growing, mapping, orders)
    assert (found.rows, found.kept) == (2, 2)
    monkeypatch.undo()
    assert ingest(growing, mapping, orders).kept == 3


def test_another_share_of_refused_lines_reads_nothing_again(job, files, tmp_path, capsys) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(1, 0, 500)])
    ingest(job("lake"), files(), str(log))
    ingest(job("lake", "ingest.max_refused_share=0.9"), files(), str(log))
    assert "0 new or changed, 0 gone, 1 there already" in capsys.readouterr().out


def test_a_file_that_goes_while_its_lines_were_on_their_way_is_asked_for(
    job, files, tmp_path, monkeypatch
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    keeping = job("keeping", "ingest.gone_files=keep")
    write(log, "1.csv", [line(1, 0, 500)])
    ingest(keeping, files(), str(log))
    write(log, "2.csv", [line(2, 1, 500)])

    def killed(*given, **named) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.ingest._take", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest(keeping, files(), str(log))
    monkeypatch.undo()
    away = (log / "2.csv").rename(tmp_path / "2.csv")
    with pytest.raises(
        InputError, match=r"interrupted while it took .*2\.csv, and the file is gone"
    ):
        ingest(keeping, files(), str(log))
    away.rename(log / "2.csv")
    assert ingest(keeping, files(), str(log)).kept == 2


def test_a_line_of_a_year_that_no_calendar_has_waits_for_the_last_of_them(
    job, files, tmp_path
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (log / "1.csv").write_text(
        "who,day,money,basket\nc1,1709285400000,5,1\nc2,1709285400000000,5,2\n"
    )
    source = files()
    moment = {"ordered_at": "timestamp_millis(cast(day as bigint))"}
    columns = source.columns.model_copy(update=moment)
    in_millis, found = source.model_copy(update={"columns": columns}), job("lake")
    for _ in range(2):
        result = ingest(found, in_millis, str(log))
        assert (result.kept, result.refused) == (1, 1)
    (late,) = found.lake.read("quarantine").select("due_on", "reasons").collect()
    assert late.due_on == date.max


def test_a_model_of_the_customer_base_that_cannot_be_fitted_is_named(
    job, files, tmp_path, capsys
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(c, c, 500) for c in range(20)])
    one = job("lake")
    ingest(one, files(), str(log))
    build_features(one, log_span(one, None), [START + timedelta(20)])
    said = capsys.readouterr().out
    assert "mbg_nbd could not be fitted as of 1 of 1 dates, the last 2024-01-21: too few" in said


def test_a_line_that_goes_after_an_earlier_as_of_is_not_forgotten(job, files, tmp_path) -> None:
    """And labels are those of the log of now, on dates that nobody asks for again too."""
    log = tmp_path / "log"
    log.mkdir()
    days = [START + timedelta(day) for day in (20, 40)]
    write(log, "1.csv", [line(n, day, 500) for n in range(3) for day in (0, 5, 10, 80)])
    write(log, "2.csv", [line(1, 30, 500)])
    growing = up_to_date(job("growing"), files(), log)
    build_features(growing, log_span(growing, None), days)
    (log / "2.csv").unlink()
    ingest(growing, files(), str(log))
    build_features(growing, log_span(growing, days[0]), days[:1])
    assert build_features(growing, log_span(growing, None), days[1:]).made == days[1:]
    fresh = up_to_date(job("fresh"), files(), log)
    build_features(fresh, log_span(fresh, None), days)
    same(growing, fresh, "features", "labels")


def test_what_was_made_with_other_settings_or_of_another_log_is_not_used(
    job, files, tmp_path, monkeypatch
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(n, day, 500) for n in range(4) for day in range(n, 60, 6 + n)])
    days = [START + timedelta(day) for day in (22, 29)]
    first = up_to_date(job("lake"), files(), log)
    build_features(first, log_span(first, None), days)
    other = job("lake", "features.windows=[7, 14, 30]", "snapshots.horizon_days=7")
    build_features(other, log_span(other, None), days[1:])
    with pytest.raises(InputError, match=f"1 training dates are missing .* the first {days[0]}"):
        snapshots_of(other, days)
    with monkeypatch.context() as patched:
        patched.setattr("jobs.score.champion", lambda *_: None)
        with pytest.raises(InputError, match=f"the features of {days[1]} were made with other"):
            score(first, days[1])
    # A command that is killed once the rows are there leaves dates that are made again.
    with monkeypatch.context() as patched:
        patched.setattr(Lake, "set_properties", _killed)
        with pytest.raises(KeyboardInterrupt):
            build_features(first, log_span(first, None), days)
    assert build_features(other, log_span(other, None), days).made == days
    shutil.rmtree(tmp_path / "lake" / "features")
    assert build_features(other, log_span(other, None), days[:1]).made == days[:1]
    assert build_features(other, log_span(other, None), days).made == days[1:]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_backfill_beside_another_command_does_not_call_whole_what_is_stale(
    job, files, tmp_path, monkeypatch
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(n, day, 500) for n in range(3) for day in range(0, 60, 5)])
    filling = up_to_date(job("lake", "features.dates_per_chunk=1"), files(), log)
    days = [START + timedelta(day) for day in (40, 50)]
    build, chunks = building._build, []

    def beside(given, *more):
        build(given, *more)
        chunks.append(given)
        if len(chunks) == 2:
            write(log, "late.csv", [line(1, 12, 500)])
            up_to_date(given, files(), log)

    monkeypatch.setattr(building, "_build", beside)
    said = "another command has changed what features are made of"
    with pytest.raises(TryAgainError, match=said):
        build_features(filling, log_span(filling, None), days)
    monkeypatch.undo()
    assert build_features(filling, log_span(filling, None), days).made[-1] == days[1]


def test_the_plan_is_what_is_then_done(job, files, tmp_path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(c, d, 500 + c) for c in range(5) for d in range(0, 60, 7 + c)])
    growing, source = job("growing", "features.dates_per_chunk=2"), files()
    days = [START + timedelta(day) for day in (20, 30, 40)]

    def planned(*, again: bool = False) -> tuple[object, ...]:
        plan = dict(building.plan_of(growing, log_span(growing, None), days, again=again))
        return (
            plan["of these, days to make again first"],
            plan["of these, there already"],
            plan["snapshots to come, about"],
            plan["passes over customer_days"],
            plan["exchanged a pass, at most"] == "sums by product",
        )

    ingest(growing, source, str(log))
    assert planned() == ("all", 0, 15, 2, False)
    assert build_features(growing, log_span(growing, None), days).made == days
    assert building.known_before(growing, log_span(growing, None)).ranges is not None
    assert planned() == (0, 3, 0, 0, True)
    assert planned(again=True) == (0, 0, 15, 2, True)
    write(log, "2.csv", [line(1, 30, 999)])  # late: it changes what is seen after day 30
    ingest(growing, source, str(log))
    assert planned() == (1, 2, 5, 1, True)
    assert build_features(growing, log_span(growing, None), days).made == days[2:]


def test_features_of_another_release_are_made_again(job, files, tmp_path, monkeypatch) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(c, d, 500 + c) for c in range(5) for d in range(0, 60, 7 + c)])
    older = job("older")
    ingest(older, files(), str(log))
    span, days = log_span(older, None), [START + timedelta(day) for day in (20, 30)]
    with monkeypatch.context() as patched:
        patched.setattr(building, "known_features", lambda job: known_features(job)[:-1])
        assert build_features(older, span, days).made == days
        assert build_features(older, span, days).made == []
    with pytest.raises(InputError, match=r"by another release \(catalogue\).*build-features"):
        snapshots_of(older, days[:1])
    assert build_features(older, span, days).made == days
    fresh = job("fresh")
    ingest(fresh, files(), str(log))
    build_features(fresh, span, days)
    same(older, fresh, "features", "labels")
    assert snapshots_of(older, days[:1]).snapshots.count() > 0


def test_a_killed_backfill_goes_on_where_it_was(job, files, tmp_path, monkeypatch) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write(log, "1.csv", [line(c, d, 500 + c) for c in range(5) for d in range(0, 60, 7 + c)])
    killed = job("killed", "features.dates_per_chunk=1")
    ingest(killed, files(), str(log))
    span, days = log_span(killed, None), [START + timedelta(day) for day in (20, 30, 40)]
    replace_dates = Lake.replace_dates

    def dying(self, table, made, dates) -> None:
        if days[1] in dates:
            raise KeyboardInterrupt
        replace_dates(self, table, made, dates)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "replace_dates", dying)
        with pytest.raises(KeyboardInterrupt):
            build_features(killed, span, days)
    assert build_features(killed, span, days).made == days[1:]
    fresh = job("fresh")
    ingest(fresh, files(), str(log))
    build_features(fresh, span, days)
    same(killed, fresh, "features", "labels")


LINES = st.lists(
    st.builds(
        line,
        st.integers(1, 4),
        st.integers(0, 90),
        st.integers(-500, 5000),
        st.integers(0, 2),
    )
    | st.just("c9,no day,1,1\n"),
    min_size=1,
    max_size=12,
)
STEPS = st.lists(
    st.tuples(st.sampled_from("12345"), st.none() | LINES, st.none() | st.integers(10, 95)),
    min_size=3,
    max_size=4,
)


@settings(
    max_examples=4,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=LINES, steps=STEPS)
def test_any_sequence_of_files_and_days_gives_what_a_rebuild_gives(
    job, files, tmp_path, first: list[str], steps: list
) -> None:
    """Each step writes a file anew or takes it away, and looks from some day, or from the end."""
    case = tmp_path / f"case{len(list(tmp_path.iterdir()))}"
    log = case / "log"
    log.mkdir(parents=True)
    write(log, "0.csv", [line(1, 0, 100), line(2, 95, 100), *first])
    growing = up_to_date(job(f"{case.name}/growing"), files(), log)
    for name, lines, day in steps:
        if lines is not None:
            write(log, f"{name}.csv", lines)
        else:
            (log / f"{name}.csv").unlink(missing_ok=True)
        as_of = None if day is None else START + timedelta(day)
        up_to_date(growing, files(), log, as_of)
    fresh = up_to_date(job(f"{case.name}/fresh"), files(), log, as_of)
    same(growing, fresh, *ALL)
