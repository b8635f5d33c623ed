"""Fits equal the published ones and those of an independent package, and find the truth again."""

import datetime as dt
import math
from random import Random

import lifetimes
import numpy as np
import pandas as pd
import pytest
import scipy
from lifetimes.datasets import load_dataset

from features import likelihood
from features.likelihood import FitError, Fitted, fit_purchases, fit_spend
from features.probabilistic import BgNbd, MbgNbd, ParetoNbd
from tests.conftest import REAL_LOGS, SHARED
from tests.features.oracle import random_log
from tests.features.shop import TRIPLE, history, simulated

TRUTHS = [
    BgNbd(0.6, 50.0, 0.8, 2.5),
    BgNbd(0.6, 20.0, 0.8, 2.5, k=2),
    MbgNbd(0.6, 50.0, 0.8, 2.5),
    MbgNbd(0.6, 15.0, 0.8, 2.5, k=3),
    ParetoNbd(0.6, 50.0, 0.6, 80.0),
]


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(TRIPLE).size().rename("customers").reset_index()


@pytest.fixture(scope="module")
def sample() -> pd.DataFrame:
    """The customers of the papers: a tenth of CDNOW, at the end of September 1997, in weeks."""
    log = pd.read_csv(
        SHARED / "data" / REAL_LOGS["cdnow"],
        sep=r"\s+",
        skiprows=1,
        names=["customer", "day", "units", "spent"],
        dtype={"customer": str, "day": str},
    )
    published = load_dataset("CDNOW_sample.txt", sep=r"\s+", header=None, dtype=str)
    end = pd.Timestamp("1997-09-30")
    log["day"] = pd.to_datetime(log["day"], format="%Y%m%d")
    known = log[log["customer"].isin(published[0]) & (log["day"] <= end)]
    days = known.groupby(["customer", "day"], as_index=False)["spent"].sum()
    of_customer = days.groupby("customer")["day"]
    first, last = of_customer.min(), of_customer.max()
    later = days[days["day"] > days["customer"].map(first)]
    return pd.DataFrame(
        {
            "repeats": of_customer.size() - 1,
            "first_to_last": (last - first).dt.days / 7,
            "tenure": (end - first).dt.days / 7,
            "mean_spend": later.groupby("customer")["spent"].mean(),
        }
    )


def estimates(fitted: Fitted) -> list[float]:
    return [getattr(fitted.model, name) for name in fitted.model.parameters()]


def as_printed(numbers: list[float], published: list[str]) -> list[str]:
    """The numbers with as many digits as the paper has."""
    return [f"{n:.{len(p.split('.')[1])}f}" for n, p in zip(numbers, published, strict=True)]


@pytest.mark.slow
def test_the_sample_is_that_of_the_papers(sample):
    assert (len(sample), sample["repeats"].sum(), (sample["repeats"] > 0).sum()) == (
        2357,
        2457,
        946,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "published", "log_likelihood"),
    [
        (BgNbd, ["0.243", "4.414", "0.793", "2.426"], "-9582.4"),
        (ParetoNbd, ["0.553", "10.58", "0.606", "11.67"], "-9595.0"),
    ],
)
def test_purchase_models_equal_the_published_estimates(sample, kind, published, log_likelihood):
    fitted = fit_purchases(kind, counted(sample))
    assert as_printed(estimates(fitted), published) == published
    assert as_printed([fitted.log_likelihood], [log_likelihood]) == [log_likelihood]
    assert fitted.customers == 2357


@pytest.mark.slow
def test_spend_model_equals_the_published_estimates(sample):
    spends = sample.dropna().rename(columns={"repeats": "order_days"}).assign(customers=1)
    published = ["6.25", "3.74", "15.44"]
    assert as_printed(estimates(fit_spend(spends)), published) == published


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fitter"),
    [
        (BgNbd, lifetimes.BetaGeoFitter),
        (MbgNbd, lifetimes.ModifiedBetaGeoFitter),
    ],
)
def test_estimates_and_standard_errors_equal_those_of_lifetimes(sample, kind, fitter):
    fitted = fit_purchases(kind, counted(sample))
    theirs = fitter().fit(sample["repeats"], sample["first_to_last"], sample["tenure"], tol=1e-9)
    errors = fitted.standard_errors
    assert estimates(fitted) == pytest.approx(theirs.params_[[*errors]].tolist(), rel=1e-4)
    assert [*errors.values()] == pytest.approx(
        theirs.standard_errors_[[*errors]].tolist(), rel=1e-3
    )


@pytest.mark.slow
def test_counts_weigh_like_rows(sample):
    grouped = fit_purchases(BgNbd, counted(sample))
    one_by_one = fit_purchases(BgNbd, sample.assign(customers=1))
    assert len(counted(sample)) < 0.5 * len(sample)
    assert estimates(grouped) == pytest.approx(estimates(one_by_one), rel=1e-6)
    assert list(grouped.standard_errors.values()) == pytest.approx(
        list(one_by_one.standard_errors.values()), rel=1e-5
    )


@pytest.mark.parametrize("kind", [BgNbd, MbgNbd, ParetoNbd])
def test_the_order_of_the_rows_changes_no_bit(kind):
    rows = counted(simulated(kind(0.6, 50.0, 0.8, 2.5), 3000, 0).histories.round())
    assert fit_purchases(kind, rows) == fit_purchases(kind, rows.sample(frac=1, random_state=1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BgNbd, MbgNbd, ParetoNbd])
@pytest.mark.parametrize("days", [1e-3, 7, 1e4])
def test_the_unit_of_time_only_scales(sample, kind, days):
    times = {name: sample[name] * days for name in ("first_to_last", "tenure")}
    weeks, scaled = (fit_purchases(kind, counted(s)) for s in (sample, sample.assign(**times)))
    for name in kind.parameters():
        factor = days if name in ("alpha", "beta") else 1
        wanted = getattr(weeks.model, name) * factor
        assert getattr(scaled.model, name) == pytest.approx(wanted, rel=1e-5)
        assert scaled.standard_errors[name] / factor == pytest.approx(
            weeks.standard_errors[name], rel=1e-4
        )
    orders = sample["repeats"].sum()
    assert scaled.log_likelihood == pytest.approx(
        weeks.log_likelihood - orders * math.log(days), rel=1e-9
    )


@pytest.mark.parametrize("truth", TRUTHS, ids=str)
def test_the_truth_is_found_again_within_three_standard_errors(truth):
    shop = simulated(truth, customers=40_000, days_ahead=0)
    regular = {"k": truth.k} if hasattr(truth, "k") else {}
    fitted = fit_purchases(type(truth), shop.histories.assign(customers=1), **regular)
    for name, error in fitted.standard_errors.items():
        estimate = getattr(fitted.model, name)
        assert abs(estimate - getattr(truth, name)) < 3 * error
        assert error < 0.2 * estimate


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BgNbd, MbgNbd, ParetoNbd])
def test_days_instead_of_moments_change_little(kind):
    shop = simulated(kind(0.6, 50.0, 0.8, 2.5), customers=20_000, days_ahead=0)
    whole = shop.histories.assign(first_to_last=np.floor(shop.histories["first_to_last"]))
    fits = [fit_purchases(kind, rows.assign(customers=1)) for rows in (shop.histories, whole)]
    p, of_days = (fit.model.p_order(history(shop.histories), 30) for fit in fits)
    assert np.abs(p - of_days).mean() < 0.005


@pytest.mark.parametrize("kind", [BgNbd, MbgNbd, ParetoNbd])
def test_customers_who_ordered_once_do_not_determine_anything(kind):
    once = pd.DataFrame({"repeats": 0, "first_to_last": 0, "tenure": [1, 9], "customers": 5})
    with pytest.raises(FitError, match="second day"):
        fit_purchases(kind, once)


EXTREMES = {
    "nobody drops out": [(9, 90, 100), (5, 95, 100), (12, 99, 100)],
    "everybody drops out": [(1, 1, 1000), (2, 2, 1000), (0, 0, 1000)],
    "thousands of orders": [(4000, 4990, 5000), (3000, 3100, 5000), (0, 0, 4000), (2, 10, 9000)],
    "an order on the last day": [(3, 50, 50), (1, 20, 20), (0, 0, 7)],
    "first seen today": [(0, 0, 0), (0, 0, 0), (1, 3, 9)],
    "one customer": [(1, 3, 9)],
    "all alike": [(4, 40, 50), (4, 40, 50)],
    "all but one bought once": [(0, 0, 100), (1, 50, 100)],
}


@pytest.mark.parametrize("rows", EXTREMES.values(), ids=EXTREMES.keys())
@pytest.mark.parametrize("kind", [BgNbd, MbgNbd, ParetoNbd])
def test_extreme_logs_give_finite_models(kind, rows):
    histories = pd.DataFrame(rows, columns=TRIPLE).assign(customers=1000)
    fitted = fit_purchases(kind, histories)
    assert all(0 < value < np.inf for value in estimates(fitted))
    assert np.isfinite(fitted.log_likelihood)
    p = fitted.model.p_order(history(histories), 30)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.isfinite(fitted.model.expected_orders(history(histories), 30)).all()


def test_a_parameter_without_a_maximum_has_no_standard_error():
    histories = pd.DataFrame([(9, 90, 100), (5, 95, 100)], columns=TRIPLE).assign(customers=1000)
    fitted = fit_purchases(MbgNbd, histories)
    assert fitted.model.a / fitted.model.b < 1e-3
    assert math.isnan(fitted.standard_errors["b"])


def test_a_search_that_stops_at_an_end_with_a_slope_left_goes_on(monkeypatch):
    # Nobody drops out, and the log is one on which the first search stops too early.
    as_ofs = [dt.date(2021, month, 1) for month in (3, 6, 9)]
    days: dict[str, set[dt.date]] = {}
    for entry in random_log(Random(5), 300, as_ofs, (30, 90), 30):
        if entry["kind"] == "purchase" and entry["ordered_on"] < as_ofs[-1]:
            days.setdefault(entry["customer_id"], set()).add(entry["ordered_on"])
    triples = [
        (len(of) - 1, (max(of) - min(of)).days, (as_ofs[-1] - min(of)).days) for of in days.values()
    ]
    histories = counted(pd.DataFrame(triples, columns=TRIPLE))
    fitted = fit_purchases(MbgNbd, histories)
    assert fitted.model.a / fitted.model.b < 1
    monkeypatch.setattr(likelihood, "RESTARTS", 0)
    with pytest.raises(FitError, match="no maximum where the search ended"):
        fit_purchases(MbgNbd, histories)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BgNbd, MbgNbd, ParetoNbd])
def test_fifty_thousand_histories_are_gone_through_few_times(kind, monkeypatch):
    """20 to 40 times, as the last digit falls; with slopes by differences, 65 to 85."""
    shop = simulated(kind(0.6, 50.0, 0.8, 2.5), customers=50_000, days_ahead=0)
    search, passes = scipy.optimize.minimize, []

    def counting(*given, **named):
        found = search(*given, **named)
        passes.append(found.nfev)
        return found

    monkeypatch.setattr("scipy.optimize.minimize", counting)
    fit_purchases(kind, shop.histories.assign(customers=100))
    assert 0 < sum(passes) < 60


@pytest.mark.slow
def test_spend_is_found_again_whatever_its_unit():
    rng = np.random.default_rng(1)
    p, q, gamma, customers = 5.0, 3.0, 20.0, 30_000
    days = rng.integers(1, 8, customers)
    mean = rng.gamma(p * days, 1 / rng.gamma(q, 1 / gamma, customers)) / days
    spends = pd.DataFrame({"order_days": days, "mean_spend": mean, "customers": 1})
    fitted = fit_spend(spends)
    for name, truth in (("p", p), ("q", q), ("gamma", gamma)):
        assert abs(getattr(fitted.model, name) - truth) < 3 * fitted.standard_errors[name]
    pennies = fit_spend(spends.assign(mean_spend=mean * 1e6))
    assert pennies.model.p == pytest.approx(fitted.model.p, rel=1e-5)
    assert pennies.model.gamma == pytest.approx(fitted.model.gamma * 1e6, rel=1e-5)


def test_spend_of_people_who_came_once_does_not_determine_anything():
    once = pd.DataFrame({"order_days": 1, "mean_spend": [3.0, 9.0], "customers": 5})
    with pytest.raises(FitError, match="two days"):
        fit_spend(once)


def test_spend_has_a_mean_even_where_the_tail_is_heavy():
    rng = np.random.default_rng(2)
    mean = rng.gamma(4, 1 / rng.gamma(0.5, 1, 3000))
    spends = pd.DataFrame({"order_days": 2, "mean_spend": mean, "customers": 1})
    assert fit_spend(spends).model.expected_spend(0, 0.0) > 0
