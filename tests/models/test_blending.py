"""The blend of several models, beside the same sum by hand."""

import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler

from models.blending import Member, blended
from models.calibration import Platt
from models.preparation import VECTOR

CALIBRATIONS = (Platt(1.0, -0.3, 1.2), Platt(4.0, 0.5, 0.8))


@pytest.fixture(scope="module")
def rows(spark):
    rng = np.random.default_rng(5)
    known = rng.normal(size=(200, 2))
    label = rng.random(200) < 1 / (1 + np.exp(-known.sum(axis=1)))
    table = [(str(n), float(x), float(y), float(label[n])) for n, (x, y) in enumerate(known)]
    return spark.createDataFrame(table, "customer_id string, x double, y double, label double")


@pytest.fixture(scope="module")
def members(rows):
    """Two models, of x and of y, whose pipelines make columns of the same names."""
    return [
        Member(
            column,
            Pipeline(
                stages=[
                    VectorAssembler(inputCols=[column], outputCol=VECTOR),
                    LogisticRegression(featuresCol=VECTOR),
                ]
            ).fit(rows),
            calibration,
            {},
        )
        for column, calibration in zip("xy", CALIBRATIONS, strict=True)
    ]


def _by_hand(member, column, values):
    model = member.pipeline.stages[-1]
    logit = model.intercept + model.coefficients[0] * values[column].to_numpy()
    fitted = member.calibration
    return fitted.intercept + fitted.slope * (logit - np.log(fitted.weight_ratio))


def test_the_blend_is_the_mean_of_calibrated_logits(rows, members):
    found = blended(rows, members, ["customer_id", "x", "y"]).toPandas()
    logits = [_by_hand(m, c, found) for m, c in zip(members, "xy", strict=True)]
    expected = 1 / (1 + np.exp(-np.mean(logits, axis=0)))
    assert found["probability"].to_numpy() == pytest.approx(expected, abs=1e-9)
    assert list(found.columns) == ["customer_id", "x", "y", "probability"]


def test_of_one_member_it_is_its_own_probability(rows, members):
    found = blended(rows, members[1:], ["y"]).toPandas()
    expected = 1 / (1 + np.exp(-_by_hand(members[1], "y", found)))
    assert found["probability"].to_numpy() == pytest.approx(expected, abs=1e-9)
