"""The overview's figures: every number is the tables' own, and every chart says what it shows."""

import pytest

from conf.settings import Horizon
from serving.dashboard.figures import scores

MONTH = Horizon(30)


def test_totals_are_of_all_customers(query):
    found = scores.totals(query, MONTH)
    assert found.customers == 40
    assert found.mean == pytest.approx(0.49)
    assert found.expected == pytest.approx(19.6)
    assert f"{found.as_of:%Y-%m-%d}" == "2024-06-01"
    assert f"{found.scored_at:%H:%M}" == "06:30"


def test_the_horizons_are_those_that_are_scored(query):
    assert scores.horizons(query) == [MONTH]
    assert scores.totals(query, Horizon(0, 6)).customers == 0


@pytest.mark.parametrize(("threshold", "customers"), [(0.5, 20), (0.88, 1), (0.89, 0), (0.0, 40)])
def test_predicted_are_those_at_the_threshold_or_above(query, threshold, customers):
    assert scores.predicted(query, MONTH, threshold) == customers


def test_the_distribution_leaves_nobody_out(query):
    rows = scores.distribution(query, MONTH)
    assert rows["customers"].sum() == 40
    assert ((rows["high"] - rows["low"]).round(6) == round(1 / scores.BINS, 6)).all()


def test_deciles_and_bands(query):
    deciles, bands = scores.deciles(query, MONTH), scores.bands(query, MONTH)
    assert deciles["customers"].tolist() == [4] * 10
    assert deciles["low"][0] == pytest.approx(0.82)
    assert deciles["high"][0] == pytest.approx(0.88)
    assert dict(zip(bands["band"], bands["customers"], strict=True)) == {
        "high": 8,
        "medium": 12,
        "low": 20,
    }
    assert bands["expected"].sum() == pytest.approx(19.6)


def test_the_trend_has_what_was_predicted_and_what_came_of_it(query):
    predicted, realised = (
        scores.predicted_by_date(query, MONTH),
        scores.realised_by_date(query, MONTH),
    )
    assert predicted["rate"].tolist() == pytest.approx([0.49, 0.49])
    assert realised["rate"].tolist() == [0.5]


def test_money_has_its_currency(query):
    assert scores.money(query, MONTH) == {"value": pytest.approx(400.0), "currency": "EUR"}


def test_charts_have_a_title_axes_and_a_text_in_their_place(query):
    charts = [
        scores.distribution_chart(scores.distribution(query, MONTH), 0.5),
        scores.deciles_chart(scores.deciles(query, MONTH)),
        scores.bands_chart(scores.bands(query, MONTH)),
        scores.trend_chart(scores.predicted_by_date(query, MONTH)),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["title"]["text"]
        assert len(spec["description"]) > 20
        layers = spec.get("layer", [spec])
        assert any("title" in layer["encoding"]["x"] for layer in layers)
