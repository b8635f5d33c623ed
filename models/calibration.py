"""Raw probabilities to calibrated ones, undone of class weights.

Three curves from the logit of what a model says to the logit of what is true: Platt's (1999) line;
the beta calibration of Kull, Silva Filho and Flach (2017); and isotonic regression (Zadrozny and
Elkan 2002), with straight lines from step to step. Each serves numpy and Spark columns.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy  # its parts load when they are used
from pyspark.sql import Column
from pyspark.sql import functions as F

Floats = npt.NDArray[np.float64]
# An array or a Spark column of numbers.
Value = Any
# Probabilities this near to 0 or 1 are taken to be here, so that a logit is finite.
NEAREST = 1e-6
# Their logits.
LOWEST, HIGHEST = (math.log(p / (1 - p)) for p in (NEAREST, 1 - NEAREST))
# Another curve than the line must be better by this share of the log loss: one date tells less
# from noise.
WORTH = 0.01
# Isotonic regression looks at so many groups of scores.
GROUPS = 100


@dataclass(frozen=True)
class Calibration:
    """A curve. `weight_ratio` is the weight of a positive over that of a negative while fitting:
    weights multiply the odds that a model learns by it, whatever the model.
    """

    weight_ratio: float

    @abstractmethod
    def moved(self, logit: Value) -> Value:
        """The calibrated logit of the logit of a raw probability whose weight is undone."""

    def __call__(self, raw: Column) -> Column:
        """The calibrated probability, as a column expression."""
        return 1 / (1 + F.exp(-self.moved(logit(raw) - math.log(self.weight_ratio))))

    def of_logits(self, raw: Floats) -> Floats:
        """The calibrated logits of the logits of raw probabilities."""
        return np.asarray(self.moved(capped(raw) - math.log(self.weight_ratio)), float)

    def of(self, undone_raw: pd.Series) -> pd.Series:
        """The calibrated probability of raw probabilities whose class weight is undone already."""
        moved = self.moved(logits(undone_raw.to_numpy(float)))
        return pd.Series(chances(moved), index=undone_raw.index)

    @property
    def kind(self) -> str:
        """platt, beta or isotonic."""
        return type(self).__name__.lower()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `calibration` reads it."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Platt(Calibration):
    """intercept + slope * logit."""

    intercept: float = 0.0
    slope: float = 1.0

    def moved(self, logit: Value) -> Value:
        """The line."""
        return self.intercept + self.slope * logit


@dataclass(frozen=True)
class Beta(Calibration):
    """intercept + rise * log(p) - fall * log(1 - p), where p is the raw probability."""

    intercept: float
    rise: float
    fall: float

    def moved(self, logit: Value) -> Value:
        """The curve."""
        functions = F if isinstance(logit, Column) else np
        log_rest = -functions.log1p(functions.exp(logit))
        return self.intercept + self.rise * (logit + log_rest) - self.fall * log_rest


@dataclass(frozen=True)
class Isotonic(Calibration):
    """constant + the sum of weight * |logit - knot|: straight between knots, level beyond."""

    constant: float
    knots: tuple[float, ...]
    weights: tuple[float, ...]

    def moved(self, logit: Value) -> Value:
        """The broken line."""
        functions = F if isinstance(logit, Column) else np
        bends = [
            weight * functions.abs(logit - knot)
            for knot, weight in zip(self.knots, self.weights, strict=True)
        ]
        return sum(bends, self.constant + 0 * logit)


IDENTITY = Platt(1.0)


def calibration(saved: dict[str, Any]) -> Calibration:
    """The calibration that `as_dict` has written."""
    kinds: dict[str, Callable[..., Calibration]] = {
        "platt": Platt,
        "beta": Beta,
        "isotonic": Isotonic,
    }
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items() if k != "kind"}
    return kinds[saved["kind"]](**values)


def undone(raw: Column, weight_ratio: float) -> Column:
    """The raw probability without the effect of the class weight."""
    return Platt(weight_ratio)(raw)


def fit_platt(histogram: pd.DataFrame, weight_ratio: float) -> Calibration:
    """The line that maximises the likelihood of a score histogram.

    `histogram` has one row per distinct score: `probability` (undone of weights), `n`,
    `positives`. Platt's smoothed targets stand against separable data. Where scores are all the
    same, or the slope would turn the ranking round, only the intercept is fitted; the identity
    where labels are all the same.
    """
    found = line(histogram)
    if found is None or found[1] <= 0:
        return Platt(weight_ratio, _level(histogram))
    return Platt(weight_ratio, *found)


def calibration_slope(histogram: pd.DataFrame) -> float:
    """The slope of the likeliest line from the logit of a score to that of what is true (Cox 1958):
    1 where probabilities hold, below where the high ones are too high and the low ones too low,
    above where they are not far enough apart. NaN where scores or labels are all the same.
    """
    found = line(histogram)
    return found[1] if found else math.nan


def fit_beta(histogram: pd.DataFrame, weight_ratio: float) -> Calibration:
    """The beta curve that maximises the likelihood of a score histogram, as for `fit_platt`.

    Neither arm may turn the ranking round: one that would is held level. Where both would, or
    scores or labels are all the same, it is Platt's line.
    """
    if not _teaches(histogram):
        return fit_platt(histogram, weight_ratio)
    logit = logits(histogram["probability"].to_numpy(float))
    arms = [-np.log1p(np.exp(-logit)), np.log1p(np.exp(logit))]
    intercept, rise, fall = _likeliest(histogram, arms)
    if rise < 0:
        rise, (intercept, fall) = 0.0, _likeliest(histogram, arms[1:])
    elif fall < 0:
        fall, (intercept, rise) = 0.0, _likeliest(histogram, arms[:1])
    if min(rise, fall) < 0:
        return fit_platt(histogram, weight_ratio)
    return Beta(weight_ratio, intercept, rise, fall)


def fit_isotonic(histogram: pd.DataFrame, weight_ratio: float) -> Calibration:
    """Isotonic regression of the rates in groups of equal size of a score histogram; Platt's line
    where scores or labels are all the same.
    """
    if not _teaches(histogram):
        return fit_platt(histogram, weight_ratio)
    rows = histogram.sort_values("probability")
    place = rows["n"].cumsum() - rows["n"] / 2
    rows = rows.assign(x=logits(rows["probability"].to_numpy(float)) * rows["n"])
    grouped = rows.groupby((place * GROUPS // rows["n"].sum()).astype(int))[["x", "n", "positives"]]
    groups = grouped.sum()
    n = groups["n"].to_numpy(float)
    found = scipy.optimize.isotonic_regression(groups["positives"].to_numpy(float) / n, weights=n)
    blocks = np.repeat(np.arange(len(found.blocks) - 1), np.diff(found.blocks))
    steps = groups.groupby(blocks).sum()
    # Half a customer more on either side, so that no rate is 0 or 1.
    rate = (steps["positives"] + 0.5) / (steps["n"] + 1)
    of_steps = np.maximum.accumulate(logits(rate.to_numpy(float)))
    # Level from the first to the last group of a step, and straight from there to the next.
    centres = (groups["x"] / groups["n"]).to_numpy(float)
    ends = np.unique(np.concatenate([found.blocks[:-1], found.blocks[1:] - 1]))
    # Groups beyond what counts as the nearest to 0 or 1 lie on one place: the last stands for them.
    apart = np.append(np.diff(centres[ends]) > 0, True)
    knots, level = centres[ends][apart], of_steps[blocks[ends]][apart]
    slopes = np.diff(level) / np.diff(knots)
    weights = np.diff([0.0, *slopes, 0.0]) / 2
    constant = float((level[0] + level[-1]) / 2)
    return Isotonic(weight_ratio, constant, tuple(knots.tolist()), tuple(weights.tolist()))


FITS: dict[str, Callable[[pd.DataFrame, float], Calibration]] = {
    "platt": fit_platt,
    "beta": fit_beta,
    "isotonic": fit_isotonic,
}


def fit_best(
    kinds: Sequence[str],
    past: pd.DataFrame,
    later: pd.DataFrame,
    weight_ratio: float,
    loss: Callable[[pd.DataFrame], float],
) -> Calibration:
    """The curve that, fitted to the histogram of the past, loses least on the later one. The first
    of `kinds` stays unless another is better by more than WORTH of it.
    """
    fitted = {kind: FITS[kind](past, weight_ratio) for kind in kinds}

    def lost(kind: str) -> float:
        found = loss(later.assign(probability=fitted[kind].of(later["probability"])))
        return found * (1.0 if kind == kinds[0] else 1 + WORTH)

    return fitted[min(kinds, key=lost)]


def chances(logits: Floats) -> Floats:
    """The probabilities of logits, however large."""
    return np.asarray((1 + np.tanh(logits / 2)) / 2)


def logits(p: Floats) -> Floats:
    """log(p / (1 - p)), which is finite."""
    clipped = p.clip(NEAREST, 1 - NEAREST)
    return np.asarray(np.log(clipped / (1 - clipped)))


def capped(logits: Floats) -> Floats:
    """Logits, those of probabilities nearer to 0 or 1 than NEAREST as if they were there."""
    return np.asarray(logits.clip(LOWEST, HIGHEST))


def logit(p: Column) -> Column:
    """log(p / (1 - p)), which is finite."""
    clipped = F.greatest(F.least(p, F.lit(1 - NEAREST)), F.lit(NEAREST))
    return F.log(clipped / (1 - clipped))


def _teaches(histogram: pd.DataFrame) -> bool:
    positives, total = histogram["positives"].sum(), histogram["n"].sum()
    return positives not in (0, total) and len(histogram) > 1


def line(histogram: pd.DataFrame) -> tuple[float, float] | None:
    """Intercept and slope of the likeliest line from the logit of a score to that of what is true;
    None where scores or labels are all the same.
    """
    if not _teaches(histogram):
        return None
    intercept, slope = _likeliest(histogram, [logits(histogram["probability"].to_numpy(float))])
    return intercept, slope


def _level(histogram: pd.DataFrame) -> float:
    """The likeliest intercept where the slope is 1: what is said is then on average the share of
    positives. 0 where labels are all the same.
    """
    n, positives = histogram["n"].to_numpy(float), histogram["positives"].sum()
    others = n.sum() - positives
    if not positives or not others:
        return 0.0
    known, wanted = logits(histogram["probability"].to_numpy(float)), math.log(positives / others)

    def too_much(intercept: float) -> float:
        return float(n @ chances(known + intercept) - positives)

    # At one end all say less than wanted, at the other all say more.
    return float(
        scipy.optimize.brentq(too_much, wanted - known.max() - 1, wanted - known.min() + 1)
    )


def _likeliest(histogram: pd.DataFrame, arms: Sequence[Floats]) -> tuple[float, ...]:
    """The intercept and the slope of each arm, by Newton's method."""
    n, hits = histogram["n"].to_numpy(float), histogram["positives"].to_numpy(float)
    total, positives = n.sum(), hits.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (total - positives + 2)
    target = hits * high + (n - hits) * low
    design = np.column_stack([np.ones_like(n), *arms])
    base = target.sum() / total
    parameters = np.array([np.log(base / (1 - base)), *np.zeros(len(arms))])

    def lost(at: Floats) -> float:
        moved = design @ at
        return float(n @ np.logaddexp(0, moved) - target @ moved)

    for _ in range(50):
        p = chances(design @ parameters)
        gradient = design.T @ (target - n * p)
        hessian = (design * (n * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(len(parameters))
        step = np.linalg.solve(hessian, gradient)
        if np.abs(step).max() < 1e-10:
            break
        # Where few are positive, a whole step may overshoot.
        while lost(parameters + step) > lost(parameters) and np.abs(step).max() > 1e-10:
            step = step / 2
        parameters = parameters + step
    return tuple(float(value) for value in parameters)
