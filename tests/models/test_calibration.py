"""Calibration finds the truth again, and class weights are undone."""

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from models.calibration import Calibration, fit_platt, undone


def _histogram(intercept: float, slope: float, rows: int = 200) -> pd.DataFrame:
    """Scores whose observed rate is exactly a Platt curve of them."""
    raw = np.linspace(0.01, 0.95, rows)
    logit = np.log(raw / (1 - raw))
    rate = 1 / (1 + np.exp(-(intercept + slope * logit)))
    return pd.DataFrame({"probability": raw, "n": 1e6, "positives": 1e6 * rate})


@pytest.mark.parametrize(("intercept", "slope"), [(0, 1), (-2, 0.3), (3, 2), (-6, 1), (1.5, 0.05)])
def test_platt_recovers_the_curve_that_made_the_labels(intercept, slope):
    found = fit_platt(_histogram(intercept, slope), 1.0)
    assert found.intercept == pytest.approx(intercept, abs=1e-3)
    assert found.slope == pytest.approx(slope, abs=1e-3)


def test_calibrated_scores_have_the_base_rate_on_what_they_were_fitted_on():
    histogram = _histogram(-1, 0.7)
    calibrated = fit_platt(histogram, 1.0).of(histogram["probability"])
    predicted = (calibrated * histogram["n"]).sum()
    assert predicted == pytest.approx(histogram["positives"].sum(), rel=1e-6)


@pytest.mark.parametrize("positives", [0.0, 10.0])
def test_one_class_leaves_scores_as_they_are(positives):
    histogram = pd.DataFrame({"probability": [0.2, 0.4], "n": 5.0, "positives": positives / 2})
    assert fit_platt(histogram, 1.0) == Calibration(0.0, 1.0, 1.0)


def test_a_calibration_never_turns_the_ranking_round():
    against = pd.DataFrame({"probability": [0.9, 0.1], "n": 100.0, "positives": [10.0, 90.0]})
    assert fit_platt(against, 1.0).slope == 1.0


def test_weights_multiply_the_odds_and_are_undone(spark):
    true, ratio = 0.2, 4.0
    weighted = ratio * true / (ratio * true + 1 - true)
    row = spark.range(1).select(
        undone(F.lit(weighted), ratio).alias("p"),
        Calibration(0.5, 0.8, ratio)(F.lit(weighted)).alias("c"),
    )
    p, c = row.collect()[0]
    assert p == pytest.approx(true)
    assert c == pytest.approx(Calibration(0.5, 0.8, 1.0).of(pd.Series([true]))[0])


def test_extreme_scores_stay_probabilities(spark):
    rows = spark.createDataFrame([(0.0,), (1.0,)], "raw double")
    found = [r[0] for r in rows.select(Calibration(0.0, 1.0, 1.0)(F.col("raw"))).collect()]
    assert 0 < found[0] < found[1] < 1
