"""Customer-days to features at any number of as-of dates, in one pass and one exchange.

A window over each customer's days brings them together and in order, which is the only exchange;
`features.fold` makes the features of every window and date from them, a batch of customers at a
time.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from features import fold
from features.calendar import Calendar, numbered
from features.catalogue import Feature, catalogue
from lake.store import Made

# Workers need numpy and Arrow, and no copy of this package.
cloudpickle.register_pickle_by_value(fold)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Snapshots:
    """The as-of dates to look at, and what the features need to know of the log around them."""

    as_ofs: tuple[date, ...]
    windows: tuple[int, ...]
    horizon_days: int
    log_start: date
    country: str | None

    def fold(self, features: Sequence[Feature]) -> fold.Fold:
        """The fold that makes the features."""
        # Of what lies before the log, the longest window counts weekends and holidays too.
        first = min(self.log_start, min(self.as_ofs) - timedelta(self.windows[-1]))
        calendar = Calendar(first, max(self.as_ofs) + timedelta(self.horizon_days), self.country)
        return fold.Fold(
            as_ofs=np.array(sorted(map(numbered, self.as_ofs)), np.int64),
            windows=self.windows,
            horizon_days=self.horizon_days,
            log_start=numbered(self.log_start),
            calendar_start=numbered(first),
            weekends_before=calendar.weekends_before(),
            holidays_before=calendar.holidays_before(),
            formulas=tuple(fold.Formula(f.name, f.type, f.formula) for f in features),
        )


def customer_features(
    customer_days: DataFrame, snapshots: Snapshots, names: Collection[str] | None = None
) -> DataFrame:
    """One row per customer and as-of date with an order before it: `customer_id`, `as_of` and
    every feature of the catalogue, or those of these names.

    Whatever is dated on or after an as-of date has no influence on its rows.
    """
    return made_features(customer_days, snapshots, names).frame()


def made_features(
    customer_days: DataFrame, snapshots: Snapshots, names: Collection[str] | None = None
) -> Made:
    """The rows of `customer_features`, to be handed to Spark or written by the workers."""
    known = customer_days.where(F.col("day") < F.lit(max(snapshots.as_ofs)))
    in_order = Window.partitionBy("customer_id").orderBy("day")
    history = known.withColumn("position", F.row_number().over(in_order))
    features = [
        feature
        for feature in catalogue(snapshots.windows, snapshots.horizon_days)
        if names is None or feature.name in names
    ]
    folded = snapshots.fold(features)
    schema = ", ".join(f"{name} {type_}" for name, type_ in folded.schema().items())
    return Made(history.select(*folded.reads()), folded.__call__, schema)
