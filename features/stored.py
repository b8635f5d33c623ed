"""What workers read of each stored table, and the rows of histories that they make of it: for
Arrow what `features.windows` asks of Spark.

This module knows Arrow only: Spark sends it to the workers as it is.
"""

from collections.abc import Collection, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from lake.key_ranges import KeyRanges, Kind

# Of customers' rows, in the order in which they decide between rows of one moment.
ATTRIBUTES = ("birth_year", "gender", "location", "signed_up_on")


def kinds(ranges: KeyRanges, tables: Sequence[str], reads: Sequence[str]) -> tuple[Kind, ...]:
    """What to read of these tables for the columns that a fold reads."""
    made = {"customer_days": _as_stored, "event_days": _of_events, "customers": _of_customers}
    needed = {
        "customer_days": reads,
        "event_days": [*reads, *(["last_event_at"] if "last_event_micros" in reads else [])],
        "customers": [*("valid_from", "valid_from_day", "valid_until_day"), *ATTRIBUTES],
    }
    return tuple(
        Kind(table, _there(needed[table], ranges.tables[table].schema.names), made[table])
        for table in tables
    )


def _there(wanted: Sequence[str], columns: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(["customer_id", *wanted]) if name in columns)


def _as_stored(rows: pa.Table) -> pa.Table:
    return rows


def _of_events(rows: pa.Table) -> pa.Table:
    if "last_event_at" not in rows.column_names:
        return rows
    at = rows["last_event_at"]
    micros = at.cast(pa.timestamp("us", at.type.tz)).cast(pa.int64())
    return rows.drop_columns("last_event_at").append_column("last_event_micros", micros)


def _of_customers(rows: pa.Table) -> pa.Table:
    # From the end, so that nulls come first, as they do in Spark.
    by_moment = [(name, "descending") for name in ("valid_from", *ATTRIBUTES)]
    rows = rows.take(pc.sort_indices(rows, sort_keys=by_moment)[::-1])
    day, until = rows["valid_from_day"], pc.fill_null(rows["valid_until_day"], date.max)
    kept = rows.select(["customer_id", *ATTRIBUTES])
    return kept.append_column("day", day).append_column("valid_until_day", until)
