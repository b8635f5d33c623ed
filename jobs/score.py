"""`repurchase score`: `features` of one day and the champion into `scores`."""

from datetime import date

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import InputError
from jobs.build_features import feature_columns, up_to_date
from jobs.console import bar, handled, say, show, step
from jobs.options import AsOf, Env, Job, LakeDir, Set, log_span, open_job
from lake.contracts import CURRENT_SCORES, LIFETIME_VALUE, SCORES
from models.registry import champion
from models.scoring import explained, scores

# Customers whose reasons are told.
SHOWN = 3
# A customer has a current score for each horizon that was scored on the latest day.
CURRENT_KEYS = ("customer_id", "horizon_days", "horizon_hours")
SCORE_KEYS = (*CURRENT_KEYS, "as_of")
# A score that is the same again has been written before.
WRITTEN = ("scored_at",)


def score(job: Job, as_of: date) -> None:
    """Write the scores of `as_of`, and what is expected of the customers, in the place of those
    written for it before.
    """
    horizon, wanted = job.settings.snapshots.horizon, job.settings.scoring
    model = champion(job.lake, as_of, horizon)
    features = job.lake.read("features").where(F.col("as_of") == F.lit(as_of))
    if wanted.active_within_days is not None:
        features = features.where(F.col("recency_days") <= wanted.active_within_days)
    if features.isEmpty():
        raise InputError(
            f"the table features has nobody to score at {as_of}: "
            f"run `repurchase build-features --as-of {as_of} --from {as_of}`"
        )
    if as_of not in up_to_date(job):
        raise InputError(
            f"the features of {as_of} were made with other settings, or of what the log was "
            f"before: run `repurchase build-features --as-of {as_of} --from {as_of}`"
        )
    say(f"champion {model.name}, version {model.version}")
    known = feature_columns(job)
    if why := model.lacks([column.name for column in known]):
        raise InputError(f"{why}: give the --env and --set of its training, or train again")
    types, words = {c.name: c.type for c in known}, {c.name: c.description for c in known}
    where = f"as_of = DATE'{as_of}' AND {horizon.where}"
    # Scored once: deciles need all probabilities before the first row can be written.
    probabilities = explained(features, model, types, words).persist()
    try:
        scored = scores(
            probabilities,
            model,
            horizon_days=horizon.days,
            horizon_hours=horizon.hours,
            high_deciles=wanted.high_deciles,
            medium_deciles=wanted.medium_deciles,
        )
        job.lake.amend(SCORES, scored, SCORE_KEYS, where, ignoring=WRITTEN)
    finally:
        probabilities.unpersist()
    _value(job, features, where)
    history = job.lake.read("scores")
    latest = history.agg(F.max("as_of")).collect()[0][0]
    now = history.where(F.col("as_of") == F.lit(latest))
    job.lake.amend(CURRENT_SCORES, now, CURRENT_KEYS, ignoring=WRITTEN)


def _value(job: Job, features: DataFrame, where: str) -> None:
    """Write what is expected of the customers, in the place of what was written before."""
    horizon, currency = job.settings.snapshots.horizon, job.lake.properties("transactions")
    value = features.withColumns(
        {
            "horizon_days": F.lit(horizon.days),
            "horizon_hours": F.lit(horizon.hours),
            "expected_value": F.col("expected_orders") * F.col("expected_order_value"),
            "currency": F.lit(currency.get("currency")),
        }
    )
    job.lake.replace(LIFETIME_VALUE, value, where)


def show_scored(job: Job, as_of: date) -> None:
    """The scores of the day, by band."""
    horizon = job.settings.snapshots.horizon
    scored = job.lake.read("scores").where(F.col("as_of") == F.lit(as_of)).where(horizon.where)
    rows = _by_band(scored).collect()
    total = sum(row["customers"] for row in rows)
    say(f"{total:,} customers scored as of {as_of}")
    show(
        "Scores",
        ["band", "customers", "mean probability", "expected to order", ""],
        [[r[0], r[1], r[2], round(r[1] * r[2]), bar(r[1], total)] for r in rows],
    )
    likeliest = scored.orderBy(F.desc("probability"), "customer_id").limit(SHOWN).collect()
    show(
        "The likeliest to order, and why",
        ["customer", "probability", "reasons"],
        [
            [r["customer_id"], r["probability"], "\n".join(w["sentence"] for w in r["reasons"])]
            for r in likeliest
        ],
    )


def _by_band(scored: DataFrame) -> DataFrame:
    return (
        scored.groupBy("band")
        .agg(F.count(F.lit(1)).alias("customers"), F.avg("probability").alias("mean"))
        .orderBy(F.desc("mean"))
    )


@handled
def main(lake: LakeDir = None, as_of: AsOf = None, env: Env = "local", set_: Set = None) -> None:
    """Score every customer of a day with the champion."""
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    with step(f"Score as of {span.as_of}"):
        score(job, span.as_of)
    show_scored(job, span.as_of)


if __name__ == "__main__":
    typer.run(main)
