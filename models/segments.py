"""Customers in groups that a marketer has a plan for, by recency, frequency and monetary value.

Each of the three is scored from 1 to 5 by the fifth of all customers that it falls into, 5 the best
(Hughes 1994, Strategic database marketing); recency and the mean of the other two name the segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
FIFTHS = (0.2, 0.4, 0.6, 0.8)
# The features that customers are cut by.
RFM = ("recency_days", "orders_lifetime", "revenue_lifetime")


@dataclass(frozen=True)
class Segment:
    """A group, what its customers have in common, and what to do about them."""

    name: str
    means: str
    plan: str


CHAMPIONS = Segment(
    "champions",
    "ordered lately, order often and spend most",
    "Thank them and show them what is new first; a discount here is money given away.",
)
LOYAL = Segment(
    "loyal",
    "order often and have ordered in the last while",
    "Offer a loyalty scheme and what goes with their last orders.",
)
PROMISING = Segment(
    "promising",
    "ordered lately, but little so far",
    "Welcome them: a guide to the range, and a reason for the next order within a month.",
)
NEED_ATTENTION = Segment(
    "need attention",
    "neither lately nor long ago, neither often nor seldom",
    "Remind them of what they looked at or bought; a small offer that ends soon.",
)
AT_RISK = Segment(
    "at risk",
    "used to order often, and have not for long",
    "Win them back in person: ask what went wrong, with an offer worth coming back for.",
)
HIBERNATING = Segment(
    "hibernating",
    "ordered little, long ago",
    "Spend nothing but a seasonal message; suppress them if they do not answer.",
)
SEGMENTS = (CHAMPIONS, LOYAL, PROMISING, NEED_ATTENTION, AT_RISK, HIBERNATING)
# Rows: recency scored 1 to 5. Columns: the mean of frequency and monetary scored 1 to 5, rounded.
_NAMED = (
    (HIBERNATING, HIBERNATING, AT_RISK, AT_RISK, AT_RISK),
    (HIBERNATING, HIBERNATING, AT_RISK, AT_RISK, AT_RISK),
    (NEED_ATTENTION, NEED_ATTENTION, NEED_ATTENTION, LOYAL, LOYAL),
    (PROMISING, PROMISING, LOYAL, LOYAL, CHAMPIONS),
    (PROMISING, PROMISING, LOYAL, CHAMPIONS, CHAMPIONS),
)
_NAMES = np.array([[segment.name for segment in row] for row in _NAMED], dtype=object)


@dataclass(frozen=True)
class Cuts:
    """Where the fifths of all customers end: of days since the last order, of orders, of money."""

    recency_days: Sequence[float]
    orders: Sequence[float]
    revenue: Sequence[float]


def cuts_of(rows: pd.DataFrame) -> Cuts:
    """Where the fifths of these customers end: a row per customer, with the columns RFM."""
    return Cuts(*[rows[name].astype(float).quantile(list(FIFTHS)).tolist() for name in RFM])


def segments(recency_days: Floats, orders: Floats, revenue: Floats, cuts: Cuts) -> list[str | None]:
    """The name of each customer's segment; None where one of the three is missing (NaN)."""
    recency = 5 - np.searchsorted(np.asarray(cuts.recency_days), recency_days, side="left")
    frequency = 1 + np.searchsorted(np.asarray(cuts.orders), orders, side="left")
    monetary = 1 + np.searchsorted(np.asarray(cuts.revenue), revenue, side="left")
    worth = (frequency + monetary + 1) // 2
    known = ~np.isnan(recency_days + orders + revenue)
    named = _NAMES[np.minimum(recency, 5) - 1, np.minimum(worth, 5) - 1]
    named[~known] = None
    found: list[str | None] = named.tolist()
    return found


def segment_sql(cuts: Cuts) -> str:
    """The name of the segment as an SQL expression (of DuckDB, of Spark) over the columns
    recency_days, orders_lifetime and revenue_lifetime; null where one is.
    """
    each = (cuts.recency_days, cuts.orders, cuts.revenue)
    return segment_between(*([repr(float(end)) for end in ends] for ends in each))


def segment_between(
    recency_days: Sequence[str], orders: Sequence[str], revenue: Sequence[str]
) -> str:
    """As `segment_sql`, with ends of the fifths that are SQL themselves, such as columns."""

    def passed(column: str, ends: Sequence[str]) -> str:
        return "(" + " + ".join(f"CAST({column} > {end} AS INT)" for end in ends) + ")"

    recency = f"(5 - {passed('recency_days', recency_days)})"
    both = f"{passed('orders_lifetime', orders)} + {passed('revenue_lifetime', revenue)}"
    worth = f"CAST(floor(({both} + 3) / 2) AS INT)"
    names = "|".join(segment.name for row in _NAMED for segment in row)
    return f"split_part('{names}', '|', ({recency} - 1) * 5 + {worth})"
