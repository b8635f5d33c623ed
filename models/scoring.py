"""Features of one as-of date to scores: probability, reasons, decile, band."""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from models.blending import said
from models.explanations import with_reasons
from models.metrics import decile_cuts
from models.registry import Registered


def explained(
    features: DataFrame, model: Registered, types: Mapping[str, str], words: Mapping[str, str]
) -> DataFrame:
    """One row per row of `features`: its keys, `probability` and `reasons`.

    `types` and `words` are the Spark type and the description of each feature.
    """
    heard = said(features, model.members)
    found = with_reasons(heard, model.open_form, types, words)
    return found.select("customer_id", "as_of", model.probability, "reasons")


def scores(
    explained: DataFrame,
    model: Registered,
    *,
    horizon_days: int,
    horizon_hours: int | None = None,
    high_deciles: int,
    medium_deciles: int,
) -> DataFrame:
    """One row per row of what `explained` gives, with the columns of the contract of `scores`.

    Deciles are cut at scores, so that equal probabilities are never in different deciles.
    """
    rounded = F.round("probability", 6)
    counted = explained.groupBy(rounded.alias("probability")).agg(F.count(F.lit(1)).alias("n"))
    histogram = counted.toPandas().sort_values("probability", ascending=False, ignore_index=True)
    below = [(rounded < cut).cast("int") for cut in decile_cuts(histogram)]
    decile = F.lit(1) + sum(below, F.lit(0))
    band = (
        F.when(F.col("decile") <= high_deciles, "high")
        .when(F.col("decile") <= medium_deciles, "medium")
        .otherwise("low")
    )
    return explained.withColumn("decile", decile).select(
        "customer_id",
        "as_of",
        F.lit(horizon_days).alias("horizon_days"),
        "probability",
        "decile",
        band.alias("band"),
        "reasons",
        F.lit(model.name).alias("model_name"),
        F.lit(model.version).alias("model_version"),
        F.current_timestamp().alias("scored_at"),
        F.lit(horizon_hours).cast("int").alias("horizon_hours"),
    )
