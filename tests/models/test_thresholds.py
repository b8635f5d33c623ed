"""Each policy's threshold does what the policy says, and the next one would not."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from conf.settings import ThresholdPolicy
from models.metrics import threshold_metrics
from models.thresholds import threshold

CUSTOMERS = 500


@pytest.fixture(scope="module")
def histogram() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    probability = np.unique(rng.random(60).round(3))[::-1]
    n = rng.integers(1, 20, len(probability))
    return pd.DataFrame(
        {"probability": probability, "n": n, "positives": rng.binomial(n, probability)}
    )


def _at(histogram, **policy) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The metrics at the policy's threshold, and at every possible one, highest first."""
    chosen = _least(histogram, threshold(histogram, ThresholdPolicy(**policy), CUSTOMERS))
    every = [threshold_metrics(histogram, p) for p in histogram["probability"]]
    return threshold_metrics(histogram, chosen), every


def _least(histogram, at: float) -> float:
    """The lowest probability that is at the threshold or above it."""
    return min(p for p in histogram["probability"] if p >= at)


def test_without_a_policy_f1_is_the_best(histogram):
    best = threshold_metrics(histogram, threshold(histogram, None, CUSTOMERS))
    assert best["f1"] == max(
        threshold_metrics(histogram, p)["f1"] for p in histogram["probability"]
    )


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_f_beta_is_the_best(histogram, beta):
    def f(m):
        precision, recall = m["precision"], m["recall"]
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall or 1)

    at, every = _at(histogram, f_beta=beta)
    assert f(at) == pytest.approx(max(map(f, every)))


@pytest.mark.parametrize("wanted", [0.3, 0.9, 1.0])
def test_recall_is_reached_and_no_higher_threshold_reaches_it(histogram, wanted):
    at, every = _at(histogram, recall=wanted)
    assert at["recall"] >= wanted
    assert all(m["recall"] < wanted for m in every if m["threshold"] > at["threshold"])


def test_precision_is_kept_and_no_lower_threshold_keeps_it(histogram):
    at, every = _at(histogram, precision=0.7)
    assert at["precision"] >= 0.7
    assert all(m["precision"] < 0.7 for m in every if m["threshold"] < at["threshold"])


def test_a_precision_that_nobody_reaches_gives_the_most_precise_group(histogram):
    certain = histogram.assign(positives=0.0)
    certain.loc[3, "positives"] = 1.0
    at = threshold(certain, ThresholdPolicy(precision=1.0), CUSTOMERS)
    assert _least(certain, at) == certain["probability"].iloc[3]


@pytest.mark.parametrize(("policy", "share"), [({"top_share": 0.2}, 0.2), ({"top": 100}, 0.2)])
def test_the_top_are_at_least_so_many_and_one_group_fewer_would_not_be(histogram, policy, share):
    at = threshold(histogram, ThresholdPolicy(**policy), CUSTOMERS)
    total = histogram["n"].sum()
    assert histogram[histogram["probability"] >= at]["n"].sum() >= share * total
    above = histogram["probability"] > _least(histogram, at)
    assert histogram[above]["n"].sum() < share * total


def test_what_is_rounded_to_the_threshold_is_above_it():
    """Whole groups would be lost where many customers have one score."""
    score = 2 / 3
    known = {"probability": [round(score, 6), 0.1], "n": [90, 10], "positives": [60, 1]}
    histogram = pd.DataFrame(known)
    assert score < histogram["probability"][0]
    assert 0.1 < threshold(histogram, ThresholdPolicy(recall=0.9), CUSTOMERS) < score
    alone = histogram[:1]
    assert score - 1e-4 < threshold(alone, ThresholdPolicy(recall=0.9), CUSTOMERS) < score


def test_profit_pays_for_everybody_above_and_for_nobody_below(histogram):
    at = threshold(histogram, ThresholdPolicy(profit={"margin": 20, "contact_cost": 5}), CUSTOMERS)
    assert at == pytest.approx(0.25)


def test_a_fixed_probability_is_itself(histogram):
    assert threshold(histogram, ThresholdPolicy(probability=0.4), CUSTOMERS) == 0.4


def test_nobody_ordered(histogram):
    assert threshold(histogram.assign(positives=0.0), None, CUSTOMERS) == 0.5


def test_a_policy_is_one():
    with pytest.raises(ValidationError, match="give one of f_beta, recall, precision"):
        ThresholdPolicy()
    with pytest.raises(ValidationError, match=r"recall and top are given: .* recall: null"):
        ThresholdPolicy(recall=0.5, top=5)
