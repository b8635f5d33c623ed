"""What several models say of a customer, together: the mean of their calibrated logits."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from models.calibration import Calibration, logit

BLEND = "blend"
RAW = "raw_probability"


@dataclass(frozen=True)
class Member:
    """A fitted model, the calibration of what it says, and its grid point."""

    name: str
    pipeline: PipelineModel
    calibration: Calibration
    parameters: dict[str, float]


def raw_probability(scored: DataFrame) -> DataFrame:
    """The frame with the positive class's probability as a number, in `raw_probability`."""
    return scored.withColumn(RAW, vector_to_array(F.col("probability"))[1])


def blended(rows: DataFrame, members: Sequence[Member], keep: Sequence[str]) -> DataFrame:
    """The columns `keep` of the rows with `probability`: the one whose logit is the mean of the
    members' calibrated ones. That of a single member is its own.
    """
    said: list[str] = []
    frame = rows
    for place, member in enumerate(members):
        # A pipeline's columns make way for the next one's.
        name = f"probability_{place}"
        raw = raw_probability(member.pipeline.transform(frame))
        own = member.calibration(F.col(RAW)).alias(name)
        frame = raw.select(*rows.columns, *said, own)
        said.append(name)
    if len(said) == 1:
        return frame.select(*keep, F.col(said[0]).alias("probability"))
    mean = sum((logit(F.col(name)) for name in said), F.lit(0.0)) / len(said)
    return frame.select(*keep, (1 / (1 + F.exp(-mean))).alias("probability"))
