"""What a command says: steps with their time, tables, and errors that name the remedy."""

import functools
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conf.errors import RepurchaseError

P = ParamSpec("P")
R = TypeVar("R")

OK, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# A log file or a pipe has no width of its own: wide enough for every table.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

# Spark's words for input that cannot be read, and ours.
_UNREADABLE = {
    "CSV header does not conform": "the header of a file differs from that of the first file",
    "PATH_NOT_FOUND": "a file or folder is gone",
    "FAILED_READ_FILE": "a file cannot be read",
    "ZipException": "a compressed file is damaged",
    "EOFException": "a compressed file ends too early",
    "invalid stored block": "a compressed file is damaged",
    "incorrect header check": "a compressed file is damaged",
    "incorrect data check": "a compressed file is damaged",
}


def handled(command: Callable[P, R]) -> Callable[P, R]:
    """The command, with errors as one message and the exit code that the design gives them."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except RepurchaseError as problem:
            raise _ended(str(problem), BAD_INPUT) from None
        except KeyboardInterrupt:
            raise _ended(
                "interrupted; running the same command again is safe", INTERRUPTED
            ) from None
        except (PySparkException, Py4JError) as problem:
            raise _spark_ended(problem) from None
        except OSError as problem:
            raise _ended(str(problem), FAILURE) from None

    return wrapper


def say(text: str) -> None:
    """A line of progress."""
    console.print(f"  [dim]{escape(text)}[/dim]")


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
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
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


def _spark_ended(problem: Exception) -> typer.Exit:
    if os.environ.get("REPURCHASE_DEBUG"):
        traceback.print_exc()
    text = str(problem)
    for sign, words in _UNREADABLE.items():
        if sign in text:
            line = next(part for part in text.split("\n") if sign in part).strip()
            return _ended(f"{words}: {line}", BAD_INPUT)
    first = text.strip().split("\n")[0]
    hint = "set REPURCHASE_DEBUG=1 to see where"
    return _ended(f"Spark could not finish: {first} ({hint})", FAILURE)
