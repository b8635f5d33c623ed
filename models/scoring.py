"""Features of one as-of date to scores: probability, decile, band."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from models.blending import blended
from models.metrics import decile_cuts
from models.registry import Registered

_NO_REASONS = "cast(array() as array<struct<feature:string,value:double,contribution:double>>)"


def scores(
    features: DataFrame,
    model: Registered,
    *,
    horizon_days: int,
    horizon_hours: int | None = None,
    high_deciles: int,
    medium_deciles: int,
) -> DataFrame:
    """One row per row of `features`, with the columns of the contract of `scores`.

    Deciles are cut at scores, so that equal probabilities are never in different deciles.
    """
    keys = ["customer_id", "as_of"]
    together = blended(features, model.members, keys)
    scored = together.withColumn("probability", model.calibration(F.col("probability")))
    rounded = F.round("probability", 6)
    counted = scored.groupBy(rounded.alias("probability")).agg(F.count(F.lit(1)).alias("n"))
    histogram = counted.toPandas().sort_values("probability", ascending=False, ignore_index=True)
    below = [(rounded < cut).cast("int") for cut in decile_cuts(histogram)]
    decile = F.lit(1) + sum(below, F.lit(0))
    band = (
        F.when(F.col("decile") <= high_deciles, "high")
        .when(F.col("decile") <= medium_deciles, "medium")
        .otherwise("low")
    )
    return scored.withColumn("decile", decile).select(
        "customer_id",
        "as_of",
        F.lit(horizon_days).alias("horizon_days"),
        "probability",
        "decile",
        band.alias("band"),
        F.expr(_NO_REASONS).alias("reasons"),
        F.lit(model.name).alias("model_name"),
        F.lit(model.version).alias("model_version"),
        F.current_timestamp().alias("scored_at"),
        F.lit(horizon_hours).cast("int").alias("horizon_hours"),
    )
