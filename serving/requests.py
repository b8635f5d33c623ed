"""What callers send, as columns of features; every field that is wrong is told at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from conf.errors import InputError

# What others call a feature; "customer_id" and the like say who it is.
SYNONYMS = {
    "recency": "recency_days",
    "orders": "orders_lifetime",
    "frequency": "orders_lifetime",
    "order_count": "orders_lifetime",
    "monetary": "revenue_lifetime",
    "tenure": "tenure_days",
    "avg_discount": "discount_share_lifetime",
    "return_rate": "return_rate_lifetime",
    "category_diversity": "category_diversity_lifetime",
}
IDS = ("customer_id", "user_id", "id")
WHO = (*IDS, "as_of")
# Accepted and not used: no feature says it.
UNUSED = ("unique_products",)
# What no customer has less than 0 of.
NOT_NEGATIVE = tuple(name for name in SYNONYMS.values() if name != "revenue_lifetime")
RECENCY, TENURE = "recency_days", "tenure_days"
# The largest number that is taken for one: what no shop has sold.
MOST = 1e15
MAX_TEXT = 500
NUMBERS = {int, float, type(None)}
# Whoever sends more that is wrong is told of so much.
MOST_TOLD = 100


@dataclass(frozen=True)
class Problem:
    """A field that is wrong: in which row, counted from 0, its name, and why."""

    row: int
    field: str
    message: str


class InvalidRows(InputError):  # noqa: N818 - its end says what it is
    """Rows with fields that are wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        first = self.problems[0]
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(f"row {first.row}, {first.field}: {first.message}{more}")


@dataclass(frozen=True)
class Told:
    """What rows say: a column of each feature that one of them names, None and NaN where it is
    missing; `named`, which rows name it, as missing too; and how many features each row gives.
    """

    known: dict[str, npt.NDArray[Any]]
    named: dict[str, npt.NDArray[np.bool_]]
    given: list[int]


@dataclass(frozen=True)
class Names:
    """The features that a caller may name, of which `texts` are texts."""

    features: frozenset[str]
    texts: frozenset[str]

    def feature(self, name: str) -> str | None:
        """The feature of that name or synonym."""
        if name in self.features:
            return name
        known = SYNONYMS.get(name.lower(), name.lower())
        return known if known in self.features else None

    def read(self, rows: Sequence[Mapping[str, Any]], most: int | None = MOST_TOLD) -> Told:
        """What the rows say.

        Raises InvalidRows, of so many problems at most (None: of all).
        """
        alike = self._alike(rows)
        if alike is not None:
            return alike
        found: dict[str, npt.NDArray[Any]] = {}
        named: dict[str, npt.NDArray[np.bool_]] = {}
        places: dict[str, npt.NDArray[Any] | None] = {}
        masks: dict[str, npt.NDArray[np.bool_]] = {}
        problems: list[Problem] = []
        given = [0] * len(rows)
        for number, row in enumerate(rows):
            for name, value in row.items():
                if name not in places:
                    places[name] = self._column(name, len(rows), found)
                    if feature := self.feature(name):
                        masks[name] = named.setdefault(feature, np.zeros(len(rows), bool))
                column = places[name]
                wrong = self._wrong(name, value, column)
                if wrong:
                    problems.append(Problem(number, str(name)[:MAX_TEXT], wrong))
                    if len(problems) == most:
                        raise InvalidRows(problems)
                elif column is not None:
                    masks[name][number] = True
                    if value is not None:
                        column[number] = value
                        given[number] += 1
        problems += self._twice(rows)
        problems += [
            Problem(int(number), TENURE, f"must be at least {RECENCY}: the first order is no later")
            for number in _before_the_first(found)
        ]
        if problems:
            raise InvalidRows(problems)
        return Told(found, named, given)

    def _alike(self, rows: Sequence[Mapping[str, Any]]) -> Told | None:
        """The same, column by column, of rows that name the same features in one order and are
        right; None of others.
        """
        names = list(rows[0]) if rows else []
        if any(list(row) != names for row in rows):
            return None
        found: dict[str, npt.NDArray[Any]] = {}
        given = np.zeros(len(rows), int)
        for name in names:
            feature = self.feature(name)
            if feature is None and name.lower() in (*WHO, *UNUSED):
                continue
            values = [row[name] for row in rows]
            if feature is None or feature in found or not set(map(type, values)) <= NUMBERS:
                return None
            try:
                column = np.array(values, float)
            except OverflowError:
                return None
            missing = np.isnan(column)
            least = 0 if feature in NOT_NEGATIVE else -MOST
            outside = (column < least) | (column > MOST)
            if missing.sum() != values.count(None) or outside.any():
                return None
            found[feature] = column
            given += ~missing
        if self.texts.intersection(found) or len(_before_the_first(found)):
            return None
        return Told(found, {name: np.ones(len(rows), bool) for name in found}, given.tolist())

    def _column(
        self, name: str, rows: int, found: dict[str, npt.NDArray[Any]]
    ) -> npt.NDArray[Any] | None:
        feature = self.feature(name)
        if feature is None:
            return None
        if feature not in found:
            is_text = feature in self.texts
            found[feature] = np.full(
                rows, None if is_text else np.nan, object if is_text else float
            )
        return found[feature]

    def _wrong(self, name: str, value: Any, column: npt.NDArray[Any] | None) -> str | None:
        if column is None:
            known = name.lower() in WHO or name.lower() in UNUSED
            return None if known else "no such feature; GET /model names them"
        if value is None:
            return None
        if column.dtype == object:
            right = isinstance(value, str) and len(value) <= MAX_TEXT
            return None if right else f"must be a text of at most {MAX_TEXT} characters, or null"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"must be a number or null, not {type(value).__name__}"
        # A whole number may be too large to be compared as a float.
        if not -MOST <= value <= MOST or math.isnan(value):
            return f"must be a finite number of at most {MOST:.0e} either way"
        negative = value < 0 and self.feature(name) in NOT_NEGATIVE
        return "must not be negative" if negative else None

    def _twice(self, rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
        """Features that a row names by two names, which are told once for each set of names."""
        problems, seen = [], set()
        for number, row in enumerate(rows):
            names = tuple(row)
            if names in seen:
                continue
            seen.add(names)
            of: dict[str, str] = {}
            for name in names:
                feature = self.feature(name)
                if feature is not None and of.setdefault(feature, name) != name:
                    problems.append(Problem(number, name, f"is {feature}, as {of[feature]} is"))
        return problems


def _before_the_first(found: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """The rows whose last order would be before their first."""
    if RECENCY not in found or TENURE not in found:
        return np.zeros(0, np.int64)
    return np.flatnonzero(found[RECENCY] > found[TENURE])
