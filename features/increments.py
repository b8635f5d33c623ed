"""`customer_days` and `event_days` brought to what their logs are now, by the changed days alone.

A table's commits say up to which version of its log, and up to which day, its rows are complete.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.customer_days import (
    CUSTOMER_DAYS,
    Together,
    by_day,
    by_range_of_days,
    customer_days,
)
from features.event_days import Vocabulary, event_days
from lake.contracts import FEATURE_DATES, Table
from lake.store import Lake, dated

# With more of the days touched than this, all are made again.
MOST_TOUCHED = 0.25
# So few are spread over files as they come.
FEW = 7


@dataclass(frozen=True)
class Derived:
    """A table that is made day by day of a log: of the rows dated on the day, and of no others.

    `settings` is what else it depends on.
    """

    table: Table
    log: str
    dated_by: str
    make: Callable[[DataFrame, Together], DataFrame]
    settings: str = ""


ORDERS = Derived(
    CUSTOMER_DAYS,
    "transactions",
    "ordered_on",
    customer_days,
    " ".join(column.name for column in CUSTOMER_DAYS.columns),
)


def of_events(counted: Vocabulary) -> Derived:
    """`event_days` with the counts of a vocabulary."""
    return Derived(
        counted.table,
        "events",
        "happened_on",
        lambda events, together: event_days(events, counted, together),
        " ".join(counted.measures),
    )


@dataclass(frozen=True)
class Due:
    """Which days must be made again (None: all) to reach a version of the log."""

    days: list[date] | None
    version: int
    log: str

    def first(self, otherwise: date) -> date | None:
        """The first of the days; `otherwise` if all are due, None if none is."""
        return otherwise if self.days is None else min(self.days, default=None)


def due(lake: Lake, first: date, as_of: date, derived: Derived = ORDERS) -> Due:
    """The days before `as_of` that must be made again, in a log that begins on `first`.

    These are the days of the lines that commits have written or removed since the last time, in
    whatever file they came, and those that `as_of` has reached since.
    """
    # What is committed from here on is due the next time.
    version, identity = lake.version(derived.log), lake.identity(derived.log)
    return Due(_touched(lake, derived, version, identity, first, as_of), version, identity)


def _touched(
    lake: Lake, derived: Derived, version: int, identity: str, first: date, as_of: date
) -> list[date] | None:
    known = _known(lake, derived)
    if known.get(derived.log) != identity or known.get("settings", "") != derived.settings:
        return None
    since, until = int(known["version"]), date.fromisoformat(known["until"])
    days = _days_told(lake, derived, since, version, until)
    if days is None:
        days = _days_read(lake, derived, since, version, until)
    if days is None:
        return None
    touched = sorted(day for day in days if day < as_of)
    return touched if len(touched) <= MOST_TOUCHED * ((as_of - first).days + 1) else None


def _days_told(
    lake: Lake, derived: Derived, since: int, version: int, until: date
) -> set[date] | None:
    """The days of the lines that came after version `since`, or are dated `until` or later, where
    the log of the table tells them all: each file has one day, and no line has gone.
    """
    files = lake.days_of_files(derived.log, derived.dated_by, since, version)
    if files is None:
        return None
    looked_at = [(begin, end) for is_new, begin, end in files if is_new or end >= until]
    return {begin for begin, _ in looked_at} if all(b == e for b, e in looked_at) else None


def _days_read(
    lake: Lake, derived: Derived, since: int, version: int, until: date
) -> set[date] | None:
    """The days of the lines that came or went after version `since`, or are dated `until` or
    later; None where the history does not tell.
    """
    changes = lake.changes(derived.log, since, version)
    if changes is None:
        return None
    day = F.col(derived.dated_by)
    entered = lake.read(derived.log).where(day >= F.lit(until))
    try:
        days = changes.select(day).union(entered.select(day)).distinct().collect()
    except PySparkException:  # the changes have been vacuumed
        return None
    return {row[0] for row in days}


def update_customer_days(lake: Lake, work: Due, as_of: date, derived: Derived = ORDERS) -> None:
    """Make the customer-days of the due days again, and drop those from `as_of` on."""
    known = _known(lake, derived)
    facts = {derived.log: work.log, "version": str(work.version), "until": str(as_of)}
    if derived.settings:
        facts["settings"] = derived.settings
    day = F.col(derived.dated_by)
    lines = lake.read(derived.log).where(day < F.lit(as_of))
    if work.days is None:
        lake.replace(derived.table, derived.make(lines, by_range_of_days), facts=facts)
    elif work.days or facts != known:
        few = len(work.days) <= FEW
        of_days = lines.where(day.isin(work.days))
        made = derived.make(of_days, by_day if few else by_range_of_days)
        some = f"{dated('day', work.days)} OR " if work.days else ""
        lake.replace(derived.table, made, f"{some}day >= DATE'{as_of}'", facts)


def _known(lake: Lake, derived: Derived) -> dict[str, str]:
    name = derived.table.name
    return lake.facts(name) if lake.exists(name) else {}


def customers_due(lake: Lake) -> Due:
    """The first day on which a row of `customers` holds that has come, gone or changed since the
    features were made; files that say the same again change nothing.
    """
    version, identity = lake.version("customers"), lake.identity("customers")
    known = lake.properties("feature_dates") if lake.exists("feature_dates") else {}
    if known.get("customers") != identity:
        return Due(None, version, identity)
    now = lake.read("customers").drop("file")
    try:
        before = lake.at_version("customers", int(known["customers_version"])).drop("file")
        differing = now.exceptAll(before).unionAll(before.exceptAll(now))
        first = differing.agg(F.min("valid_from_day")).collect()[0][0]
    except PySparkException:  # that version has been vacuumed
        return Due(None, version, identity)
    return Due([] if first is None else [first], version, identity)


def remember_customers(lake: Lake, work: Due) -> None:
    """Let `feature_dates` know that no date in it is older than this version of `customers`."""
    if not lake.exists("feature_dates"):
        lake.put(FEATURE_DATES, [])
    done = {"customers": work.log, "customers_version": str(work.version)}
    lake.set_properties("feature_dates", done)
