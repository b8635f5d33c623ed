"""The metrics of a model on many resamples of the customers of a date, all at once.

They are those of `models.metrics` on what each resample holds. The ECE is not among them: chance
alone makes it larger on a resample, so that intervals of it would not hold the true one as often as
they say. The intervals of `mean_probability` beside `base_rate`, and of `calibration_slope`, tell
whether probabilities are off.
"""

from collections.abc import Callable, Collection, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calibration import NEAREST, chances, line, logits

Floats = npt.NDArray[np.float64]
# Distinct scores times resamples that are looked at together: arrays of 8 MB.
CELLS = 1_000_000
# Newton's, from a line that is near; scores whose logits are as near as this are one there.
STEPS, NEAR = 4, 0.01


def resampled(
    said: pd.DataFrame,
    times: Floats,
    threshold: float | None,
    metrics: Collection[str] | None = None,
) -> dict[str, Floats]:
    """By metric, all or those named, its values on the resamples; NaN where one does not hold what
    the metric needs.

    `said` has the `label` and the `probability` of each customer, `times` how often a resample (its
    rows) has each of them. Without a threshold, what depends on one is left out.
    """
    wanted = METRICS.keys() if metrics is None else metrics
    if threshold is None:
        wanted = [name for name in wanted if name not in AT_THRESHOLD]
    order = np.argsort(-said["probability"].to_numpy(float), kind="stable")
    probability = said["probability"].to_numpy(float)[order]
    # Customers of equal probability are one column.
    ends = np.flatnonzero(np.diff(probability, append=-1.0))
    scores = _Scores(probability[ends], _line_of(said), threshold)
    label = said["label"].to_numpy(float)[order]
    parts: dict[str, list[Floats]] = {name: [] for name in wanted}
    for weights in _chunks(times[:, order], len(ends)):
        n, positives = (_grouped(part, ends) for part in (weights, weights * label))
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, values in parts.items():
                values.append(METRICS[name](scores, n, positives))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _chunks(times: Floats, columns: int) -> Iterator[Floats]:
    rows = max(1, CELLS // columns)
    return (times[begin : begin + rows] for begin in range(0, len(times), rows))


def _grouped(weights: Floats, ends: npt.NDArray[np.intp]) -> Floats:
    return np.diff(np.cumsum(weights, axis=1)[:, ends], prepend=0.0, axis=1)


def _line_of(said: pd.DataFrame) -> tuple[float, float]:
    scores = said.assign(n=1.0, positives=said["label"].astype(float))
    return line(scores) or (np.nan, np.nan)


class _Scores:
    """The distinct scores of a model, highest first, and what does not change with a resample."""

    def __init__(self, p: Floats, fitted: tuple[float, float], threshold: float | None) -> None:
        self.p, self.fitted = p, fitted
        # Which predict an order.
        self.above = p >= (np.inf if threshold is None else threshold)
        self.clipped = p.clip(NEAREST, 1 - NEAREST)
        logit = logits(p)
        _, self.begins, sizes = np.unique(
            -np.round(logit / NEAR), return_index=True, return_counts=True
        )
        self.logits = np.add.reduceat(logit, self.begins) / sizes

    def slope(self, n: Floats, positives: Floats) -> Floats:
        """That of the likeliest line, by steps of Newton's from the line of all customers."""
        n, positives = (np.add.reduceat(part, self.begins, axis=1) for part in (n, positives))
        hits = positives.sum(axis=1, keepdims=True)
        others = n.sum(axis=1, keepdims=True) - hits
        # The targets of `models.calibration.line`.
        target = positives * ((hits + 1) / (hits + 2)) + (n - positives) * (1 / (others + 2))
        x = self.logits
        intercept, slope = (np.full_like(hits, value) for value in self.fitted)
        for _ in range(STEPS):
            p = chances(intercept + slope * x)
            off, varies = target - n * p, n * p * (1 - p)
            a, b, c = (varies @ x**k for k in range(3))
            first, second = off.sum(axis=1), off @ x
            intercept += ((c * first - b * second) / (a * c - b * b))[:, None]
            slope += ((a * second - b * first) / (a * c - b * b))[:, None]
        several = (n > 0).sum(axis=1, keepdims=True) > 1
        known = (hits > 0) & (others > 0) & several
        return np.where(known, slope, np.nan)[:, 0]


def _roc_auc(of: _Scores, n: Floats, positives: Floats) -> Floats:
    negatives = n - positives
    hits, others = positives.sum(axis=1), negatives.sum(axis=1)
    below = others[:, None] - negatives.cumsum(axis=1)
    return np.asarray((positives * (below + negatives / 2)).sum(axis=1) / (hits * others))


def _pr_auc(of: _Scores, n: Floats, positives: Floats) -> Floats:
    so_far = n.cumsum(axis=1)
    precision = np.divide(
        positives.cumsum(axis=1), so_far, out=np.zeros_like(so_far), where=so_far > 0
    )
    return np.asarray((positives * precision).sum(axis=1) / positives.sum(axis=1))


def _top_decile_lift(of: _Scores, n: Floats, positives: Floats) -> Floats:
    """Customers of one score are shared out between the decile and the rest in proportion."""
    ends, sums = np.cumsum(n, axis=1), np.cumsum(positives, axis=1)
    top = [
        np.interp(end[-1] / 10, np.append(0, end), np.append(0, hits))
        for end, hits in zip(ends, sums, strict=True)
    ]
    total = ends[:, -1]
    return np.asarray(np.array(top) / (total / 10) / (sums[:, -1] / total))


def _log_loss(of: _Scores, n: Floats, positives: Floats) -> Floats:
    lost = positives @ np.log(of.clipped) + (n - positives) @ np.log1p(-of.clipped)
    return np.asarray(-lost / n.sum(axis=1))


def _brier(of: _Scores, n: Floats, positives: Floats) -> Floats:
    off = positives @ (1 - of.clipped) ** 2 + (n - positives) @ of.clipped**2
    return np.asarray(off / n.sum(axis=1))


def _precision(of: _Scores, n: Floats, positives: Floats) -> Floats:
    return np.asarray(positives[:, of.above].sum(axis=1) / n[:, of.above].sum(axis=1))


def _recall(of: _Scores, n: Floats, positives: Floats) -> Floats:
    return np.asarray(positives[:, of.above].sum(axis=1) / positives.sum(axis=1))


def _f1(of: _Scores, n: Floats, positives: Floats) -> Floats:
    hits, predicted = positives[:, of.above].sum(axis=1), n[:, of.above].sum(axis=1)
    return np.asarray(2 * hits / (predicted + positives.sum(axis=1)))


AT_THRESHOLD = ("precision", "recall", "f1")
# Of the scores, and of rows of numbers of customers and of those who ordered: a value a row.
METRICS: dict[str, Callable[[_Scores, Floats, Floats], Floats]] = {
    "base_rate": lambda of, n, positives: positives.sum(axis=1) / n.sum(axis=1),
    "mean_probability": lambda of, n, positives: n @ of.p / n.sum(axis=1),
    "roc_auc": _roc_auc,
    "pr_auc": _pr_auc,
    "top_decile_lift": _top_decile_lift,
    "log_loss": _log_loss,
    "brier": _brier,
    "calibration_slope": _Scores.slope,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
}
