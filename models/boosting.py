"""Boosted trees of other packages as Spark ML estimators, whose models need none of these packages.

LightGBM and CatBoost have no jar for Spark 4, and train on the driver: what is sampled for training
fits there, and a histogram is made in a second, where a distributed tree needs a job a level.
XGBoost trains in Spark's workers by its own `xgboost.spark`, which Spark Connect does not run. The
trees are then plain numbers (`models.trees`), so that scoring needs none of these packages.

Chen and Guestrin (2016), XGBoost: a scalable tree boosting system. Ke and others (2017), LightGBM:
a highly efficient gradient boosting decision tree. Prokhorenkova and others (2018), CatBoost:
unbiased boosting with categorical features.
"""

import json
import logging
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyspark import cloudpickle, keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import DenseVector
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasLabelCol,
    HasMaxIter,
    HasSeed,
    HasStepSize,
    HasValidationIndicatorCol,
    HasWeightCol,
)
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from models import trees
from models.trees import Floats, Forest, Node, by_input, forest, forest_as_dict, tree_of

# Workers need numpy and Arrow, and no copy of this package.
cloudpickle.register_pickle_by_value(trees)  # type: ignore[no-untyped-call]
# What the grid need not find: few features a tree and strong shrinkage of its leaves, since the
# features of a customer say much the same, and the same customers come on every date.
OF_LIGHTGBM = {
    "objective": "binary",
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "min_child_samples": 100,
    "lambda_l2": 30.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
OF_CATBOOST = {
    "loss_function": "Logloss",
    "rsm": 0.3,
    "l2_leaf_reg": 30.0,
    "bootstrap_type": "Bernoulli",
    "subsample": 0.7,
    "allow_writing_files": False,
    "verbose": False,
}
OF_XGBOOST: dict[str, Any] = {
    "colsample_bytree": 0.3,
    "subsample": 0.7,
    "min_child_weight": 20.0,
    "reg_lambda": 30.0,
    "tree_method": "hist",
    # What is sampled fits one worker; more would wait for each other at every level of a tree, and
    # a fit beside another for the slots that it holds.
    "num_workers": 1,
}
# XGBoost's weight of a leaf is the sum of p (1 - p) over its rows. Where few order, there is little
# in all: no more than this share of it is asked of a leaf.
LEAF_SHARE = 0.05
_ODDS = "log_odds"
# The weight of a leaf that no training row came to.
NO_ROWS = 1e-9


class _Params(HasFeaturesCol, HasLabelCol, HasWeightCol, HasSeed, HasMaxIter, HasStepSize):
    """`maxIter` trees, each worth `stepSize`."""


@dataclass(frozen=True)
class Taught:
    """Rows on the driver: a row per snapshot, the labels, the weights."""

    rows: Floats
    labels: Floats
    weights: Floats

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Taught":
        """Some of them."""
        return Taught(self.rows[chosen], self.labels[chosen], self.weights[chosen])


class Booster(Estimator["ForestModel"], _Params, HasValidationIndicatorCol):
    """An estimator of trees whose sum is a logit.

    Where `validationIndicatorCol` is set, its rows do not train: once `earlyStoppingRounds` trees
    have not made them more probable, no more are grown, and those after the best are dropped.
    """

    earlyStoppingRounds: "Param[int]" = Param(  # noqa: N815 - Spark's way to write
        Params._dummy(),
        "earlyStoppingRounds",
        "trees that may be no better than the best before them",
        TypeConverters.toInt,
    )

    def stop_early(self, column: str, rounds: int) -> None:
        """Watch the rows for which this column is true."""
        self._set(validationIndicatorCol=column, earlyStoppingRounds=rounds)

    @abstractmethod
    def grown(self, dataset: DataFrame) -> tuple[Forest, Floats]:
        """The trees, and the gain of each input."""

    def _fit(self, dataset: DataFrame) -> "ForestModel":
        found, gains = self.grown(dataset)
        text = json.dumps(forest_as_dict(found))
        model = ForestModel(forest=text, gains=[float(gain) for gain in gains])
        return self._copyValues(model)

    @property
    def rounds(self) -> int | None:
        """The rounds after which to stop; None where all trees are grown."""
        stops = self.isSet(self.validationIndicatorCol)
        return self.getOrDefault(self.earlyStoppingRounds) if stops else None

    def collected(self, dataset: DataFrame) -> tuple[Taught, Taught]:
        """What is learned from, on the driver, and what is watched."""
        is_watched = F.col(self.getValidationIndicatorCol()) if self.rounds else F.lit(False)
        columns = [
            vector_to_array(F.col(self.getFeaturesCol())).alias("x"),
            F.col(self.getLabelCol()).cast("double").alias("y"),
            F.col(self.getWeightCol()).cast("double").alias("w"),
            is_watched.alias("watched"),
        ]
        table = dataset.select(*columns).toPandas()
        rows = np.asarray(np.stack(table["x"].tolist()), np.float64)
        every = Taught(rows, table["y"].to_numpy(), table["w"].to_numpy())
        watched = table["watched"].to_numpy(bool)
        return (every.where(~watched) if self.rounds else every), every.where(watched)


class ForestModel(Model, _Params, DefaultParamsReadable["ForestModel"], DefaultParamsWritable):
    """Adds `rawPrediction`, `probability` and `prediction`; `forest` holds the trees as JSON."""

    forest: "Param[str]" = Param(
        Params._dummy(), "forest", "the trees, see models/trees.py", TypeConverters.toString
    )
    gains: "Param[list[float]]" = Param(
        Params._dummy(), "gains", "the gain of each input", TypeConverters.toListFloat
    )

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._set(**params)

    @property
    def featureImportances(self) -> DenseVector:  # noqa: N802 - Spark's name
        """Each input's share of the gain."""
        gain = np.array(self.getOrDefault(self.gains))
        return DenseVector(gain / (gain.sum() or 1.0))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        text, inputs = self.getOrDefault(self.forest), len(self.getOrDefault(self.gains))

        def odds(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
            known = forest(json.loads(text))
            for rows in batches:
                yield pa.array(known.said(by_input(rows, inputs)))

        said = arrow_udf(odds, "double")  # type: ignore[call-overload]
        p = 1 / (1 + F.exp(-F.col(_ODDS)))
        return (
            dataset.withColumn(_ODDS, said(vector_to_array(F.col(self.getFeaturesCol()))))
            .withColumns(
                {
                    "rawPrediction": array_to_vector(F.array(-F.col(_ODDS), F.col(_ODDS))),
                    "probability": array_to_vector(F.array(1 - p, p)),
                    "prediction": (p > 0.5).cast("double"),
                }
            )
            .drop(_ODDS)
        )


class LightGbm(Booster, DefaultParamsReadable["LightGbm"], DefaultParamsWritable):
    """LightGBM's trees, of `numLeaves` leaves."""

    numLeaves: "Param[int]" = Param(  # noqa: N815 - Spark's way to write
        Params._dummy(), "numLeaves", "leaves of a tree", TypeConverters.toInt
    )

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(numLeaves=8, maxIter=100, stepSize=0.05, seed=1)
        self._set(**params)

    def grown(self, dataset: DataFrame) -> tuple[Forest, Floats]:
        """LightGBM's trees."""
        import lightgbm  # noqa: PLC0415 - an extra

        settings = {
            **OF_LIGHTGBM,
            "num_leaves": self.getOrDefault(self.numLeaves),
            "learning_rate": self.getStepSize(),
            "seed": self.getSeed() % 2**31,
        }
        learned, watched = (
            lightgbm.Dataset(of.rows, of.labels, weight=of.weights)
            for of in self.collected(dataset)
        )
        stop: dict[str, Any] = {}
        if self.rounds:
            patient = lightgbm.early_stopping(self.rounds, verbose=False)
            stop = {"valid_sets": [watched], "callbacks": [patient]}
        booster = lightgbm.train(settings, learned, self.getMaxIter(), **stop)
        grown = [
            tree_of(_of_lightgbm(t["tree_structure"])) for t in booster.dump_model()["tree_info"]
        ]
        return Forest(tuple(grown)), booster.feature_importance("gain")


class CatBoost(Booster, DefaultParamsReadable["CatBoost"], DefaultParamsWritable):
    """CatBoost's trees, which ask the same of all rows at each of `depth` levels."""

    depth: "Param[int]" = Param(Params._dummy(), "depth", "levels of a tree", TypeConverters.toInt)

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(depth=4, maxIter=200, stepSize=0.05, seed=1)
        self._set(**params)

    def grown(self, dataset: DataFrame) -> tuple[Forest, Floats]:
        """CatBoost's trees."""
        import catboost  # noqa: PLC0415 - an extra

        model = catboost.CatBoost(
            {
                **OF_CATBOOST,
                "depth": self.getOrDefault(self.depth),
                "iterations": self.getMaxIter(),
                "learning_rate": self.getStepSize(),
                "random_seed": self.getSeed() % 2**31,
            }
        )
        learned, watched = self.collected(dataset)
        known = catboost.Pool(learned.rows, learned.labels, weight=learned.weights)
        stop: dict[str, Any] = {}
        if self.rounds:
            seen = catboost.Pool(watched.rows, watched.labels, weight=watched.weights)
            stop = {"eval_set": seen, "early_stopping_rounds": self.rounds}
        model.fit(known, **stop)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.json"
            model.save_model(str(file), format="json")
            saved = json.loads(file.read_text(encoding="utf-8"))
        scale, (bias,) = saved["scale_and_bias"]
        grown = [tree_of(_of_catboost(tree, scale)) for tree in saved["oblivious_trees"]]
        gains = model.get_feature_importance(known, type="PredictionValuesChange")
        return Forest(tuple(grown), bias), np.asarray(gains, float)


class XgBoost(Booster, DefaultParamsReadable["XgBoost"], DefaultParamsWritable):
    """XGBoost's trees, of `maxDepth` levels, grown by one of Spark's workers."""

    maxDepth: "Param[int]" = Param(  # noqa: N815 - Spark's way to write
        Params._dummy(), "maxDepth", "levels of a tree", TypeConverters.toInt
    )

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(maxDepth=4, maxIter=100, stepSize=0.05, seed=1)
        self._set(**params)

    def grown(self, dataset: DataFrame) -> tuple[Forest, Floats]:
        """XGBoost's trees."""
        from xgboost.spark import SparkXGBClassifier  # noqa: PLC0415 - an extra

        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        stop: dict[str, Any] = {}
        if self.rounds:
            stop = {
                "validation_indicator_col": self.getValidationIndicatorCol(),
                "early_stopping_rounds": self.rounds,
            }
        least = min(OF_XGBOOST["min_child_weight"], LEAF_SHARE * self._weight(dataset))
        estimator = SparkXGBClassifier(
            **{**OF_XGBOOST, "min_child_weight": least},
            features_col=self.getFeaturesCol(),
            label_col=self.getLabelCol(),
            weight_col=self.getWeightCol(),
            max_depth=self.getOrDefault(self.maxDepth),
            n_estimators=self.getMaxIter(),
            learning_rate=self.getStepSize(),
            random_state=self.getSeed() % 2**31,
            verbosity=0,
            verbose=False,
            **stop,
        )
        booster = estimator.fit(dataset).get_booster()
        if self.rounds:
            booster = booster[: booster.best_iteration + 1]
        nodes = booster.trees_to_dataframe().set_index("ID")
        grown = [tree_of(_of_xgboost(nodes, f"{tree}-0")) for tree in nodes["Tree"].unique()]
        known = json.loads(booster.save_config())["learner"]["learner_model_param"]
        base = float(known["base_score"].strip("[]"))
        gains = np.zeros(booster.num_features())
        for name, gain in booster.get_score(importance_type="total_gain").items():
            gains[int(name.removeprefix("f"))] = gain
        return Forest(tuple(grown), float(np.log(base / (1 - base)))), gains

    def _weight(self, dataset: DataFrame) -> float:
        """The sum of p (1 - p) over all rows, as far as the mean of their labels tells p."""
        weight = F.col(self.getWeightCol())
        sums = dataset.agg(F.sum(weight), F.sum(weight * F.col(self.getLabelCol()))).collect()[0]
        total, positives = (float(of or 0) for of in sums)
        return positives * (total - positives) / total if total else 0.0


def up_to(single: np.float32) -> float:
    """The largest number that is this one or below once it is rounded to single precision."""
    middle = (float(single) + float(np.nextafter(single, np.float32(np.inf)))) / 2
    # Halfway between two it is rounded to the even one.
    return middle if np.float32(middle) == single else float(np.nextafter(middle, -np.inf))


def _of_lightgbm(node: dict[str, Any]) -> Node:
    if "leaf_value" in node:
        return Node(node["leaf_value"], node.get("leaf_count", 1))
    left, right = _of_lightgbm(node["left_child"]), _of_lightgbm(node["right_child"])
    split = node["split_feature"], node["threshold"]
    return Node(node["internal_value"], node["internal_count"], *split, left, right)


def _of_catboost(
    tree: dict[str, Any], scale: float, level: int | None = None, leaf: int = 0
) -> Node:
    """A leaf's number has a 1 at the place of each split whose border its rows are above."""
    level = len(tree["splits"] or ()) if level is None else level
    if level == 0:
        return Node(scale * tree["leaf_values"][leaf], max(tree["leaf_weights"][leaf], NO_ROWS))
    split = tree["splits"][level - 1]
    below = _of_catboost(tree, scale, level - 1, leaf)
    above = _of_catboost(tree, scale, level - 1, leaf | 1 << (level - 1))
    cover = below.cover + above.cover
    # It compares in single precision: a number that is rounded to the border is not above it.
    threshold = up_to(np.float32(split["border"]))
    return Node(0.0, cover, split["float_feature_index"], threshold, below, above)


def _of_xgboost(nodes: pd.DataFrame, name: str) -> Node:
    node: Any = nodes.loc[name]
    if node["Feature"] == "Leaf":
        return Node(node["Gain"], node["Cover"])
    # It compares in single precision too, and what is rounded to the split is above it.
    threshold = up_to(np.nextafter(np.float32(node["Split"]), np.float32(-np.inf)))
    below, above = _of_xgboost(nodes, node["Yes"]), _of_xgboost(nodes, node["No"])
    place = int(node["Feature"].removeprefix("f"))
    return Node(0.0, node["Cover"], place, threshold, below, above)
