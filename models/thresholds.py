"""From which probability on a repurchase is predicted: a policy, and where it lies."""

import numpy as np
import pandas as pd

from conf.settings import ThresholdPolicy

# Where nothing can be learned from the snapshots.
EVEN = 0.5
# Counts that differ by less are equal.
NOISE = 1e-9
# Histograms have probabilities rounded to millionths, before and after they are calibrated; so far
# around one of them may lie what counts as it.
AROUND = 2e-5


def threshold(histogram: pd.DataFrame, policy: ThresholdPolicy | None, customers: float) -> float:
    """The lowest probability that the policy predicts a repurchase for; without one, that of the
    best F1. It lies halfway to the next lower one of the histogram, which has rounded ones.

    `histogram` has one row per distinct calibrated probability, highest first: `probability`, `n`
    and `positives` among them. `customers` are those of one date, of whom a policy may take the
    top so many.
    """
    policy = policy or ThresholdPolicy(f_beta=1)
    if policy.probability is not None:
        return policy.probability
    if policy.profit is not None:
        # A contact pays where probability * margin is above its cost, whoever else is contacted.
        return min(1.0, policy.profit.contact_cost / policy.profit.margin)
    if not histogram["positives"].sum():
        return EVEN
    known, place = histogram["probability"].to_numpy(), _place(histogram, policy, customers)
    least, is_last = known[place], place == len(known) - 1
    lower = least - 2 * AROUND if is_last else known[place + 1]
    return float(max(0.0, (least + lower) / 2))


def _place(histogram: pd.DataFrame, policy: ThresholdPolicy, customers: float) -> int:
    """The row of the histogram up to which a repurchase is predicted."""
    found = histogram["positives"].to_numpy(float).cumsum()
    taken = histogram["n"].to_numpy(float).cumsum()
    precision, actual = found / taken, found[-1]
    if policy.recall is not None:
        return int(np.flatnonzero(found >= policy.recall * actual - NOISE)[0])
    if policy.precision is not None:
        precise = np.flatnonzero(precision >= policy.precision)
        # Where no group is as precise, the most precise one.
        return int(precise[-1] if len(precise) else precision.argmax())
    share = policy.top_share if policy.top is None else min(1.0, policy.top / max(customers, 1.0))
    if share is not None:
        return int(np.flatnonzero(taken >= share * taken[-1] - NOISE)[0])
    weight = (policy.f_beta or 1) ** 2
    return int(((1 + weight) * found / (taken + weight * actual)).argmax())
