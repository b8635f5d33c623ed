"""Raw probabilities to calibrated ones, undone of class weights.

Platt scaling (Platt 1999) on the logit: logit(p) = intercept + slope * logit(raw).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import Column
from pyspark.sql import functions as F

# Probabilities this near to 0 or 1 are taken to be here, so that a logit is finite.
NEAREST = 1e-6


@dataclass(frozen=True)
class Calibration:
    """logit(probability) = intercept + slope * (logit(raw) - log(weight_ratio)).

    `weight_ratio` is the weight of a positive over that of a negative while fitting: weights
    multiply the odds that a model learns by it, whatever the model.
    """

    intercept: float
    slope: float
    weight_ratio: float

    def __call__(self, raw: Column) -> Column:
        """The calibrated probability, as a column expression."""
        moved = self.intercept + self.slope * (logit(raw) - math.log(self.weight_ratio))
        return 1 / (1 + F.exp(-moved))

    def of(self, undone_raw: pd.Series) -> pd.Series:
        """The calibrated probability of raw probabilities whose class weight is undone already."""
        moved = self.intercept + self.slope * _logits(undone_raw)
        return pd.Series(1 / (1 + np.exp(-moved)), index=undone_raw.index)


IDENTITY = Calibration(0.0, 1.0, 1.0)


def undone(raw: Column, weight_ratio: float) -> Column:
    """The raw probability without the effect of the class weight."""
    return Calibration(0.0, 1.0, weight_ratio)(raw)


def fit_platt(histogram: pd.DataFrame, weight_ratio: float) -> Calibration:
    """The calibration that maximises the likelihood of a score histogram.

    `histogram` has one row per distinct score: `probability` (undone of weights), `n`,
    `positives`. Newton's method on the two parameters, with Platt's (1999) smoothed targets
    against separable data; the identity where all labels are the same or the slope would turn
    the ranking round.
    """
    positives, total = histogram["positives"].sum(), histogram["n"].sum()
    if positives in (0, total) or len(histogram) < 2:
        return Calibration(0.0, 1.0, weight_ratio)
    x = _logits(histogram["probability"])
    n, hits = histogram["n"].to_numpy(float), histogram["positives"].to_numpy(float)
    high, low = (positives + 1) / (positives + 2), 1 / (total - positives + 2)
    target = hits * high + (n - hits) * low
    design = np.column_stack([np.ones_like(x), x])
    base = target.sum() / n.sum()
    # From no slope at all, Newton's steps on this concave likelihood do not overshoot.
    parameters = np.array([np.log(base / (1 - base)), 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ parameters))
        gradient = design.T @ (target - n * p)
        hessian = (design * (n * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        parameters = parameters + step
        if np.abs(step).max() < 1e-10:
            break
    intercept, slope = (float(value) for value in parameters)
    if slope <= 0:
        return Calibration(0.0, 1.0, weight_ratio)
    return Calibration(intercept, slope, weight_ratio)


def _logits(p: pd.Series) -> npt.NDArray[np.float64]:
    clipped = p.to_numpy(float).clip(NEAREST, 1 - NEAREST)
    return np.asarray(np.log(clipped / (1 - clipped)))


def logit(p: Column) -> Column:
    """log(p / (1 - p)), which is finite."""
    clipped = F.greatest(F.least(p, F.lit(1 - NEAREST)), F.lit(NEAREST))
    return F.log(clipped / (1 - clipped))
