"""How fast the features are made, beside other engines on the same log: docs/speed.svg, README.

`make bench-quick` takes up to 2 million lines, `make bench` up to 20 million, and with UP_TO=100 up
to 100 million, if the disk has 10 GB to spare. Every engine makes the same 53 features
(benchmarks/peers.py), each in a process of its own, one after the other: until it gets no faster,
or once where that takes minutes, and then three times, of which the median counts. After that,
what takes minutes runs once with `make bench-quick`, and with a billion lines times dates.

Results that differ from this engine's stop the benchmark. One that was stopped goes on with
`--resume`: a size of the log with a number of dates is measured again unless all of its engines
have been.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import psutil
from deltalake import DeltaTable
from matplotlib.ticker import LogFormatter, NullLocator

from benchmarks.peers import FEATURES, REPEATS, WARM_UPS
from benchmarks.standalone import standalone

ROOT = Path(__file__).parents[1]
DAYS, START = 730, date(2023, 1, 1)
LAST = START + timedelta(DAYS - 1)
# Customers of the generated log for a million lines.
CUSTOMERS_PER_MILLION = 46_200
OURS, STANDALONE = "repurchase", "repurchase_standalone"
DAILY, CUT = "repurchase_daily", "repurchase_cut"
FAST = (OURS, "duckdb", "polars")
# Warmed up once.
SLOW = ("pandas", "spark_cross_join", "spark_window_joins", "featuretools", "repurchase_rebuild")
# Millions of lines, dates and engines, in the order in which they run.
QUICK = [
    (0.1, 12, (OURS, "featuretools")),
    (2, 12, (*FAST, STANDALONE, "pandas", "spark_cross_join")),
    (2, 1, FAST),
]
FULL = [
    QUICK[0],
    (2, 12, (*FAST, STANDALONE, "pandas", "spark_cross_join", "spark_window_joins")),
    (2, 1, FAST),
    (2, 52, FAST),
    (20, 1, (*FAST, "repurchase_rebuild", "repurchase_nightly", DAILY)),
    (20, 12, (*FAST, STANDALONE)),
    (20, 52, (OURS,)),
    (100, 1, (OURS, "duckdb")),
    (100, 12, (OURS,)),
]
# With so many million lines, times the dates, every engine is warmed up once; and timed once.
LARGE, HUGE = 100, 1000
EXECUTOR_MEMORY = "2g"
ACCURACY = 1e-9
MEGABYTE = 2**20
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"


def main() -> None:
    """Run the engines, check that they agree, and write what was measured."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="2 million lines only")
    arguments.add_argument("--up-to", type=float, default=20, help="million lines")
    arguments.add_argument("--logs", type=Path, default=ROOT / "lakehouse" / "benchmarks")
    arguments.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results.json")
    arguments.add_argument("--resume", action="store_true", help="keep what is in the results")
    given = arguments.parse_args()
    records: list[dict[str, Any]] = []
    if given.resume and given.results.exists():
        records = json.loads(given.results.read_text(encoding="utf-8"))
    sizes = QUICK if given.quick else [size for size in FULL if size[0] <= given.up_to]
    for millions, dates, engines in sizes:
        rows = round(millions * 1_000_000)
        alike = [r for r in records if (r["rows"], r["dates"]) == (rows, dates)]
        if {r["engine"] for r in alike} >= set(engines):
            continue
        records = [r for r in records if r not in alike]
        log = log_of(given.logs, millions)
        with tempfile.TemporaryDirectory() as folder:
            for engine in engines:
                slow = engine in SLOW or millions * dates >= LARGE
                once = (given.quick and slow) or millions * dates >= HUGE
                runs = (1 if slow else WARM_UPS, 1 if once else REPEATS)
                record = _measured(engine, log, dates, Path(folder), *runs)
                records.append({"rows": rows, "dates": dates, **record})
                print(json.dumps(records[-1]), flush=True)
                given.results.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    _plot(records, ROOT / "docs" / "speed.svg")
    _put_into(ROOT / "README.md", f"![seconds by dates](docs/speed.svg)\n\n{_table(records)}")


def log_of(folder: Path, millions: float) -> Path:
    """The lines of a generated log of so many million, made where they are missing."""
    log = folder / f"{millions}m" / "lines"
    if not (log / "_SUCCESS").exists():
        command = [sys.executable, "-m", "benchmarks.log", str(log.parent)]
        subprocess.run(
            [*command, str(round(millions * CUSTOMERS_PER_MILLION)), str(DAYS)],
            check=True,
            cwd=ROOT,
        )
    return log


def _measured(
    engine: str, log: Path, dates: int, folder: Path, warm_ups: int, repeats: int
) -> dict[str, Any]:
    output = folder / engine
    if engine == DAILY:
        subprocess.run(_command(CUT, log, dates, folder / CUT, 1, 1), cwd=ROOT, check=True)
    command = _command(engine.removesuffix("_standalone"), log, dates, output, warm_ups, repeats)
    with ExitStack() as stack:
        if engine == STANDALONE:
            cluster = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            command += ["--master", stack.enter_context(standalone(cluster, 2, EXECUTOR_MEMORY))]
        os.sync()  # what the engine before has written is not written on its successor's time
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory())
            time.sleep(0.2)
    assert process.stdout is not None
    said = process.stdout.read().decode().strip().splitlines()
    if process.returncode:
        sys.exit(f"{engine} failed with exit code {process.returncode}")
    measured = json.loads(said[-1])
    rows = _rows(output)
    expected = folder / OURS
    if output != expected:
        _compare(engine, output, expected)
    # The executors of a cluster are not this process's children.
    read = None if engine == STANDALONE else round(statistics.median(measured["read_mb"]))
    return {
        "engine": engine,
        "seconds": round(statistics.median(measured["seconds"]), 2),
        "read_mb": read,
        "peak_mb": round(peak / MEGABYTE),
        "result_rows": rows,
    }


def _command(
    engine: str, log: Path, dates: int, output: Path, warm_ups: int, repeats: int
) -> list[str]:
    return [
        *(sys.executable, "-m", "benchmarks.peers", engine),
        *("--log", str(log), "--last", str(LAST), "--dates", str(dates)),
        *("--output", str(output), "--warm-ups", str(warm_ups), "--repeats", str(repeats)),
    ]


def _memory() -> int:
    """Resident bytes of every process that this one has started."""
    total = 0
    for member in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return total


def _files(output: Path) -> str:
    delta = output / "features"
    if delta.is_dir():
        return json.dumps(DeltaTable(delta).file_uris())
    return json.dumps([str(file) for file in sorted(output.glob("*.parquet"))])


def _source(output: Path) -> str:
    files = _files(output).replace('"', "'")
    # A Delta table keeps the date in the name of its folder.
    return f"read_parquet({files}, hive_partitioning = true)"


def _rows(output: Path) -> int:
    counted = duckdb.sql(f"SELECT count(*) FROM {_source(output)}").fetchone()
    return int(counted[0]) if counted else 0


def _compare(engine: str, output: Path, expected: Path) -> None:
    """Stop unless both hold the same snapshots, and in each the same features."""
    differs = [
        f"count(*) FILTER ((a.{name} IS NULL) != (b.{name} IS NULL) OR abs(a.{name} - b.{name})"
        f" > {ACCURACY} * greatest(1, abs(b.{name})))"
        for name in FEATURES
    ]
    found = duckdb.sql(
        f"SELECT count(*) FILTER (a.customer_id IS NULL OR b.customer_id IS NULL), "
        f"{', '.join(differs)} FROM {_source(output)} AS a FULL JOIN {_source(expected)} AS b "
        "ON a.customer_id = b.customer_id AND a.as_of::DATE = b.as_of::DATE"
    ).fetchone()
    assert found is not None
    wrong = {name: count for name, count in zip(("rows", *FEATURES), found, strict=True) if count}
    if more := _rows(output) - _rows(expected):
        wrong["how many"] = more
    if wrong:
        sys.exit(f"{engine} differs from {OURS}: {wrong}")


def _table(records: Sequence[dict[str, Any]]) -> str:
    header = "| lines | dates | engine | seconds | peak memory, MiB | read, MiB | rows |"
    lines = [header, "|" + "---|" * header.count(" | ") + "---|"]
    lines += [
        f"| {record['rows']:,} | {record['dates']} | {record['engine']} | {record['seconds']:.1f} "
        f"| {record['peak_mb']:,} | {_told(record['read_mb'])} | {record['result_rows']:,} |"
        for record in sorted(records, key=lambda r: (r["rows"], r["dates"], r["seconds"]))
    ]
    return "\n".join(lines) + "\n"


def _told(megabytes: int | None) -> str:
    return "" if megabytes is None else f"{megabytes:,}"


def _plot(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Seconds by the number of dates, a panel for each size of the log, a line for each engine."""
    sizes = sorted({record["rows"] for record in records})
    figure, panels = plt.subplots(1, len(sizes), figsize=(5 * len(sizes), 4), squeeze=False)
    palette = plt.get_cmap("tab20")
    engines = dict.fromkeys(r["engine"] for r in records)
    colours = {engine: palette(place % palette.N) for place, engine in enumerate(engines)}
    for panel, size in zip(panels[0], sizes, strict=True):
        for engine, colour in colours.items():
            points = sorted(
                (r["dates"], r["seconds"])
                for r in records
                if r["rows"] == size and r["engine"] == engine
            )
            if points:
                panel.plot(*zip(*points, strict=True), "o-", color=colour, label=engine)
        panel.set(title=f"{size / 1e6:g} million lines", xlabel="as-of dates", ylabel="seconds")
        panel.set(xscale="log", yscale="log")
        ticks = sorted({r["dates"] for r in records if r["rows"] == size})
        panel.set_xticks(ticks, labels=[str(tick) for tick in ticks], minor=False)
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        panel.grid(visible=True, alpha=0.3)
        panel.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _put_into(page: Path, table: str) -> None:
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
