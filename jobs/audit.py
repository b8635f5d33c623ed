"""`repurchase audit`: is there anything of the future in features or scores?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import InputError
from features.customer_days import customer_days
from features.event_days import event_days
from features.snapshots import sampled
from jobs.build_features import (
    Known,
    counted_events,
    dates_to_train,
    feature_columns,
    features_at_anew,
    labels_at,
)
from jobs.console import FAILURE, bar, console, handled, say, show, step
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job
from models.blending import said
from models.registry import Registered, find_champion

KEYS = ["customer_id", "as_of"]
SCORE, TAUGHT = "score of the champion", "label of a training date"
# At most about so many customers tell how well a feature ranks.
RANKED = 100_000
SHOWN = 10


@dataclass(frozen=True)
class Audited:
    """The date that was looked at; the columns that the future has changed, with in how many
    snapshots; how well each feature alone tells who orders: its ROC-AUC, whichever way round.
    """

    on: date
    snapshots: int
    changed: dict[str, int]
    power: pd.Series


def audit(job: Job, span: LogSpan) -> Audited:
    """Make the features of the last matured date, and the labels that were known by then, twice:
    from the tables as they are, and with everything dated on or after it lost, changed or
    invented. They must be equal, and the champion's scores of them.

    Raises InputError where no date has matured.
    """
    dates = dates_to_train(job, span)
    if not dates:
        raise InputError(
            f"no label window has ended before {span.as_of}: there is nothing to audit"
        )
    day = dates[-1]
    say(f"everything dated {day} or later is lost, changed or invented")
    then = LogSpan(span.first, day - timedelta(1), day)
    now, otherwise = _known(job, None), _known(job, day)
    as_it_is = features_at_anew(job, then, now).persist()
    perturbed = features_at_anew(job, then, otherwise).persist()
    try:
        changed = _differing(as_it_is, perturbed)
        if taught := dates_to_train(job, then):
            changed |= _differing(_taught(job, now, taught), _taught(job, otherwise, taught))
        model = _champion(job, span)
        if not changed and model is not None:
            changed = _differing(_scored(model, as_it_is), _scored(model, perturbed))
        power = _power(job, now, as_it_is, day)
        return Audited(day, as_it_is.count(), changed, power)
    finally:
        as_it_is.unpersist()
        perturbed.unpersist()


def _known(job: Job, day: date | None) -> Known:
    """All that the logs hold; from the day on, if one is given, something else."""
    lines = job.lake.read("transactions")
    counted = counted_events(job)
    events = job.lake.read("events") if counted else None
    customers = job.lake.read("customers") if job.lake.exists("customers") else None
    if day is not None:
        lines = _perturbed(lines, "ordered_on", day)
        events = None if events is None else _perturbed(events, "happened_on", day)
        customers = None if customers is None else _perturbed(customers, "valid_from_day", day)
    return Known(
        lines,
        customer_days(lines),
        event_days(events, counted) if events is not None and counted else None,
        customers,
    )


def _perturbed(rows: DataFrame, dated_by: str, day: date) -> DataFrame:
    """The rows before the day as they are. Of the others one half is gone; the other half comes
    twice, as another customer's too, with other numbers.
    """
    later = F.col(dated_by) >= F.lit(day)
    half = later & (F.pmod(F.xxhash64(*rows.columns), F.lit(2)) == 0)
    numbers = [f.name for f in rows.schema if f.name in ("amount", "quantity", "discount")]
    types = dict(rows.dtypes)
    # Seven times the largest that a log may hold is more than the column does.
    other = {n: F.coalesce((F.col(n) * 7).try_cast(types[n]), -F.col(n)) for n in numbers}
    changed = rows.where(half).withColumns(other)
    others = changed.withColumn("customer_id", F.reverse("customer_id"))
    return rows.where(~later).unionByName(changed).unionByName(others)


def _differing(left: DataFrame, right: DataFrame) -> dict[str, int]:
    """By column, in how many snapshots it differs; snapshots on one side only count for all."""
    columns = [name for name in left.columns if name not in KEYS]
    both = left.alias("l").join(right.alias("r"), KEYS, "full_outer")
    counts = both.agg(
        *[
            F.count_if(~F.col(f"l.`{name}`").eqNullSafe(F.col(f"r.`{name}`"))).alias(name)
            for name in columns
        ]
    ).collect()[0]
    return {name: counts[name] for name in columns if counts[name]}


def _taught(job: Job, known: Known, dates: Sequence[date]) -> DataFrame:
    return labels_at(job, known, dates).select(*KEYS, F.col("repurchased").alias(TAUGHT))


def _champion(job: Job, span: LogSpan) -> Registered | None:
    horizon = job.settings.snapshots.horizon
    found = find_champion(job.lake, span.as_of, horizon) if job.lake.exists("models") else None
    if found is None:
        say(f"no model of {horizon} is published as of {span.as_of}: no score is compared")
        return None
    if why := found.lacks([column.name for column in feature_columns(job)]):
        say(f"{why}: no score is compared. Give the --env and --set of its training")
        return None
    return found


def _scored(model: Registered, features: DataFrame) -> DataFrame:
    return said(features, model.members).select(*KEYS, model.probability.alias(SCORE))


def _power(job: Job, known: Known, features: DataFrame, day: date) -> pd.Series:
    now = labels_at(job, known, [day]).select(*KEYS, "repurchased")
    numeric = [c.name for c in feature_columns(job) if c.type != "string"]
    doubles = [F.col(name).cast("double").alias(name) for name in numeric]
    joined = features.join(now, KEYS)
    some = sampled(joined, RANKED / max(joined.count(), 1))
    table = some.select("repurchased", *doubles).toPandas()
    label = table.pop("repurchased").to_numpy(bool)
    areas = {name: _area(column, label) for name, column in table.items()}
    return pd.Series(areas, dtype=float).dropna().sort_values(ascending=False)


def _area(values: pd.Series, label: npt.NDArray[np.bool_]) -> float:
    """The ROC-AUC of a feature, whichever way round; what is missing ranks last."""
    positives, n = int(label.sum()), len(label)
    if positives in (0, n):
        return float("nan")
    ranks = values.fillna(-float("inf")).rank().to_numpy()
    pairs = positives * (n - positives)
    area = (ranks[label].sum() - positives * (positives + 1) / 2) / pairs
    return float(max(area, 1 - area))


def show_audited(audited: Audited, implausible: float) -> bool:
    """Say what was found; gives whether all is well."""
    say(f"{audited.snapshots:,} snapshots of {audited.on} made twice")
    if audited.changed:
        show(
            "The future has changed these",
            ["column", "snapshots"],
            list(audited.changed.items()),
        )
    else:
        console.print("  [green]no feature, no label and no score depends on the future[/green]")
    if audited.power.empty:
        say("no feature can be ranked: everybody ordered in the label window, or nobody did")
    top = audited.power.head(SHOWN)
    show(
        "Features that tell most by themselves",
        ["feature", "ROC-AUC", ""],
        [[name, area, bar(area - 0.5, 0.5)] for name, area in top.items()],
    )
    suspects = [str(name) for name, area in audited.power.items() if area > implausible]
    if suspects:
        console.print(
            f"  [red]implausible[/red] (ROC-AUC above {implausible:g}): {', '.join(suspects)}. "
            "Look at how each comes to be known: something of the label may be in it"
        )
    return not audited.changed and not suspects


@handled
def main(
    lake: LakeDir = None,
    as_of: AsOf = None,
    implausible: Annotated[
        float,
        typer.Option(min=0.5, max=1.0, help="A feature with a higher ROC-AUC is suspected."),
    ] = 0.95,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Look for leaks: change the future of a past day, and see whether features or scores change.

    Exits with 1 where something of the future is found.
    """
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    with step(f"Audit as of {span.as_of}"):
        audited = audit(job, span)
    if not show_audited(audited, implausible):
        raise typer.Exit(FAILURE)


if __name__ == "__main__":
    typer.run(main)
