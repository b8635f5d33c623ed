"""The engines of the benchmark make the same features, each in its own way."""

import json
import sys

import duckdb
import pytest

from benchmarks import log, peers, speed

pytestmark = pytest.mark.slow
CUSTOMERS = 150


@pytest.fixture(scope="module")
def lines(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["log", str(folder), str(CUSTOMERS), str(speed.DAYS)])
        log.main()
    return folder / "lines"


@pytest.fixture(scope="module")
def dates():
    return peers.as_of_dates(speed.LAST, 2)


@pytest.fixture(scope="module")
def ours(lines, dates, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / speed.OURS
    peers.repurchase(lines, dates, output)
    return output


@pytest.mark.parametrize(
    "engine", [name for name in peers.ENGINES if name not in (speed.OURS, speed.CUT, speed.DAILY)]
)
def test_every_engine_finds_the_same(lines, dates, ours, engine, tmp_path):
    output = tmp_path / engine
    peers.ENGINES[engine](lines, dates, output)
    assert speed._rows(output) == speed._rows(ours) > CUSTOMERS
    speed._compare(engine, output, ours)


def test_a_day_after_the_other_finds_the_same(lines, dates, tmp_path, monkeypatch):
    """The daily path ends on the last date alone."""
    monkeypatch.setattr(peers, "WARM_UPS", 1)
    output = tmp_path / speed.DAILY
    peers.repurchase_cut(lines, dates[-1:], output)
    for _ in range(peers.WARM_UPS + peers.REPEATS):
        peers.repurchase_daily(lines, dates[-1:], output)
    one = tmp_path / "one"
    peers.repurchase(lines, dates[-1:], one)
    last = f"SELECT * FROM {speed._source(output)} WHERE as_of::DATE = DATE '{dates[-1]}'"
    found = tmp_path / "last"
    found.mkdir()
    duckdb.sql(f"COPY ({last}) TO '{found}/part.parquet'")
    speed._compare(speed.DAILY, found, one)


def test_another_result_stops_the_benchmark(ours, tmp_path):
    column = peers.FEATURES[0]
    changed = f"SELECT * REPLACE ({column} + 1 AS {column}) FROM {speed._source(ours)}"
    duckdb.sql(f"COPY ({changed}) TO '{tmp_path}/changed.parquet'")
    with pytest.raises(SystemExit, match=f"other differs from {speed.OURS}.*{column}"):
        speed._compare("other", tmp_path, ours)


def test_the_records_become_a_table_and_a_plot(tmp_path):
    records = json.loads((speed.ROOT / "benchmarks" / "results.json").read_text())
    table = speed._table(records)
    assert table.count("\n") == len(records) + 2
    speed._plot(records, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
