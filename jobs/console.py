"""What a command says: steps with their time, tables, and errors that name the remedy."""

import functools
import logging
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

import typer
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conf.errors import RepurchaseError, TryAgainError, without_codes

P = ParamSpec("P")
R = TypeVar("R")

OK, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# A log file or a pipe has no width of its own: wide enough for every table.
console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

# Spark's words for what the user can mend, and ours.
_MENDABLE = {
    "DATETIME_PATTERN": "a date pattern in the source file is wrong (a day is dd, a month MM, a "
    "year yyyy)",
    "DATA_SOURCE_NOT_FOUND": "reader.format in the source file is none that Spark knows",
    "No suitable driver": "the JDBC driver is missing: name its package with "
    "--set spark.config.spark.jars.packages=GROUP:NAME:VERSION",
    "PATH_NOT_FOUND": "a file or folder is gone",
    "long overflow": "a number is too large for an expression of the source file, as nanoseconds "
    "are for timestamp_millis(...)",
    "SCHEMA_NOT_FOUND": "lake.catalog_schema names a schema that is not there; create it first",
    "No FileSystem for scheme": "Spark cannot read from there: name the package of that file "
    "system with --set spark.config.spark.jars.packages=GROUP:NAME:VERSION",
}
_HINTS = {
    "OutOfMemoryError": "give Spark more with --set spark.config.spark.driver.memory=8g",
    "JAVA_GATEWAY_EXITED": "Spark needs Java 17 or 21, on the PATH or as JAVA_HOME",
    "DELTA_CONCURRENT": "another command wrote to the table at the same time; run it again",
}
_INTERRUPTION = ("interrupted; running the same command again is safe", INTERRUPTED)
_interrupted = threading.Event()
_DEBUG_HINT = "set REPURCHASE_DEBUG=1 to see where"


def handled(command: Callable[P, R]) -> Callable[P, R]:
    """The command, with errors as one message and the exit code that the design gives them."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        _silence_spark()
        _interrupted.clear()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, _interrupt)
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            raise _ended(*_INTERRUPTION) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as problem:
            if _debugging():
                traceback.print_exc()
            # What is cleaned up on the way out speaks to Spark amid another conversation.
            if _interrupted.is_set():
                raise _ended(*_INTERRUPTION) from None
            raise _ended(*_explained(problem)) from None

    return wrapper


def say(text: str) -> None:
    """A line of progress."""
    console.print(f"  [dim]{escape(text)}[/dim]", soft_wrap=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """A titled step; says how long it took, and shows that it is alive on a terminal."""
    started = time.monotonic()
    console.print(f"[bold]{escape(title)}[/bold]")
    if console.is_terminal:
        with console.status("[dim]working[/dim]"):
            yield
    else:
        yield
    console.print(f"  [dim]done in {time.monotonic() - started:.1f} s[/dim]")


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; numbers to the right."""
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD
    )
    body = [[_text(cell) for cell in row] for row in rows]
    for index, name in enumerate(header):
        numeric = all(_is_number(row[index]) for row in body)
        table.add_column(name, justify="right" if numeric else "left")
    for row in body:
        table.add_row(*[escape(cell) for cell in row])
    console.print(table)


def bar(value: float, most: float, width: int = 24) -> str:
    """A bar of blocks, as long as the value is of the most."""
    if not most > 0 or math.isnan(value):
        return ""
    eighths = round(width * 8 * min(value / most, 1.0))
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def interval(low: float, high: float, digits: int) -> str:
    """What follows a figure that has an interval; nothing where it has none."""
    return "" if math.isnan(low) else f" ({low:.{digits}f} .. {high:.{digits}f})"


def address(host: str, port: int) -> str:
    """Where a server listens, as a browser takes it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def mebibytes(size: float) -> str:
    """A number of bytes, for people to read."""
    return f"{size / 2**20:,.1f} MiB"


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return "-" if math.isnan(cell) else f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _is_number(text: str) -> bool:
    return (
        text.replace(",", "").replace(".", "").replace("-", "").replace("%", "").isdigit()
        or text == "-"
    )


def _ended(message: str, code: int) -> typer.Exit:
    errors.print(
        f"[bold red]error:[/bold red] {escape(message)}" if code != INTERRUPTED else message
    )
    return typer.Exit(code)


def _debugging() -> bool:
    return bool(os.environ.get("REPURCHASE_DEBUG"))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C: what waits for Spark then has nothing to report."""
    logging.disable(logging.CRITICAL)
    _interrupted.set()
    raise KeyboardInterrupt


def _silence_spark() -> None:
    """Spark writes each error that it raises to the standard error too: once is enough."""
    level = logging.NOTSET if _debugging() else logging.CRITICAL
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(level)


def _explained(problem: Exception) -> tuple[str, int]:
    """What to tell of a problem, and the exit code."""
    if isinstance(problem, RepurchaseError):
        return str(problem), FAILURE if isinstance(problem, TryAgainError) else BAD_INPUT
    if isinstance(problem, OSError):
        return str(problem), FAILURE
    if isinstance(problem, (PySparkException, Py4JError)):
        return _explained_by_spark(str(problem))
    return f"this should not happen: {type(problem).__name__}: {problem} ({_DEBUG_HINT})", FAILURE


def _explained_by_spark(text: str) -> tuple[str, int]:
    said = _messages(text)
    read = re.search(r"reading file (?:file:(?://)?)?(\S+?)\.?\s", text)
    file = unquote(read[1]) if read else "a file"
    if "CSV header" in text:
        differing = re.search(r"Expected: .*", text)
        return (
            f"{file}: its header differs from that of the other files "
            f"({differing[0].lower() if differing else said[-1]}); give all files the same columns "
            "in the same order, or ingest it on its own with --set ingest.gone_files=keep, so that "
            "the lines of the others stay",
            BAD_INPUT,
        )
    if "Relative path in absolute URI" in text:
        return f"{file}: Spark reads no file whose name has a colon; rename it", BAD_INPUT
    if "FAILED_READ_FILE" in text and "does not exist" in said[-1]:
        return f"{file} is gone since this command began; run it again", BAD_INPUT
    if "FAILED_READ_FILE" in text:
        return f"{file} cannot be read: {said[-1]}; fetch it again, or take it away", BAD_INPUT
    for sign, words in _MENDABLE.items():
        if sign in text:
            return f"{words}: {said[0]}", BAD_INPUT
    hint = next((hint for sign, hint in _HINTS.items() if sign in text), _DEBUG_HINT)
    return f"Spark could not finish: {said[0]} ({hint})", FAILURE


def _messages(text: str) -> list[str]:
    """What an error and its causes say, without Spark's codes; Spark Connect sends no causes."""
    thrown = re.findall(r"^(?:: |Caused by: )[\w.$]+: (.+)", text, re.MULTILINE)
    lines = thrown or text.strip().split("\n")[:2]
    return [without_codes(line) for line in lines]
