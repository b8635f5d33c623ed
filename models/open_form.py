"""Fitted models as plain numbers: what they say, and why, without Spark.

Every kind of model becomes the same few things: what it reads, one number per input, and a line or
a forest over these. Spark's workers explain scores with it, and whatever has numpy can score.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.calibration import Calibration, calibration, capped, chances, logits
from models.trees import Floats, Forest, forest, forest_as_dict

OTHER = "(other)"
# Columns of features by name: numbers with NaN where they are missing, or texts.
Columns = Mapping[str, npt.NDArray[Any]]
# Where two numbers are nearer than this, a curve between them is taken to be this long.
NEAR = 1e-6


@dataclass(frozen=True)
class Input:
    """A number that a model reads: (a feature - centre) * scale.

    Of a text feature it is 1 where the text is `text`, else 0, before that. A number that is
    missing becomes `missing`; any other is first brought to where it is at least `low` and at most
    `high`, if these are known, and with `log` becomes sign(x) * log(1 + |x|).
    """

    feature: str
    text: str | None = None
    missing: float = 0.0
    low: float | None = None
    high: float | None = None
    log: bool = False
    centre: float = 0.0
    scale: float = 1.0

    def read(self, columns: Columns, texts: frozenset[str]) -> Floats:
        """The numbers; `texts` are those of the feature that have an input of their own."""
        column = columns[self.feature]
        if self.text is None:
            numbers = column.astype(float)
            if self.low is not None:
                numbers = np.clip(numbers, self.low, self.high)
            known = np.sign(numbers) * np.log1p(np.abs(numbers)) if self.log else numbers
            value = np.where(np.isnan(numbers), self.missing, known)
        elif self.text == OTHER:
            value = np.array([text not in texts or text == OTHER for text in column], float)
        else:
            value = (column == self.text).astype(float)
        return np.asarray((value - self.centre) * self.scale, float)


@dataclass(frozen=True)
class Line:
    """intercept + the sum of coefficient * input, a logit."""

    intercept: float
    coefficients: Floats

    def said(self, rows: Floats) -> Floats:
        """The sum for rows, given as one array per input."""
        return _added_up(self.intercept, self.contributions(rows))

    def mean(self) -> float:
        """The sum where every input is its mean over the training rows, which is 0."""
        return self.intercept

    def contributions(self, rows: Floats) -> Floats:
        """Each input's term: its Shapley value if inputs came independently of each other."""
        return self.coefficients[:, None] * rows


@dataclass(frozen=True)
class OpenMember:
    """A model: what it reads, its sum, which is a probability or a logit, and its calibration."""

    name: str
    inputs: tuple[Input, ...]
    sum: Line | Forest
    of_probability: bool
    calibration: Calibration

    def read(self, columns: Columns) -> Floats:
        """What the model reads of rows, one array per input."""
        texts: dict[str, set[str]] = {}
        for one in self.inputs:
            texts.setdefault(one.feature, set()).add(one.text or "")
        return np.array([one.read(columns, frozenset(texts[one.feature])) for one in self.inputs])

    def logits(self, said: Floats) -> Floats:
        """Calibrated logits of what the sum says, capped as where they are taken of probabilities,
        as Spark takes them.
        """
        raw = logits(said) if self.of_probability else said
        return capped(self.calibration.of_logits(raw))


@dataclass(frozen=True)
class OpenModel:
    """A champion: the mean of its members' calibrated logits, calibrated."""

    members: tuple[OpenMember, ...]
    calibration: Calibration

    @property
    def features(self) -> list[str]:
        """What the members read, in the order of first mention."""
        named = [one.feature for member in self.members for one in member.inputs]
        return list(dict.fromkeys(named))

    @property
    def texts(self) -> set[str]:
        """Those of `features` that are texts."""
        return {o.feature for member in self.members for o in member.inputs if o.text is not None}

    def probability(self, columns: Columns) -> Floats:
        """The calibrated probability of each row."""
        said = [member.logits(member.sum.said(member.read(columns))) for member in self.members]
        return self.of_logits(np.mean(said, axis=0))

    def of_logits(self, mean: Floats) -> Floats:
        """The calibrated probability of the mean of the members' logits."""
        return chances(self.calibration.of_logits(mean))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `open_model` reads it."""
        return {
            "members": [_member_as_dict(member) for member in self.members],
            "calibration": self.calibration.as_dict(),
        }


class Explainer:
    """A model made ready to tell how far each of its `features` moved a probability."""

    def __init__(self, model: OpenModel) -> None:
        self.features = model.features
        self._model = model
        self._means = [member.sum.mean() for member in model.members]
        self._of_members = [
            _Curve.around(member.logits, mean)
            for member, mean in zip(model.members, self._means, strict=True)
        ]
        base = float(np.mean([curve.height for curve in self._of_members]))
        self._of_all = _Curve.around(model.of_logits, base)
        places = {name: place for place, name in enumerate(self.features)}
        self._places = [
            np.array([places[o.feature] for o in member.inputs]) for member in model.members
        ]
        # Of each member the first input of each feature, and the others, which are of texts.
        self._first = [np.unique(of_inputs, return_index=True)[1] for of_inputs in self._places]
        self._others = [
            sorted(set(range(len(of_inputs))) - set(first.tolist()))
            for of_inputs, first in zip(self._places, self._first, strict=True)
        ]

    @property
    def average(self) -> float:
        """The probability of the average training snapshot, which features move."""
        return self._of_all.height

    def contributions(self, read: Sequence[Floats], said: Sequence[Floats] | None = None) -> Floats:
        """For each of `features` and each row how far it moved the probability from the average;
        for every row they add up to its probability less that.

        `read` is what each member reads, one array per input, and `said` the sum that it makes of
        that, where it is known. What is added up before a curve is shared out after it in the same
        proportions.
        """
        moved, logits = [], []
        for place, (member, rows) in enumerate(zip(self._model.members, read, strict=True)):
            of_inputs = member.sum.contributions(rows)
            total = _added_up(self._means[place], of_inputs) if said is None else said[place]
            logit = member.logits(total)
            of_features = self._by_feature(place, of_inputs)
            moved.append(of_features * self._of_members[place].slopes(total, logit))
            logits.append(logit)
        mean = np.mean(logits, axis=0)
        slopes = self._of_all.slopes(mean, self._model.of_logits(mean))
        return np.asarray(np.mean(moved, axis=0) * slopes)

    def _by_feature(self, member: int, of_inputs: Floats) -> Floats:
        places, first = self._places[member], self._first[member]
        found = np.zeros((len(self.features), of_inputs.shape[1]))
        found[places[first]] = of_inputs[first]
        for other in self._others[member]:
            found[places[other]] += of_inputs[other]
        return found


def open_model(saved: dict[str, Any]) -> OpenModel:
    """The model that `as_dict` has written."""
    members = tuple(_member(member) for member in saved["members"])
    return OpenModel(members, calibration(saved["calibration"]))


def _member_as_dict(member: OpenMember) -> dict[str, Any]:
    said = member.sum
    if isinstance(said, Line):
        numbers = {"intercept": said.intercept, "coefficients": said.coefficients.tolist()}
    else:
        numbers = forest_as_dict(said)
    return {
        "name": member.name,
        "inputs": [asdict(one) for one in member.inputs],
        "of_probability": member.of_probability,
        "calibration": member.calibration.as_dict(),
        **numbers,
    }


def _added_up(start: float, terms: Floats) -> Floats:
    """The start and the terms, of which there is an array for each input.

    One by one: a product of matrices rounds the last rows of a batch otherwise, and a customer's
    reasons would depend on who stands beside.
    """
    total = np.full(terms.shape[1], start)
    for term in terms:
        total += term
    return total


def _member(saved: dict[str, Any]) -> OpenMember:
    if "trees" in saved:
        said: Line | Forest = forest(saved)
    else:
        said = Line(saved["intercept"], np.array(saved["coefficients"]))
    return OpenMember(
        saved["name"],
        tuple(Input(**one) for one in saved["inputs"]),
        said,
        saved["of_probability"],
        calibration(saved["calibration"]),
    )


@dataclass(frozen=True)
class _Curve:
    """A curve around a base, where it has this height, and this slope for a short way."""

    base: float
    height: float
    slope: float

    @classmethod
    def around(cls, curve: Callable[[Floats], Floats], base: float) -> "_Curve":
        height, near = curve(np.array([base, base + NEAR])).tolist()
        return cls(base, height, (near - height) / NEAR)

    def slopes(self, x: Floats, heights: Floats) -> Floats:
        """The slope of the chord from the base to each x, where the curve has these heights: what
        was added up before the curve, times it, adds up to the difference after it.
        """
        apart = x - self.base
        is_near = np.abs(apart) < NEAR
        slopes = (heights - self.height) / np.where(is_near, NEAR, apart)
        return np.asarray(np.where(is_near, self.slope, slopes))


def largest(contributions: Floats, count: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The places and the values of the contributions that are largest either way, by row."""
    size, each = np.abs(contributions), np.arange(contributions.shape[1])
    places = np.empty((count, contributions.shape[1]), np.int64)
    for k in range(count):
        places[k] = size.argmax(axis=0)
        size[places[k], each] = -1.0
    return places, contributions[places, each]
