"""Whom a campaign contacts: those who bring most beyond their cost, but for a control group.

Who is in the control group depends on the campaign's name and the customer alone: the same campaign
draws the same customers wherever and whenever it is planned, and another campaign draws others.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from conf.errors import ConfigurationError

# Of the hash that draws the control group, as many hexadecimal digits decide.
DIGITS = 8
CONTROL = "control"


@dataclass(frozen=True)
class Campaign:
    """What a contact costs, what all of them may cost, and which share is left out as control."""

    name: str
    contact_cost: float
    budget: float
    control_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what no campaign can have."""
        if self.contact_cost <= 0 or self.budget < 0:
            raise ConfigurationError(
                f"campaign {self.name}: a contact must cost more than 0 and the budget may not be "
                f"negative; they are {self.contact_cost:g} and {self.budget:g}"
            )
        _bound(self.control_share)


def planned(customers: pd.DataFrame, campaign: Campaign) -> pd.DataFrame:
    """The customers whom the campaign is for, those with the highest expected profit first, until
    the contacts have used the budget up or no further one pays.

    `customers` has one row per customer_id with `probability` and `margin`, what an order of the
    customer brings; `expected_profit` and `control` join its columns. The control group is spared
    a contact and costs nothing. Without a margin a customer is not in it.
    """
    profit = customers["probability"] * customers["margin"] - campaign.contact_cost
    worth = customers.assign(expected_profit=profit)[profit > 0]
    ranked = worth.sort_values(
        ["expected_profit", "customer_id"], ascending=[False, True], ignore_index=True
    )
    ranked[CONTROL] = in_control(ranked["customer_id"], campaign.name, campaign.control_share)
    spent = (~ranked[CONTROL]).cumsum() * campaign.contact_cost
    # A sum of cents that is the budget may come out a little above it.
    return ranked[spent <= campaign.budget * (1 + 1e-9)]


def in_control(customers: Iterable[str], campaign: str, share: float) -> list[bool]:
    """Of each customer, whether the campaign's control group has it: a share, drawn by a hash."""
    bound = _bound(share)
    return [_hash(f"{campaign}:{customer}") < bound for customer in customers]


def control_sql(campaign: str, share: float) -> str:
    """As `in_control`, an SQL expression (of DuckDB, of Spark) over the column customer_id;
    `campaign` is SQL too.
    """
    return f"substr(md5(concat({campaign}, ':', customer_id)), 1, {DIGITS}) < '{_bound(share)}'"


def _bound(share: float) -> str:
    """What the hashes of the control group are below."""
    if not 0 <= share < 1:
        raise ConfigurationError(
            f"control_share: {share:g} is not from 0 to less than 1; give the share of the "
            "customers that is not contacted, such as 0.1"
        )
    return f"{int(share * 16**DIGITS):0{DIGITS}x}"


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:DIGITS]
