"""Intervals and comparisons of models on the same customers."""

import numpy as np
import pandas as pd
import pytest

from models.calibration import calibration_slope
from models.judging import SAMPLED, bootstrap, heard, of_segments
from models.metrics import counted, metrics, roc_auc
from models.resampling import resampled


def _said(n: int, noise: float = 0.0, seed: int = 4) -> pd.DataFrame:
    """What a model says that knows the label's odds, the worse the more noise."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(-1, 1.2, n)
    label = rng.random(n) < 1 / (1 + np.exp(-signal))
    known = signal + noise * np.random.default_rng(9).normal(size=n)
    probability = (1 / (1 + np.exp(-known))).round(2)
    index = pd.Index([f"c{k}" for k in range(n)], name="customer_id")
    return pd.DataFrame({"label": label.astype(int), "probability": probability}, index=index)


def test_the_figures_are_those_of_the_histogram_of_each_resample():
    said = _said(500)
    times = np.vstack([np.ones(500), np.random.default_rng(2).poisson(1.0, (3, 500))])
    found = resampled(said, times, threshold=0.3)
    assert set(found) == {
        *("base_rate", "mean_probability", "roc_auc", "pr_auc", "log_loss", "brier"),
        *("calibration_slope", "top_decile_lift", "precision", "recall", "f1"),
    }
    for row, weights in enumerate(times.astype(int)):
        expected = metrics(counted(said.loc[said.index.repeat(weights)]), 0.3)
        for name, values in found.items():
            assert values[row] == pytest.approx(expected[name], rel=1e-6), name


def test_chunks_of_resamples_change_nothing(monkeypatch):
    said = _said(300)
    whole = bootstrap({"m": said}, 1, {"m": 0.2}).found
    monkeypatch.setattr("models.resampling.CELLS", 1_000)
    for metric, values in bootstrap({"m": said}, 1, {"m": 0.2}).found.items():
        assert np.array_equal(values["m"], whole[metric]["m"], equal_nan=True), metric


def test_intervals_hold_the_figure_shrink_with_more_customers_and_repeat():
    few, many = (bootstrap({"m": _said(n)}, 1) for n in (100, 10_000))
    assert few.intervals("m") == bootstrap({"m": _said(100)}, 1).intervals("m")
    for metric in few.found:
        ends = [
            (b.intervals("m")[f"{metric}_low"], b.intervals("m")[f"{metric}_high"])
            for b in (few, many)
        ]
        assert ends[1][0] <= many.found[metric]["m"][0] <= ends[1][1]
        assert ends[1][1] - ends[1][0] < 0.2 * (ends[0][1] - ends[0][0])


def test_the_interval_of_a_figure_of_more_customers_is_around_it_and_narrower():
    every = _said(10_000)
    some = every.iloc[:2_500]
    figures = metrics(counted(every), 0.5)
    found, whole = (bootstrap({"m": said}, 1) for said in (some, every))
    alone, ends = found.intervals("m"), whole.intervals("m")
    of_all = found.intervals("m", figures, 0.25)
    for metric in ("roc_auc", "log_loss", "mean_probability"):
        low, high = of_all[f"{metric}_low"], of_all[f"{metric}_high"]
        assert low < figures[metric] < high
        width = alone[f"{metric}_high"] - alone[f"{metric}_low"]
        assert high - low == pytest.approx(width / 2)
        assert high - low == pytest.approx(ends[f"{metric}_high"] - ends[f"{metric}_low"], rel=0.15)


def test_an_interval_is_as_wide_as_the_error_of_hanley_and_mcneil():
    said = _said(4000)
    area, label = roc_auc(counted(said)), said["label"] == 1
    positives, negatives = label.sum(), (~label).sum()
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    error = np.sqrt((area * (1 - area) + spread) / (positives * negatives))
    found = bootstrap({"m": said}, 1).intervals("m")
    assert found["roc_auc_high"] - found["roc_auc_low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_the_slope_of_few_positives_is_that_of_a_line_of_each_resample():
    said = _said(3_000)
    rare = said[(said["label"] == 0) | (np.arange(3_000) % 20 == 0)]
    times = np.vstack([np.ones(len(rare)), np.random.default_rng(2).poisson(1.0, (20, len(rare)))])
    found = resampled(rare, times, None)["calibration_slope"]
    expected = [
        calibration_slope(counted(rare.loc[rare.index.repeat(weights)]))
        for weights in times.astype(int)
    ]
    assert found == pytest.approx(np.array(expected), rel=1e-4)


def test_one_score_of_all_has_no_slope_on_any_resample():
    alike = _said(80).assign(probability=0.56)
    assert np.isnan(bootstrap({"m": alike}, 1).found["calibration_slope"]["m"]).all()


def test_which_of_two_is_better_by_any_metric():
    found = bootstrap({"good": _said(3000), "bad": _said(3000, noise=1.5)}, 1)
    for metric in ("roc_auc", "pr_auc", "log_loss"):
        assert found.compared("good", "bad", metric).verdict == "better"
        assert found.compared("bad", "good", metric).verdict == "worse"
        assert found.compared("good", "good", metric).verdict == "tie"
    assert len(found.comparisons()) == 3


def test_a_paired_difference_is_surer_than_two_intervals():
    """Two models that say nearly the same differ by little, on whatever customers."""
    found = bootstrap({"a": _said(2000), "b": _said(2000, noise=0.3)}, 1)
    alone = found.intervals("a")
    paired = found.compared("a", "b", "roc_auc")
    assert paired.high - paired.low < 0.5 * (alone["roc_auc_high"] - alone["roc_auc_low"])
    assert paired.low > 0


def test_with_one_outcome_nothing_is_better():
    nobody = _said(50).assign(label=0)
    found = bootstrap({"a": nobody, "b": nobody.assign(probability=0.5)}, 1)
    assert found.compared("a", "b", "roc_auc").verdict == "tie"
    assert np.isnan(found.intervals("a")["roc_auc_low"])
    assert np.isnan(found.intervals("a")["calibration_slope_high"])


def test_few_who_order_tell_nothing():
    """A level that is too low always wins where hardly anybody orders."""
    said = _said(400).assign(label=0)
    said.iloc[:9, said.columns.get_loc("label")] = 1
    nine = bootstrap({"a": said, "b": said.assign(probability=0.001)}, 1).compared
    assert nine("a", "b", "log_loss").verdict == "tie"
    assert "too few customers for an interval" in str(nine("a", "b", "log_loss"))
    said.iloc[9, said.columns.get_loc("label")] = 1
    ten = bootstrap({"a": said, "b": said.assign(probability=0.001)}, 1).compared
    assert not np.isnan(ten("a", "b", "log_loss").low)


def test_all_customers_are_heard_and_of_very_many_some(spark):
    rows = _said(1000).reset_index()
    scored = spark.createDataFrame(rows)
    every = heard(scored, len(rows))
    assert len(every.some) == 1000
    assert every.histogram.equals(counted(rows.set_index("customer_id")))
    few = heard(scored, SAMPLED * 10)
    assert 50 < len(few.some) < 200
    assert few.histogram["n"].sum() == 1000


def test_segments_are_judged_apart_and_customers_without_one_left_out():
    said = _said(3_000)
    halves = pd.Series(["even", "odd"] * 1_400, index=said.index[:2_800])
    # In any order, and with customers who are not among those heard.
    known = pd.concat([halves.iloc[::-1], pd.Series({"stranger": "even"})])
    wrong = said.assign(
        probability=said["probability"].where(said.index.isin(halves[::2].index), 1.0)
    )
    found = of_segments(wrong, known).set_index("segment")
    even = said.iloc[:2_800:2]
    expected = metrics(counted(even), 0.5)
    assert found.loc["even", "customers"] == 1_400 == found.loc["odd", "customers"]
    assert found.loc["even", "brier"] == pytest.approx(expected["brier"])
    assert found.loc["even", "ece"] == pytest.approx(expected["ece"])
    assert found.loc["even", "predicted"] == pytest.approx(even["probability"].mean())
    assert found.loc["odd", "ece"] == pytest.approx(1 - found.loc["odd", "observed"])
    assert of_segments(said, pd.Series(dtype=object)).empty
