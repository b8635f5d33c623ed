"""A campaign contacts those who bring most, within its budget, beside a control group."""

import hashlib

import duckdb
import pandas as pd
import pytest

from conf.errors import ConfigurationError
from models.campaigns import Campaign, control_sql, in_control, planned

CUSTOMERS = pd.DataFrame(
    {
        "customer_id": ["a", "b", "c", "d", "e"],
        "probability": [0.5, 0.5, 0.1, 0.9, 0.9],
        "margin": [10.0, 10.0, 10.0, 4.0, None],
    }
)
MANY = [f"C{number:05}" for number in range(20_000)]


def test_the_best_come_first_and_nobody_who_brings_less_than_a_contact_costs():
    found = planned(CUSTOMERS, Campaign("spring", 2.0, 100.0, control_share=0.0))
    assert found["customer_id"].tolist() == ["a", "b", "d"]
    assert found["expected_profit"].tolist() == pytest.approx([3.0, 3.0, 1.6])
    assert not found["control"].any()


@pytest.mark.parametrize(("budget", "contacted"), [(0, 0), (1.9, 0), (4, 2), (5.9, 2), (6, 3)])
def test_the_budget_is_kept(budget: float, contacted: int):
    assert len(planned(CUSTOMERS, Campaign("spring", 2.0, budget, 0.0))) == contacted


def test_a_budget_in_cents_is_spent_to_the_last():
    many = pd.DataFrame({"customer_id": MANY[:200], "probability": 0.5, "margin": 10.0})
    assert len(planned(many, Campaign("spring", 0.55, 55.0, 0.0))) == 100


def test_the_control_group_costs_nothing():
    many = pd.DataFrame({"customer_id": MANY, "probability": 0.5, "margin": 10.0})
    found = planned(many, Campaign("spring", 1.0, 900.0, control_share=0.25))
    assert (~found["control"]).sum() == 900
    assert found["control"].mean() == pytest.approx(0.25, abs=0.05)


def test_who_is_in_control_depends_on_the_campaign_and_the_customer_alone():
    first = hashlib.md5(b"spring:C1").hexdigest()[:8]
    assert in_control(["C1"], "spring", (int(first, 16) + 1) / 16**8) == [True]
    assert in_control(["C1"], "spring", int(first, 16) / 16**8) == [False]
    spring, autumn = (in_control(MANY, name, 0.1) for name in ("spring", "autumn"))
    assert sum(spring) == pytest.approx(2000, abs=150)
    assert sum(a and b for a, b in zip(spring, autumn, strict=True)) == pytest.approx(200, abs=60)


def test_sql_draws_the_same_control_group():
    hostile = ["", "it's", "模型 ☕", *MANY[:500]]
    rows = duckdb.from_df(pd.DataFrame({"customer_id": hostile}))
    found = rows.project(control_sql("'spring'", 0.3)).fetchall()
    assert [row[0] for row in found] == in_control(hostile, "spring", 0.3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"contact_cost": 0}, "must cost more than 0"),
        ({"budget": -1}, "may not be negative"),
        ({"control_share": 1}, "less than 1"),
        ({"control_share": -0.1}, "from 0"),
    ],
)
def test_what_no_campaign_can_have_is_refused(wrong: dict[str, float], said: str):
    with pytest.raises(ConfigurationError, match=said):
        Campaign(**{"name": "spring", "contact_cost": 1.0, "budget": 10.0, **wrong})
