"""Newton's method finds what Spark's own logistic regression finds, for every point and fold."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.functions import array_to_vector
from pyspark.ml.tuning import ParamGridBuilder
from pyspark.sql import functions as F

from models.newton import Asked, Problem, Reached, descended, is_ridge, ridge_models, summed

FOLDS = 3


def table(spark, rows: int = 600, separable: bool = False):
    """Rows with four inputs, the third always the same; fold -1 trains in every fold."""
    rng = np.random.default_rng(1)
    inputs = np.column_stack(
        [rng.normal(size=(rows, 2)), np.full(rows, 2.0), rng.gamma(1, 1, rows)]
    )
    odds = 1.5 * inputs[:, 0] - inputs[:, 3]
    label = (odds > 0 if separable else rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)
    columns = {
        "inputs": pa.array(inputs.tolist()),
        "label": label,
        "weight": rng.uniform(0.5, 3.0, rows),
        "fold": rng.integers(-1, FOLDS, rows),
    }
    frame = spark.createDataFrame(pa.table(columns)).repartition(2)
    return frame.withColumn("features", array_to_vector("inputs")).persist()


def estimator(**given) -> LogisticRegression:
    return LogisticRegression(
        weightCol="weight", standardization=False, **{"tol": 1e-12, "maxIter": 200, **given}
    )


def grid(line: LogisticRegression, *penalties: float):
    return ParamGridBuilder().addGrid(line.regParam, penalties).build()


def line_of(model: LogisticRegressionModel) -> list[float]:
    return [*model.coefficients.toArray(), model.intercept]


def test_every_point_of_every_fold_is_what_spark_finds(spark):
    rows, line = table(spark), estimator()
    points = grid(line, 0.0003, 0.5)
    whole, of_folds = ridge_models(line, rows, points, "fold", FOLDS)
    assert [len(models) for models in (whole, *of_folds)] == [2, 2, 2, 2]
    for fold, models in [(None, whole), *enumerate(of_folds)]:
        training = rows if fold is None else rows.where(F.col("fold") != fold)
        for point, found in zip(points, models, strict=True):
            expected = line.fit(training, point)
            assert line_of(found) == pytest.approx(line_of(expected), abs=1e-5)
            assert found.getRegParam() == expected.getRegParam()


def test_a_model_is_sparks_own(spark, tmp_path):
    rows, line = table(spark), estimator()
    (model,), _ = ridge_models(line, rows, grid(line, 0.01), "fold", FOLDS)
    model.write().save(str(tmp_path / "model"))
    again = LogisticRegressionModel.load(str(tmp_path / "model"))
    assert line_of(again) == line_of(model)
    said, anew = (m.transform(rows).select("probability").collect() for m in (model, again))
    assert said == anew
    assert 0 < said[0][0][1] < 1


def test_without_a_penalty_an_input_that_never_varies_does_no_harm(spark):
    rows, line = table(spark), estimator()
    (found,), _ = ridge_models(line, rows, grid(line, 0.0), "fold", FOLDS)
    expected = line.fit(rows, {line.regParam: 0.0})
    said, wanted = (
        [row[0] for row in m.transform(rows).select("rawPrediction").collect()]
        for m in (found, expected)
    )
    np.testing.assert_allclose([s[1] for s in said], [w[1] for w in wanted], atol=1e-5)


def test_outcomes_that_a_line_separates_come_to_an_end(spark):
    rows, line = table(spark, separable=True), estimator(maxIter=50)
    (free, held), _ = ridge_models(line, rows, grid(line, 0.0, 0.01), "fold", FOLDS)
    assert np.isfinite(line_of(free)).all()
    expected = line.fit(rows, {line.regParam: 0.01})
    assert line_of(held) == pytest.approx(line_of(expected), abs=1e-5)


def test_a_step_too_far_is_taken_back():
    rng = np.random.default_rng(2)
    inputs = np.column_stack([rng.normal(size=400) * 4, np.ones(400)])
    label = (inputs[:, 0] > 1) ^ (rng.random(400) < 0.05)
    block = np.column_stack([np.zeros(400), label, np.ones(400), inputs])
    passes = []

    def look(asked: list[Asked]) -> list[np.ndarray]:
        passes.append(asked)
        found = summed(block, asked)
        return np.split(found, np.cumsum([one.size for one in asked])[:-1])

    problem = Problem(penalty=1e-6)
    (far,) = descended(look, [problem], [Reached(np.array([9.0, -40.0]))], 100)
    (near,) = descended(look, [problem], [Reached(np.zeros(2))], 100)
    assert far.line == pytest.approx(near.line, abs=1e-6)
    assert any(one.curved for asked in passes[1:] for one in asked)
    assert not all(one.curved for asked in passes for one in asked)


@pytest.mark.parametrize(
    ("fits", "given", "axis"),
    [
        (True, {}, {"regParam": [0.1], "elasticNetParam": [0.0]}),
        (False, {}, {"elasticNetParam": [0.0, 0.5]}),
        (False, {}, {"maxIter": [5, 10]}),
        (False, {"elasticNetParam": 0.1}, {"regParam": [0.1]}),
        (False, {"fitIntercept": False}, {"regParam": [0.1]}),
    ],
)
def test_what_it_cannot_fit_is_left_to_spark(spark, fits, given, axis):
    line = estimator(**given)
    points = ParamGridBuilder()
    for name, values in axis.items():
        points = points.addGrid(line.getParam(name), values)
    assert is_ridge(line, points.build()) is fits
