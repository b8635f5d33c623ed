"""Every metric against its definition, computed the long way on small tables."""

import math

import numpy as np
import pandas as pd
import pytest

from models.metrics import (
    average_precision,
    decile_cuts,
    metrics,
    probability_metrics,
    reliability,
    roc_auc,
    score_histogram,
    threshold_metrics,
    top_lift,
)
from serving.report import BEYOND_CHANCE

# (score, label), with ties across classes
ROWS = [(0.9, 1), (0.8, 1), (0.8, 0), (0.6, 0), (0.5, 1), (0.3, 0), (0.3, 0), (0.1, 0)]


@pytest.fixture
def histogram() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS, columns=["probability", "label"])
    grouped = frame.groupby("probability")["label"].agg(n="count", positives="sum").reset_index()
    return grouped.sort_values("probability", ascending=False, ignore_index=True)


def test_roc_auc_is_the_share_of_pairs_in_order(histogram):
    pairs = [(p, q) for p, a in ROWS if a for q, b in ROWS if not b]
    wins = sum(1.0 if p > q else 0.5 if p == q else 0.0 for p, q in pairs)
    assert roc_auc(histogram) == pytest.approx(wins / len(pairs))


def test_average_precision_takes_ties_as_one_step(histogram):
    # positives at 0.9 (precision 1/1), 0.8 (2/3), 0.5 (3/5)
    assert average_precision(histogram) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_log_loss_and_brier_are_the_means_over_rows(histogram):
    found = probability_metrics(histogram)
    losses = [-math.log(p if label else 1 - p) for p, label in ROWS]
    assert found["log_loss"] == pytest.approx(sum(losses) / len(ROWS))
    assert found["brier"] == pytest.approx(sum((p - y) ** 2 for p, y in ROWS) / len(ROWS))


def test_ece_is_the_mean_distance_of_bins_of_equal_mass():
    # 30 distinct scores, 15 bins of two
    rows = [(0.9 - 0.02 * k, 1 if k % 3 == 0 else 0) for k in range(30)]
    histogram = pd.DataFrame(
        {"probability": [p for p, _ in rows], "n": 1.0, "positives": [float(y) for _, y in rows]}
    )
    bins = [rows[2 * b : 2 * b + 2] for b in range(15)]
    expected = sum(abs(sum(y for _, y in b) - sum(p for p, _ in b)) for b in bins) / 30
    assert probability_metrics(histogram)["ece"] == pytest.approx(expected)


def test_true_probabilities_are_off_by_what_chance_makes():
    rng = np.random.default_rng(1)
    n = np.full(300, 4.0)
    probability = np.sort(rng.beta(1, 4, len(n)))[::-1].round(6)
    found = []
    for _ in range(400):
        table = pd.DataFrame({"probability": probability, "n": n})
        found.append(probability_metrics(table.assign(positives=rng.binomial(4, probability))))
    by_chance = found[0]["ece_by_chance"]
    assert np.mean([one["ece"] for one in found]) == pytest.approx(by_chance, rel=0.03)
    assert np.quantile([one["ece"] for one in found], 0.95) < BEYOND_CHANCE * by_chance


def test_reliability_shares_a_tie_out_between_bins():
    histogram = pd.DataFrame({"probability": [0.5], "n": [4.0], "positives": [1.0]})
    halves = reliability(histogram, bins=2)
    assert halves["n"].tolist() == [2, 2]
    assert halves["observed"].tolist() == [0.25, 0.25]
    assert halves["lift"].tolist() == [1, 1]


def test_top_lift_of_scores_that_are_all_the_same_is_one():
    histogram = pd.DataFrame({"probability": [0.5], "n": [40.0], "positives": [10.0]})
    assert top_lift(histogram, 0.1) == pytest.approx(1)


def test_confusion_matrix_adds_up(histogram):
    found = threshold_metrics(histogram, 0.5)
    assert (found["true_positives"], found["false_positives"]) == (3, 2)
    assert (found["false_negatives"], found["true_negatives"]) == (0, 3)
    assert found["precision"] == pytest.approx(3 / 5)
    assert found["recall"] == 1
    assert found["f1"] == pytest.approx(2 * 3 / (5 + 3))


def test_the_mean_probability_stands_beside_the_base_rate(histogram):
    found = metrics(histogram, 0.5)
    assert found["mean_probability"] == pytest.approx(sum(p for p, _ in ROWS) / len(ROWS))
    assert found["base_rate"] == pytest.approx(3 / 8)


def test_metrics_that_need_both_classes_are_nan_without_them():
    nobody = pd.DataFrame({"probability": [0.2, 0.1], "n": [3.0, 2.0], "positives": [0.0, 0.0]})
    found = metrics(nobody, 0.5)
    assert math.isnan(found["roc_auc"])
    assert math.isnan(found["pr_auc"])
    assert found["log_loss"] > 0


def test_deciles_are_tenths_and_never_split_equal_scores():
    distinct = pd.DataFrame({"probability": [1 - k / 100 for k in range(100)], "n": 1.0})
    cuts = decile_cuts(distinct)
    sizes = [0] * 10
    for p in distinct["probability"]:
        sizes[sum(p < cut for cut in cuts)] += 1
    assert sizes == [10] * 10
    tied = pd.DataFrame({"probability": [0.7], "n": [100.0]})
    assert sum(cut > 0.7 for cut in decile_cuts(tied)) == 0


def test_score_histogram_counts_in_spark(spark):
    scored = spark.createDataFrame(ROWS, "probability double, label int")
    found = score_histogram(scored)
    assert found["probability"].tolist() == [0.9, 0.8, 0.6, 0.5, 0.3, 0.1]
    assert found["n"].tolist() == [1, 2, 1, 1, 2, 1]
    assert found["positives"].tolist() == [1, 1, 0, 1, 0, 0]
