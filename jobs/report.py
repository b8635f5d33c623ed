"""`repurchase report`: the model card of a training, as one HTML page."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from pyspark.sql import functions as F

from conf.errors import InputError
from jobs.build_features import feature_columns
from jobs.console import handled, say, step
from jobs.options import Env, Job, LakeDir, Set, open_job
from lake.contracts import BACKTEST
from lake.store import quoted
from serving.report import Offer, Training, page

Margin = Annotated[float, typer.Option(min=0.01, help="What an order brings, for the profit.")]
Cost = Annotated[float, typer.Option(min=0.0, help="What a contact costs.")]


def training_of(job: Job, version: str | None) -> Training:
    """What the tables hold of a trained version, by default of the champion.

    Raises InputError where there is none.
    """
    horizon = job.settings.snapshots.horizon
    models = job.lake.read("models").where(horizon.where)
    wanted = models.where(
        F.col("published") if version is None else F.col("model_version") == F.lit(version)
    )
    rows = wanted.orderBy(F.desc("trained_for")).limit(1).collect()
    if not rows:
        trained = [row[0] for row in models.select("model_version").collect()]
        raise InputError(
            f"no model {version or 'that is published'} for {horizon} in {job.lake.location}; "
            f"trained are {', '.join(sorted(trained)) or 'none'}"
        )
    model = rows[0].asDict()

    def judged(table: str) -> pd.DataFrame:
        there = job.lake.read(table).where(horizon.where)
        return there.where(F.col("as_of") == F.lit(model["held_out"])).toPandas()

    of_version = f"model_version = {quoted(model['model_version'])}"
    importances = job.lake.read("importances").where(of_version).orderBy(F.desc("gain"))
    past = job.lake.read("evaluations").where(horizon.where)
    known = job.lake.properties("transactions")
    return Training(
        model,
        judged("evaluations"),
        judged("comparisons"),
        judged("curves"),
        judged("reliability"),
        judged("segment_reliability"),
        importances.toPandas(),
        past.where(F.col("model_version") == F.lit(BACKTEST)).orderBy("as_of").toPandas(),
        {column.name: column.description for column in feature_columns(job)},
        known.get("currency", ""),
    )


@handled
def main(
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Which one.  [default: the champion]")
    ] = None,
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    margin: Margin = Offer.margin,
    contact_cost: Cost = Offer.contact_cost,
    lake: LakeDir = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Write the model card of a training: figures, calibration, curves, importance, limits."""
    job = open_job(env, set_, lake)
    with step("Report"):
        training = training_of(job, version)
        output.write_text(page(training, Offer(margin, contact_cost)), encoding="utf-8")
        say(f"{training.model['model_version']} is described in {output}")


if __name__ == "__main__":
    typer.run(main)
