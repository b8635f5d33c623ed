"""The open form says what Spark says, and reasons add up to it; for every kind of model."""

import json
from datetime import date

import catboost
import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import shap
import xgboost
from pyspark.ml import Pipeline
from pyspark.ml.classification import DecisionTreeClassifier, FMClassifier
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from conf.errors import ConfigurationError
from models.blending import Member, said, together
from models.boosting import OF_CATBOOST, OF_LIGHTGBM, OF_XGBOOST
from models.calibration import HIGHEST, Beta, Isotonic, Platt
from models.candidates import CANDIDATES
from models.explanations import _shown, plain, with_reasons
from models.onnx_form import NUMBERS, PROBABILITY, SAID, TEXTS, columns, onnx_model, reads
from models.open_form import Explainer, Input, Line, OpenMember, OpenModel, open_model
from models.opening import opened
from models.preparation import VECTOR, Inputs, for_trees
from serving.predictor import _shown as of_api

pytestmark = pytest.mark.slow

AS_OF = date(2024, 6, 1)
INPUTS = Inputs(
    ("orders_30d", "gap_mean_days", "revenue_lifetime", "first_reward"),
    {"favourite": ("tea", "it's \\ hot")},
    {"orders_30d": (0.0, 3.0), "revenue_lifetime": (-40.0, 1e2 / 3), "first_reward": (0.7, 0.7)},
)
TYPES = {
    "orders_30d": "int",
    "gap_mean_days": "double",
    "revenue_lifetime": "double",
    "first_reward": "double",
    "favourite": "string",
}
WORDS = {
    "orders_30d": "Orders in the last 30 days",
    "gap_mean_days": "Mean days between orders; null below two",
    "revenue_lifetime": "Money spent",
    "first_reward": "The first reward; null before one",
    "favourite": "The favourite category; null where there is none",
}
CALIBRATIONS = {
    "logistic_regression": Platt(1.0, -0.2, 1.1),
    "random_forest": Beta(2.0, 0.1, 1.2, 0.8),
    "gbt": Isotonic(1.0, 0.3, (-1.5, 0.0, 1.0), (0.4, 0.1, -0.3)),
    "lightgbm": Platt(3.0, 0.0, 1.0),
    "xgboost": Platt(1.0),
    "catboost": Platt(1.0, 0.3, 0.9),
}
GRIDS = {
    "logistic_regression": {"regParam": 0.01},
    "random_forest": {"numTrees": 6, "maxDepth": 5, "minInstancesPerNode": 5},
    "gbt": {"maxIter": 6, "maxDepth": 3, "minInstancesPerNode": 5},
    "lightgbm": {"maxIter": 20, "numLeaves": 6},
    "xgboost": {"maxIter": 20, "maxDepth": 3},
    "catboost": {"maxIter": 20, "depth": 3},
}


@pytest.fixture(scope="module")
def snapshots(spark):
    """Customers with favourites that are known, rare, hostile or none, with gaps or none, and with
    a reward, which is the same for all, or none.
    """
    rng, of_rewards = np.random.default_rng(8), np.random.default_rng(9)
    texts = ["tea", "it's \\ hot", "rare", None]
    rows = []
    for k in range(2000):
        orders, favourite = int(rng.poisson(1.5)), texts[rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])]
        gap = float(rng.gamma(2, 20)) if rng.random() < 0.6 else None
        reward = 0.7 if of_rewards.random() < 0.5 else None
        odds = 0.9 * orders - 1.5 + (0.8 if favourite == "tea" else 0.0) - (gap or 60) / 50
        odds += 0.6 if reward else 0.0
        label = int(rng.random() < 1 / (1 + np.exp(-odds)))
        money = float(np.round(rng.normal(50, 80), 2))
        rows.append((f"c{k:04}", AS_OF, orders, gap, money, reward, favourite, label, 1.0))
    schema = (
        "customer_id string, as_of date, orders_30d int, gap_mean_days double, "
        "revenue_lifetime double, first_reward double, favourite string, label int, weight double"
    )
    return spark.createDataFrame(rows, schema).repartition(2).persist()


@pytest.fixture(scope="module")
def members(snapshots) -> dict[str, Member]:
    return {name: _member(snapshots, name, GRIDS[name], CALIBRATIONS[name]) for name in GRIDS}


def _member(snapshots, name, point, calibration) -> Member:
    estimator = CANDIDATES[name].estimator(1)
    fixed = estimator.copy({estimator.getParam(k): v for k, v in point.items()})
    pipeline = Pipeline(stages=[*CANDIDATES[name].preparation(INPUTS), fixed]).fit(snapshots)
    return Member(name, pipeline, calibration, {})


@pytest.fixture(scope="module")
def open_members(spark, members, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, member in members.items():
        member.pipeline.write().overwrite().save(f"{folder}/{name}")
    return {n: opened(spark, m, f"{folder}/{n}", INPUTS) for n, m in members.items()}


KINDS = [[name] for name in GRIDS] + [list(GRIDS)]


@pytest.fixture(scope="module", params=KINDS, ids="+".join)
def pair(request, members, open_members):
    """A champion as Spark has it, and in the open form, read back from JSON."""
    calibration = Platt(1.0, 0.1, 0.9) if len(request.param) > 1 else Platt(1.0)
    champion = OpenModel(tuple(open_members[n] for n in request.param), calibration)
    again = open_model(json.loads(json.dumps(champion.as_dict())))
    return [members[n] for n in request.param], again


@pytest.fixture(scope="module")
def rows(snapshots, pair) -> pd.DataFrame:
    """The snapshots with what Spark says of them, and with their reasons."""
    return _by_spark(snapshots, *pair)


def test_a_single_tree_is_opened_too(spark, snapshots, tmp_path):
    columns = {"featuresCol": VECTOR, "labelCol": "label", "weightCol": "weight"}
    stages = [*for_trees(INPUTS), DecisionTreeClassifier(**columns, maxDepth=4)]
    member = Member("tree", Pipeline(stages=stages).fit(snapshots), Platt(1.0), {})
    member.pipeline.save(str(tmp_path / "tree"))
    model = OpenModel((opened(spark, member, str(tmp_path / "tree"), INPUTS),), Platt(1.0))
    rows = _by_spark(snapshots, [member], model)
    assert model.probability(_columns(rows)) == pytest.approx(rows["probability"], abs=1e-12)


def test_a_model_that_cannot_be_explained_says_so(spark, snapshots):
    stages = [*for_trees(INPUTS), FMClassifier(featuresCol=VECTOR, labelCol="label", maxIter=1)]
    member = Member("fm", Pipeline(stages=stages).fit(snapshots), Platt(1.0), {})
    with pytest.raises(ConfigurationError, match=r"training\.models\.fm: .* FMClassificationModel"):
        opened(spark, member, "", INPUTS)


def _by_spark(snapshots, of, model):
    probability = model.calibration(together(of)).alias("probability")
    heard = with_reasons(said(snapshots, of), model, TYPES, WORDS)
    return heard.select("*", probability).orderBy("customer_id").toPandas()


def _columns(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: rows[name].to_numpy() for name in TYPES}


def test_the_open_form_says_what_spark_says(pair, rows):
    _, model = pair
    found = model.probability(_columns(rows))
    assert found == pytest.approx(rows["probability"].to_numpy(), abs=1e-12)
    assert found.std() > 0.02


def _by_onnx(rows, model) -> dict[str, np.ndarray]:
    numbers, texts = columns(model)
    feed = {NUMBERS: rows[numbers].to_numpy(float)}
    if texts:
        feed[TEXTS] = rows[texts].fillna("").to_numpy(object)
    session = onnxruntime.InferenceSession(onnx_model(model))
    outputs = [one.name for one in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, feed), strict=True))


def test_the_onnx_graph_says_what_spark_says(pair, rows):
    _, model = pair
    found = _by_onnx(rows, model)
    assert found[PROBABILITY] == pytest.approx(rows["probability"].to_numpy(), abs=1e-12)
    for place, (member, read) in enumerate(zip(model.members, reads(model), strict=True)):
        expected = member.read(_columns(rows))
        assert np.abs(found[read].T - expected).max() < 1e-12
        assert found[f"{SAID}{place}"] == pytest.approx(member.sum.said(expected), abs=1e-9)


def test_contributions_add_up_to_the_probability(pair, rows):
    _, model = pair
    read = [member.read(_columns(rows)) for member in model.members]
    explainer = Explainer(model)
    moved, base = explainer.contributions(read), explainer.average
    assert moved.shape == (len(TYPES), len(rows))
    assert moved.sum(axis=0) + base == pytest.approx(rows["probability"].to_numpy(), abs=1e-6)


# Logits without end, and a curve that leads beyond what a probability can be.
CERTAIN = {
    "logistic_regression": ({"regParam": 0.0}, Platt(1.0, -3.0, 0.4)),
    "random_forest": ({"numTrees": 6, "maxDepth": 6}, Platt(2.0, 1.0, 3.0)),
}


@pytest.mark.parametrize("names", [["logistic_regression"], list(CERTAIN)], ids="+".join)
def test_all_forms_say_the_same_of_what_is_all_but_certain(spark, snapshots, tmp_path, names):
    parted = snapshots.withColumn("label", (F.col("orders_30d") > 1).cast("int"))
    of = [_member(parted, name, *CERTAIN[name]) for name in names]
    open_members = []
    for member in of:
        member.pipeline.save(f"{tmp_path}/{member.name}")
        open_members.append(opened(spark, member, f"{tmp_path}/{member.name}", INPUTS))
    model = OpenModel(tuple(open_members), Platt(1.0, 0.2, 0.5) if names[1:] else Platt(1.0))
    rows = _by_spark(parted, of, model)
    read = [member.read(_columns(rows)) for member in model.members]
    assert (np.abs(model.members[0].sum.said(read[0])) > HIGHEST + 1).any()
    expected = rows["probability"].to_numpy()
    # Near to 1 the rest of a probability, and so its logit, is known to ten digits.
    assert model.probability(_columns(rows)) == pytest.approx(expected, abs=1e-9)
    assert _by_onnx(rows, model)[PROBABILITY] == pytest.approx(expected, abs=1e-9)
    explainer = Explainer(model)
    moved = explainer.contributions(read)
    assert np.isfinite(moved).all()
    assert moved.sum(axis=0) + explainer.average == pytest.approx(expected, abs=1e-6)


def test_reasons_are_the_largest_contributions_with_their_values(pair, rows):
    _, model = pair
    read = [member.read(_columns(rows)) for member in model.members]
    moved = Explainer(model).contributions(read)
    for place in range(0, len(rows), 97):
        row, own = rows.iloc[place], dict(zip(model.features, moved[:, place], strict=True))
        expected = sorted(own, key=lambda name: -abs(own[name]))[:3]
        assert [reason["feature"] for reason in row["reasons"]] == expected
        for reason in row["reasons"]:
            name = reason["feature"]
            assert reason["contribution"] == pytest.approx(own[name], abs=1e-12)
            value = None if TYPES[name] == "string" or pd.isna(row[name]) else row[name]
            assert reason["value"] == value


def test_reasons_do_not_depend_on_who_stands_beside():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(60, 41))
    inputs = tuple(Input(f"x{k}") for k in range(60))
    member = OpenMember("line", inputs, Line(0.1, rng.normal(size=60)), False, Platt(1.0, 0.1, 0.9))
    explainer = Explainer(OpenModel((member,), Platt(1.0)))
    of_all, apart = explainer.contributions([rows]), np.split(rows, [1, 3, 8, 20], axis=1)
    found = [explainer.contributions([part]) for part in apart]
    assert (np.concatenate(found, axis=1) == of_all).all()


def test_what_spark_read_is_what_the_open_form_reads(snapshots, pair):
    of, model = pair
    for member, opened_member in zip(of, model.members, strict=True):
        scored = member.pipeline.transform(snapshots).withColumn("x", vector_to_array(VECTOR))
        rows = scored.select(*TYPES, "x").toPandas()
        read = opened_member.read(_columns(rows))
        assert pytest.approx(np.stack(rows["x"]), abs=1e-12) == read.T


@pytest.mark.parametrize("name", ["random_forest", "gbt"])
def test_contributions_of_sparks_trees_are_those_of_shap(snapshots, open_members, name):
    member = open_members[name]
    rows = member.read(_columns(snapshots.limit(300).toPandas()))
    trees = [
        {
            "children_left": tree.left,
            "children_right": tree.right,
            "children_default": tree.left,
            "features": tree.input,
            "thresholds": tree.threshold,
            "values": tree.value.reshape(-1, 1),
            "node_sample_weight": tree.cover,
        }
        for tree in member.sum.trees
    ]
    described = {"trees": trees, "internal_dtype": np.float64, "input_dtype": np.float64}
    explainer = shap.TreeExplainer(described, feature_perturbation="tree_path_dependent")
    expected = explainer.shap_values(rows.T, check_additivity=False)
    assert np.abs(member.sum.contributions(rows).T - expected.reshape(rows.T.shape)).max() < 1e-6


def _own(name, rows, labels, weights):
    """Contributions of a booster, the mean last, as its package makes them."""
    if name == "lightgbm":
        settings = {**OF_LIGHTGBM, "num_leaves": 6, "learning_rate": 0.05, "seed": 1}
        known = lightgbm.Dataset(rows, labels, weight=weights)
        return lightgbm.train(settings, known, 20).predict(rows, pred_contrib=True)
    if name == "xgboost":
        settings = {k: v for k, v in OF_XGBOOST.items() if k != "num_workers"}
        settings |= {"max_depth": 3, "eta": 0.05, "seed": 1, "objective": "binary:logistic"}
        known = xgboost.DMatrix(rows, labels, weight=weights)
        return xgboost.train(settings, known, 20).predict(known, pred_contribs=True)
    settings = {**OF_CATBOOST, "depth": 3, "iterations": 20, "learning_rate": 0.05}
    model = catboost.CatBoost({**settings, "random_seed": 1})
    known = catboost.Pool(rows, labels, weight=weights)
    model.fit(known)
    return model.get_feature_importance(known, type="ShapValues")


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_contributions_of_boosters_are_their_own(snapshots, members, open_members, name):
    member = open_members[name]
    scored = members[name].pipeline.transform(snapshots).withColumn("x", vector_to_array(VECTOR))
    known = scored.select("x", "label", "weight").toPandas()
    rows = np.stack(known["x"])
    expected = _own(name, rows, known["label"].to_numpy(float), known["weight"].to_numpy())
    found = member.sum.contributions(np.ascontiguousarray(rows.T))
    assert np.abs(found.T - expected[:, :-1]).max() < 1e-6
    assert member.sum.mean() == pytest.approx(expected[0, -1], abs=1e-6)


def test_sentences_are_for_people(spark, snapshots, members, open_members):
    model = OpenModel((open_members["gbt"],), Platt(1.0))
    one = [
        ("c", AS_OF, 3, None, 1234.5, None, "tea", 1, 1.0),
        ("d", AS_OF, 0, 12.346, 50.0, None, None, 0, 1.0),
    ]
    rows = _by_spark(spark.createDataFrame(one, snapshots.schema), [members["gbt"]], model)
    told = {r["feature"]: r["sentence"] for reasons in rows["reasons"] for r in reasons}
    all_told = [r["sentence"] for reasons in rows["reasons"] for r in reasons]
    assert any(s.startswith("Orders in the last 30 days: 3 (+") for s in all_told)
    assert any(s.startswith("Mean days between orders: ") for s in all_told)
    assert all(s.endswith(" points)") and "null" not in s for s in told.values())


WRITTEN = {
    0.0: "0",
    3.0: "3",
    2.005: "2.01",
    -3.266: "-3.27",
    0.0042: "0.004",
    0.99712: "0.997",
    0.5: "0.5",
    -0.0001: "nearly 0",
    0.0005: "0.001",
    12345678.5: "12345678.5",
    -1e15: "-1000000000000000",
}


def test_a_number_is_written_alike_by_spark_and_by_the_api(spark):
    frame = spark.createDataFrame([(number,) for number in WRITTEN], "x double")
    written = [row[0] for row in frame.select(_shown(F.col("x"))).collect()]
    assert dict(zip(WRITTEN, written, strict=True)) == WRITTEN
    assert {number: of_api(number) for number in WRITTEN} == WRITTEN


def test_descriptions_are_told_without_jargon():
    told = plain("Probability of an order in the 30 days from as_of (MBG/NBD); null if new")
    assert told == "Probability of an order in the 30 days from today"


def test_nobody_needs_no_reasons(snapshots, pair):
    of, model = pair
    assert _by_spark(snapshots.limit(0), of, model).empty
