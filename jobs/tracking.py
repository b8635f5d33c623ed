"""A training's way into MLflow."""

import json
import os

from conf.errors import without_codes
from conf.settings import Horizon, without_user
from jobs.console import say
from jobs.options import Job
from jobs.report import offer_of, training_of
from lake.store import is_folder
from models.open_form import open_model
from models.tracking import Run, Store, missing, rename, track
from serving.report import page

USUAL_DAYS = 30


def store_of(job: Job) -> Store | None:
    """Where this lake's trainings are tracked; None, said why, where they are not."""
    wanted = job.settings.tracking
    if not wanted.enabled:
        return None
    if why := missing():
        say(why)
        return None
    name = f"{wanted.name}{_of_horizon(job)}"
    if wanted.uri is not None:
        return Store(wanted.uri, name)
    folder = job.lake.folder("mlflow")
    if job.settings.lake.catalog_schema or not is_folder(folder):
        say("not tracked: tracking.uri names no server, and the tables are not a folder")
        return None
    os.makedirs(folder, exist_ok=True)
    return Store(f"sqlite:///{folder}/mlflow.db", name, f"file://{folder}/artifacts")


def _of_horizon(job: Job) -> str:
    """Champions of different horizons are different registered models."""
    horizon = job.settings.snapshots.horizon
    if horizon == Horizon(USUAL_DAYS):
        return ""
    return f"_{horizon.days}d" if horizon.hours is None else f"_{horizon.hours}h"


def track_training(job: Job, version: str) -> None:
    """Record a trained version: figures, parameters, what it was made of, its model card. A store
    that does not answer stops nothing: the tables have it all.
    """
    store = store_of(job)
    if store is None:
        return
    try:
        number = _tracked(job, store, version)
    except Exception as problem:
        say(f"not tracked in {without_user(store.uri)}: {_said(problem)}")
    else:
        say(f"tracked as version {number} of {store.name} in {without_user(store.uri)}")


def _tracked(job: Job, store: Store, version: str) -> str:
    training = training_of(job, version)
    model = training.model
    figures: dict[str, dict[str, float]] = {}
    for row in training.evaluations.dropna(subset=["value"]).to_dict("records"):
        figures.setdefault(str(row["model"]), {})[str(row["metric"])] = float(row["value"])
    parameters = {
        f"{name}.{key}": str(value)
        for name, point in json.loads(model["parameters"]).items()
        for key, value in point.items()
    }
    tags = {
        **{f"delta.{table}": str(number) for table, number in model["data_versions"].items()},
        **{key: str(model[key]) for key in ("model_version", "trained_for", "held_out")},
        **{key: str(model[key]) for key in ("code_version", "published", "decision")},
    }
    run = Run(
        version=version,
        published=bool(model["published"]),
        figures=figures,
        parameters={"champion": model["model_name"], **parameters},
        tags=tags,
        pages={
            "report.html": page(training, offer_of(job)),
            "settings.json": model["settings"],
        },
    )
    return track(store, run, open_model(json.loads(model["open_form"])))


def track_rollback(job: Job, version: str) -> None:
    """Let MLflow's alias follow the champion."""
    store = store_of(job)
    if store is None:
        return
    try:
        rename(store, version)
    except Exception as problem:
        say(f"the alias in {without_user(store.uri)} stays as it was: {_said(problem)}")


def _said(problem: Exception) -> str:
    return without_codes(str(problem)) or type(problem).__name__
