"""`repurchase run`: the whole job, from a log to scores."""

import os
import sys
from datetime import date
from importlib.util import find_spec

import typer
from rich.markup import escape

from conf.source import Source, load_source
from jobs.build_features import build_features, show_built
from jobs.console import console, handled, step
from jobs.ingest import ingest, show_ingested
from jobs.inputs import inputs
from jobs.options import (
    AsOf,
    CustomersPath,
    Env,
    EventsPath,
    InputPath,
    Job,
    LakeDir,
    Set,
    SourceFile,
    log_span,
    open_job,
)
from jobs.score import score, show_scored
from jobs.tracking import track_training
from jobs.train import check_champion, dates_to_learn_from, show_trained, train
from models.training import check_models


def run(
    job: Job,
    source: Source,
    path: str | None,
    as_of: date | None = None,
    *,
    events: str | None = None,
    customers: str | None = None,
) -> None:
    """Ingest, build features, train, evaluate and score, telling each step's result."""
    check_models(job.settings.training)
    for rows in inputs(source, path, events, customers):
        with step(f"1/4 Ingest {rows}"):
            ingested = ingest(job, source, rows.path, rows.table)
        show_ingested(job, rows, ingested)
    span = log_span(job, as_of)
    dates_to_learn_from(job, span)  # a log too short says so before the long work
    with step(f"2/4 Build features as of {span.as_of}"):
        built = build_features(job, span)
        show_built(built)
    with step("3/4 Train"):
        trained = train(job, span)
        track_training(job, trained.version)
    show_trained(job, trained)
    check_champion(job, span, trained)
    with step("4/4 Score"):
        score(job, span.as_of)
    show_scored(job, span.as_of)


@handled
def main(
    source: SourceFile,
    input_: InputPath = None,
    events: EventsPath = None,
    customers: CustomersPath = None,
    lake: LakeDir = None,
    as_of: AsOf = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Run the whole job: ingest, build features, train, evaluate, score."""
    loaded = load_source(source)
    job = open_job(env, set_, lake)
    run(job, loaded, input_, as_of, events=events, customers=customers)
    where = escape(job.lake.location)
    console.print(
        f"Tables in [bold]{where}[/bold]: transactions, quarantine, customer_days, features,"
    )
    console.print("  labels, evaluations, models, lifetime_value, scores,")
    console.print("  current_scores (the latest as_of)")
    console.print("Next, who is likeliest to order again:")
    console.print(f"  [bold]{escape(_query(job))}[/bold]", soft_wrap=True, highlight=False)


def _query(job: Job) -> str:
    folder = job.lake.folder("current_scores")
    if job.settings.lake.catalog_schema or not find_spec("polars") or set("\"'$`\\!") & set(folder):
        table = job.lake.name("current_scores")
        return f"SELECT * FROM {table} ORDER BY probability DESC LIMIT 10  -- in Spark SQL"
    likeliest = f"pl.read_delta('{folder}')[:, :5].top_k(10, by='probability')"
    python = os.path.relpath(sys.executable)
    return f'{python} -c "import polars as pl; print({likeliest})"'


if __name__ == "__main__":
    typer.run(main)
