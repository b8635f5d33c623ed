"""The model's figures: a threshold, a budget and a date give what the tables imply."""

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable

from conf.settings import Horizon
from serving.dashboard.figures import model_charts, models
from serving.dashboard.figures.models import Subject
from serving.tables import Tables
from tests.serving.dashboard.lake import BEFORE_IT, CHALLENGER, HELD_OUT, MODEL, VERSION, write

MONTH = Horizon(30)
CHAMPION = Subject(VERSION, MODEL)


def test_models_are_listed_the_last_first(query):
    rows = models.trained(query, MONTH)
    assert rows["model_version"].tolist() == [CHALLENGER, VERSION, BEFORE_IT]
    assert rows["features"].tolist() == [3, 3, 3]


def test_whatever_has_a_curve_can_be_compared(query):
    found = models.judged(query, MONTH)
    assert CHAMPION in found
    assert Subject(CHALLENGER, "recency") in found
    assert all(one.version != "backtest" for one in found)


def test_the_confusion_matrix_follows_the_threshold(query):
    matrix = models.confusion(models.curve(query, CHAMPION), 0.5)
    assert matrix == {
        "true positives": pytest.approx(15),
        "false positives": pytest.approx(5),
        "false negatives": pytest.approx(5),
        "true negatives": pytest.approx(15),
    }
    assert models.rates(matrix) == pytest.approx(
        {"precision": 0.75, "recall": 0.75, "F1": 0.75, "accuracy": 0.75}
    )
    nobody = models.confusion(models.curve(query, CHAMPION), 1.1)
    assert nobody["true positives"] == 0
    assert sum(nobody.values()) == pytest.approx(40)


@pytest.mark.parametrize(("budget", "contacted", "profit"), [(40, 0.95, 361), (10, 0.25, 165)])
def test_the_best_share_is_the_best_that_the_budget_pays_for(query, budget, contacted, profit):
    profits = models.profit(models.curve(query, CHAMPION), margin=20, cost=1)
    best = models.best(profits, budget)
    assert best["contacted"] == pytest.approx(contacted)
    assert best["profit"] == pytest.approx(profit)


def test_where_no_contact_pays_nobody_is_contacted(query):
    profits = models.profit(models.curve(query, CHAMPION), margin=1, cost=10)
    assert models.best(profits, 1e9)["contacted"] == 0


def test_verdicts_are_turned_where_the_model_comes_second(query):
    row = models.verdicts(query, CHAMPION, "roc_auc").iloc[0]
    assert (row["other"], row["verdict"]) == ("recency", "better")
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.1, 0.05, 0.15))


def test_dates_are_those_of_the_backtest(query):
    rows = models.over_dates(query, MONTH, "roc_auc")
    assert rows["past"].all()
    assert len(rows) == 6
    assert rows[rows["model"] == MODEL]["low"].tolist() == pytest.approx([0.7] * 3)


def test_of_two_trainings_of_a_day_the_last_counts_over_dates(small_lake, tmp_path):
    """Whichever version sorts first."""
    folder = Path(shutil.copytree(small_lake, tmp_path / "lake"))
    query = Tables(str(folder)).query
    known = query("SELECT * FROM evaluations WHERE model_version <> 'backtest'").to_dict("records")
    own = [row for row in known if row["model_version"] == VERSION]
    again = [{**row, "model_version": "2024-06-01-0000", "value": row["value"] / 2} for row in own]
    write(folder, "evaluations", [*known, *again])
    trained = DeltaTable(str(folder / "models")).to_pyarrow_table().to_pylist()
    last = next(row for row in trained if row["model_version"] == VERSION)
    versions = {"features": 9, "models": 2}
    rows = [*trained, {**last, "model_version": "2024-06-01-0000", "data_versions": versions}]
    write(folder, "models", rows)
    dates = models.over_dates(query, MONTH, "roc_auc")
    assert not dates["past"].any()
    of_day = dates[(dates["as_of"].astype(str) == str(HELD_OUT)) & (dates["model"] == MODEL)]
    assert of_day["value"].tolist() == pytest.approx([0.75 / 2])


def test_every_curve_begins_at_nobody(query):
    rows = models.curves(query, {"a": CHAMPION, "b": Subject(VERSION, "recency")})
    assert rows.groupby("name")["contacted"].min().tolist() == [0, 0]
    draws = (model_charts.roc, model_charts.gain, model_charts.lift, model_charts.precision_recall)
    for draw in draws:
        assert "a, b" in draw(rows).to_dict()["description"]
