"""Long commands that the dashboard asks for: one at a time, each with a log that can be watched.

`start` leaves a process of this module behind, which outlives the page. As long as it lives, it
holds a lock on a file, so that what a killed process has left does not count.
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from conf.errors import InputError

FOLDER = "operations"
_SHOWN_BYTES = 20_000


@dataclass(frozen=True)
class Work:
    """The last command: what it is, since when, whether it runs, and how it ended (0 is well)."""

    title: str
    started: datetime
    running: bool
    code: int | None
    output: str


def start(lake: str, title: str, commands: Sequence[Sequence[str]]) -> None:
    """Run commands of `repurchase` one after the other, in a process of its own.

    Raises InputError while others run.
    """
    folder = Path(lake) / FOLDER
    folder.mkdir(exist_ok=True)
    with _locked(folder) as lock:
        if lock is None:
            raise InputError("another command is still running on these tables; wait until it ends")
        started = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"title": title, "started": started, "commands": [list(one) for one in commands]}
        (folder / "output.log").write_text("", encoding="utf-8")
        (folder / "work.json").write_text(json.dumps(told), encoding="utf-8")
        runner = [sys.executable, "-m", "serving.dashboard.work", str(folder)]
        # The process has the lock from its first moment on: it inherits the open file.
        subprocess.Popen(
            runner, start_new_session=True, stdin=subprocess.DEVNULL, pass_fds=[lock.fileno()]
        )


def keep(lake: str, name: str, text: str) -> str:
    """The path of a file of that name, with the text, for a command to read."""
    folder = Path(lake) / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def last(lake: str) -> Work | None:
    """The command that was asked for last; None before the first."""
    folder = Path(lake) / FOLDER
    try:
        told = json.loads((folder / "work.json").read_text(encoding="utf-8"))
        output = (folder / "output.log").read_bytes()[-_SHOWN_BYTES:]
    except (FileNotFoundError, ValueError):
        return None
    started = datetime.fromisoformat(told["started"])
    text = output.decode(errors="replace")
    return Work(told["title"], started, _running(folder), told.get("code"), text)


def run(folder: Path) -> int:
    """Run the commands of `work.json` with their output in `output.log`; the first that fails ends
    it, and its exit code is kept.
    """
    file = folder / "work.json"
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    with (folder / "output.log").open("a", encoding="utf-8") as log:
        code = next((code for one in told["commands"] if (code := _ran(one, log))), 0)
    file.write_text(json.dumps({**told, "code": code}), encoding="utf-8")
    return code


def _ran(arguments: Sequence[str], log: TextIO) -> int:
    log.write(f"$ repurchase {' '.join(arguments)}\n")
    log.flush()
    command = [sys.executable, "-u", "-m", "jobs.cli", *arguments]
    return subprocess.run(command, stdout=log, stderr=log, check=False).returncode


def _running(folder: Path) -> bool:
    if not (folder / "lock").exists():
        return False
    with _locked(folder) as lock:
        return lock is None


@contextmanager
def _locked(folder: Path) -> Iterator[TextIO | None]:
    """The file with the lock, None where another has it. It is given back once nobody has the file
    open: at the end, unless a process has inherited it, and then with that process.
    """
    with (folder / "lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
