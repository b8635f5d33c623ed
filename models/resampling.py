"""The metrics of a model on many resamples of the customers of a date, all at once.

They are those of `models.metrics` on what each resample holds. The ECE is not among them: chance
alone makes it larger on a resample, so that intervals of it would not hold the true one as often as
they say. The intervals of `mean_probability` beside `base_rate`, and of `calibration_slope`, tell
whether probabilities are off.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calibration import NEAREST, chances, line, logits

Floats = npt.NDArray[np.float64]
# Distinct scores times resamples that are looked at together: arrays of 8 MB.
CELLS = 1_000_000
# Newton's, from a line that is near; scores whose logits are as near as this are one there.
STEPS, NEAR = 4, 0.01


def resampled(said: pd.DataFrame, times: Floats, threshold: float | None) -> dict[str, Floats]:
    """By metric, its values on the resamples; NaN where one does not hold what the metric needs.

    `said` has the `label` and the `probability` of each customer, `times` how often a resample (its
    rows) has each of them. Without a threshold, what depends on one is left out.
    """
    order = np.argsort(-said["probability"].to_numpy(float), kind="stable")
    probability = said["probability"].to_numpy(float)[order]
    # Customers of equal probability are one column.
    ends = np.flatnonzero(np.diff(probability, append=-1.0))
    scores = _Scores(probability[ends], _line_of(said), threshold)
    label = said["label"].to_numpy(float)[order]
    parts = [
        scores.metrics(*(_grouped(part, ends) for part in (weights, weights * label)))
        for weights in _chunks(times[:, order], len(ends))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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
        self.p, self.fitted, self.threshold = p, fitted, threshold
        self.clipped = p.clip(NEAREST, 1 - NEAREST)
        logit = logits(p)
        _, self.begins, sizes = np.unique(
            -np.round(logit / NEAR), return_index=True, return_counts=True
        )
        self.logits = np.add.reduceat(logit, self.begins) / sizes

    def metrics(self, n: Floats, positives: Floats) -> dict[str, Floats]:
        """By metric, its value for each row of numbers of customers and of those who ordered."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                **_ranking(n, positives),
                **self._probabilities(n, positives),
                "calibration_slope": self._slope(n, positives),
                **self._at_threshold(n, positives),
            }

    def _probabilities(self, n: Floats, positives: Floats) -> dict[str, Floats]:
        total, negatives = n.sum(axis=1), n - positives
        p = self.clipped
        lost = positives @ np.log(p) + negatives @ np.log1p(-p)
        off = positives @ (1 - p) ** 2 + negatives @ p**2
        return {
            "base_rate": positives.sum(axis=1) / total,
            "mean_probability": n @ self.p / total,
            "log_loss": -lost / total,
            "brier": off / total,
        }

    def _slope(self, n: Floats, positives: Floats) -> Floats:
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
        known = (hits > 0) & (others > 0)
        return np.where(known, slope, np.nan)[:, 0]

    def _at_threshold(self, n: Floats, positives: Floats) -> dict[str, Floats]:
        if self.threshold is None:
            return {}
        above = self.p >= self.threshold
        hits, predicted = positives[:, above].sum(axis=1), n[:, above].sum(axis=1)
        actual = positives.sum(axis=1)
        return {
            "precision": hits / predicted,
            "recall": hits / actual,
            "f1": 2 * hits / (predicted + actual),
        }


def _ranking(n: Floats, positives: Floats) -> dict[str, Floats]:
    negatives, total = n - positives, n.sum(axis=1)
    hits, others = positives.sum(axis=1), negatives.sum(axis=1)
    below = others[:, None] - negatives.cumsum(axis=1)
    so_far = n.cumsum(axis=1)
    precision = np.divide(
        positives.cumsum(axis=1), so_far, out=np.zeros_like(so_far), where=so_far > 0
    )
    top = _between_edges(n, positives, 10)[:, 0] / (total / 10)
    return {
        "roc_auc": (positives * (below + negatives / 2)).sum(axis=1) / (hits * others),
        "pr_auc": (positives * precision).sum(axis=1) / hits,
        "top_decile_lift": top / (hits / total),
    }


def _between_edges(n: Floats, values: Floats, bins: int) -> Floats:
    """By row, the sums of the values in bins of equal mass, highest scores first; those of one
    score are shared out between bins in proportion.
    """
    ends = np.cumsum(n, axis=1)
    sums = np.cumsum(values, axis=1)
    found = [
        np.interp(np.linspace(0, end[-1], bins + 1), np.append(0, end), np.append(0, total))
        for end, total in zip(ends, sums, strict=True)
    ]
    return np.diff(found, axis=1)
