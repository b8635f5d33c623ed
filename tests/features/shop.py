"""Customers who order as a buy-till-you-die model says, simulated from its story."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.probabilistic import BetaGeometric, History, ParetoNbd, PurchaseModel

TRIPLE = ["repeats", "first_to_last", "tenure"]


def history(rows: pd.DataFrame) -> History:
    """The histories of these rows, as arrays."""
    return History(*[rows[name].to_numpy(float) for name in TRIPLE])


@dataclass(frozen=True)
class Simulated:
    """What is known of each customer at the end of their tenure, and what came afterwards."""

    histories: pd.DataFrame
    alive: npt.NDArray[np.bool_]
    orders_ahead: npt.NDArray[np.int64]


def simulated(
    model: PurchaseModel, customers: int, days_ahead: float, longest: float = 730, seed: int = 1
) -> Simulated:
    """Customers whose first order lies up to `longest` days back."""
    rng = np.random.default_rng(seed)
    tenure = np.ceil(rng.uniform(0, longest, customers))
    rate = rng.gamma(model.r, 1 / model.alpha, customers)
    regularity = getattr(model, "k", 1)
    if isinstance(model, ParetoNbd):
        end = rng.exponential(1 / rng.gamma(model.s, 1 / model.beta, customers))
        chance = np.zeros(customers)
    elif isinstance(model, BetaGeometric):
        end = np.full(customers, np.inf)
        chance = rng.beta(model.a, model.b, customers)
        if model.after_first:
            end[rng.random(customers) < chance] = 0.0
    repeats, ahead = np.zeros(customers, int), np.zeros(customers, int)
    last, now = np.zeros(customers), np.zeros(customers)
    active = np.flatnonzero(end > 0)
    while len(active):
        now[active] += rng.gamma(regularity, 1 / rate[active])
        within = (now < end) & (now < tenure + days_ahead)
        active = active[within[active]]
        known = active[now[active] < tenure[active]]
        repeats[known] += 1
        last[known] = now[known]
        ahead[np.setdiff1d(active, known)] += 1
        dropped = active[rng.random(len(active)) < chance[active]]
        end[dropped] = now[dropped]
        active = np.setdiff1d(active, dropped)
    triples = {"repeats": repeats, "first_to_last": last, "tenure": tenure}
    return Simulated(pd.DataFrame(triples), end >= tenure, ahead)
