"""Scores: probabilities of the positive class, deciles and bands after calibration."""

from datetime import date

import pytest
from pyspark.ml import Pipeline

from models.blending import Member
from models.calibration import IDENTITY, Platt
from models.candidates import CANDIDATES
from models.open_form import OpenModel
from models.opening import opened
from models.preparation import Inputs
from models.registry import Registered
from models.scoring import explained, scores

AS_OF = date(2024, 6, 1)
NAME = "logistic_regression"


@pytest.fixture(scope="module")
def scored(spark):
    """100 customers whose feature x makes an order likelier, scored by a model of x."""
    rows = [
        (f"c{k:03}", AS_OF, float(k), int(k % 100 > 30 + (k * 37) % 50), 1.0) for k in range(100)
    ]
    schema = "customer_id string, as_of date, x double, label int, weight double"
    frame, inputs = spark.createDataFrame(rows, schema), Inputs(("x",), {})
    candidate = CANDIDATES[NAME]
    stages = [*candidate.preparation(inputs), candidate.estimator(1)]
    member = Member(NAME, Pipeline(stages=stages).fit(frame), Platt(1.0, -0.3, 1.2), {})
    open_form = OpenModel((opened(spark, member, "", inputs),), IDENTITY)
    model = Registered(NAME, "v", AS_OF, AS_OF, "", [member], IDENTITY, 0.5, ["x"], open_form)
    told = explained(frame.drop("label"), model, {"x": "double"}, {"x": "The x"})
    found = scores(told, model, horizon_days=30, high_deciles=2, medium_deciles=5)
    return found.orderBy("customer_id").collect()


def test_trap_the_score_published_as_one_minus_p(scored):
    assert scored[-1]["probability"] > 0.5 > scored[0]["probability"]


def test_deciles_and_bands_follow_the_probability(scored):
    ranked = sorted(scored, key=lambda row: -row["probability"])
    assert [row["decile"] for row in ranked] == [1 + k // 10 for k in range(100)]
    assert [row["band"] for row in ranked] == ["high"] * 20 + ["medium"] * 30 + ["low"] * 50


def test_every_row_says_which_model_and_day_and_why(scored):
    assert {(r["model_name"], r["as_of"], r["horizon_days"]) for r in scored} == {(NAME, AS_OF, 30)}
    # Of one feature there is one reason, for or against.
    for place, sign in ((0, -1), (-1, 1)):
        (reason,) = scored[place]["reasons"]
        assert reason["feature"] == "x"
        assert reason["value"] == float(place % 100)
        assert sign * reason["contribution"] > 0
        assert reason["sentence"].startswith(f"The x: {place % 100} (")
