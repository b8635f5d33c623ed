"""`repurchase report`: the model card of a training, as one HTML page."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from pyspark.sql import functions as F

from conf.errors import InputError
from jobs.build_features import feature_columns
from jobs.console import handled, say, step
from jobs.options import Env, Job, LakeDir, Set, check_output, open_job
from lake.contracts import BACKTEST
from lake.store import quoted
from models.registry import last_first
from serving.report import Offer, Training, page

_USUAL = "of training.threshold.profit, or {}"
Margin = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="What an order brings, for the profit.",
        show_default=_USUAL.format(Offer.margin),
    ),
]
Cost = Annotated[
    float | None,
    typer.Option(
        min=0.0, help="What a contact costs.", show_default=_USUAL.format(Offer.contact_cost)
    ),
]


def training_of(job: Job, version: str | None) -> Training:
    """What the tables hold of a trained version, by default of the champion.

    Raises InputError where there is none.
    """
    horizon = job.settings.snapshots.horizon
    models = job.lake.read("models").where(horizon.where)
    wanted = models.where(
        F.col("published") if version is None else F.col("model_version") == F.lit(version)
    )
    rows = wanted.orderBy(*last_first()).limit(1).collect()
    if not rows:
        trained = [row[0] for row in models.select("model_version").collect()]
        raise InputError(
            f"no model {version or 'that is published'} for {horizon} in {job.lake.location}; "
            f"trained are {', '.join(sorted(trained)) or 'none'}"
        )
    model = rows[0].asDict()
    of_version = f"model_version = {quoted(model['model_version'])}"

    def judged(table: str) -> pd.DataFrame:
        return job.lake.read(table).where(of_version).toPandas()

    evaluations = judged("evaluations")
    if evaluations.empty:
        raise InputError(
            f"the figures of {model['model_version']} are gone: an earlier release has let those "
            "of another training take their place; run `repurchase train` again"
        )
    importances = job.lake.read("importances").where(of_version).orderBy(F.desc("gain"))
    past = job.lake.read("evaluations").where(horizon.where)
    known = job.lake.properties("transactions")
    return Training(
        model,
        evaluations,
        judged("comparisons"),
        judged("curves"),
        judged("reliability"),
        judged("segment_reliability"),
        importances.toPandas(),
        past.where(F.col("model_version") == F.lit(BACKTEST)).orderBy("as_of").toPandas(),
        {column.name: column.description for column in feature_columns(job)},
        known.get("currency", ""),
    )


def offer_of(job: Job, margin: float | None = None, contact_cost: float | None = None) -> Offer:
    """What an order brings and a contact costs: as given, or else as the settings say."""
    policy = job.settings.training.threshold
    usual = policy.profit if policy and policy.profit else Offer()
    return Offer(
        usual.margin if margin is None else margin,
        usual.contact_cost if contact_cost is None else contact_cost,
    )


@handled
def main(
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Which one.", show_default="the champion"),
    ] = None,
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    margin: Margin = None,
    contact_cost: Cost = None,
    lake: LakeDir = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Write the model card of a training: figures, calibration, curves, importance, limits."""
    check_output(output)
    job = open_job(env, set_, lake)
    with step("Report"):
        training = training_of(job, version)
        output.write_text(page(training, offer_of(job, margin, contact_cost)), encoding="utf-8")
        say(f"{training.model['model_version']} is described in {output}")


if __name__ == "__main__":
    typer.run(main)
