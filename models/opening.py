"""Fitted Spark ML pipelines into the open form."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.classification import (
    DecisionTreeClassificationModel,
    GBTClassificationModel,
    LogisticRegressionModel,
    RandomForestClassificationModel,
)
from pyspark.ml.feature import ImputerModel, StandardScalerModel, StringIndexerModel
from pyspark.ml.regression import RandomForestRegressionModel
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from conf.errors import ConfigurationError
from models.blending import Member
from models.boosting import ForestModel
from models.open_form import Input, Line, OpenMember
from models.preparation import MISSING, Inputs
from models.sharing import forest_of
from models.trees import LEAF, Forest, Tree, forest

# Whose leaves hold the counts of both outcomes, which a candidate of the user's own may be; and
# these, or their share.
OF_COUNTS = (DecisionTreeClassificationModel, RandomForestClassificationModel)
OF_SHARES = (*OF_COUNTS, RandomForestRegressionModel)
SPARKS_TREES = (*OF_SHARES, GBTClassificationModel)


def opened(spark: SparkSession, member: Member, folder: str, inputs: Inputs) -> OpenMember:
    """The member in the open form; its pipeline is saved in `folder`, where Spark keeps the
    nodes of its trees.

    Raises ConfigurationError for a kind of model that is none of those known here.
    """
    stages: list[Any] = member.pipeline.stages
    model = stages[-1]
    if isinstance(model, LogisticRegressionModel):
        line = Line(float(model.intercept), model.coefficients.toArray())
        return _member(member, line, _standardised(member.pipeline, inputs))
    if isinstance(model, ForestModel):
        grown = forest(json.loads(model.getOrDefault(model.forest)))
    elif within := forest_of(model):
        grown = _spark_forest(spark, within, _place(_place(folder, stages), model.stages, 0))
    elif isinstance(model, SPARKS_TREES):
        grown = _spark_forest(spark, model, _place(folder, stages))
    else:
        raise ConfigurationError(
            f"training.models.{member.name}: models/opening.py does not know how to explain a "
            f"{type(model).__name__}; teach it, or leave the model out"
        )
    return _member(member, grown, unscaled(member.pipeline, inputs))


def _place(folder: str, stages: Sequence[Any], place: int = -1) -> str:
    """Where Spark keeps a stage of a pipeline that is saved in a folder."""
    number = str(place % len(stages)).zfill(len(str(len(stages))))
    return f"{folder}/stages/{number}_{stages[place].uid}"


def unscaled(pipeline: PipelineModel, inputs: Inputs) -> list[Input]:
    """What the model of a fitted pipeline reads, in its order, before any scaling."""
    numbers = [Input(name, missing=MISSING) for name in inputs.numeric]
    return [*numbers, *_texts(pipeline, inputs)]


def _member(member: Member, said: Line | Forest, inputs: list[Input]) -> OpenMember:
    model = member.pipeline.stages[-1]
    of_probability = isinstance(forest_of(model) or model, OF_SHARES)
    return OpenMember(member.name, tuple(inputs), said, of_probability, member.calibration)


def _texts(pipeline: PipelineModel, inputs: Inputs) -> list[Input]:
    stages: list[Any] = pipeline.stages
    labels = next((s.labelsArray for s in stages if isinstance(s, StringIndexerModel)), [])
    found = []
    for feature, texts in zip(inputs.texts, labels, strict=True):
        found += [Input(feature, text) for text in texts]
        # Spark's place for texts that it does not know, of which the preparation leaves none.
        found.append(Input(feature, "__unknown", scale=0.0))
    return found


def _standardised(pipeline: PipelineModel, inputs: Inputs) -> list[Input]:
    stages: list[Any] = pipeline.stages
    imputer = next(stage for stage in stages if isinstance(stage, ImputerModel))
    scaler = next(stage for stage in stages if isinstance(stage, StandardScalerModel))
    missing = imputer.surrogateDF.collect()[0]

    def logged(one: Input) -> Input:
        if one.text is not None:
            return one
        low, high = inputs.ranges.get(one.feature, (None, None))
        return replace(one, missing=missing[f"x_{one.feature}"], low=low, high=high, log=True)

    read = map(logged, unscaled(pipeline, inputs))
    means, spreads = scaler.mean.toArray(), scaler.std.toArray()
    return [
        replace(one, centre=float(mean), scale=1 / float(spread) if spread else 0.0)
        for one, mean, spread in zip(read, means, spreads, strict=True)
    ]


def _spark_forest(
    spark: SparkSession,
    model: DecisionTreeClassificationModel
    | GBTClassificationModel
    | RandomForestClassificationModel
    | RandomForestRegressionModel,
    folder: str,
) -> Forest:
    saved = spark.read.parquet(f"{folder}/data")
    several = "treeID" in saved.columns
    nodes = (
        saved.select("treeID", "nodeData.*") if several else saved.withColumn("treeID", F.lit(0))
    )
    of_trees: dict[int, list[Row]] = {}
    for node in nodes.orderBy("treeID", "id").collect():
        of_trees.setdefault(node["treeID"], []).append(node)
    if isinstance(model, OF_SHARES):
        # A leaf says the share of orders among its training rows; a forest, the mean of its trees.
        weight = 1 / len(of_trees)
        counted = isinstance(model, OF_COUNTS)
        share, cover = (_share, sum) if counted else (_mean, _count)
        return Forest(
            tuple(
                _spark_tree(
                    nodes,
                    [weight * share(node["impurityStats"]) for node in nodes],
                    [cover(node["impurityStats"]) for node in nodes],
                )
                for nodes in of_trees.values()
            )
        )
    # Spark's loss is log(1 + exp(-2 y F)): the logit is twice the sum.
    return Forest(
        tuple(
            _spark_tree(
                nodes,
                [2 * weight * node["prediction"] for node in nodes],
                [node["impurityStats"][0] for node in nodes],
            )
            for nodes, weight in zip(of_trees.values(), model.treeWeights, strict=True)
        )
    )


def _share(counts: Sequence[float]) -> float:
    return float(counts[1] / sum(counts))


def _mean(stats: Sequence[float]) -> float:
    count, total, _ = stats
    return float(total / count)


def _count(stats: Sequence[float]) -> float:
    return float(stats[0])


def _spark_tree(nodes: Sequence[Row], value: Sequence[float], cover: Sequence[float]) -> Tree:
    splits = [_split(node) for node in nodes]
    inputs, thresholds, left, right = (np.array(part) for part in zip(*splits, strict=True))
    return Tree(inputs, thresholds, left, right, np.array(value), np.array(cover))


def _split(node: Row) -> tuple[int, float, int, int]:
    """The input, the threshold and the nodes to the left and to the right of a node."""
    split, left, right = node["split"], node["leftChild"], node["rightChild"]
    if left == LEAF:
        return 0, 0.0, LEAF, LEAF
    if split["numCategories"] == -1:
        return split["featureIndex"], split["leftCategoriesOrThreshold"][0], left, right
    # An input that is 0 or 1: one of them goes left.
    zero_goes_left = split["leftCategoriesOrThreshold"] == [0.0]
    return (split["featureIndex"], 0.5, *((left, right) if zero_goes_left else (right, left)))
