"""Trainings in a real MLflow store: figures, pages, aliases, and a model that stands alone."""

import os
import subprocess
import sys
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest

from models.calibration import Platt
from models.open_form import Input, Line, OpenMember, OpenModel
from models.tracking import Run, Scorer, Store, rename, track

pytestmark = pytest.mark.slow

MODEL = OpenModel(
    (
        OpenMember(
            "line",
            (Input("orders_30d", log=True, missing=0.5), Input("favourite", text="tea")),
            Line(-1.0, np.array([0.8, 0.3])),
            False,
            Platt(1.0, 0.1, 1.2),
        ),
    ),
    Platt(1.0),
)
RUN = Run(
    version="2024-06-01-abc",
    published=True,
    figures={"line": {"roc_auc": 0.8, "recall": float("nan")}, "recency": {"roc_auc": 0.7}},
    parameters={"champion": "line", "line.regParam": "0.1"},
    tags={"delta.transactions": "7"},
    pages={"report.html": "<!doctype html><p>card"},
)
ROWS = pd.DataFrame({"orders_30d": [0.0, 3.0, np.nan], "favourite": ["tea", None, "milk"]})


@pytest.fixture
def store(tmp_path) -> Store:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return Store(uri, "repurchase", f"file://{tmp_path}/artifacts")


def test_a_training_is_recorded_with_its_figures_pages_and_versions(store):
    number = track(store, RUN, MODEL)
    client = mlflow.MlflowClient(store.uri, store.uri)
    version = client.get_model_version_by_alias("repurchase", "champion")
    assert str(version.version) == number == "1"
    assert version.tags["model_version"] == RUN.version
    run = client.get_run(version.run_id)
    assert run.data.metrics == {"line/roc_auc": 0.8, "recency/roc_auc": 0.7}
    assert run.data.params == dict(RUN.parameters)
    assert run.data.tags["delta.transactions"] == "7"
    assert [file.path for file in client.list_artifacts(version.run_id)] == ["report.html"]


def test_the_model_scores_where_this_package_is_not(store, tmp_path):
    track(store, RUN, MODEL)
    # Not Parquet: pandas hands Arrow's threads a file of Python's, and now and then one of them
    # lets go of it while Python ends, which aborts (apache/arrow#34314).
    ROWS.to_pickle(tmp_path / "rows.pickle")
    script = (
        "import mlflow, pandas as pd, sys\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/repurchase@champion')\n"
        "assert 'models.trees' not in sys.modules\n"
        "print(*model.predict(pd.read_pickle(sys.argv[2]))['probability'].tolist())\n"
    )
    # -P and -I keep the checkout off the path; the package itself is not asked for.
    command = [sys.executable, "-I", "-c", script, store.uri, str(tmp_path / "rows.pickle")]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    told = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=quiet, check=False
    )
    assert told.returncode == 0, told.stderr
    found = [float(p) for p in told.stdout.split()]
    assert found == pytest.approx(Scorer(MODEL).predict(ROWS)["probability"].tolist())


def test_a_challenger_leaves_the_champion_its_alias_and_a_repeat_changes_nothing(store):
    track(store, RUN, MODEL)
    second = replace(RUN, version="2024-07-01-def", published=False)
    assert track(store, second, MODEL) == "2"
    assert track(store, second, MODEL) == "2"
    client = mlflow.MlflowClient(store.uri, store.uri)
    names = {alias: _alias(client, alias) for alias in ("champion", "challenger")}
    assert names == {"champion": RUN.version, "challenger": second.version}
    experiment = client.get_experiment_by_name("repurchase").experiment_id
    assert len(client.search_runs([experiment])) == 2


def test_the_alias_follows_a_rollback(store):
    track(store, RUN, MODEL)
    track(store, replace(RUN, version="2024-07-01-def"), MODEL)
    client = mlflow.MlflowClient(store.uri, store.uri)
    assert _alias(client, "champion") == "2024-07-01-def"
    rename(store, RUN.version)
    assert _alias(client, "champion") == RUN.version
    rename(store, "never tracked")
    assert _alias(client, "champion") == RUN.version


def test_missing_features_are_missing_values():
    found = Scorer(MODEL).predict(pd.DataFrame(index=[5, 7]))
    as_nulls = Scorer(MODEL).predict(ROWS.assign(orders_30d=np.nan, favourite=None))
    assert list(found.index) == [5, 7]
    assert found["probability"].iloc[0] == as_nulls["probability"].iloc[0]


def _alias(client, alias) -> str:
    return str(client.get_model_version_by_alias("repurchase", alias).tags["model_version"])
