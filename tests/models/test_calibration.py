"""Calibration finds the truth again, and class weights are undone."""

import json

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from models.calibration import (
    FITS,
    WORTH,
    Beta,
    Isotonic,
    Platt,
    calibration,
    calibration_slope,
    fit_best,
    fit_beta,
    fit_isotonic,
    fit_platt,
    undone,
)
from models.metrics import log_loss


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


def test_the_slope_says_how_far_apart_scores_should_be():
    assert calibration_slope(_histogram(-2, 0.3)) == pytest.approx(0.3, abs=1e-3)
    assert calibration_slope(_histogram(0.5, 1.6)) == pytest.approx(1.6, abs=1e-3)
    against = pd.DataFrame({"probability": [0.9, 0.1], "n": 1e6, "positives": [1e5, 9e5]})
    assert calibration_slope(against) == pytest.approx(-1, abs=1e-3)
    nobody = pd.DataFrame({"probability": [0.2, 0.1], "n": 3.0, "positives": 0.0})
    assert np.isnan(calibration_slope(nobody))


def test_calibrated_scores_have_the_base_rate_on_what_they_were_fitted_on():
    histogram = _histogram(-1, 0.7)
    calibrated = fit_platt(histogram, 1.0).of(histogram["probability"])
    predicted = (calibrated * histogram["n"]).sum()
    assert predicted == pytest.approx(histogram["positives"].sum(), rel=1e-6)


@pytest.mark.parametrize("positives", [0.0, 10.0])
def test_one_class_leaves_scores_as_they_are(positives):
    histogram = pd.DataFrame({"probability": [0.2, 0.4], "n": 5.0, "positives": positives / 2})
    assert [fit(histogram, 1.0) for fit in FITS.values()] == [Platt(1.0)] * 3


def test_a_calibration_never_turns_the_ranking_round():
    against = pd.DataFrame({"probability": [0.9, 0.1], "n": 100.0, "positives": [10.0, 30.0]})
    for fit in (fit_platt, fit_beta):
        found = fit(against, 1.0)
        assert found.slope == 1.0
        assert found.intercept < 0


OF_NO_USE = {
    # Who ordered in the last window orders less, as where people buy for a season.
    "turned round": pd.DataFrame(
        {"probability": [0.75, 0.25], "n": [100.0, 900.0], "positives": [2.0, 50.0]}
    ),
    "one score": pd.DataFrame({"probability": [0.5], "n": [1000.0], "positives": [52.0]}),
}


@pytest.mark.parametrize("ratio", [1.0, 4.0])
@pytest.mark.parametrize("known", OF_NO_USE)
@pytest.mark.parametrize("kind", FITS)
def test_scores_of_no_use_still_have_the_base_rate(kind, known, ratio):
    histogram = OF_NO_USE[known]
    found = FITS[kind](histogram, ratio)
    assert found.weight_ratio == ratio
    calibrated = histogram.assign(probability=found.of(histogram["probability"]))
    predicted = (calibrated["probability"] * histogram["n"]).sum()
    # A step of isotonic regression has half a customer more on either side.
    exact = 0.01 if kind == "isotonic" else 1e-6
    assert predicted == pytest.approx(histogram["positives"].sum(), rel=exact)
    assert log_loss(calibrated) <= log_loss(histogram)


def test_weights_multiply_the_odds_and_are_undone(spark):
    true, ratio = 0.2, 4.0
    weighted = ratio * true / (ratio * true + 1 - true)
    row = spark.range(1).select(
        undone(F.lit(weighted), ratio).alias("p"),
        Platt(ratio, 0.5, 0.8)(F.lit(weighted)).alias("c"),
    )
    p, c = row.collect()[0]
    assert p == pytest.approx(true)
    assert c == pytest.approx(Platt(1.0, 0.5, 0.8).of(pd.Series([true]))[0])


def test_extreme_scores_stay_probabilities(spark):
    rows = spark.createDataFrame([(0.0,), (1.0,)], "raw double")
    found = [r[0] for r in rows.select(Platt(1.0)(F.col("raw"))).collect()]
    assert 0 < found[0] < found[1] < 1


CURVES = {
    "platt": Platt(4.0, -0.4, 1.3),
    "beta": Beta(4.0, -0.4, 0.7, 1.6),
    "isotonic": Isotonic(4.0, 0.2, (-2.0, 0.5, 1.0), (0.3, 0.2, -0.1)),
}


@pytest.mark.parametrize("kind", CURVES)
def test_a_curve_is_the_same_in_spark_in_numpy_and_saved(spark, kind):
    curve = CURVES[kind]
    assert curve.kind == kind
    again = calibration(json.loads(json.dumps(curve.as_dict())))
    assert again == curve
    raw = pd.Series(np.linspace(0.001, 0.999, 50))
    rows = spark.createDataFrame([(float(p),) for p in raw], "raw double")
    found = [row[0] for row in rows.select(again(F.col("raw"))).collect()]
    logits = np.log(raw / (1 - raw)).to_numpy()
    expected = 1 / (1 + np.exp(-curve.of_logits(logits)))
    assert found == pytest.approx(expected, abs=1e-12)
    unweighted = pd.Series(1 / (1 + np.exp(-(logits - np.log(4.0)))))
    assert found == pytest.approx(curve.of(unweighted).to_numpy(), abs=1e-12)


def test_beta_recovers_the_curve_that_made_the_labels():
    truth = Beta(1.0, -0.3, 0.6, 1.5)
    raw = pd.Series(np.linspace(0.01, 0.95, 200))
    histogram = pd.DataFrame({"probability": raw, "n": 1e6, "positives": 1e6 * truth.of(raw)})
    found = fit_beta(histogram, 1.0)
    assert (found.intercept, found.rise, found.fall) == pytest.approx((-0.3, 0.6, 1.5), abs=1e-3)


@pytest.mark.parametrize("base", [-3, -5, -7])
def test_few_positives_do_not_throw_a_fit_off(base):
    """A whole step of Newton's method overshoots here, and ends in chances of 0 and 1."""
    rng = np.random.default_rng(0)
    raw = pd.Series(np.sort(1 / (1 + np.exp(-rng.normal(base, 1.2, 20_000)))))
    histogram = pd.DataFrame({"probability": raw, "n": 1e3, "positives": 1e3 * raw})
    for fit in (fit_platt, fit_beta):
        assert fit(histogram, 1.0).of(raw).to_numpy() == pytest.approx(raw.to_numpy(), rel=1e-3)


@pytest.mark.parametrize("fit", [fit_beta, fit_isotonic])
def test_a_curve_never_turns_the_ranking_round(fit):
    rng = np.random.default_rng(2)
    raw = np.sort(rng.random(400).round(3))
    # The rate falls, rises and falls again.
    rate = 0.5 + 0.4 * np.sin(8 * raw)
    rows = pd.DataFrame({"probability": raw, "n": 50.0, "positives": 50 * rate})
    histogram = rows.groupby("probability", as_index=False).sum()
    found = fit(histogram, 1.0).of(histogram["probability"])
    assert np.diff(found).min() > -1e-12


def test_isotonic_follows_a_step():
    raw = np.linspace(0.01, 0.99, 1000)
    rate = np.where(raw < 0.5, 0.1, 0.8)
    histogram = pd.DataFrame({"probability": raw, "n": 1e4, "positives": 1e4 * rate})
    found = fit_isotonic(histogram, 1.0).of(pd.Series([0.1, 0.4, 0.6, 0.9]))
    assert found.to_numpy() == pytest.approx([0.1, 0.1, 0.8, 0.8], abs=0.01)


def test_isotonic_takes_scores_at_the_ends_of_what_counts():
    """Nothing and one in a million are one logit."""
    scores = [0.0, 1e-6, 0.3, 1 - 1e-6, 1.0]
    histogram = pd.DataFrame(
        {"probability": scores, "n": 100.0, "positives": [0.0, 10.0, 30.0, 80.0, 100.0]}
    )
    found = fit_isotonic(histogram, 1.0).of(pd.Series(scores))
    assert found.is_monotonic_increasing
    assert found.between(0, 1).all()


def test_the_curve_that_loses_least_later_is_chosen_if_it_is_worth_it():
    raw = pd.Series(np.linspace(0.01, 0.95, 200))
    line, bent = Platt(1.0, -0.5, 0.8), Beta(1.0, -0.3, 0.1, 2.5)
    of = {
        name: pd.DataFrame({"probability": raw, "n": 1e6, "positives": 1e6 * curve.of(raw)})
        for name, curve in (("line", line), ("bent", bent))
    }
    kinds = ["platt", "beta", "isotonic"]
    assert fit_best(kinds, of["line"], of["line"], 1.0, log_loss).kind == "platt"
    chosen = fit_best(kinds, of["bent"], of["bent"], 1.0, log_loss)
    assert chosen.kind in ("beta", "isotonic")
    losses = [
        log_loss(of["bent"].assign(probability=curve.of(raw)))
        for curve in (chosen, fit_platt(of["bent"], 1.0))
    ]
    assert losses[0] < losses[1] / (1 + WORTH)
    assert fit_best(["platt"], of["bent"], of["bent"], 1.0, log_loss).kind == "platt"
