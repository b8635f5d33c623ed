"""Trainings in MLflow: what came of each, and which version is the champion.

MLflow is an extra. Its store is a SQLite file beside the tables, or a server.
"""

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd

from models import calibration, open_form, trees
from models.open_form import OpenModel

CHAMPION, CHALLENGER = "champion", "challenger"
# By which a version of MLflow's is known here.
VERSION = "model_version"


@dataclass(frozen=True)
class Store:
    """Where MLflow keeps runs and models; `artifacts` only where it is a file. `name` is that of
    the experiment and of the registered model.
    """

    uri: str
    name: str
    artifacts: str | None = None


@dataclass(frozen=True)
class Run:
    """What is told of a training: by model and metric its figures, the parameters, what it was
    made of, and the pages that describe it, by file name.
    """

    version: str
    published: bool
    figures: Mapping[str, Mapping[str, float]]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    pages: Mapping[str, str] = field(repr=False)


class Scorer:
    """The champion as MLflow calls it: features in, one row per customer, probabilities out."""

    def __init__(self, model: OpenModel) -> None:
        self.model = model

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`probability` of each row; a feature that is not there is missing for all."""
        texts = self.model.texts
        columns = {}
        for name in self.model.features:
            column = rows[name] if name in rows else pd.Series(np.nan, index=rows.index)
            if name in texts:
                columns[name] = column.astype(object).where(column.notna(), None).to_numpy()
            else:
                columns[name] = pd.to_numeric(column).to_numpy(float)
        found = self.model.probability(columns)
        return pd.DataFrame({"probability": found}, index=rows.index)


def missing() -> str | None:
    """Why nothing can be tracked here, if so."""
    try:
        _mlflow()
    except ImportError as problem:
        return (
            f"not tracked: mlflow cannot be imported ({problem}); pip install 'repurchase[mlflow]'"
        )
    return None


def track(store: Store, run: Run, model: OpenModel) -> str:
    """Record the training and its model, and give the version the alias that it has; the number
    that MLflow gave the version. A training that is there already only gets the alias.
    """
    mlflow, client = _opened(store)
    number = _number(client, store.name, run.version)
    if number is None:
        experiment = client.get_experiment_by_name(store.name)
        known = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(store.name, artifact_location=store.artifacts)
        )
        with mlflow.start_run(experiment_id=known, run_name=run.version, tags=dict(run.tags)):
            mlflow.log_params(dict(run.parameters))
            mlflow.log_metrics(
                {
                    f"{name}/{metric}": value
                    for name, figures in run.figures.items()
                    for metric, value in figures.items()
                    if np.isfinite(value)
                }
            )
            for file, text in run.pages.items():
                mlflow.log_text(text, file)
            number = _registered(mlflow, client, store.name, model)
        client.set_model_version_tag(store.name, number, VERSION, run.version)
    alias = CHAMPION if run.published else CHALLENGER
    client.set_registered_model_alias(store.name, alias, number)
    return number


def rename(store: Store, version: str) -> None:
    """Make a version the champion, if it is there."""
    _, client = _opened(store)
    number = _number(client, store.name, version)
    if number is not None:
        client.set_registered_model_alias(store.name, CHAMPION, number)


def _mlflow() -> Any:
    # MLflow tells its makers how it is used; who wants that sets the variable to false.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # noqa: PLC0415 - an extra

    return mlflow


def _opened(store: Store) -> tuple[Any, Any]:
    mlflow = _mlflow()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    return mlflow, mlflow.MlflowClient(store.uri, store.uri)


def _number(client: Any, name: str, version: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}'")
    return next((str(one.version) for one in found if one.tags.get(VERSION) == version), None)


def _registered(mlflow: Any, client: Any, name: str, model: OpenModel) -> str:
    from mlflow.models import ModelSignature  # noqa: PLC0415 - an extra
    from mlflow.types import ColSpec, DataType, Schema  # noqa: PLC0415

    texts = model.texts
    inputs: list[Any] = [
        ColSpec(DataType.string if f in texts else DataType.double, f, required=False)
        for f in model.features
    ]
    signature = ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double, "probability")]))

    class Called(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def __init__(self, scorer: Scorer) -> None:
            self.scorer = scorer

        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
            return self.scorer.predict(model_input)

    # Who loads it need not have this package.
    for module in (calibration, open_form, trees, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*input example")  # the signature says what goes in
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=Called(Scorer(model)),
            signature=signature,
            pip_requirements=["numpy", "pandas", "pyspark", "scipy"],
        )
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    made = client.create_model_version(
        name, logged.model_uri, run_id=logged.run_id, model_id=logged.model_id
    )
    return str(made.version)
