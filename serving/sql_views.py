"""The SQL views: one file each in serving/views, for tables of a catalog or by their paths."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from lake.store import quoted
from models.campaigns import control_sql
from models.segments import FIFTHS, segment_between

# Of each list, what is not contacted.
CONTROL_SHARE = 0.1
_NUMBERS = range(len(FIFTHS))
# What a file may ask for beside tables and other views.
_PHRASES = {
    "fifths": f"array({', '.join(map(str, FIFTHS))})",
    "segment": segment_between(
        *([f"{name}_ends[{n}]" for n in _NUMBERS] for name in ("recency", "orders", "revenue"))
    ),
    "control": control_sql("segment", CONTROL_SHARE),
}


@dataclass(frozen=True)
class View:
    """A view: what a row is, its columns and what each means, and its query with placeholders."""

    name: str
    description: str
    columns: tuple[tuple[str, str], ...]
    template: str

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The tables and views that the query names."""
        named = dict.fromkeys(re.findall(r"{(\w+)}", self.template))
        return tuple(name for name in named if name not in _PHRASES)

    def query(self, named: Callable[[str], str]) -> str:
        """The query, with tables and views as `named` gives them."""
        words = _PHRASES | {name: named(name) for name in self.reads}
        return re.sub(r"{(\w+)}", lambda found: words[found[1]], self.template)

    def statement(self, named: Callable[[str], str], name: str, kind: str = "VIEW") -> str:
        """What creates the view under a name, or replaces it, with its comments."""
        columns = ",\n".join(f"  {column} COMMENT {quoted(what)}" for column, what in self.columns)
        return (
            f"CREATE OR REPLACE {kind} {name} (\n{columns}\n)\n"
            f"COMMENT {quoted(self.description)}\nAS {self.query(named)}"
        )


def views() -> dict[str, View]:
    """Every view by its name; one that reads others comes after them."""
    folder = resources.files("serving") / "views"
    files = {f.name.removesuffix(".sql"): f for f in folder.iterdir() if f.name.endswith(".sql")}
    read = {name: _read(name, files[name].read_text("utf-8")) for name in sorted(files)}
    return dict(sorted(read.items(), key=lambda item: bool(set(item[1].reads) & set(read))))


def tables_of(every: dict[str, View]) -> tuple[str, ...]:
    """The tables that the views read."""
    named = dict.fromkeys(name for view in every.values() for name in view.reads)
    return tuple(sorted(name for name in named if name not in every))


def pasteable(every: dict[str, View], table: Callable[[str], str]) -> Callable[[str], str]:
    """What names tables by `table`, and writes out the query of a view that another reads."""

    def named(name: str) -> str:
        return f"(\n{every[name].query(named)}\n)" if name in every else table(name)

    return named


def _read(name: str, text: str) -> View:
    """A file: a line that says what a row is, a line per column, and the query."""
    lines = text.strip().splitlines()
    header = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    described = [line.split(": ", 1) for line in header[1:]]
    columns = tuple((column, what) for column, what in described)
    return View(name, header[0], columns, "\n".join(lines[len(header) :]))
