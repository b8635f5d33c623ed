"""How many predictions a second one worker of the API answers, and how quickly.

`python -m benchmarks.serving --lake DIR` starts `repurchase serve` on the lake and lets wrk, which
must be installed, ask it over the loopback; writes docs/serving.md.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from serving.api.documentation import CUSTOMER

ROOT = Path(__file__).parents[1]
# Of so many rounds the one with the median speed is told; other work on the machine disturbs some.
ROUNDS = 5
COMMAND = Path(sys.executable).parent / "repurchase"
SCRIPT = """
wrk.method = "POST"
wrk.body = {body}
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "bad": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.timeout))
end
"""
PAGE = """# Speed of the API

Made by `python -m benchmarks.serving`: one worker of `repurchase serve` and wrk share the
processors of this machine ({processors}). The champion is {champion}. A customer is sent with seven
features. Figures are those of the median of {rounds} rounds, errors and memory of all. Times are in
milliseconds, memory in MiB.

| requests | rows each | connections | a second | rows a second | median | 99 % | errors | memory |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class Load:
    """What is asked: the route, how many rows at a time, and by how many at once."""

    name: str
    path: str
    rows: int
    connections: int


LOADS = (
    Load("one, with reasons", "/predict", 1, 4),
    Load("one, without reasons", "/predict?reasons=false", 1, 4),
    Load("batch, without reasons", "/predict/batch", 1_000, 2),
    Load("batch, with reasons", "/predict/batch?reasons=true", 1_000, 2),
)


def main() -> None:
    """Measure every load and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lake", type=Path, default=ROOT / "lakehouse")
    arguments.add_argument("--seconds", type=int, default=5, help="of each round")
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "serving.md")
    given = arguments.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    with _served(given.lake) as (process, address, champion):
        rows = [_measured(load, process, address, given.seconds) for load in LOADS]
    page = PAGE.format(
        processors=psutil.cpu_count(), champion=champion, rounds=ROUNDS, rows="\n".join(rows)
    )
    given.output.write_text(page, encoding="utf-8")
    print(page)


@contextmanager
def _served(lake: Path) -> Iterator[tuple[psutil.Process, str, str]]:
    with tempfile.TemporaryFile("w+") as said:
        words = ["serve", "--lake", str(lake), "--port", "0", "--rate", "1000000/second"]
        server = subprocess.Popen([COMMAND, *words], stdout=said, stderr=said)
        try:
            champion = None
            while champion is None:
                time.sleep(0.2)
                said.seek(0)
                text = said.read()
                champion = re.search(r'\{"name": "(\w+)".*"event": "champion"', text)
                if server.poll() is not None:
                    sys.exit(text)
            address = re.findall(r"http://[\d.]+:\d+", text)[0]
            yield psutil.Process(server.pid), address, champion[1]
        finally:
            server.terminate()
            server.wait(30)


def _measured(load: Load, process: psutil.Process, address: str, seconds: int) -> str:
    body = CUSTOMER if load.rows == 1 else {"customers": [CUSTOMER] * load.rows}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT.format(body=f"[=[{json.dumps(body)}]=]"))
        script.flush()
        words = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "-s", script.name]
        _asked([*words[:3], "-d3s", *words[4:]], address + load.path)
        before = process.memory_info().rss
        rounds = [_asked(words, address + load.path) for _ in range(ROUNDS)]
    found = sorted(rounds, key=_a_second)[ROUNDS // 2]
    a_second, bad = _a_second(found), sum(one["bad"] for one in rounds)
    figures = (
        *(load.name, load.rows, load.connections, f"{a_second:,.0f}"),
        *(f"{a_second * load.rows:,.0f}", f"{found['p50'] / 1e3:.1f}", f"{found['p99'] / 1e3:.1f}"),
        *(bad, f"{before / 2**20:.0f} to {process.memory_info().rss / 2**20:.0f}"),
    )
    return "| " + " | ".join(map(str, figures)) + " |"


def _a_second(found: dict[str, int]) -> float:
    return found["requests"] / found["microseconds"] * 1e6


def _asked(words: list[str], address: str) -> dict[str, int]:
    ended = subprocess.run([*words, address], capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(ended.stdout.strip().split("\n")[-1])
    return found


if __name__ == "__main__":
    main()
