"""The champion without Spark: rows of features, or the orders of customers, to predictions."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd

from conf.errors import InputError
from conf.settings import Horizon
from models.explanations import COUNT, LEAST_SHOWN, NEARLY_0, plain
from models.onnx_form import NUMBERS, PROBABILITY, SAID, TEXTS, columns, onnx_model, reads
from models.open_form import Explainer, OpenModel, largest, open_model
from models.segments import RFM, Cuts, segments
from models.trees import FEW
from serving.alike import Alike, some_customers
from serving.cuts import current_cuts
from serving.requests import IDS, MOST_TOLD, InvalidRows, Names, Problem, Told
from serving.spot import HISTORY, Spot
from serving.tables import LAST_FIRST, Tables, horizon_of

Floats = npt.NDArray[np.float64]
Known = Mapping[str, npt.NDArray[Any]]
Row = Mapping[str, Any]
DIGITS = 6
CENT, MILLI = Decimal("0.01"), Decimal("0.001")
# Features that every customer has: a row that lacks one tells only a part of what is known.
ALWAYS = re.compile(
    r"recency_days|tenure_days|(orders|lines|units|revenue|active_days)_(\d+d|lifetime)"
)


@dataclass(frozen=True)
class Reason:
    """A feature that moved a probability: its value, by how much it did, and in words."""

    feature: str
    value: float | None
    contribution: float
    sentence: str


@dataclass(frozen=True)
class Prediction:
    """What the champion says of a customer, and of how many features that were told."""

    probability: float
    prediction: bool
    decile: int | None
    band: str | None
    segment: str | None
    reasons: Sequence[Reason]
    features_given: int


FIELDS = tuple(field.name for field in fields(Prediction))
# A list for each of FIELDS.
Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Ranks:
    """Among the customers scored last: the lowest probability of each decile, and its band."""

    lowest: Floats
    bands: tuple[str, ...]
    as_of: date | None

    def decile(self, probabilities: Floats) -> list[int | None]:
        """1 for the tenth of the customers with the highest probability, to 10."""
        if not len(self.lowest):
            return [None] * len(probabilities)
        rounded = probabilities.round(DIGITS)  # as deciles are cut
        above = 10 - np.searchsorted(self.lowest[::-1][1:], rounded, side="right")
        found: list[int | None] = above.tolist()
        return found


class Predictor:
    """A champion with all that an answer needs; it never changes."""

    def __init__(
        self,
        row: Row,
        known: Mapping[str, str],
        types: Mapping[str, str],
        ranks: Ranks,
        cuts: Cuts | None,
        spot: Spot | None,
        customers: pd.DataFrame,
    ) -> None:
        self.name, self.version = str(row["model_name"]), str(row["model_version"])
        self.threshold, self.horizon = float(row["threshold"]), horizon_of(row)
        self.trained_for, self.row = row["trained_for"], row
        model = open_model(json.loads(row["open_form"]))
        self.features = model.features
        self._read = frozenset(self.features)
        self.descriptions = {name: plain(text) for name, text in known.items()}
        self.types = dict(types)
        self.names = Names(
            frozenset(types), frozenset(n for n, t in types.items() if t == "string")
        )
        self.onnx = onnx_model(model)
        self.ranks, self.cuts, self.spot = ranks, cuts, spot
        self._numbers, self._texts = columns(model)
        self._places = {
            name: (kind, place)
            for kind, names in ((NUMBERS, self._numbers), (TEXTS, self._texts))
            for place, name in enumerate(names)
        }
        self._alike = Alike(customers, self._numbers, self._texts)
        self._used = self._read.union(HISTORY, self._alike.axes)
        # What the champion reads and orders do not tell: what is made of events and of customers,
        # and features of the user's own.
        tells = spot.tells if spot is not None else self._read
        self.untold = tuple(name for name in self.features if name not in tells)
        always = [n for n, name in enumerate(self._numbers) if ALWAYS.fullmatch(name)]
        self._always = np.array(always, int)
        self._ready(model)

    def _ready(self, model: OpenModel) -> None:
        self._explainer, self._turn = Explainer(model), Lock()
        self._reads = reads(model)
        said = [f"{SAID}{place}" for place in range(len(model.members))]
        self._parts = [*dict.fromkeys(self._reads), *said]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.onnx, options)
        # Made once, at the first explanation: better now than during a request.
        self.predict([{}])

    def predict(
        self, rows: Sequence[Row], reasons: bool = True, most: int | None = MOST_TOLD
    ) -> list[Prediction]:
        """What is said of each row of features. One that it does not name is worked out where it
        follows from the others; any other is missing, as is one that is None. Of a row without
        something that every customer has, what is missing is taken from customers alike (see
        `Alike`).

        Raises InvalidRows, which tells so many fields that are wrong (None: every one).
        """
        return _by_row(self.columns(rows, reasons, most))

    def columns(
        self, rows: Sequence[Row], reasons: bool = True, most: int | None = MOST_TOLD
    ) -> Columns:
        """The same, as a list for each field of Prediction: many objects take their time.

        Raises InvalidRows.
        """
        told = self.names.read(rows, most)
        implied = self.spot.implied(told, self._read) if self.spot is not None else {}
        return self._predicted(told.known | implied, told.given, reasons)

    def unused(self, row: Row) -> list[str]:
        """The names in a row of features that have no influence on what is said."""
        return [
            name
            for name in row
            for feature in [self.names.feature(name)]
            if (feature or name) not in self._used and name.lower() not in IDS
        ]

    def implied(self) -> set[str]:
        """The features that follow from recency, tenure, orders and revenue, whatever they are."""
        if self.spot is None:
            return set()
        somebody = {"recency_days": 1.0, "tenure_days": 200.0, "orders_lifetime": 5.0}
        history = {n: np.array([v]) for n, v in {**somebody, "revenue_lifetime": 100.0}.items()}
        found = self.spot.implied(Told(history, {}, [len(history)]), self._read)
        return {name for name, values in found.items() if not np.isnan(values[0])}

    def predict_orders(
        self,
        orders: Sequence[Row],
        as_of: date | None = None,
        reasons: bool = True,
        beside: Mapping[str, Row] | None = None,
    ) -> dict[str, Prediction]:
        """What is said of each customer at `as_of`, by default the latest day with features, from
        the orders before it: rows with `customer_id`, `ordered_at` and `amount`, and further
        columns of `transactions` where they are known. `beside`, by customer: features that orders
        do not tell, such as an age; those that are not named are taken from customers alike.

        Raises InvalidRows, and InputError where nobody has an order before the day.
        """
        found = self.understood().features(orders, as_of)
        features = found.drop(columns=["customer_id", "as_of"])
        told = self._beside(found["customer_id"].tolist(), beside or {})
        known: dict[str, npt.NDArray[Any]] = {
            str(name): (
                features[name].astype(object).where(features[name].notna(), None).to_numpy()
                if name in self.names.texts
                else pd.to_numeric(features[name]).to_numpy(float)
            )
            for name in features
        }
        given = features.notna().sum(axis=1) + told.given
        everybody = np.ones(len(found), bool)
        unnamed = {
            name: ~told.named[name] if name in told.named else everybody for name in self.untold
        }
        said = _by_row(self._predicted(known | told.known, given.tolist(), reasons, unnamed))
        return dict(zip(found["customer_id"], said, strict=True))

    def understood(self) -> Spot:
        """What orders mean here. Raises InputError where the tables do not tell."""
        if self.spot is None:
            raise InputError("the tables hold no features from which orders could be understood")
        return self.spot

    def _beside(self, customers: list[str], rows: Mapping[str, Row]) -> Told:
        told = self.names.read([rows.get(name, {}) for name in customers])
        follows = sorted(name for name in told.named if name not in self.untold)
        if follows:
            row = int(np.flatnonzero(told.named[follows[0]])[0])
            message = "follows from the orders, or is not read: leave it out"
            raise InvalidRows([Problem(row, name, message) for name in follows])
        return told

    def segments(self, rows: Sequence[Row]) -> list[str | None]:
        """The segment of each row of features; None where one of RFM is missing."""
        return self._segments(self.names.read(rows).known, len(rows))

    def probabilities(self, known: Known, rows: int) -> Floats:
        """The probability of each row of columns of features; those not there are missing."""
        return np.asarray(self._session.run([PROBABILITY], self._feed(known, rows))[0])

    def _feed(self, known: Known, rows: int) -> dict[str, Any]:
        numbers = np.full((rows, len(self._numbers)), np.nan)
        for place, name in enumerate(self._numbers):
            if name in known:
                numbers[:, place] = known[name]
        feed = {NUMBERS: numbers}
        if self._texts:
            texts = np.full((rows, len(self._texts)), "", dtype=object)
            for place, name in enumerate(self._texts):
                if name in known:
                    texts[:, place] = [text or "" for text in known[name]]
            feed[TEXTS] = texts
        return feed

    def _complete(self, feed: Mapping[str, Any], known: Known, unnamed: Known) -> None:
        """Put what customers alike have into rows that lack what every customer has, and into those
        that did not name a feature of `unnamed`.
        """
        lacks = np.isnan(feed[NUMBERS][:, self._always]).any(axis=1)
        wanted = {NUMBERS: np.isnan(feed[NUMBERS]) & _either(lacks, unnamed, self._numbers)}
        if TEXTS in feed:
            wanted[TEXTS] = (feed[TEXTS] == "") & _either(lacks, unnamed, self._texts)
        rows = np.flatnonzero(np.hstack(list(wanted.values())).any(axis=1))
        if not len(rows):
            return
        others = dict(zip((NUMBERS, TEXTS), self._alike.of(known, rows), strict=True))
        for name, cells in wanted.items():
            feed[name][rows] = np.where(cells[rows], others[name], feed[name][rows])

    def _predicted(
        self, known: Known, given: list[int], reasons: bool, unnamed: Known | None = None
    ) -> Columns:
        rows = len(given)
        if not rows:
            return {name: [] for name in FIELDS}
        wanted = [PROBABILITY, *self._parts] if reasons else [PROBABILITY]
        feed = self._feed(known, rows)
        self._complete(feed, known, unnamed or {})
        probability, *parts = self._session.run(wanted, feed)
        deciles = self.ranks.decile(probability)
        return {
            "probability": probability.tolist(),
            "prediction": (probability >= self.threshold).tolist(),
            "decile": deciles,
            "band": [None if d is None else self.ranks.bands[d - 1] for d in deciles],
            "segment": self._segments(known, rows),
            "reasons": self._reasons(parts, known, feed) if reasons else [()] * rows,
            "features_given": given,
        }

    def _segments(self, known: Known, rows: int) -> list[str | None]:
        if self.cuts is None or not all(name in known for name in RFM):
            return [None] * rows
        recency, orders, revenue = (known[name] for name in RFM)
        return segments(recency, orders, revenue, self.cuts)

    def _reasons(
        self, parts: Sequence[Floats], known: Known, feed: Mapping[str, Any]
    ) -> list[list[Reason]]:
        found = dict(zip(self._parts, parts, strict=True))
        read = {name: np.ascontiguousarray(found[name].T) for name in set(self._reads)}
        said = parts[len(read) :]
        # Of many rows one batch at a time: threads that take turns at each small step of numpy's
        # are slower than one after another. Few rows need not wait.
        with self._turn if len(said[0]) > FEW else nullcontext():
            moved = self._explainer.contributions([read[name] for name in self._reads], said)
        places, most = largest(moved, min(COUNT, len(self.features)))
        return [
            [
                self._reason(self.features[place], known, feed, row, contribution)
                for place, contribution in zip(of_row.tolist(), by.tolist(), strict=True)
            ]
            for row, (of_row, by) in enumerate(zip(places.T, most.T, strict=True))
        ]

    def _reason(
        self, feature: str, known: Known, feed: Mapping[str, Any], row: int, moved: float
    ) -> Reason:
        value = known[feature][row] if feature in known else None
        if isinstance(value, float) and np.isnan(value):
            value = None
        shown = _shown(value)
        if value is None:
            # What was not told is that of customers alike.
            kind, place = self._places[feature]
            likely = feed[kind][row, place]
            missing = likely == "" if kind == TEXTS else np.isnan(likely)
            if not missing:
                shown = f"not told, in customers alike {_shown(likely)}"
        said = self.descriptions.get(feature, feature)
        sentence = f"{said}: {shown} ({moved * 100:+.1f} points)"
        number = None if value is None or isinstance(value, str) else float(value)
        return Reason(feature, number, moved, sentence)


def _either(lacks: npt.NDArray[np.bool_], unnamed: Known, names: Sequence[str]) -> Any:
    """By row and feature: whether the row lacks what every customer has, or did not name it."""
    found = np.repeat(lacks[:, None], len(names), axis=1)
    for place, name in enumerate(names):
        if name in unnamed:
            found[:, place] |= unnamed[name]
    return found


def _by_row(said: Columns) -> list[Prediction]:
    return [Prediction(*one) for one in zip(*said.values(), strict=True)]


def load_predictor(tables: Tables, horizon: Horizon | None = None) -> Predictor:
    """The champion of the tables: the model published last, or last of a horizon, of which nothing
    but these is read.

    Raises InputError where there is none.
    """
    of = f" AND {horizon.where}" if horizon else ""
    rows = tables.query(
        f"SELECT * FROM models WHERE published{of} ORDER BY {LAST_FIRST}, model_version LIMIT 1"
    )
    if rows.empty:
        of = f" for {horizon}" if horizon else ""
        raise InputError(f"no model in {tables.location} is published{of}: run `repurchase train`")
    known = {n: t for n, t in tables.types("features").items() if n not in ("customer_id", "as_of")}
    row = {str(name): value for name, value in rows.iloc[0].items()}
    its = horizon_of(row)
    spot = Spot(tables, its.in_days) if tables.exists("customer_base") else None
    cuts = current_cuts(tables.query) if set(RFM) <= set(known) else None
    told = tables.descriptions("features")
    ranks = _ranks(tables, its)
    return Predictor(row, told, known, ranks, cuts, spot, some_customers(tables.query))


def _ranks(tables: Tables, horizon: Horizon) -> Ranks:
    if not tables.exists("current_scores"):
        return Ranks(np.zeros(0), (), None)
    found = tables.query(
        f"SELECT decile, min(round(probability, {DIGITS})) AS lowest, "
        "any_value(band) AS band, max(as_of) AS as_of "
        f"FROM current_scores WHERE {horizon.where} GROUP BY decile ORDER BY decile"
    ).set_index("decile")
    if found.empty:
        return Ranks(np.zeros(0), (), None)
    # Where so many probabilities are equal that a decile is empty, the one above it ends later.
    every = found.reindex(range(1, 11))
    return Ranks(
        every["lowest"].ffill().bfill().to_numpy(float),
        tuple(every["band"].ffill().bfill()),
        pd.Timestamp(found["as_of"].max()).date(),
    )


def _shown(value: Any) -> str:
    """The value as people write it."""
    if value is None or isinstance(value, str):
        return value or "none"
    if value == int(value):
        return str(int(value))
    if abs(value) < LEAST_SHOWN:
        return NEARLY_0
    # Halves up, as Spark rounds.
    step = MILLI if abs(value) < 1 else CENT
    rounded = Decimal(repr(float(value))).quantize(step, ROUND_HALF_UP)
    return f"{rounded:.3f}".rstrip("0").rstrip(".")
