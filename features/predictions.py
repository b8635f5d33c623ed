"""What buy-till-you-die models, fitted for each as-of date, say of its snapshots.

Spark sends this module and `features.probabilistic` to the workers as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from features.probabilistic import GammaGamma, History, MbgNbd, Model

Floats = npt.NDArray[np.float64]
Kind = TypeVar("Kind", bound=Model)
# The aggregates that predictions are made of.
READ = frozenset(("active_days_lifetime", "revenue_cents_lifetime", "first_day", "last_day"))
# Of the value of a year: months of equal length, and the discount of each.
MONTHS, MONTH_DAYS, MONTHLY_DISCOUNT = 12, 365 / 12, 0.01


@dataclass(frozen=True)
class Predictions:
    """The models, whose parameters are arrays with one entry per as-of date, in their order; NaN
    where none could be fitted. `regular` is the one whose customers order at regular gaps.
    """

    horizon_days: int
    purchases: MbgNbd
    regular: MbgNbd
    spend: GammaGamma

    def __call__(self, known: Mapping[str, Any], when: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """The predictions of snapshots, of which `known` are the aggregates as floats and `when`
        the place of their date; NaN where there is none.
        """
        order_days = known["active_days_lifetime"]
        first, last = known["first_day"], known["last_day"]
        history = History(order_days - 1, last - first, known["as_of"] - first)
        purchases = _of_rows(self.purchases, when)
        mean_spend = known["revenue_cents_lifetime"] / 100 / order_days
        spend = _of_rows(self.spend, when).expected_spend(order_days, mean_spend)
        spend = np.where(mean_spend > 0, spend, np.nan)
        year = purchases.discounted_orders(
            history, periods=MONTHS, period_days=MONTH_DAYS, discount=MONTHLY_DISCOUNT
        )
        return {
            "alive_probability": purchases.p_alive(history),
            "order_probability": purchases.p_order(history, self.horizon_days),
            "order_probability_regular": _of_rows(self.regular, when).p_order(
                history, self.horizon_days
            ),
            "expected_orders": purchases.expected_orders(history, self.horizon_days),
            "expected_order_value": spend,
            "expected_value_12m": year * spend,
        }


def _of_rows(model: Kind, when: npt.NDArray[np.int64]) -> Kind:
    return replace(model, **{name: getattr(model, name)[when] for name in model.parameters()})
