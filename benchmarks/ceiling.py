"""How well a generated log can be predicted at all, by whoever sees the purchases alone."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import xlogy
from scipy.stats import gamma

from lake.synthetic import SyntheticShop

Floats = npt.NDArray[np.float64]
# The hidden rates are averaged over so many values of each, evenly spaced on a logarithmic scale.
NODES = 96
# Of their distributions as much is left out at either end.
TAIL = 1e-7


def probability_by_history(
    shop: SyntheticShop, purchases: pd.DataFrame, as_of: date, horizon_days: int = 30
) -> "pd.Series[float]":
    """The probability of an order in the `horizon_days` days from `as_of` of each customer, by id,
    given their purchases before it and how the shop was made, but not their hidden rates.

    `purchases` has a row per order before `as_of`: `customer_id` and `ordered_on`. It is the mean
    of the probability of `lake.synthetic` over what the history leaves open of the rates, by Bayes'
    theorem; so no model of purchases ranks better, except by chance.
    """
    clock = np.array(shop.clock((as_of - shop.start).days + horizon_days))
    today = (as_of - shop.start).days
    day = (pd.to_datetime(purchases["ordered_on"]) - pd.Timestamp(shop.start)).dt.days
    known = day.groupby(purchases["customer_id"]).agg(["size", "min", "max"])
    repeats, first, last = (known[name].to_numpy() for name in ("size", "min", "max"))
    repeats, after = repeats - 1, last + 1
    exposed, alive_days = clock[after] - clock[first + 1], last - first
    # Likelihoods are told relative to that of the likeliest rate, so that none is 0.
    likeliest = xlogy(repeats, repeats / np.maximum(exposed, 1e-9)) - repeats
    within, known_silence = np.zeros(len(known)), np.zeros(len(known))
    for (rate, weight), (dropout, weight_of_dropout) in _pairs(shop):
        ahead = _first_orders_from(clock, rate, dropout)
        from_last = np.exp(dropout * last + rate * clock[after])
        log_likelihood = xlogy(repeats, rate) - rate * exposed - dropout * alive_days - likeliest
        likelihood = weight * weight_of_dropout * np.exp(log_likelihood)
        silent_so_far = 1 - from_last * (ahead[after] - ahead[today])
        known_silence += likelihood * silent_so_far
        within += likelihood * from_last * (ahead[today] - ahead[today + horizon_days])
    return pd.Series(within / known_silence, known.index)


def _pairs(shop: SyntheticShop) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    purchase = _nodes(shop.purchase_shape, shop.purchase_scale)
    dropout = _nodes(shop.dropout_shape, shop.dropout_scale)
    return ((one, other) for one in purchase for other in dropout)


def _nodes(shape: float, scale: float) -> list[tuple[float, float]]:
    """Values of a gamma number, and what each stands for."""
    rates = gamma(shape, scale=scale)
    values = np.geomspace(rates.ppf(TAIL), rates.isf(TAIL), NODES)
    return list(zip(values.tolist(), (rates.pdf(values) * values).tolist(), strict=True))


def _first_orders_from(clock: Floats, rate: float, dropout: float) -> Floats:
    """By day, the sum from it on of f of `lake.synthetic`, told from day 0 and an open clock."""
    days = np.arange(len(clock) - 1)
    orders = -np.expm1(-rate * np.diff(clock))
    each = np.exp(-dropout * days - rate * clock[:-1]) * orders
    return np.append(each[::-1].cumsum()[::-1], 0.0)
