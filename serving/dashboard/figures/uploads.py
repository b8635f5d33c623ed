"""A CSV of customers or of orders, scored row by row; what cannot be scored says why and stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from conf.errors import InputError
from serving.dashboard.figures.sheets import Upload
from serving.predictor import Prediction, Predictor
from serving.requests import IDS, WHO, InvalidRows, Problem
from serving.spot import NEEDED, OPTIONAL

# With more rows than this, nobody reads the reasons of each, which cost most of the time.
MOST_REASONS = 5_000
ERROR = "error"
SAID = ("probability", "prediction", "decile", "band", "segment", "reasons")


@dataclass(frozen=True)
class Scored:
    """The rows with what is said of them or why nothing is, and the predictions to look at: one
    per customer with their numbers.
    """

    rows: pd.DataFrame
    customers: pd.DataFrame
    unused: list[str]
    with_reasons: bool
    # How many customers of a file of customers are there more than once.
    repeated: int = 0

    @property
    def refused(self) -> pd.DataFrame:
        """The rows that could not be scored."""
        return self.rows[self.rows[ERROR] != ""]


def score_customers(predictor: Predictor, upload: Upload) -> Scored:
    """What the champion says of each row of features.

    Raises InputError where no column is a feature, or two are the same one.
    """
    of = {name: predictor.names.feature(name) for name in upload.header}
    known = {name: feature for name, feature in of.items() if feature is not None}
    _check_features(predictor, known)
    values = {
        name: _values(predictor, feature, upload.column(name)) for name, feature in known.items()
    }
    columns = zip(*values.values(), strict=True)
    rows = [dict(zip(values, cells, strict=True)) for cells in columns]
    reasons = len(rows) <= MOST_REASONS
    wrong = _with_texts(predictor, known, values, upload.problems)
    said, problems = _predicted(predictor, rows, wrong, reasons)
    numbers = {name: v for name, v in values.items() if known[name] not in predictor.names.texts}
    unused = [name for name in upload.header if name not in known and name.lower() not in WHO]
    customers = _numbers(numbers).assign(**_columns(said)).dropna(subset=["probability"])
    twice = _repeated(upload)
    return Scored(_joined(upload, said, problems), customers, unused, reasons, twice)


def _repeated(upload: Upload) -> int:
    who = next((name for name in upload.header if name.lower() in IDS), None)
    if who is None:
        return 0
    counts = pd.Series(upload.column(who)).replace("", None).value_counts()
    return int((counts > 1).sum())


def _check_features(predictor: Predictor, known: Mapping[str, str]) -> None:
    if not known:
        raise InputError(
            "no column of the file is a feature: name them as the template does, such as recency, "
            "orders, monetary"
        )
    for feature in known.values():
        both = [name for name, of in known.items() if of == feature]
        if len(both) > 1:
            raise InputError(f"the columns {' and '.join(both)} are both {feature}: leave one")


def _values(predictor: Predictor, feature: str, cells: list[str]) -> list[Any]:
    if feature in predictor.names.texts:
        return [cell or None for cell in cells]
    return [_number(cell) for cell in cells]


def _number(cell: str) -> float | str | None:
    """The number that the cell is; one that is none stays as it is, to be told of."""
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def _with_texts(
    predictor: Predictor,
    known: Mapping[str, str],
    values: Mapping[str, list[Any]],
    problems: Mapping[int, list[str]],
) -> dict[int, list[str]]:
    """The problems, and the cells that should be a number and are none."""
    found = {place: list(told) for place, told in problems.items()}
    for name, feature in known.items():
        if feature in predictor.names.texts:
            continue
        for place, value in enumerate(values[name]):
            if isinstance(value, str):
                said = f"{name} is “{value[:40]}”: write a number such as 19.90, or leave it empty"
                found.setdefault(place, []).append(said)
    return found


def _predicted(
    predictor: Predictor,
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[int, list[str]],
    reasons: bool,
) -> tuple[list[Prediction | None], dict[int, list[str]]]:
    """What is said of the rows without problems, and the problems of the others."""
    problems = {place: list(told) for place, told in known.items()}
    places = [place for place in range(len(rows)) if place not in problems]
    said: list[Prediction | None] = [None] * len(rows)
    try:
        found = predictor.predict([rows[place] for place in places], reasons, most=None)
    except InvalidRows as wrong:
        _add(problems, wrong.problems, places)
        places = [place for place in places if place not in problems]
        found = predictor.predict([rows[place] for place in places], reasons)
    for place, one in zip(places, found, strict=True):
        said[place] = one
    return said, problems


def _add(problems: dict[int, list[str]], wrong: Sequence[Problem], places: Sequence[int]) -> None:
    for one in wrong:
        problems.setdefault(places[one.row], []).append(f"{one.field} {one.message}")


def score_orders(predictor: Predictor, upload: Upload, as_of: date) -> Scored:
    """What the champion says of the customer of each order, from all of the customer's orders.

    Raises InputError where a column is lacking or no order can be read.
    """
    lacking = [name for name in NEEDED if name not in upload.header]
    if lacking:
        raise InputError(f"the file has no column {', '.join(lacking)}: see the template")
    names = [name for name in upload.header if name in (*NEEDED, *OPTIONAL)]
    cells = zip(*[upload.column(name) for name in names], strict=True)
    orders = [{n: cell or None for n, cell in zip(names, row, strict=True)} for row in cells]
    found, problems, reasons = _by_customer(predictor, orders, upload.problems, as_of)
    who = upload.column("customer_id")
    for place, customer in enumerate(who):
        if place not in problems and customer not in found:
            problems[place] = [f"the customer has no order before {as_of}"]
    said = [None if place in problems else found[name] for place, name in enumerate(who)]
    unused = [name for name in upload.header if name not in names]
    rows = _joined(upload, said, problems)
    sound = [order for place, order in enumerate(orders) if place not in problems]
    return Scored(rows, _customers(predictor, sound, found, as_of), unused, reasons)


def _by_customer(
    predictor: Predictor,
    orders: Sequence[Mapping[str, Any]],
    known: Mapping[int, list[str]],
    as_of: date,
) -> tuple[dict[str, Prediction], dict[int, list[str]], bool]:
    problems = {place: list(told) for place, told in known.items()}
    places = [place for place in range(len(orders)) if place not in problems]
    reasons = len({order["customer_id"] for order in orders}) <= MOST_REASONS
    try:
        found = predictor.predict_orders([orders[p] for p in places], as_of, reasons)
    except InvalidRows as wrong:
        _add(problems, wrong.problems, places)
        places = [place for place in places if place not in problems]
        if not places:
            return {}, problems, reasons
        found = predictor.predict_orders([orders[p] for p in places], as_of, reasons)
    return found, problems, reasons


def _customers(
    predictor: Predictor,
    orders: Sequence[Mapping[str, Any]],
    found: Mapping[str, Prediction],
    as_of: date,
) -> pd.DataFrame:
    """Each customer, the lines that were looked at, and their money less what was given back."""
    if predictor.spot is None or not found:
        return pd.DataFrame({"customer_id": [], "probability": []})
    lines = predictor.spot.lines(orders)
    past = lines[lines["day"] < pd.Timestamp(as_of)]
    sums = past.groupby("customer_id")["cents"].agg(lines="count", amount="sum").reset_index()
    sums["amount"] /= 100
    known = sums[sums["customer_id"].isin(list(found))].reset_index(drop=True)
    return known.assign(**_columns([found[name] for name in known["customer_id"]]))


def _joined(
    upload: Upload, said: Sequence[Prediction | None], problems: Mapping[int, list[str]]
) -> pd.DataFrame:
    """Every row as it came, its line, what is said of it, and what is wrong with it."""
    widest = max(len(row) for row in upload.rows)
    names = [*upload.header, *(f"cell {n + 1}" for n in range(len(upload.header), widest))]
    cells = [[*row, *[""] * (len(names) - len(row))] for row in upload.rows]
    told = ["; ".join(problems.get(place, [])) for place in range(len(cells))]
    mine = {"line": upload.lines, **_columns(said), ERROR: told}
    # What the file calls the same stays, under another name.
    apart: list[str] = []
    for name in names:
        own = name
        while own in mine or own in apart:
            own = f"{own} (uploaded)"
        apart.append(own)
    return pd.DataFrame(cells, columns=apart).assign(**mine)


def _columns(said: Sequence[Prediction | None]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: [None if one is None else getattr(one, name) for one in said] for name in SAID[:-1]
    }
    columns["probability"] = [np.nan if p is None else p for p in columns["probability"]]
    # A whole number also where one is missing.
    columns["decile"] = pd.array(columns["decile"], "Int64")
    columns["reasons"] = [
        "" if one is None else "; ".join(why.sentence for why in one.reasons) for one in said
    ]
    return columns


def _numbers(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.to_numeric(pd.Series(v), errors="coerce") for name, v in columns.items()}
    )
