"""`customer_days` brought to what `transactions` is now, by the days that have changed alone.

The table remembers up to which version of `transactions`, and up to which day, it is complete. Each
step can be killed: what it had begun counts as not done.
"""

from dataclasses import dataclass
from datetime import date

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from features.customer_days import CUSTOMER_DAYS, customer_days
from lake.store import Lake, dated

# With more of the days touched than this, all are made again.
MOST_TOUCHED = 0.25


@dataclass(frozen=True)
class Due:
    """Which days must be made again (None: all) to reach a version of `transactions`."""

    days: list[date] | None
    version: int
    transactions: str

    def first(self, otherwise: date) -> date | None:
        """The first of the days; `otherwise` if all are due, None if none is."""
        return otherwise if self.days is None else min(self.days, default=None)


def due(lake: Lake, first: date, as_of: date) -> Due:
    """The days before `as_of` whose customer-days must be made again.

    These are the days of the lines that commits have written or removed since the last time, in
    whatever file they came, and those that `as_of` has reached since.
    """
    # What is committed from here on is due the next time.
    version, identity = lake.version("transactions"), lake.identity("transactions")
    return Due(_touched(lake, identity, first, as_of), version, identity)


def _touched(lake: Lake, identity: str, first: date, as_of: date) -> list[date] | None:
    known = lake.properties("customer_days") if lake.exists("customer_days") else {}
    if known.get("transactions") != identity:
        return None
    changes = lake.changes("transactions", int(known["version"]))
    if changes is None:
        return None
    until = F.lit(date.fromisoformat(known["until"]))
    entered = lake.read("transactions").where(F.col("ordered_on") >= until)
    days = changes.select("ordered_on").union(entered.select("ordered_on")).distinct()
    try:
        rows = days.where(F.col("ordered_on") < F.lit(as_of)).collect()
    except PySparkException:  # the changes have been vacuumed
        return None
    few = MOST_TOUCHED * ((as_of - first).days + 1)
    return sorted(row[0] for row in rows) if len(rows) <= few else None


def update_customer_days(lake: Lake, work: Due, as_of: date) -> None:
    """Make the customer-days of the due days again, and drop those from `as_of` on."""
    known = lake.properties("customer_days") if lake.exists("customer_days") else {}
    reached = date.fromisoformat(known["until"]) if "until" in known else as_of
    if known:
        # Whatever happens from here on, the days from then on count as not made.
        lake.set_properties("customer_days", {"until": str(min(reached, as_of))})
    lines = lake.read("transactions").where(F.col("ordered_on") < F.lit(as_of))
    if work.days is None:
        lake.replace(CUSTOMER_DAYS, customer_days(lines, by_day=True))
    elif work.days or reached > as_of:
        made = customer_days(lines.where(F.col("ordered_on").isin(work.days)), by_day=True)
        some = f"{dated('day', work.days)} OR " if work.days else ""
        lake.replace(CUSTOMER_DAYS, made, f"{some}day >= DATE'{as_of}'")
    done = {"transactions": work.transactions, "version": str(work.version), "until": str(as_of)}
    lake.set_properties("customer_days", done)
