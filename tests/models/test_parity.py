"""On the real logs every kind of model says without Spark what it says with it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession

from conf.settings import load_settings
from conf.source import load_source
from features.snapshots import Split
from jobs.build_features import build_features
from jobs.ingest import ingest
from jobs.options import Job, log_span
from jobs.train import Snapshots, dates_to_learn_from, snapshots_of
from lake.store import Lake
from models.blending import Member, blended
from models.calibration import Platt
from models.candidates import CANDIDATES
from models.material import made_ready
from models.onnx_form import NUMBERS, PROBABILITY, TEXTS, columns, onnx_model
from models.open_form import OpenModel
from models.opening import opened
from models.preparation import chosen_inputs
from tests.conftest import REAL_LOGS
from tests.models.test_explanations import GRIDS

CUSTOMERS = 10_000
Learned = tuple[Job, Snapshots, Split]


@pytest.fixture(scope="module", params=REAL_LOGS)
def learned(
    request: pytest.FixtureRequest,
    spark: SparkSession,
    real_log: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Learned:
    """The labelled snapshots of two dates of a real log."""
    folder = tmp_path_factory.mktemp("parity")
    settings = load_settings("local", ["snapshots.count=2", "snapshots.step_days=30"])
    job = Job(spark, Lake(spark, str(folder / "lake")), settings)
    ingest(job, load_source(request.param), real_log[request.param])
    span = log_span(job, None)
    build_features(job, span)
    dates, split = dates_to_learn_from(job, span)
    return job, snapshots_of(job, dates), split


@pytest.mark.nightly
@pytest.mark.parametrize("name", GRIDS)
def test_onnx_says_what_spark_says_of_ten_thousand_customers(
    learned: Learned, name: str, tmp_path: Path
) -> None:
    job, known, split = learned
    with made_ready(known.snapshots, split, job.settings.training) as material:
        inputs = chosen_inputs(material.tuning, known.numeric, known.texts)
        estimator = CANDIDATES[name].estimator(1)
        fixed = estimator.copy({estimator.getParam(k): v for k, v in GRIDS[name].items()})
        stages = [*CANDIDATES[name].preparation(inputs), fixed]
        member = Member(name, Pipeline(stages=stages).fit(material.tuning), Platt(1.0), {})
        member.pipeline.save(str(tmp_path / name))
        some = material.judged.orderBy("customer_id").limit(CUSTOMERS)
        model = OpenModel((opened(job.spark, member, str(tmp_path / name), inputs),), Platt(1.0))
        numbers, texts = columns(model)
        rows = blended(some, [member], ["customer_id", *numbers, *texts]).toPandas()
    feed = {NUMBERS: rows[numbers].to_numpy(float)}
    if texts:
        feed[TEXTS] = rows[texts].fillna("").to_numpy(object)
    found = onnxruntime.InferenceSession(onnx_model(model)).run([PROBABILITY], feed)[0]
    assert len(rows) == min(CUSTOMERS, material.customers)
    assert np.abs(found - rows["probability"].to_numpy()).max() < 1e-6
    assert found.std() > 0.01
