"""Formulas equal an independent package, direct sums and simulated shops; columns equal arrays."""

from itertools import product

import lifetimes
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy.special import roots_jacobi
from scipy.stats import nbinom

from features.probabilistic import (
    BetaGeometric,
    BgNbd,
    GammaGamma,
    History,
    MbgNbd,
    ParetoNbd,
    PurchaseModel,
)
from tests.features.shop import TRIPLE, history, simulated

# CDNOW's estimates, in days.
BG = BgNbd(0.243, 30.9, 0.793, 2.426)
MBG = MbgNbd(0.525, 43.3, 0.891, 1.614)
PARETO = ParetoNbd(0.553, 74.1, 0.606, 81.7)
REGULAR = [BgNbd(0.8, 30.0, 0.3, 1.2, k=2), MbgNbd(0.6, 15.0, 0.8, 2.5, k=3)]
MODELS = [BG, MBG, PARETO, *REGULAR]

GRID = pd.DataFrame(
    [
        (repeats, min(max(share * tenure, repeats), tenure) if repeats else 0, tenure)
        for tenure, repeats, share in product(
            (0, 1, 30, 400, 5000), (0, 1, 2, 10, 300, 3000), (0, 0.5, 0.9, 1)
        )
        if repeats <= tenure
    ],
    columns=TRIPLE,
).drop_duplicates(ignore_index=True)


def lifetimes_of(model: PurchaseModel) -> lifetimes.BaseFitter:
    fitters = {
        BgNbd: lifetimes.BetaGeoFitter,
        MbgNbd: lifetimes.ModifiedBetaGeoFitter,
        ParetoNbd: lifetimes.ParetoNBDFitter,
    }
    fitter = fitters[type(model)]()
    fitter.params_ = pd.Series({name: getattr(model, name) for name in model.parameters()})
    fitter.predict = fitter.conditional_expected_number_of_purchases_up_to_time
    return fitter


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_customer_alone_is_told_what_one_of_many_is(model):
    triple = [GRID[name].to_numpy(float) for name in TRIPLE]
    many = model.p_order(History(*[np.tile(column, 50) for column in triple]), 30)[: len(GRID)]
    alone = [
        model.p_order(History(*[column[k : k + 1] for column in triple]), 30)[0]
        for k in range(len(GRID))
    ]
    np.testing.assert_array_equal(np.array(alone), many)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("model", [BG, MBG, PARETO], ids=str)
def test_p_alive_and_expected_orders_equal_those_of_lifetimes(model):
    theirs, triple = lifetimes_of(model), [GRID[name].to_numpy(float) for name in TRIPLE]
    pairs = [(model.p_alive(History(*triple)), theirs.conditional_probability_alive(*triple))]
    for days in (1, 30, 365):
        pairs.append((model.expected_orders(History(*triple), days), theirs.predict(days, *triple)))
    for ours, of_lifetimes in pairs:
        wanted = np.asarray(of_lifetimes)
        # Some of theirs overflow with hundreds of orders.
        known = np.isfinite(wanted)
        assert known.mean() > 0.9
        assert np.isfinite(ours).all()
        assert ours[known] == pytest.approx(wanted[known], rel=1e-6, abs=1e-12)


def test_p_order_equals_that_of_lifetimes():
    theirs = lifetimes_of(PARETO)
    rows = GRID[GRID["repeats"] <= 30]
    silent = theirs.conditional_probability_of_n_purchases_up_to_time(
        0, 30, *[rows[name].to_numpy(float) for name in TRIPLE]
    )
    assert PARETO.p_order(history(rows), 30) == pytest.approx(1 - np.asarray(silent), abs=1e-9)


def likelihood(model: BetaGeometric, past: History, silent_days: float) -> float:
    """Up to a factor, of the history and of silence until some days after `as_of`."""
    chances = past.repeats + model.after_first
    roots, weights = roots_jacobi(100, model.b - 1, model.a - 1)
    p = (1 + roots) / 2
    shape = model.r + model.k * past.repeats
    steps = np.arange(model.k)
    at_last = model.alpha + past.first_to_last
    until = past.tenure + silent_days - past.first_to_last
    # Of N steps since the last order, negative binomial, fewer than k.
    silent = nbinom.pmf(steps, shape, at_last / (at_last + until)).sum()
    stayed = weights @ (1 - p) ** chances
    dropped = weights @ (p * (1 - p) ** (chances - 1)) if chances else 0.0
    return stayed * silent + dropped


@pytest.mark.parametrize("model", [BG, MBG, *REGULAR], ids=str)
def test_no_order_is_as_probable_as_the_likelihoods_say(model):
    for row in GRID[(GRID["repeats"] <= 30) & (GRID["tenure"] <= 400)].itertuples(index=False):
        past = History(*row)
        silence = likelihood(model, past, 30) / likelihood(model, past, 0)
        assert model.p_order(past, 30) == pytest.approx(1 - silence, abs=1e-9)


def summed_orders(model: BetaGeometric, past: History, days: float) -> float:
    """The n-th order comes if none before it was the last and the n k-th step lies in the days."""
    known, shape = model.alpha + past.tenure, model.r + model.k * past.repeats
    share = (past.tenure - past.first_to_last) / known
    done = np.arange(model.k)
    weights = nbinom.pmf(done, shape, 1 - share)
    b = model.b + past.repeats + model.after_first
    roots, parts = roots_jacobi(100, b - 1, model.a - 1)
    stays = (1 - roots) / 2
    n = np.arange(1, 3000)
    come = sum(
        w * nbinom.sf(n * model.k - steps - 1, shape + steps, known / (known + days))
        for steps, w in zip(done, weights / weights.sum(), strict=True)
    )
    stayed = (parts[:, None] * stays[:, None] ** (n - 1)).sum(axis=0) / parts.sum()
    return float(come @ stayed) * model.p_alive(past)


@pytest.mark.parametrize("model", [BG, MBG, *REGULAR, MbgNbd(2.0, 40.0, 1.0, 0.3, k=5)], ids=str)
@pytest.mark.parametrize("days", [30, 365])
def test_expected_orders_equal_their_sum_one_by_one(model, days):
    for row in GRID[(GRID["repeats"] <= 30) & (GRID["tenure"] <= 400)].itertuples(index=False):
        past = History(*row)
        wanted = summed_orders(model, past, days)
        assert model.expected_orders(past, days) == pytest.approx(wanted, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_what_is_predicted_of_a_simulated_shop_comes(model):
    customers, days = 50_000, 90
    shop = simulated(model, customers, days)
    past = history(shop.histories)
    outcomes = {
        "alive": (model.p_alive(past), shop.alive),
        "order": (model.p_order(past, days), shop.orders_ahead > 0),
        "orders": (model.expected_orders(past, days), shop.orders_ahead),
    }
    for predicted, came in outcomes.values():
        by_tenth = np.array_split(np.argsort(predicted, kind="stable"), 10)
        for tenth in [np.arange(customers), *by_tenth]:
            error = (came[tenth] - predicted[tenth]).std() / np.sqrt(len(tenth))
            assert abs(came[tenth].mean() - predicted[tenth].mean()) < 4 * error + 1e-3


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_probabilities_are_probabilities_and_grow_with_the_horizon(model):
    past = history(GRID)
    alive = model.p_alive(past)
    by_days = [model.p_order(past, days) for days in (1, 30, 365, 10_000)]
    for p in (alive, *by_days):
        assert ((p >= 0) & (p <= 1 + 1e-12)).all()
    for fewer, more in zip([np.zeros(len(GRID)), *by_days], [*by_days, alive], strict=True):
        assert (fewer <= more + 1e-9).all()


def test_who_came_today_is_alive_where_nobody_drops_out_before():
    assert BG.p_alive(History(0, 0, 500)) == 1
    assert MBG.p_alive(History(0, 0, 0)) == pytest.approx(MBG.b / (MBG.a + MBG.b))
    assert PARETO.p_alive(History(3, 50, 50)) == 1


@pytest.mark.parametrize("kind", [BgNbd, MbgNbd])
def test_nothing_is_singular_where_a_is_1_or_dropout_all_but_impossible(kind):
    past = History(3.0, 50.0, 60.0)
    at_1, near_1 = (kind(0.6, 30.0, a, 2.0).expected_orders(past, 90) for a in (1.0, 1.000001))
    assert at_1 == pytest.approx(near_1, rel=1e-5)
    never = kind(0.6, 30.0, 1e-4, 1e4)
    assert never.expected_orders(past, 90) == pytest.approx(90 * (0.6 + 3) / (30 + 60), rel=1e-6)


def test_pareto_is_not_singular_where_s_is_1():
    past = History(3.0, 50.0, 60.0)
    at_1, near_1 = (
        ParetoNbd(0.6, 30.0, s, 80.0).expected_orders(past, 90) for s in (1.0, 1.000001)
    )
    assert at_1 == pytest.approx(near_1, rel=1e-5)


SPEND = GammaGamma(6.25, 3.74, 15.44)


@pytest.mark.parametrize("model", [BG, MBG, PARETO], ids=str)
def test_lifetime_value_equals_that_of_lifetimes(model):
    rows = GRID[(GRID["repeats"] > 0) & (GRID["repeats"] <= 30)]
    spend = lifetimes.GammaGammaFitter()
    spend.params_ = pd.Series({"p": SPEND.p, "q": SPEND.q, "v": SPEND.gamma})
    mean = pd.Series(np.linspace(5, 300, len(rows)), index=rows.index)
    wanted = spend.customer_lifetime_value(
        lifetimes_of(model),
        *[rows[name] for name in TRIPLE],
        mean,
        time=12,
        discount_rate=0.01,
        freq="D",
    )
    orders = model.discounted_orders(history(rows), periods=12, period_days=30, discount=0.01)
    of_a_day = SPEND.expected_spend(rows["repeats"], mean)
    assert of_a_day.tolist() == pytest.approx(
        spend.conditional_expected_average_profit(rows["repeats"], mean).tolist()
    )
    assert (orders * of_a_day).tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_without_orders_spend_is_the_mean_of_all():
    assert SPEND.expected_spend(0, 0.0) == pytest.approx(6.25 * 15.44 / 2.74)


def test_discounted_orders_without_a_discount_are_the_expected_ones():
    past = history(GRID)
    for model in MODELS:
        whole = model.discounted_orders(past, periods=3, period_days=20, discount=0.0)
        assert whole == pytest.approx(model.expected_orders(past, 60), rel=1e-9, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS[:4], ids=str)
@pytest.mark.parametrize("by_row", [True, False], ids=["columns", "numbers"])
def test_columns_equal_arrays(spark: SparkSession, model, by_row):
    rng = np.random.default_rng(5)
    tenure = rng.integers(0, 2000, 2000)
    repeats = np.minimum(tenure, rng.geometric(0.1, 2000) - 1)
    last = np.where(repeats > 0, np.maximum(repeats, rng.integers(0, tenure + 1)), 0)
    rows = pd.concat(
        [GRID, pd.DataFrame(dict(zip(TRIPLE, (repeats, last, tenure), strict=True)))],
        ignore_index=True,
    )
    parameters = {name: getattr(model, name) for name in model.parameters()}
    fixed = {"k": model.k} if hasattr(model, "k") else {}
    in_spark = type(model).of_columns("its_", **fixed) if by_row else model

    def predictions(model: PurchaseModel, past: History) -> dict:
        return {
            "alive": model.p_alive(past),
            "order": model.p_order(past, 30),
            "orders": model.expected_orders(past, 30),
            "value": model.discounted_orders(past, periods=3, period_days=30, discount=0.01),
        }

    frame = spark.createDataFrame(rows.assign(place=rows.index))
    for name, value in parameters.items():
        frame = frame.withColumn(f"its_{name}", F.lit(value))
    columns = predictions(in_spark, History(*map(F.col, TRIPLE)))
    found = frame.select("place", *[c.alias(n) for n, c in columns.items()]).toPandas()
    found = found.set_index("place").sort_index()
    for name, wanted in predictions(model, history(rows)).items():
        assert found[name].to_numpy() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_spend_columns_equal_arrays(spark: SparkSession):
    frame = spark.createDataFrame(
        [(3, 20.0, 6.25, 3.74, 15.44)], "n int, m double, p double, q double, gamma double"
    )
    found = frame.select(GammaGamma.of_columns().expected_spend(F.col("n"), F.col("m"))).first()[0]
    assert found == pytest.approx(SPEND.expected_spend(3, 20.0), rel=1e-12)
