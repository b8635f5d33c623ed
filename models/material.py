"""What is learned from, and what judges: labelled snapshots, made ready once for every model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.settings import TrainingSettings
from features.snapshots import Split, sampled
from models.candidates import LABEL, WEIGHT

FOLD, WATCHED = "fold", "watched"
# With early stopping, one customer of so many is watched instead of learned from.
WATCHED_OF = 10
# Of snapshots that only train.
NO_FOLD = -1


@dataclass(frozen=True)
class Material:
    """`learned` holds the sampled snapshots of every date, `tuning` those of the tuning dates, and
    `judged` all of the held-out date, which are of so many `customers`. `share` of the snapshots
    are sampled; `ratio` is the weight of a positive over that of a negative.

    Column `fold`, from 0 on, says which fold validates a snapshot of `tuning`; `watched`, whether
    it tells boosted trees when to stop (`training.early_stopping`).
    """

    learned: DataFrame
    tuning: DataFrame
    judged: DataFrame
    customers: int
    share: float
    ratio: float
    split: Split


def training_snapshots(
    features: DataFrame,
    labels: DataFrame,
    dates: Sequence[date],
    active_within_days: int | None,
) -> DataFrame:
    """The features of the labelled snapshots of these dates, with `label` (0 or 1): one row per
    snapshot of a customer whose last order is at most `active_within_days` days old.
    """
    wanted = F.col("as_of").isin(list(dates))
    labelled = labels.where(wanted).select(
        "customer_id", "as_of", F.col("repurchased").cast("int").alias(LABEL)
    )
    active = (
        F.lit(True) if active_within_days is None else F.col("recency_days") <= active_within_days
    )
    return features.where(wanted & active).join(labelled, ["customer_id", "as_of"])


@contextmanager
def made_ready(
    snapshots: DataFrame, split: Split, settings: TrainingSettings
) -> Iterator[Material]:
    """The material of `training_snapshots`, in memory as long as it is used.

    Raises InputError when there is too little to learn from.
    """
    found = _counted(snapshots, split)
    n, positives, total = found["n"], found["positives"], found["total"]
    if n < 2 * settings.folds or positives in (0, n):
        raise InputError(
            f"nothing to learn from: of {n} snapshots on {len(split.tuning)} dates, {positives} "
            "are followed by an order in the label window; both outcomes are needed. A longer log, "
            "a longer snapshots.horizon_days or more snapshots.count may help"
        )
    share = min(1.0, (settings.max_snapshots or total) / total)
    ratio = (n - positives) / positives if settings.weight_positives == "balanced" else 1.0
    weight = F.when(F.col(LABEL) == 1, F.lit(ratio)).otherwise(F.lit(1.0))
    learned = (
        # Those of one customer are much alike: so many tell most when they are of many customers.
        sampled(snapshots, share, ["customer_id", "as_of"])
        .withColumns({FOLD: _fold(split, settings), WATCHED: _watched(settings), WEIGHT: weight})
        # Fixed partitions in a fixed order: the same fit on a laptop and on a cluster.
        .repartition(settings.partitions, "customer_id")
        .sortWithinPartitions("customer_id", "as_of")
        .persist()
    )
    judged = snapshots.where(F.col("as_of") == F.lit(split.held_out)).persist()
    of_tuning = learned.where(F.col("as_of").isin(list(split.tuning)))
    try:
        yield Material(learned, of_tuning, judged, found["customers"], share, ratio, split)
    finally:
        learned.unpersist()
        judged.unpersist()


def _fold(split: Split, settings: TrainingSettings) -> Column:
    if settings.folds_by == "customers":
        return F.pmod(F.xxhash64("customer_id"), F.lit(settings.folds)).cast("int")
    folds = split.folds_in_time(settings.folds)
    if len(folds) < settings.folds:
        raise InputError(
            f"{len(split.tuning)} tuning dates do not give {settings.folds} folds in time, each "
            f"after a date whose {split.horizon_days} days are over: lower training.folds, or make "
            "training.folds_by customers"
        )
    cases = [F.when(F.col("as_of").isin(days), F.lit(k)) for k, days in enumerate(folds)]
    return F.coalesce(*cases, F.lit(NO_FOLD))


def _watched(settings: TrainingSettings) -> Column:
    if settings.early_stopping is None:
        return F.lit(False)
    # Whole customers, of every fold: a customer is much alike from date to date.
    return F.pmod(F.xxhash64("customer_id", F.lit(WATCHED)), F.lit(WATCHED_OF)) == 0


def _counted(snapshots: DataFrame, split: Split) -> Row:
    tunes = F.col("as_of").isin(list(split.tuning))
    return snapshots.agg(
        F.count_if(tunes).alias("n"),
        F.count_if(tunes & (F.col(LABEL) == 1)).alias("positives"),
        F.count(F.lit(1)).alias("total"),
        F.count_if(F.col("as_of") == F.lit(split.held_out)).alias("customers"),
    ).collect()[0]
