"""Scores: probabilities of the positive class, deciles and bands after calibration."""

from datetime import date

import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler

from models.blending import Member
from models.calibration import IDENTITY, Calibration
from models.preparation import VECTOR
from models.registry import Registered
from models.scoring import scores

AS_OF = date(2024, 6, 1)
FITTED = Calibration(-0.3, 1.2, 1.0)


@pytest.fixture(scope="module")
def scored(spark):
    """100 customers whose feature x makes an order likelier, scored by a model of x."""
    rows = [
        (f"c{k:03}", AS_OF, float(k), 1.0 if k % 100 > 30 + (k * 37) % 50 else 0.0)
        for k in range(100)
    ]
    frame = spark.createDataFrame(rows, "customer_id string, as_of date, x double, label double")
    stages = [
        VectorAssembler(inputCols=["x"], outputCol=VECTOR),
        LogisticRegression(featuresCol=VECTOR),
    ]
    model = Registered(
        "logistic_regression",
        "v",
        AS_OF,
        [Member("logistic_regression", Pipeline(stages=stages).fit(frame), FITTED, {})],
        IDENTITY,
        0.5,
        ["x"],
    )
    found = scores(frame.drop("label"), model, horizon_days=30, high_deciles=2, medium_deciles=5)
    return found.orderBy("customer_id").collect()


def test_trap_the_score_published_as_one_minus_p(scored):
    assert scored[-1]["probability"] > 0.5 > scored[0]["probability"]


def test_deciles_and_bands_follow_the_probability(scored):
    ranked = sorted(scored, key=lambda row: -row["probability"])
    assert [row["decile"] for row in ranked] == [1 + k // 10 for k in range(100)]
    assert [row["band"] for row in ranked] == ["high"] * 20 + ["medium"] * 30 + ["low"] * 50


def test_every_row_says_which_model_and_day(scored):
    assert {(r["model_name"], r["as_of"], r["horizon_days"]) for r in scored} == {
        ("logistic_regression", AS_OF, 30)
    }
    assert all(row["reasons"] == [] for row in scored)
