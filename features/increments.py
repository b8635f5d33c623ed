"""`customer_days` and `event_days` brought to what their logs are now, by the changed days alone.

A table's commits say up to which version of its log, and up to which day, its rows are complete.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from py4j.protocol import Py4JError
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
# What Spark raises for a file that is no longer there: its own words, or Java's as they come.
UNREADABLE = (PySparkException, Py4JError)


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
    """Which days must be made again (None: all) to reach a version of the log; and the first day,
    however late, that may have changed.
    """

    days: list[date] | None
    version: int
    log: str
    changed: date | None = None

    def first(self, otherwise: date) -> date | None:
        """The first day that is no longer what it was; `otherwise` if all are due, None if none."""
        return otherwise if self.days is None else self.changed


def due(lake: Lake, first: date, as_of: date, derived: Derived = ORDERS) -> Due:
    """The days before `as_of` that must be made again, in a log that begins on `first`.

    These are the days of the lines that commits have written or removed since the last time, in
    whatever file they came, and those that `as_of` has reached since.
    """
    # What is committed from here on is due the next time.
    version, identity = lake.version(derived.log), lake.identity(derived.log)
    found = _touched(lake, derived, version, identity)
    if found is None:
        return Due(None, version, identity)
    touched = sorted(day for day in found.changed | found.entered if day < as_of)
    are_few = len(touched) <= MOST_TOUCHED * ((as_of - first).days + 1)
    # Of the days that nobody has looked at yet, some may have lost all of their lines.
    unknown = {found.until} if found.until < as_of else set()
    changed = min(found.changed | unknown, default=None)
    return Due(touched if are_few else None, version, identity, changed)


@dataclass(frozen=True)
class _Days:
    """Those of lines that have come or gone since, and those from `until` on, at which nobody has
    looked yet.
    """

    changed: set[date]
    entered: set[date]
    until: date


def _touched(lake: Lake, derived: Derived, version: int, identity: str) -> _Days | None:
    known = _known(lake, derived)
    if known.get(derived.log) != identity or known.get("settings", "") != derived.settings:
        return None
    since, until = int(known["version"]), date.fromisoformat(known["until"])
    days = _days_told(lake, derived, since, version, until)
    return _days_read(lake, derived, since, version, until) if days is None else days


def _days_told(lake: Lake, derived: Derived, since: int, version: int, until: date) -> _Days | None:
    """The days of the lines that came after version `since`, or are dated `until` or later, where
    the log of the table tells them all: each file has one day, and no line has gone.
    """
    files = lake.days_of_files(derived.log, derived.dated_by, since, version)
    if files is None:
        return None
    looked_at = [one for one in files if one[0] or one[2] >= until]
    if any(begin != end for _, begin, end in looked_at):
        return None
    return _Days(
        {day for is_new, day, _ in looked_at if is_new},
        {day for is_new, day, _ in looked_at if not is_new},
        until,
    )


def _days_read(lake: Lake, derived: Derived, since: int, version: int, until: date) -> _Days | None:
    """The days of the lines that came or went after version `since`, or are dated `until` or
    later; None where the history does not tell.
    """
    changes = lake.changes(derived.log, since, version)
    if changes is None:
        return None
    day = F.col(derived.dated_by)
    entered = lake.read(derived.log).where(day >= F.lit(until)).select(day, F.lit(False))
    try:
        days = changes.select(day, F.lit(True)).union(entered).distinct().collect()
    except UNREADABLE:  # the changes have been vacuumed
        return None
    changed = {day for day, is_change in days if is_change}
    return _Days(changed, {day for day, _ in days} - changed, until)


def update_customer_days(lake: Lake, work: Due, as_of: date, derived: Derived = ORDERS) -> None:
    """Make the customer-days of the due days again, and drop those from `as_of` on."""
    known, facts = _known(lake, derived), _complete_to(work, as_of, derived)
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


def _complete_to(work: Due, as_of: date, derived: Derived = ORDERS) -> dict[str, str]:
    """What the table's commit says once the work is done."""
    settings = {"settings": derived.settings} if derived.settings else {}
    return {derived.log: work.log, "version": str(work.version), "until": str(as_of), **settings}


def are_alone(lake: Lake, work: Due, as_of: date, derived: Derived = ORDERS) -> bool:
    """Whether nobody else has brought the table to another version or day since the work."""
    return _known(lake, derived) == _complete_to(work, as_of, derived)


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
    except UNREADABLE:  # that version has been vacuumed
        return Due(None, version, identity)
    return Due([] if first is None else [first], version, identity, first)


def remember_customers(lake: Lake, work: Due) -> None:
    """Let `feature_dates` know that no date in it is older than this version of `customers`."""
    if not lake.exists("feature_dates"):
        lake.put(FEATURE_DATES, [])
    lake.set_properties("feature_dates", _done(work))


def are_customers_the_same(lake: Lake, work: Due) -> bool:
    """Whether nobody else has followed a later version of `customers` since."""
    return _done(work).items() <= lake.properties("feature_dates").items()


def _done(work: Due) -> dict[str, str]:
    return {"customers": work.log, "customers_version": str(work.version)}
