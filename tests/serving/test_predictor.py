"""Without Spark the champion says what Spark has written, of features and of raw orders."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf.errors import InputError
from conf.settings import Horizon
from serving.predictor import load_predictor
from serving.requests import MOST_TOLD, InvalidRows
from serving.spot import _hundredths, _thousandths
from serving.tables import Tables

LINES = (
    "SELECT customer_id, ordered_at, order_id, kind, amount, quantity, discount, category, "
    "payment_method, product_id FROM transactions"
)


@pytest.fixture(scope="module")
def tables(undisturbed: Path) -> Tables:
    return Tables(str(undisturbed))


@pytest.fixture(scope="module")
def predictor(tables):
    return load_predictor(tables)


@pytest.fixture(scope="module")
def today(tables, predictor):
    """The features of the last day, and the scores of that day, by customer."""
    wanted = {"day": predictor.ranks.as_of}
    features = tables.query("SELECT * FROM features WHERE as_of = $day", wanted)
    scores = tables.query("SELECT * FROM scores WHERE as_of = $day", wanted)
    return features.set_index("customer_id"), scores.set_index("customer_id")


def _orders(tables: Tables) -> list[dict[str, object]]:
    """All lines as a caller sends them: a moment with its time zone, money and quantities as they
    are written.
    """
    lines = tables.query(LINES).astype(object)
    lines["ordered_at"] = [moment.isoformat() for moment in lines["ordered_at"]]
    return lines.where(lines.notna(), None).to_dict("records")


def _rows(features: pd.DataFrame) -> list[dict[str, object]]:
    known = features.drop(columns="as_of").astype(object)
    return known.where(known.notna(), None).to_dict("records")


def test_it_says_what_is_in_the_table_of_scores(predictor, today):
    features, scores = today
    found = predictor.predict(_rows(features))
    of_spark = scores.loc[features.index]
    assert len(found) > 300
    assert [one.probability for one in found] == pytest.approx(
        of_spark["probability"].to_numpy(), abs=1e-12
    )
    assert [one.decile for one in found] == of_spark["decile"].tolist()
    assert [one.band for one in found] == of_spark["band"].tolist()
    for one, told in zip(found, of_spark["reasons"], strict=True):
        assert [why.sentence for why in one.reasons] == [why["sentence"] for why in told]
        moved = [why["contribution"] for why in told]
        assert [why.contribution for why in one.reasons] == pytest.approx(moved, abs=1e-12)
    assert all(one.prediction == (one.probability >= predictor.threshold) for one in found)


def test_raw_orders_become_the_features_of_spark(tables, predictor, today):
    features, scores = today
    orders = _orders(tables)
    found = predictor.spot.features(orders, None).set_index("customer_id").loc[features.index]
    assert set(found.columns) == set(features.columns)
    for name in features.columns:
        ours, theirs = found[name], features[name]
        if name != "as_of" and theirs.dtype != object:
            ours, theirs = (c.astype(float) for c in (pd.to_numeric(ours), theirs))
        if name == "as_of":
            theirs = theirs.dt.date
        assert ((ours == theirs) | (ours.isna() & theirs.isna())).all(), name
    said = predictor.predict_orders(orders)
    assert {c: one.probability for c, one in said.items()} == pytest.approx(
        scores["probability"].to_dict(), abs=1e-12
    )


def test_of_a_past_day_products_are_as_popular_as_they_were(tables, predictor):
    past = tables.query("SELECT min(as_of) AS day FROM features")["day"][0].date()
    known = tables.query(
        "SELECT customer_id, last_order_popularity AS log FROM features WHERE as_of = $day",
        {"day": past},
    )
    found = predictor.spot.features(_orders(tables), past).set_index("customer_id")
    assert (
        found["last_order_popularity"].to_dict() == known.set_index("customer_id")["log"].to_dict()
    )
    assert found["last_order_popularity"].nunique() > 100


def test_what_lies_on_or_after_as_of_has_no_influence(predictor):
    day = predictor.spot.as_of
    past = {"customer_id": "c", "ordered_at": "2023-12-01", "amount": 20}
    later = {"customer_id": "c", "ordered_at": f"{day}T00:00:00", "amount": 9000}
    assert predictor.predict_orders([past, later]) == predictor.predict_orders([past])
    with pytest.raises(InputError, match="before as_of"):
        predictor.predict_orders([later])


def test_names_of_other_systems_are_understood(predictor):
    by_other_names = {
        "customer_id": 7,
        "recency_days": 5,
        "orders": 6,
        "monetary": 410.0,
        "tenure_days": 120,
        "avg_discount": 0.1,
        "return_rate": 0.0,
        "category_diversity": 3,
    }
    by_name = {
        "recency_days": 5,
        "orders_lifetime": 6,
        "revenue_lifetime": 410.0,
        "tenure_days": 120,
        "discount_share_lifetime": 0.1,
        "return_rate_lifetime": 0.0,
        "category_diversity_lifetime": 3,
    }
    first, second = predictor.predict([by_other_names])[0], predictor.predict([by_name])[0]
    assert first == second
    assert first.features_given == len(by_name)
    assert first.segment is not None


def test_what_follows_from_the_history_is_worked_out_and_null_stays_null(predictor):
    history = {"recency_days": 5, "orders": 9, "tenure_days": 200, "monetary": 500}
    implied = predictor.spot.implied(predictor.names.read([history]), predictor.types)
    assert 0.3 < implied["order_probability"][0] < 1
    assert implied["first_to_last_order_days"][0] == 195
    assert np.isnan(implied["orders_30d"][0])
    long_ago = predictor.names.read([history | {"recency_days": 100}])
    assert predictor.spot.implied(long_ago, predictor.types)["orders_30d"][0] == 0
    told = predictor.names.read([history | {"order_probability": None}])
    assert np.isnan(predictor.spot.implied(told, predictor.types)["order_probability"][0])
    middle = predictor.spot.as_of + timedelta(predictor.horizon.days // 2)
    of_nobody = predictor.spot.implied(predictor.names.read([{}, {}]), predictor.types)
    assert of_nobody["horizon_month"].tolist() == [middle.month, middle.month]
    asleep = predictor.predict([{**history, "recency_days": 190}])[0].probability
    assert asleep < predictor.predict([history])[0].probability


@pytest.mark.parametrize(
    "history",
    [
        {"recency": 0, "tenure": 0, "orders": 1, "monetary": 50},
        {"recency": 0, "tenure": 0, "orders": 0, "monetary": 50},
    ],
)
def test_a_history_of_no_days_is_served(predictor, history):
    """What is divided by its days is missing, as in the table."""
    implied = predictor.spot.implied(predictor.names.read([history]), predictor.types)
    assert np.isnan(implied["spending_rate"][0])
    assert 0 < predictor.predict([history])[0].probability < 1


def test_numbers_of_an_order_are_rounded_as_in_the_tables():
    """To cents and thousandths, halves away from zero."""
    assert [_hundredths(value) for value in ("0.125", -0.125, "0.135")] == [13, -13, 14]
    assert [_thousandths(value) for value in ("0.125", "0.0005", -2)] == [125, 1, -2000]


def test_a_quantity_of_null_is_one_that_nobody_tells(predictor):
    order = {"customer_id": "a", "ordered_at": "2023-12-01", "amount": 19.9}
    (without, null, blank) = (
        predictor.predict_orders([{**order, **more}], date(2023, 12, 20))["a"].probability
        for more in ({}, {"quantity": None}, {"quantity": ""})
    )
    assert without == null == blank


def test_a_row_is_told_the_same_whoever_is_beside_it(predictor):
    alone = {"recency_days": 200, "tenure_days": 360, "orders": 12, "monetary": 900}
    (expected,) = predictor.predict([alone])
    for other in ({"order_probability": 0.5}, dict.fromkeys(predictor.features)):
        assert predictor.predict([alone, other])[0] == expected


def test_a_line_means_what_ingest_makes_of_it(predictor):
    """Signs, capitals and blanks, as the rules of `transactions` have them."""
    line = {"customer_id": "a", "ordered_at": "2023-11-01", "amount": 60, "quantity": 2}
    back = {**line, "ordered_at": "2023-11-20", "amount": -20, "quantity": -1, "kind": "return"}
    lines = [{**line, "discount": 10, "category": "tea"}, back]
    otherwise = [
        {**line, "quantity": -2, "discount": "-10", "category": "tea", "channel": " "},
        {**back, "amount": 20, "kind": " Return", "payment_method": "\u200b "},
    ]
    expected, found = (predictor.spot.features(orders, None) for orders in (lines, otherwise))
    assert found.equals(expected)
    assert expected["returned_share_lifetime"][0] > 0


def test_before_any_model_was_fitted_nothing_can_be_said(predictor):
    order = {"customer_id": "a", "ordered_at": "1990-01-01", "amount": 1}
    with pytest.raises(InputError, match="the first day that can be looked from is 20"):
        predictor.predict_orders([order], date(1990, 1, 2))


def test_the_largest_lines_of_a_request_can_be_summed(predictor):
    line = {"customer_id": "a", "amount": 10**9, "quantity": 10**9, "ordered_at": "2023-11-01"}
    lines = [{**line, "order_id": str(k % 100)} for k in range(10_000)]
    made = predictor.spot.features(lines, None)
    assert made["revenue_lifetime"][0] == 10**13
    assert made["units_lifetime"][0] == 10**13
    with pytest.raises(InvalidRows, match="at most 1,000,000,000"):
        predictor.spot.features([{**lines[0], "amount": 10**9 + 1}], None)


def test_every_row_that_is_wrong_is_told_where_that_is_asked(predictor):
    rows = [{"recency_days": -1}] * (MOST_TOLD + 1)
    for most, told_of in ((MOST_TOLD, MOST_TOLD), (None, len(rows))):
        with pytest.raises(InvalidRows) as told:
            predictor.predict([*rows, {"recency_days": 1, "orders": 2}], most=most)
        assert len(told.value.problems) == told_of


def test_what_orders_do_not_tell_may_be_told_beside_them(tables, predictor, monkeypatch):
    """As of a lake whose champion reads what is made of events or of customers."""
    untold = ("recency_over_gap_mean", "favourite_category")
    monkeypatch.setattr(predictor, "untold", untold)
    made = predictor.spot.features(_orders(tables), None)
    monkeypatch.setattr(
        predictor.spot, "features", lambda orders, as_of: made.drop(columns=list(untold))
    )
    rows = made.set_index("customer_id")[list(untold)].replace({np.nan: None})
    beside = rows.astype(object).where(rows.notna(), None).to_dict("index")
    expected = predictor.predict(_rows(made.set_index("customer_id")))
    said = predictor.predict_orders([{}], beside=beside)
    assert [one.probability for one in said.values()] == pytest.approx(
        [one.probability for one in expected], abs=1e-12
    )
    # Else it is that of customers alike, and a reason says so.
    of_others = predictor.predict_orders([{}])
    reasons = [why for one in of_others.values() for why in one.reasons if why.feature in untold]
    assert reasons
    assert {why.feature for why in reasons} == set(untold)
    assert all("not told, in customers alike" in why.sentence for why in reasons)
    with pytest.raises(InvalidRows, match="follows from the orders"):
        predictor.predict_orders([{}], beside={made["customer_id"][0]: {"recency_days": 3}})


def test_a_horizon_in_hours_reaches_into_a_day(tables, tmp_path):
    models = DeltaTable(f"{tables.location}/models").to_pandas()
    shutil.copytree(tables.location, tmp_path / "lake")
    hourly = models.assign(horizon_days=np.int32(0), horizon_hours=pd.array([6], "Int32"))
    schema = DeltaTable(f"{tables.location}/models").to_pyarrow_table().schema
    rows = pa.Table.from_pandas(hourly, schema, preserve_index=False)
    write_deltalake(str(tmp_path / "lake" / "models"), rows, mode="overwrite")
    predictor = load_predictor(Tables(str(tmp_path / "lake")))
    assert predictor.horizon == Horizon(0, 6)
    history = {"recency_days": 5, "orders": 9, "tenure_days": 200, "monetary": 500}
    implied = predictor.spot.implied(predictor.names.read([history]), predictor.types)
    assert 0 < implied["order_probability"][0] < 0.5


def test_a_row_without_features_is_served_and_an_empty_batch_too(predictor):
    assert 0 < predictor.predict([{}])[0].probability < 1
    assert predictor.predict([]) == []


WRONG = {
    "unknown": ({"foo": 1}, "no such feature"),
    "text": ({"recency_days": "5"}, "must be a number"),
    "truth": ({"recency_days": True}, "must be a number"),
    "not a number": ({"recency_days": float("nan")}, "finite"),
    "infinite": ({"recency_days": float("inf")}, "finite"),
    "huge": ({"recency_days": 10**400}, "finite"),
    "nested": ({"recency_days": {"a": 1}}, "must be a number"),
    "twice": ({"recency": 1, "recency_days": 1}, "is recency_days"),
    "number for a text": ({"favourite_category": 3}, "must be a text"),
    "negative": ({"monetary": -5, "recency_days": -1}, "must not be negative"),
    "last before first": ({"recency": 30, "tenure_days": 20}, "must be at least recency_days"),
    "long text": ({"favourite_category": "x" * 501}, "must be a text"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_every_wrong_field_is_told_with_its_row(predictor, wrong):
    row, message = WRONG[wrong]
    with pytest.raises(InvalidRows, match=message) as told:
        predictor.predict([{"recency_days": 3}, row])
    assert [(one.row, one.field) for one in told.value.problems] == [(1, list(row)[-1])]


WRONG_ORDERS = [
    ("customer_id", {"ordered_at": "2023-12-01", "amount": 1}),
    ("ordered_at", {"customer_id": "a", "ordered_at": "yesterday", "amount": 1}),
    ("amount", {"customer_id": "a", "ordered_at": "2023-12-01", "amount": "much"}),
    ("amount", {"customer_id": "a", "ordered_at": "2023-12-01", "amount": -1}),
    ("kind", {"customer_id": "a", "ordered_at": "2023-12-01", "amount": 1, "kind": "gift"}),
    ("colour", {"customer_id": "a", "ordered_at": "2023-12-01", "amount": 1, "colour": "red"}),
]


@pytest.mark.parametrize(("field", "order"), WRONG_ORDERS)
def test_every_wrong_order_is_told_with_its_row(predictor, field, order):
    right = {"customer_id": "a", "ordered_at": "2023-12-01", "amount": "19.90"}
    with pytest.raises(InvalidRows) as told:
        predictor.predict_orders([right, order])
    assert [(one.row, one.field) for one in told.value.problems] == [(1, field)]


def test_a_day_that_no_log_reaches_is_told(predictor):
    order = {"customer_id": "a", "ordered_at": "0001-01-01", "amount": 1}
    with pytest.raises(InvalidRows, match="must be a day or a moment"):
        predictor.predict_orders([order])


def test_days_are_those_of_the_business(tables, predictor, tmp_path):
    spot = predictor.spot
    assert spot._day("2024-01-31T23:30:00-02:00") == date(2024, 2, 1)
    assert spot._day("2024-01-31T23:30:00") == date(2024, 1, 31)
    assert spot._day("2024-01-31") == date(2024, 1, 31)


def test_a_lake_without_a_published_model_says_so(tables, tmp_path):
    models = DeltaTable(f"{tables.location}/models").to_pyarrow_table()
    none = models.set_column(
        models.schema.get_field_index("published"),
        "published",
        pa.array([False] * len(models)),
    )
    write_deltalake(str(tmp_path / "models"), none)
    with pytest.raises(InputError, match=r"no model .* is published"):
        load_predictor(Tables(str(tmp_path)))
    with pytest.raises(InputError, match="no table models"):
        load_predictor(Tables(str(tmp_path / "nowhere")))


def test_the_onnx_graph_names_its_columns(predictor):
    onnx = pytest.importorskip("onnx")
    known = {p.key: p.value for p in onnx.load_from_string(predictor.onnx).metadata_props}
    assert set(known["numbers"].split(",")) <= set(predictor.types)
    assert json.loads(predictor.row["parameters"])
