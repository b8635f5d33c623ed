"""Drift is measured in bins that the reference date has frozen, missing values among them."""

import numpy as np
import pandas as pd
import pytest

from serving.dashboard.figures import drift, health
from serving.dashboard.figures.drift import Pair

PAIR = Pair("2024-05-01", "2024-06-01")


def test_dates_the_last_first(query):
    assert drift.dates(query) == ["2024-06-01", "2024-05-01"]


def test_the_same_date_has_not_moved(query):
    bins = drift.bins(query, Pair("2024-06-01", "2024-06-01"), ["recency_days", "gap_mean_days"])
    assert drift.stability(bins)["psi"].tolist() == pytest.approx([0, 0])


def test_a_shift_of_a_month_shows_and_what_stays_does_not(query):
    bins = drift.bins(query, PAIR, ["recency_days", "orders_lifetime"])
    found = drift.stability(bins).set_index("feature")
    assert found.loc["recency_days", "verdict"] == "shifted"
    assert found.loc["orders_lifetime", "verdict"] == "stable"
    sums = bins.groupby("feature")[["reference", "latest"]].sum()
    assert sums.to_numpy().ravel() == pytest.approx(np.ones(4))


def test_the_index_is_that_of_the_shares():
    bins = pd.DataFrame(
        {"feature": "f", "bin": ["≤ 1", "> 1", "missing"], "reference": [0.5, 0.4, 0.1]}
    ).assign(latest=[0.4, 0.4, 0.2])
    by_hand = -0.1 * np.log(0.4 / 0.5) + 0.1 * np.log(0.2 / 0.1)
    found = drift.stability(bins).iloc[0]
    assert found["psi"] == pytest.approx(by_hand)
    assert found["missing_latest"] == 0.2


def test_bins_that_are_near_each_other_have_names_of_their_own():
    told = drift._told([0.99991, 0.999912, 1.0])
    assert told == ["0.99991", "0.999912", "1"]


def test_missing_values_have_a_bin_of_their_own(query):
    bins = drift.bins(query, PAIR, ["gap_mean_days"]).set_index("bin")
    assert bins.loc["missing", "reference"] == pytest.approx(10.5 / (40 + 0.5 * len(bins)))


def test_every_reason_of_a_refused_row_counts(query):
    rows = health.refused(query).set_index("reason")["rows"].to_dict()
    assert rows == {"amount is not a number": 2, "customer_id is missing": 1}


def test_only_columns_with_gaps_are_told(query):
    rows = health.missing(query, ["kind", "category"])
    assert rows.to_dict("records") == [{"column": "category", "share": 0.5}]
