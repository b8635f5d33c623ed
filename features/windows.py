"""Customer-days to features at any number of as-of dates, in one pass.

Each customer's days are brought together and in order, by the only exchange, or without any by
workers that read ranges of customers from the stored tables; `features.fold` makes the features of
every window and date from them, a batch of customers at a time.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import reduce

import numpy as np
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features import fold, popularity, predictions, probabilistic, stored
from features.calendar import Calendar, Clock, numbered
from features.catalogue import Feature, catalogue
from features.customer_days import by_customer, partitions
from features.event_days import Vocabulary
from features.popularity import Popularity
from features.predictions import Predictions
from lake.key_ranges import KeyRanges, Reading
from lake.store import Lake, Made

# Workers need numpy and Arrow, and no copy of this package.
for module in (fold, popularity, predictions, probabilistic, stored):
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
# What the fold reads, as far as a lake has it.
STORED = ("customer_days", "event_days", "customers")


@dataclass(frozen=True)
class Snapshots:
    """The as-of dates to look at, and what the features need to know of the log around them:
    its first day, whose holidays count, which events are counted, and where its days begin.
    """

    as_ofs: tuple[date, ...]
    windows: tuple[int, ...]
    horizon_days: int
    log_start: date
    country: str | None
    events: Vocabulary = field(default_factory=Vocabulary)
    clock: Clock = field(default_factory=Clock)

    def fold(
        self,
        features: Sequence[Feature],
        predicted: Predictions | None = None,
        popular: Popularity | None = None,
    ) -> fold.Fold:
        """The fold that makes the features."""
        needed = {feature.needs for feature in features}
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
            event_measures=self.events.measures if "events" in needed else (),
            starts=np.array([self.clock.start_micros(d) for d in sorted(self.as_ofs)], np.int64),
            has_attributes="customers" in needed,
            predictions=predicted.__call__ if predicted else None,
            predicted_from=predictions.READ if predicted else frozenset(),
            popularity=popular,
        )


def customer_features(
    customer_days: DataFrame,
    snapshots: Snapshots,
    names: Collection[str] | None = None,
    *,
    event_days: DataFrame | None = None,
    customers: DataFrame | None = None,
    predicted: Predictions | None = None,
    popular: Popularity | None = None,
) -> DataFrame:
    """One row per customer and as-of date with an order before it: `customer_id`, `as_of` and
    every feature of the catalogue, or those of these names; those of events, of customers' rows,
    of models and of how popular products are where these are given.

    Whatever is dated on or after an as-of date has no influence on its rows.
    """
    return made_features(
        customer_days,
        snapshots,
        names,
        event_days=event_days,
        customers=customers,
        predicted=predicted,
        popular=popular,
    ).frame()


def made_features(
    customer_days: DataFrame,
    snapshots: Snapshots,
    names: Collection[str] | None = None,
    *,
    event_days: DataFrame | None = None,
    customers: DataFrame | None = None,
    predicted: Predictions | None = None,
    popular: Popularity | None = None,
    stored_bytes: int | None = None,
    ranges: KeyRanges | None = None,
) -> Made:
    """The rows of `customer_features`, to be handed to Spark or written by the workers, in fewer
    partitions where the tables that they are made of have few `stored_bytes`.

    Where there are `ranges` of the customers in the stored tables, the workers read these, and
    there is no exchange at all: the frames then only say which tables there are, and must hold all
    of their rows.
    """
    features = [
        feature
        for feature in catalogue(
            snapshots.windows,
            snapshots.horizon_days,
            None if event_days is None else snapshots.events,
            customers=customers is not None,
            popularity=popular is not None,
            predictions=predicted is not None,
        )
        if names is None or feature.name in names
    ]
    folded = snapshots.fold(features, predicted, popular)
    schema = ", ".join(f"{name} {type_}" for name, type_ in folded.schema().items())
    if ranges is not None:
        frames = zip(STORED, (customer_days, event_days, customers), strict=True)
        tables = [table for table, rows in frames if rows is not None]
        wanted = stored.kinds(ranges, tables, folded.reads())
        reading = Reading(ranges, wanted, numbered(max(snapshots.as_ofs)), folded.__call__)
        places = customer_days.sparkSession.range(0, len(ranges), 1, len(ranges))
        return Made(places, reading.__call__, schema)
    history = _history(customer_days, event_days, customers)
    known = history.where(F.col("day") < F.lit(max(snapshots.as_ofs)))
    # Of the rows of one customer and day, those of customers have an order, by their moment.
    within_day = [] if customers is None else ["valid_from", *stored.ATTRIBUTES]
    needed = known.select(*dict.fromkeys([*folded.reads(), *within_day]))
    together = by_customer(needed, stored_bytes)
    in_order = together.sortWithinPartitions("customer_id", "day", *within_day)
    return Made(in_order.select(*folded.reads()), folded.__call__, schema)


def _history(
    customer_days: DataFrame, event_days: DataFrame | None, customers: DataFrame | None
) -> DataFrame:
    """The rows of all kinds under one another, each with nulls in the columns of the others."""
    kinds = [customer_days]
    if event_days is not None:
        kinds.append(event_days.withColumn("last_event_micros", F.unix_micros("last_event_at")))
    if customers is not None:
        until = F.coalesce("valid_until_day", F.lit(date.max))
        rows = customers.select(
            "customer_id",
            F.col("valid_from_day").alias("day"),
            "valid_from",
            until.alias("valid_until_day"),
            *stored.ATTRIBUTES,
        )
        kinds.append(rows)
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), kinds)


def stored_bytes(lake: Lake) -> int:
    """Of the tables that features are made of."""
    return _bytes(lake, _there(lake))


def stored_ranges(lake: Lake) -> KeyRanges | None:
    """Of the customers in the tables that features are made of, where workers can read them all."""
    there = _there(lake) if lake.is_folder else []
    if "customer_days" not in there:
        return None
    wanted = partitions(lake.spark, _bytes(lake, there))
    return None if wanted is None else lake.key_ranges(there, "customer_id", wanted)


def _there(lake: Lake) -> list[str]:
    return [name for name in STORED if lake.exists(name)]


def _bytes(lake: Lake, tables: Sequence[str]) -> int:
    return sum(lake.size(name)[1] for name in tables)
