"""Curves of what contacting the likeliest customers first finds."""

import numpy as np
import pandas as pd
import pytest

from models.curves import STEPS, curve
from models.metrics import roc_auc


def _histogram(p, n, positives) -> pd.DataFrame:
    return pd.DataFrame({"probability": p, "n": n, "positives": positives}, dtype=float)


def test_each_hundredth_counts_the_likeliest_first():
    found = curve(_histogram([0.9, 0.5, 0.1], [50, 100, 50], [40, 30, 5]))
    assert len(found) == STEPS
    half = found.set_index(found["contacted"].round(2))
    assert half.loc[0.25, "orders"] == 40
    assert half.loc[0.25, "recall"] == pytest.approx(40 / 75)
    assert half.loc[0.25, "precision"] == pytest.approx(0.8)
    assert half.loc[0.25, "false_positive_rate"] == pytest.approx(10 / 125)
    assert half.loc[0.25, "lift"] == pytest.approx(0.8 / (75 / 200))
    assert half.loc[0.25, "probability"] == 0.9
    assert half.loc[0.26, "probability"] == 0.5
    assert half.loc[1.0, "orders"] == 75
    assert half.loc[1.0, ["recall", "false_positive_rate", "lift"]].tolist() == [1, 1, 1]


def test_customers_of_equal_scores_are_shared_out():
    found = curve(_histogram([0.3], [1000], [200]))
    assert found["precision"].to_numpy() == pytest.approx(np.full(STEPS, 0.2))


def test_the_area_under_it_is_the_roc_auc():
    rng = np.random.default_rng(1)
    p = np.sort(rng.random(5000))[::-1]
    histogram = _histogram(p, np.ones(5000), rng.random(5000) < p)
    found = curve(histogram)
    x = np.concatenate([[0], found["false_positive_rate"]])
    y = np.concatenate([[0], found["recall"]])
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(histogram), abs=1e-3)


def test_without_an_order_there_is_nothing_to_find():
    found = curve(_histogram([0.3, 0.2], [10, 10], [0, 0]))
    assert found["recall"].isna().all()
    assert (found["precision"] == 0).all()
