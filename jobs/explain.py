"""`repurchase explain`: one customer's feature, and the lines of the log behind it."""

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Annotated

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.markup import escape

from conf.errors import InputError
from conf.loading import closest
from features.catalogue import PREDICTIONS
from features.customer_days import customer_days
from features.event_days import event_days
from features.fold import DAYS_OF_YEAR
from features.increments import due
from jobs.build_features import (
    OF_PRODUCTS,
    Known,
    counted_events,
    feature_columns,
    features_at,
    known_features,
    known_lines,
)
from jobs.console import console, handled, say, show
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, clock, log_span, open_job

MOST_LINES = 200
# Features that look at the calendar or at the log as a whole, and at no line of the customer.
CALENDAR = ("horizon_", "history_shorter_")
# Features of the last day with an order.
LAST_ORDER = "last_order_"


_PREDICTED = {feature.name for feature in PREDICTIONS}


@dataclass(frozen=True)
class Behind:
    """The rows of a table that are behind a feature: what dates and orders them, what is shown."""

    table: str
    what: str
    day: str
    order: tuple[str, ...]
    shown: tuple[str, ...]


LINES = Behind(
    "transactions",
    "lines",
    "ordered_on",
    ("ordered_at", "order_id"),
    ("ordered_on", "kind", "order_id", "amount", "quantity", "category", "file"),
)
# Columns of the lines that are shown beside these where the feature is made of them.
MORE = ("discount", "payment_method", "product_id", "channel")
EVENTS = Behind(
    "events",
    "events",
    "happened_on",
    ("happened_at", "kind"),
    ("happened_at", "kind", "session_id", "traffic_source", "product_id", "file"),
)
ATTRIBUTES = Behind(
    "customers",
    "attributes",
    "valid_from_day",
    ("valid_from",),
    (
        *("valid_from_day", "valid_until_day", "birth_year", "gender", "location"),
        *("signed_up_on", "file"),
    ),
)


def explain(job: Job, span: LogSpan, customer: str, feature: str, most: int = MOST_LINES) -> None:
    """Show the value, computed anew from the customer's lines, and the latest of those lines.

    Raises InputError for an unknown feature or customer.
    """
    columns = {column.name: column for column in feature_columns(job)}
    if feature not in columns:
        raise InputError(
            f"--feature {feature}: no such feature{closest(feature, columns)}; "
            "`repurchase features list` shows them"
        )
    known = _of_customer(job, span, customer)
    if feature in OF_PRODUCTS:
        known = replace(known, of_everybody=_of_everybody(job, span))
    if feature in _PREDICTED and not _is_fitted(job, span.as_of):
        raise InputError(
            f"--feature {feature}: no model is fitted for {span.as_of}; do it by "
            f"`repurchase build-features --from {span.as_of} --to {span.as_of}`"
        )
    made = features_at(job, span, known, [span.as_of], [feature])
    rows = made.select(F.col(feature).cast(columns[feature].type)).collect()
    if not rows:
        raise InputError(f"--customer {customer}: no order before {span.as_of} in the log")
    of = escape(f"{customer} as of {span.as_of}: {rows[0][0]}")
    console.print(f"[bold]{feature}[/bold] of {of}", soft_wrap=True)
    say(columns[feature].description)
    is_ours = feature in {f.name for f in known_features(job)}
    if is_ours and feature.startswith(CALENDAR):
        say("no line of the customer has a part in it")
        return
    is_of_last = is_ours and feature.startswith(LAST_ORDER)
    days = _last_order_day(known) if is_of_last else _days(job, span, feature)
    for rows_behind in _behind(job, feature):
        _show(job, span, customer, rows_behind, days, most)


def _behind(job: Job, feature: str) -> list[Behind]:
    needs = {f.name: f.needs for f in known_features(job)}.get(feature)
    if needs == "customers":
        return [ATTRIBUTES]
    if needs == "events":
        return [EVENTS, LINES] if "_without_order" in feature else [EVENTS]
    name, _, _ = feature.rpartition("_")  # the window is after it
    own = [made.sql for made in job.settings.features.custom if made.name == name]
    more = [column for column in MORE if any(column in text for text in (feature, *own))]
    if feature in OF_PRODUCTS:
        more.append("product_id")
    return [replace(LINES, shown=(*LINES.shown[:-1], *more, "file"))]


def _show(
    job: Job,
    span: LogSpan,
    customer: str,
    behind: Behind,
    days: tuple[date | None, date],
    most: int,
) -> None:
    """The customer's rows from the first of the days on (None: from the beginning) and before the
    last; of too many, the latest.
    """
    begin, end = days
    day = F.col(behind.day)
    own = job.lake.read(behind.table).where(F.col("customer_id") == F.lit(customer))
    past, when = own.where(day < F.lit(end)), f"before {end}"
    if begin is not None:
        past = past.where(day >= F.lit(begin))
        when = f"on the days {begin} .. {end - timedelta(1)}"
    local = F.from_utc_timestamp("happened_at", clock(job).time_zone)
    shown_as = F.date_format(local, "yyyy-MM-dd HH:mm:ss")
    columns = [shown_as.alias(name) if name == "happened_at" else name for name in behind.shown]
    latest = past.orderBy(*map(F.desc, behind.order)).select(*columns).limit(most + 1).collect()
    show(
        f"The customer's {behind.what} {when}",
        list(behind.shown),
        [["" if cell is None else str(cell) for cell in row] for row in latest[:most][::-1]],
    )
    if len(latest) > most:
        say(f"the latest {most:,} of {past.count():,} {behind.what}; --lines shows more")


def _is_fitted(job: Job, as_of: date) -> bool:
    """Whether the models of the customer base are there for the date."""
    if not job.lake.exists("customer_base"):
        return False
    return not job.lake.read("customer_base").where(F.col("as_of") == F.lit(as_of)).isEmpty()


def _of_customer(job: Job, span: LogSpan, customer: str) -> Known:
    """What is known of one customer before `as_of`, read from the logs themselves."""
    own = F.col("customer_id") == F.lit(customer)
    lines = known_lines(job, span).where(own)
    counted = counted_events(job)
    return Known(
        lines,
        customer_days(lines),
        event_days(job.lake.read("events").where(own), counted) if counted else None,
        job.lake.read("customers").where(own) if job.lake.exists("customers") else None,
    )


def _of_everybody(job: Job, span: LogSpan) -> DataFrame:
    """The customer-days of all customers: those that are there, if nothing has come since."""
    if due(job.lake, span.first, span.as_of).days == []:
        return job.lake.read("customer_days")
    return customer_days(known_lines(job, span))


def _last_order_day(known: Known) -> tuple[date, date]:
    """It, and the day after it."""
    bought = known.lines.where(F.col("kind") == "purchase")
    last: date = bought.agg(F.max("ordered_on")).collect()[0][0]
    return last, last + timedelta(1)


def _days(job: Job, span: LogSpan, feature: str) -> tuple[date | None, date]:
    """The days that it looks at: from one on (None: from the beginning), and before another."""
    windows, horizon = job.settings.features.windows, job.settings.snapshots.horizon_days
    if feature.endswith("_same_period_last_year"):
        a_year_ago = span.as_of - timedelta(DAYS_OF_YEAR)
        return a_year_ago, min(a_year_ago + timedelta(horizon), span.as_of)
    named = re.findall(r"_(\d+)d(?=_|$)", feature)
    if feature.startswith("orders_decayed_"):
        back = windows[-1]
    elif feature.endswith("_lifetime") or not named:
        return None, span.as_of
    else:
        back = max(map(int, named))
    return span.as_of - timedelta(back), span.as_of


@handled
def main(
    customer: Annotated[str, typer.Option(help="The customer_id.")],
    feature: Annotated[str, typer.Option(help="Its name in the table features.")],
    lake: LakeDir = None,
    as_of: AsOf = None,
    lines: Annotated[
        int, typer.Option(min=1, help="At most so many lines, the latest.")
    ] = MOST_LINES,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Show a customer's feature and the lines of the log behind it, the latest of them."""
    job = open_job(env, set_, lake)
    explain(job, log_span(job, as_of), customer, feature, lines)


if __name__ == "__main__":
    typer.run(main)
