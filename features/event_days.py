"""Events to the daily partial aggregates that every window sums, as customer-days are for lines."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.customer_days import Together, by_customer
from lake.contracts import CUSTOMER, Column, Table

EVENT_DAYS = Table(
    "event_days",
    "One row per customer and day with an event",
    (
        CUSTOMER,
        Column("day", "date", "The business day"),
        Column("events", "int", "Events of any kind"),
        Column("sessions", "int", "Distinct sessions with an event on this day"),
        Column("last_event_at", "timestamp", "When the last event happened"),
    ),
    in_pieces=True,
    in_order_of=("customer_id", "day"),
)


@dataclass(frozen=True)
class Vocabulary:
    """The kinds of events and the traffic sources that are counted by their names."""

    kinds: tuple[str, ...] = ()
    traffic_sources: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, tuple[str, str]]:
        """By the name of the count: the column of `events` and its value that is counted."""
        return {
            **{f"kind_{kind}": ("kind", kind) for kind in self.kinds},
            **{f"source_{name}": ("traffic_source", name) for name in self.traffic_sources},
        }

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns of `event_days` that windows sum."""
        return ("events", "sessions", *self.counts)

    @property
    def table(self) -> Table:
        """The contract of `event_days` with a column for each count."""
        return EVENT_DAYS.with_columns(
            [
                Column(name, "int", f"Events with the {column} {value}")
                for name, (column, value) in self.counts.items()
            ]
        )


def event_days(
    events: DataFrame, counted: Vocabulary, together: Together = by_customer
) -> DataFrame:
    """The events of every customer and day, counted as the contract says.

    A session that goes on after midnight is one of each of its days. What brings the rows
    `together` is the one exchange of the events.
    """
    named = events.withColumnRenamed("happened_on", "day")
    days = (
        together(named)
        .groupBy("customer_id", "day")
        .agg(
            F.count(F.lit(1)).alias("events"),
            F.count_distinct("session_id").alias("sessions"),
            F.max("happened_at").alias("last_event_at"),
            *[
                F.count_if(F.col(column) == value).alias(name)
                for name, (column, value) in counted.counts.items()
            ],
        )
    )
    return counted.table.select(days)
