"""Newton's method finds what Spark's own logistic regression finds, for every point and fold."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.ml.tuning import ParamGridBuilder
from pyspark.sql import functions as F

from models.newton import (
    SAMPLE,
    Asked,
    Problem,
    Reached,
    answers,
    descended,
    is_ridge,
    ridge_models,
)

pytestmark = pytest.mark.slow

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
    fitted = ridge_models(line, rows, points, "fold", FOLDS)
    assert [len(models) for models in (fitted.whole, *fitted.of_folds)] == [2, 2, 2, 2]
    for fold, models in [(None, fitted.whole), *enumerate(fitted.of_folds)]:
        training = rows if fold is None else rows.where(F.col("fold") != fold)
        for point, found in zip(points, models, strict=True):
            expected = line.fit(training, point)
            assert line_of(found) == pytest.approx(line_of(expected), abs=1e-5)
            assert found.getRegParam() == expected.getRegParam()


@pytest.mark.parametrize("rows", [600, 3 * SAMPLE])
def test_the_loss_in_a_fold_is_that_of_sparks_own_evaluator(spark, rows):
    """Of many rows, a sample gives the first line; the loss is that of a step before the end."""
    table_, line = table(spark, rows), estimator()
    fitted = ridge_models(line, table_, grid(line, 0.0003, 0.5), "fold", FOLDS)
    spark_s = MulticlassClassificationEvaluator(weightCol="weight", metricName="logLoss")
    expected = [
        [spark_s.evaluate(model.transform(table_.where(F.col("fold") == fold))) for model in models]
        for fold, models in enumerate(fitted.of_folds)
    ]
    np.testing.assert_allclose(fitted.losses, expected, rtol=1e-5)


def test_a_model_is_sparks_own(spark, tmp_path):
    rows, line = table(spark), estimator()
    (model,) = ridge_models(line, rows, grid(line, 0.01), "fold", FOLDS).whole
    model.write().save(str(tmp_path / "model"))
    again = LogisticRegressionModel.load(str(tmp_path / "model"))
    assert line_of(again) == line_of(model)
    said, anew = (m.transform(rows).select("probability").collect() for m in (model, again))
    assert said == anew
    assert 0 < said[0][0][1] < 1


def test_without_a_penalty_an_input_that_never_varies_does_no_harm(spark):
    rows, line = table(spark), estimator()
    (found,) = ridge_models(line, rows, grid(line, 0.0), "fold", FOLDS).whole
    expected = line.fit(rows, {line.regParam: 0.0})
    said, wanted = (
        [row[0] for row in m.transform(rows).select("rawPrediction").collect()]
        for m in (found, expected)
    )
    np.testing.assert_allclose([s[1] for s in said], [w[1] for w in wanted], atol=1e-5)


def test_outcomes_that_a_line_separates_come_to_an_end(spark):
    rows, line = table(spark, separable=True), estimator(maxIter=50)
    free, held = ridge_models(line, rows, grid(line, 0.0, 0.01), "fold", FOLDS).whole
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
        return answers(block, asked)

    problem = Problem(penalty=1e-6)
    (far,) = descended(look, [problem], [Reached(np.array([9.0, -40.0]))], 100)
    (near,) = descended(look, [problem], [Reached(np.zeros(2))], 100)
    assert far.next == pytest.approx(near.next, abs=1e-6)
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
