"""A customer is found by any part of their id, and shown with everything known of them."""

from datetime import datetime, time, timedelta

import pytest

from conf.settings import Horizon
from serving.cuts import current_cuts
from serving.dashboard.figures import groups, people
from tests.serving.dashboard.lake import AS_OF, SENTENCE

MONTH = Horizon(30)


def test_the_exact_id_comes_first_then_the_likeliest(query):
    found = people.search(query, MONTH, "C1", None)["customer_id"].tolist()
    assert found == [f"C{n}" for n in range(10, 20)]
    assert people.search(query, MONTH, "C15", None)["customer_id"].tolist() == ["C15"]
    assert people.search(query, MONTH, "c15", None)["customer_id"].tolist() == ["C15"]


@pytest.mark.parametrize("hostile", ["%", "_", "'; DROP TABLE scores; --", "€", "\\"])
def test_what_is_searched_is_only_text(query, hostile):
    assert people.search(query, MONTH, hostile, None).empty


def test_a_search_within_a_band(query):
    assert people.search(query, MONTH, "", "high")["band"].unique().tolist() == ["high"]


def test_a_score_has_its_reasons(query):
    scored = people.score(query, MONTH, "C07")
    assert scored["probability"] == pytest.approx(0.76)
    assert [why["sentence"] for why in scored["reasons"]] == [SENTENCE.format(21)]
    assert people.score(query, MONTH, "nobody") is None


def test_orders_are_summed_by_order_the_last_first(query):
    rows = people.orders(query, "C07", "America/New_York")
    assert rows["order_id"].tolist() == ["O07-21", "O07-51"]
    assert rows["amount"].tolist() == pytest.approx([19.9, 19.9])
    # Noon of Greenwich by the clock of the shop, and no zone that a browser would turn to its own.
    assert rows["ordered_at"].tolist() == [
        datetime.combine(AS_OF - timedelta(days), time(8)) for days in (21, 51)
    ]
    assert rows["categories"].tolist() == ["tea", "tea"]


def test_features_beside_the_median_customer(query):
    names = ["recency_days", "orders_lifetime"]
    assert people.features(query, AS_OF, "C07", names) == {
        "recency_days": 51,
        "orders_lifetime": 34,
    }
    assert people.features(query, AS_OF, "nobody", names) == {}
    assert people.medians(query, AS_OF, names)["orders_lifetime"] == 20.5


def test_segments_cover_everybody_and_their_lists_agree(query):
    cuts = current_cuts(query)
    rows = groups.table(query, MONTH, AS_OF, cuts, money=True)
    assert rows["customers"].sum() == 40
    assert rows["share"].sum() == pytest.approx(1)
    assert rows["expected_value"].sum() == pytest.approx(400)
    assert rows["segment"][0] == "champions"
    for row in rows.itertuples():
        members = groups.members(query, MONTH, AS_OF, cuts, row.segment, ["high", "medium", "low"])
        assert len(members) == row.customers
        assert members["probability"].is_monotonic_decreasing
        first = members["customer_id"][0]
        assert groups.segment_of(query, AS_OF, cuts, first) == row.segment
    assert groups.segment_of(query, AS_OF, cuts, "nobody") is None
    high = groups.members(query, MONTH, AS_OF, cuts, "champions", ["high"])
    assert high["customer_id"].tolist() == [f"C{n:02d}" for n in range(1, 9)]
