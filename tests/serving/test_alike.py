"""What a caller does not tell is what customers alike have, and says so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serving.alike import AXES, NEIGHBOURS, Alike
from serving.predictor import load_predictor
from serving.tables import Tables
from tests.serving.test_predictor import LINES


@pytest.fixture(scope="module")
def customers():
    """Who orders more has larger orders and a favourite; who has few orders has no gap."""
    orders = np.arange(1, 201)
    return pd.DataFrame(
        {
            "orders_lifetime": orders,
            "recency_days": np.tile([3, 30], 100),
            "revenue_lifetime": 7.0,
            "value": 10.0 * orders,
            "gap": np.where(orders < 100, np.nan, 5.0),
            "taste": np.where(orders < 100, None, "tea"),
        }
    )


@pytest.fixture(scope="module")
def alike(customers):
    return Alike(customers, ["value", "gap"], ["taste"])


def _of(alike, **told):
    rows = len(next(iter(told.values()), [None]))
    columns = {name: np.array(values, float) for name, values in told.items()}
    return alike.of(columns, np.arange(rows))


def test_a_customer_is_like_those_with_as_many_orders(alike):
    assert alike.axes == ("recency_days", "orders_lifetime")  # all spend the same
    numbers, texts = _of(alike, orders_lifetime=[20, 180])
    assert numbers[:, 0] == pytest.approx([200, 1800], rel=0.1)
    assert np.isnan(numbers[0, 1])
    assert numbers[1, 1] == 5
    assert texts[:, 0].tolist() == ["", "tea"]


def test_of_the_customers_around_the_middle_one_counts(customers):
    odd = customers.assign(value=customers["value"].where(customers["orders_lifetime"] != 50, 1e6))
    numbers, _ = _of(Alike(odd, ["value"], []), orders_lifetime=[50])
    assert numbers[0, 0] == pytest.approx(500, rel=0.1)
    assert NEIGHBOURS > 2


def test_each_row_is_compared_by_what_it_tells(alike):
    numbers, _ = _of(
        alike, orders_lifetime=[20, np.nan, np.nan, 20], recency_days=[np.nan, np.nan, 3, 3]
    )
    assert numbers[[0, 3], 0] == pytest.approx([200, 200], rel=0.1)
    assert numbers[1, 0] == pytest.approx(1000, rel=0.02)  # the middle of all
    together, _ = _of(alike, orders_lifetime=[20])
    assert numbers[0, 0] == together[0, 0]


@pytest.fixture(scope="module")
def predictor(undisturbed: Path):
    return load_predictor(Tables(str(undisturbed)))


@pytest.fixture(scope="module")
def today(undisturbed: Path, predictor):
    tables, wanted = Tables(str(undisturbed)), {"day": predictor.ranks.as_of}
    features = tables.query("SELECT * FROM features WHERE as_of = $day", wanted)
    scores = tables.query("SELECT * FROM scores WHERE as_of = $day", wanted)
    return features, scores.set_index("customer_id")["probability"]


def test_seven_features_say_about_what_all_of_them_say(predictor, today):
    features, scores = today
    told = features[list(AXES)].astype(object)
    rows = told.where(told.notna(), None).to_dict("records")
    found = np.array([one.probability for one in predictor.predict(rows, reasons=False)])
    known = scores[features["customer_id"]].to_numpy()
    columns = {name: features[name].to_numpy(float) for name in AXES}
    with_nothing_else = predictor.probabilities(columns, len(features))
    assert found.mean() == pytest.approx(known.mean(), abs=0.02)
    assert np.abs(found - known).mean() < np.abs(with_nothing_else - known).mean() / 2
    assert np.corrcoef(found, known)[0, 1] > 0.95


def test_a_whole_row_stays_as_it_is_even_where_something_is_null(predictor, today):
    features, scores = today
    rows = [
        {name: value for name, value in row.items() if pd.notna(value) and name != "as_of"}
        for row in features.to_dict("records")
    ]
    assert any(len(row) < len(features.columns) - 1 for row in rows)
    found = [one.probability for one in predictor.predict(rows, reasons=False)]
    assert found == pytest.approx(scores[features["customer_id"]].to_numpy(), abs=1e-12)


def test_a_reason_that_was_not_told_says_so(predictor):
    row = {"recency_days": 5, "orders": 9, "monetary": 500}
    reasons = predictor.predict([row])[0].reasons
    told = {predictor.names.feature(name) for name in row}
    assumed = [why for why in reasons if why.value is None]
    assert assumed
    assert all("not told, in customers alike " in why.sentence for why in assumed)
    assert all(why.feature not in told for why in assumed)


def test_what_has_no_influence_is_named(predictor):
    read, axes = set(predictor.features), set(predictor._alike.axes)
    row = dict.fromkeys([*AXES, *predictor.types], 1)
    row |= dict.fromkeys(predictor.names.texts, "tea")
    unused = predictor.unused({"customer_id": "C", **row})
    assert not (read | axes) & set(unused)
    other = {name: 2 for name in unused if name not in predictor.names.texts}
    before, after = (predictor.predict([row | more])[0].probability for more in ({}, other))
    assert before == after


def test_orders_without_quantities_are_not_orders_of_nothing(predictor, undisturbed):
    known = Tables(str(undisturbed)).query(f"{LINES} WHERE kind = 'purchase'")
    known["ordered_at"] = [moment.isoformat() for moment in known["ordered_at"]]
    lines = known.astype(object).where(known.notna(), None).to_dict("records")
    without = [{k: v for k, v in line.items() if k != "quantity"} for line in lines]
    found = predictor.spot.features(without, None)
    units = [name for name in found if name.startswith("units_") or name == "last_order_units"]
    assert found[units].isna().all(axis=None)
    assert found["orders_lifetime"].gt(0).all()
    whole, less = (predictor.predict_orders(one, reasons=False) for one in (lines, without))
    difference = [abs(less[who].probability - whole[who].probability) for who in whole]
    assert np.mean(difference) < 0.02
