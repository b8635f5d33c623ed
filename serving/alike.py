"""Of customers alike, what a caller does not tell of a customer."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from serving.requests import SYNONYMS
from serving.sample import among, every

Floats = npt.NDArray[np.float64]
# Customers that stand for all, and how many of them an answer is made of.
SAMPLE = 2_000
NEIGHBOURS = 5
# Sets of features by which the sample is kept in order: callers tell the same ones again.
VIEWS = 32
# What customers are compared by, as far as it is told.
AXES = tuple(dict.fromkeys(SYNONYMS.values()))
# A feature that is missing in the sample lies beside those that are 0.
MISSING = -1.0


class Alike:
    """A sample of customers with their features, `numbers` and `texts`.

    The distance of two customers is that of the logarithms of what both tell of AXES, each in
    standard deviations of the sample. What is not told of a customer is taken from the sampled one
    who is nearest: for numbers the middle one of the five around that one, so that it does not hang
    on a single customer. Windows of one row fit each other then, which medians of all would not.
    """

    def __init__(
        self, customers: pd.DataFrame, numbers: Sequence[str], texts: Sequence[str]
    ) -> None:
        self.axes = tuple(n for n in AXES if n in customers and customers[n].nunique() > 1)
        self._numbers = customers[list(numbers)].to_numpy(float)
        filled = customers[list(texts)].astype(object)
        self._texts = filled.where(filled.notna(), "").to_numpy(object)
        places = _places(customers[list(self.axes)].to_numpy(float))
        self._scale = places.std(axis=0)
        self._sample = places / self._scale
        self._view = lru_cache(VIEWS)(self._made)

    def of(
        self, known: Mapping[str, npt.NDArray[np.float64]], rows: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.object_]]:
        """The numbers and the texts of customers like those in these rows of columns."""
        told = np.full((len(rows), len(self.axes)), np.nan)
        for place, name in enumerate(self.axes):
            if name in known:
                told[:, place] = known[name][rows]
        places, tells = _places(told) / self._scale, ~np.isnan(told)
        numbers = np.empty((len(rows), self._numbers.shape[1]))
        texts = np.full((len(rows), self._texts.shape[1]), "", object)
        alike = len(rows) == 1 or bool((tells == tells[0]).all())
        patterns = {tuple(one) for one in (tells[:1] if alike else tells).tolist()}
        for pattern in patterns:
            like = slice(None) if alike else (tells == pattern).all(axis=1)
            tree, middles = self._view(pattern)
            if tree is None:
                numbers[like] = middles
                continue
            nearest = tree.query(places[like][:, np.flatnonzero(pattern)])[1]
            numbers[like], texts[like] = middles[nearest], self._texts[nearest]
        return numbers, texts

    def _made(self, pattern: tuple[bool, ...]) -> tuple[cKDTree | None, Floats]:
        """The sample by some of the axes, and the middle of those around each of it; by none of
        them, the middle of all.
        """
        if not any(pattern):
            return None, _middle(self._numbers, 0)
        sample = self._sample[:, np.flatnonzero(pattern)]
        tree = cKDTree(sample)
        around = tree.query(sample, k=min(NEIGHBOURS, len(sample)))[1].reshape(len(sample), -1)
        return tree, _middle(self._numbers[around], 1)


def some_customers(query: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """The features of SAMPLE customers or a few more on the last date that has any, of the same
    ones each time.

    `query` is `Tables.query`.
    """
    latest = query("SELECT max(as_of) AS as_of FROM features")["as_of"][0]
    some = among(every(query, latest, SAMPLE))
    return query(
        f"SELECT * FROM features WHERE as_of = $as_of::DATE AND {some} ORDER BY customer_id",
        {"as_of": str(latest)[:10]},
    )


def _middle(values: Floats, axis: int) -> Floats:
    # What is missing comes last: where most have nothing, nothing is in the middle.
    found: Floats = np.sort(values, axis=axis).take(values.shape[axis] // 2, axis=axis)
    return found


def _places(values: Floats) -> Floats:
    found: Floats = np.sign(values) * np.log1p(np.abs(values))
    return np.nan_to_num(found, nan=MISSING)
