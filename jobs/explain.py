"""`repurchase explain`: one customer's feature, and the lines of the log behind it."""

import re
from datetime import timedelta
from typing import Annotated

import typer
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.loading import closest
from features.customer_days import customer_days
from jobs.build_features import feature_columns, features_at, known_lines
from jobs.console import console, handled, say, show
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job

MOST_LINES = 200
# Features that look at the calendar or at the log as a whole, and at no line of the customer.
CALENDAR = ("horizon_", "as_of_month", "history_shorter_")


def explain(job: Job, span: LogSpan, customer: str, feature: str) -> None:
    """Show the value, computed anew from the customer's lines, and those lines.

    Raises InputError for an unknown feature or customer.
    """
    columns = {column.name: column for column in feature_columns(job)}
    if feature not in columns:
        raise InputError(
            f"--feature {feature}: no such feature{closest(feature, columns)}; "
            "`repurchase features list` shows them"
        )
    lines = known_lines(job, span).where(F.col("customer_id") == F.lit(customer))
    made = features_at(job, span, customer_days(lines), lines, [span.as_of])
    rows = made.select(F.col(feature).cast(columns[feature].type)).collect()
    if not rows:
        raise InputError(f"--customer {customer}: no order before {span.as_of} in the log")
    console.print(f"[bold]{feature}[/bold] of {customer} as of {span.as_of}: {rows[0][0]}")
    say(columns[feature].description)
    if feature.startswith(CALENDAR):
        say("no line of the customer has a part in it")
        return
    days = _days(feature, job.settings.features.windows) or (span.as_of - span.first).days
    begin = span.as_of - timedelta(days)
    behind = lines.where(F.col("ordered_on") >= F.lit(begin)).orderBy("ordered_at", "order_id")
    named = ("ordered_on", "kind", "order_id", "amount", "quantity", "category", "file")
    shown = behind.select(*named).limit(MOST_LINES + 1).collect()
    show(
        f"The customer's lines on the days {begin} .. {span.as_of - timedelta(1)}",
        list(named),
        [["" if cell is None else str(cell) for cell in row] for row in shown[:MOST_LINES]],
    )
    if len(shown) > MOST_LINES:
        say(f"the first {MOST_LINES} of {behind.count():,} lines")


def _days(feature: str, windows: tuple[int, ...]) -> int | None:
    """The days before as_of that the feature looks at; None: all."""
    if feature.startswith("orders_decayed_"):
        return windows[-1]
    if feature.endswith("_same_period_last_year"):
        return 365
    days = re.findall(r"_(\d+)d(?=_|$)", feature)
    return None if feature.endswith("_lifetime") else max(map(int, days), default=None)


@handled
def main(
    customer: Annotated[str, typer.Option(help="The customer_id.")],
    feature: Annotated[str, typer.Option(help="Its name in the table features.")],
    lake: LakeDir = None,
    as_of: AsOf = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Show a customer's feature and the lines of the log behind it."""
    job = open_job(env, set_, lake)
    explain(job, log_span(job, as_of), customer, feature)


if __name__ == "__main__":
    typer.run(main)
