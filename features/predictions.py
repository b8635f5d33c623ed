"""What buy-till-you-die models, fitted for each as-of date, say of its snapshots.

Spark sends this module and `features.probabilistic` to the workers as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.probabilistic import FEW, GammaGamma, History, MbgNbd, Model, discounted_ends

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Kind = TypeVar("Kind", bound=Model)
# The aggregates that predictions are made of.
READ = frozenset(("active_days_lifetime", "revenue_cents_lifetime", "first_day", "last_day"))
# Of the value of a year: months of equal length, and the discount of each.
YEAR: dict[str, Any] = {"periods": 12, "period_days": 365 / 12, "discount": 0.01}
_ENDS_OF_YEAR = discounted_ends(**YEAR)


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
        mean_spend = known["revenue_cents_lifetime"] / 100 / order_days
        spend = _of_rows(self.spend, when).expected_spend(order_days, mean_spend)
        spend = np.where(mean_spend > 0, spend, np.nan)
        history = History(order_days - 1, last - first, known["as_of"] - first)
        found = self._of_histories(history, when)
        year = found.pop("discounted_orders")
        return {**found, "expected_order_value": spend, "expected_value_12m": year * spend}

    def _of_histories(self, history: History, when: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """What does not depend on money. Many customers share a history, so that of many each is
        worked out once.
        """
        if len(when) <= FEW:
            return self._of_each(history, when)
        one, of_row = _distinct([*vars(history).values(), when])
        found = self._of_each(History(*[v[one] for v in vars(history).values()]), when[one])
        return {name: values[of_row] for name, values in found.items()}

    def _of_each(self, history: History, when: npt.NDArray[np.int64]) -> dict[str, Floats]:
        purchases, regular = (_of_rows(m, when) for m in (self.purchases, self.regular))
        alive = purchases.p_alive(history)
        within = [(self.horizon_days, 1.0)]
        return {
            "alive_probability": alive,
            "order_probability": alive * purchases.p_order_if_alive(history, self.horizon_days),
            "order_probability_regular": regular.p_order(history, self.horizon_days),
            "expected_orders": alive * purchases.orders_if_alive(history, within),
            "discounted_orders": alive * purchases.orders_if_alive(history, _ENDS_OF_YEAR),
        }


def _distinct(columns: Sequence[Any]) -> tuple[Places, Places]:
    """The place of one row of each kind, and by row which kind it is."""
    of_row = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        known = pa.array(column).dictionary_encode()
        both = of_row * max(len(known.dictionary), 1) + known.indices.to_numpy()
        of_row = pa.array(both).dictionary_encode().indices.to_numpy().astype(np.int64)
    one = np.empty(of_row.max(initial=-1) + 1, np.int64)
    one[of_row] = np.arange(len(of_row))
    return one, of_row


def _of_rows(model: Kind, when: npt.NDArray[np.int64]) -> Kind:
    return replace(model, **{name: getattr(model, name)[when] for name in model.parameters()})
