"""A CSV as it came: cells, the line on which each row begins, and rows that do not fit."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from conf.errors import InputError


@dataclass(frozen=True)
class Upload:
    """The cells of a file as they came, the line on which each row begins, and what is wrong."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    problems: dict[int, list[str]] = field(default_factory=dict)

    def column(self, name: str) -> list[str]:
        """The cells below a name, empty where a row is too short."""
        place = self.header.index(name)
        return [row[place].strip() if place < len(row) else "" for row in self.rows]


def read_csv(data: bytes) -> Upload:
    """Comma, semicolon or tab between the cells, in UTF-8 or Windows's Latin letters.

    Raises InputError where there is no header with rows below it, or one column is there twice.
    """
    text = _text(data)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as problem:
        raise InputError(f"the header is no CSV: {problem}; save the file as CSV again") from None
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(f"the column {twice[0]} is in the header twice: leave one of them")
    rows, lines = _rows(reader)
    if not rows:
        raise InputError(
            "the file has no row below its header: fill the template, or try an example"
        )
    header, rows = _without_empty(header, rows)
    return Upload(header, rows, lines, _uneven(header, rows))


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that have neither a name nor a cell, as spreadsheets leave them at the
    side; those that have cells are called by their place.
    """
    filled = {place for row in rows for place, cell in enumerate(row) if cell.strip()}
    empty = {place for place, name in enumerate(header) if not name} - filled
    named = [name or f"column {place + 1}" for place, name in enumerate(header)]

    def kept(cells: list[str]) -> list[str]:
        return [cell for place, cell in enumerate(cells) if place not in empty]

    return kept(named), [kept(row) for row in rows]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _rows(reader: Any) -> tuple[list[list[str]], list[int]]:
    rows, lines, begin = [], [], reader.line_num + 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as problem:
        raise InputError(f"line {begin} is no CSV: {problem}; save the file as CSV again") from None
    return rows, lines


def _uneven(header: list[str], rows: list[list[str]]) -> dict[int, list[str]]:
    return {
        place: [f"has {len(row)} cells, the header {len(header)}"]
        for place, row in enumerate(rows)
        if len(row) != len(header)
    }
