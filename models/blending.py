"""What several models say of a customer, together: the mean of their calibrated logits."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from models.calibration import Calibration, logit
from models.preparation import VECTOR

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


def said(rows: DataFrame, members: Sequence[Member]) -> DataFrame:
    """The rows with what each member says of them, calibrated, in `probability_0` and so on, and
    what it read, in the arrays `read_0` and so on.
    """
    found: list[Column] = []
    frame = rows
    for place, member in enumerate(members):
        raw = raw_probability(member.pipeline.transform(frame))
        own = member.calibration(F.col(RAW)).alias(f"probability_{place}")
        read = vector_to_array(F.col(VECTOR)).alias(f"read_{place}")
        # A pipeline's columns make way for the next one's.
        frame = raw.select(*rows.columns, *found, own, read)
        found += [F.col(f"probability_{place}"), F.col(f"read_{place}")]
    return frame


def together(members: Sequence[Member]) -> Column:
    """Of rows with what each member says, the probability whose logit is the mean of the members'.
    That of a single member is its own.
    """
    if len(members) == 1:
        return F.col("probability_0")
    logits = [logit(F.col(f"probability_{place}")) for place in range(len(members))]
    return 1 / (1 + F.exp(-sum(logits, F.lit(0.0)) / len(members)))


def blended(rows: DataFrame, members: Sequence[Member], keep: Sequence[str]) -> DataFrame:
    """The columns `keep` of the rows, with the `probability` of the members together."""
    return said(rows, members).select(*keep, together(members).alias("probability"))
