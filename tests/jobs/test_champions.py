"""Which model scores: published or not, rolled back, and described."""

import os
import re
import shutil
from datetime import timedelta

import mlflow
import pytest
from pyspark.sql import functions as F
from typer.testing import CliRunner

from conf.errors import InputError
from conf.settings import Horizon, load_settings
from jobs.build_features import build_features
from jobs.cli import app
from jobs.options import Job, log_span
from jobs.report import training_of
from jobs.score import score
from jobs.tracking import store_of, track_rollback, track_training
from jobs.train import _incumbent, check_champion, snapshots_of, train
from lake.contracts import (
    COMPARISONS,
    CURVES,
    EVALUATIONS,
    MODELS,
    RELIABILITY,
    SEGMENT_RELIABILITY,
)
from lake.store import Lake
from models.registry import find_champion, roll_back
from serving.report import Offer, page

pytestmark = pytest.mark.slow

MONTH = Horizon(30)


@pytest.fixture
def job(spark, undisturbed, tiny_env, tmp_path) -> Job:
    """The tables of a run, to change."""
    folder = tmp_path / "lake"
    shutil.copytree(undisturbed, folder)
    return Job(spark, Lake(spark, str(folder)), load_settings(str(tiny_env)))


def _add(job: Job, version: str, days: int) -> None:
    """A further model, trained so many days before the one that is there."""
    there = job.lake.read("models").where(F.col("model_version") != version).limit(1)
    other = there.withColumns(
        {
            "model_version": F.lit(version),
            "trained_for": F.date_sub("trained_for", days),
            "held_out": F.date_sub("held_out", days),
            "published": F.lit(True),
        }
    )
    job.lake.replace(MODELS, other, f"model_version = '{version}'")


def test_rolling_back_brings_the_champion_before_again(job):
    last = find_champion(job.lake, log_span(job, None).as_of, MONTH)
    why = job.lake.read("models").first()["decision"]
    _add(job, "older", 10)
    _add(job, "oldest", 20)
    assert roll_back(job.lake, MONTH, None, "it was wrong") == ([last.version], "older")
    assert find_champion(job.lake, last.trained_for, MONTH).version == "older"
    withdrawn = job.lake.read("models").where("NOT published").collect()
    assert [(row["model_version"], row["decision"]) for row in withdrawn] == [
        (last.version, f"it was wrong; before: {why}")
    ]
    assert roll_back(job.lake, MONTH, "oldest", "again") == (["older"], "oldest")
    with pytest.raises(InputError, match="no published model before"):
        roll_back(job.lake, MONTH, None, "too far")
    with pytest.raises(InputError, match=r"older is not published; published are oldest"):
        roll_back(job.lake, MONTH, "older", "forward")


def test_a_lake_that_was_moved_has_its_models_with_it(job, tmp_path):
    """Not those of the place where they were saved."""
    moved = tmp_path / "moved"
    shutil.copytree(job.lake.location, moved)
    found = find_champion(Lake(job.spark, str(moved)), log_span(job, None).as_of, MONTH)
    assert found is not None
    assert found.path.startswith(f"{moved}/")


def test_a_past_day_is_scored_by_what_was_trained_by_then(job):
    last = find_champion(job.lake, log_span(job, None).as_of, MONTH)
    _add(job, "older", 10)
    before = last.trained_for - timedelta(1)
    assert find_champion(job.lake, before, MONTH).version == "older"
    assert find_champion(job.lake, before - timedelta(30), MONTH) is None
    assert find_champion(job.lake, last.trained_for, Horizon(7)) is None


def test_a_champion_of_other_features_neither_scores_nor_is_compared(job, tiny_env):
    """Columns of the settings before are still in the table, and empty for the dates made now."""
    fewer = Job(job.spark, job.lake, load_settings(str(tiny_env), ["features.windows=[30]"]))
    span = log_span(fewer, None)
    dates = build_features(fewer, span).dates
    with pytest.raises(InputError, match=r"reads \w+_90d and \d+ more, which this config"):
        score(fewer, span.as_of)
    found = find_champion(job.lake, span.as_of, MONTH)
    earlier = dates[-3]
    assert earlier != found.held_out
    incumbent = _incumbent(fewer, span.as_of, "new", snapshots_of(fewer, [earlier]), earlier)
    assert (incumbent.version, incumbent.some) == (found.version, None)


def test_a_model_that_is_unfit_leaves_the_champion_where_it_is(job, tiny_env):
    span = log_span(job, None)
    before = find_champion(job.lake, span.as_of, MONTH)
    strict = load_settings(str(tiny_env), ["training.max_ece=0.0001"])
    unfit = Job(job.spark, job.lake, strict)
    figures = training_of(job, None).evaluations
    trained = train(unfit, span)
    assert not trained.decision.published
    check_champion(unfit, span, trained)  # that the one before stays is no error
    rows = job.lake.read("models").select("model_version", "published").collect()
    assert {row[0]: row[1] for row in rows} == {before.version: True, trained.version: False}
    (code,) = {row.code_version for row in job.lake.read("models").collect()}
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{8}", code)
    # Of both, everything is known that was found on the same date.
    assert training_of(job, None).model["model_version"] == before.version
    for version in (before.version, trained.version):
        assert len(training_of(job, version).evaluations) == len(figures)
    job.spark.sql(f"UPDATE {job.lake.name('models')} SET published = false")
    with pytest.raises(InputError, match=r"not published: its calibration error .* above"):
        check_champion(unfit, span, trained)


def test_a_retraining_of_the_same_day_challenges_the_champion_of_that_day(job, tiny_env):
    span = log_span(job, None)
    before = find_champion(job.lake, span.as_of, MONTH)
    grid = "training.models.logistic_regression={regParam: [0.09], maxIter: [8]}"
    weaker = train(Job(job.spark, job.lake, load_settings(str(tiny_env), [grid])), span)
    assert not weaker.decision.published
    assert weaker.decision.reason.startswith(f"worse than {before.version} on ")
    policy = "training.threshold={recall: 0.9}"
    other = Job(job.spark, job.lake, load_settings(str(tiny_env), [policy]))
    trained = train(other, span)
    assert trained.decision.published
    assert trained.decision.reason.startswith(f"not worse than {before.version} on ")
    assert "had seen" not in trained.decision.reason
    assert find_champion(job.lake, span.as_of, MONTH).version == trained.version
    # Both say the same of the held-out date, on which the one that is there was refitted since.
    assert {one.difference for one in trained.decision.comparisons} == {0.0}
    # The same again finds the same, is no challenge to itself, and leaves those who score alone.
    scoring = find_champion(job.lake, span.as_of, MONTH)
    assert train(other, span).decision.reason == trained.decision.reason
    again = find_champion(job.lake, span.as_of, MONTH)
    assert again.version == scoring.version
    assert again.open_form.as_dict() == scoring.open_form.as_dict()
    assert again.path != scoring.path
    assert sorted(os.listdir(again.path)) == sorted(os.listdir(scoring.path))
    told = CliRunner().invoke(
        app, ["rollback", "--lake", job.lake.location, "--env", str(tiny_env)], terminal_width=200
    )
    assert told.exit_code == 0, told.output
    assert f"withdrawn: {trained.version}; the champion is {before.version}" in told.stdout


def test_a_model_is_compared_with_the_champion_before_it(job):
    span = log_span(job, None)
    _add(job, "older", 10)
    trained = train(job, span)
    # It is the same model under an older name, and so knows what follows the held-out date.
    assert not trained.decision.published
    assert trained.decision.reason.startswith("worse than older on ")
    assert "which had seen days after it" in trained.decision.reason
    compared = job.lake.read("comparisons").where("other = 'older'").collect()
    assert {row["metric"] for row in compared} == {"roc_auc", "pr_auc", "log_loss"}


def test_the_commands_tell_what_they_did(job, tiny_env):
    _add(job, "older", 10)
    options = ["--lake", job.lake.location, "--env", str(tiny_env)]
    last = find_champion(job.lake, log_span(job, None).as_of, MONTH).version
    told = CliRunner().invoke(app, ["rollback", *options], terminal_width=200)
    assert told.exit_code == 0, told.output
    assert f"withdrawn: {last}; the champion is older" in told.stdout
    listed = CliRunner().invoke(app, ["models", "list", *options], terminal_width=200)
    assert listed.exit_code == 0, listed.output
    assert "rolled back at 20" in listed.stdout


def test_a_training_is_tracked_and_a_rollback_followed(job, tiny_env):
    settings = load_settings(str(tiny_env), ["tracking.enabled=true"])
    tracked = Job(job.spark, job.lake, settings)
    last = find_champion(job.lake, log_span(job, None).as_of, MONTH).version
    _add(job, "older", 10)
    for table in (EVALUATIONS, COMPARISONS, CURVES, RELIABILITY, SEGMENT_RELIABILITY):
        found = job.lake.read(table.name).withColumn("model_version", F.lit("older"))
        job.lake.replace(table, found, "model_version = 'older'")
    for version in ("older", last):
        track_training(tracked, version)
    store = store_of(tracked)
    assert store is not None
    client = mlflow.MlflowClient(store.uri, store.uri)
    champion = client.get_model_version_by_alias("repurchase", "champion")
    assert champion.tags["model_version"] == last
    run = client.get_run(champion.run_id)
    assert run.data.metrics["recency/roc_auc"] > 0.5
    assert run.data.params["champion"] == "logistic_regression"
    assert run.data.tags["delta.features"].isdigit()
    track_rollback(tracked, "older")
    again = client.get_model_version_by_alias("repurchase", "champion")
    assert again.tags["model_version"] == "older"


def test_the_report_is_of_the_champion_or_of_a_version(job, tiny_env, tmp_path):
    champion = find_champion(job.lake, log_span(job, None).as_of, MONTH)
    training = training_of(job, None)
    assert training.model["model_version"] == champion.version
    text = page(training, Offer(20.0, 1.0))
    assert champion.version in text
    assert text.count("<svg") >= 8
    file = tmp_path / "card.html"
    command = ["report", "--output", str(file), "--lake", job.lake.location]
    options = ["--env", str(tiny_env), "--version"]
    told = CliRunner().invoke(app, [*command, *options, champion.version])
    assert told.exit_code == 0, told.output
    assert file.read_text(encoding="utf-8") == text
    refused = CliRunner().invoke(app, [*command, *options, "none"])
    assert refused.exit_code == 2
    assert "trained are " + champion.version in refused.stderr


def test_a_store_that_does_not_answer_stops_nothing(job, tiny_env, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = "tracking.uri=http://owner:hidden@127.0.0.1:9"
    elsewhere = load_settings(str(tiny_env), ["tracking.enabled=true", address])
    gone = Job(job.spark, job.lake, elsewhere)
    version = find_champion(job.lake, log_span(job, None).as_of, MONTH).version
    track_training(gone, version)
    track_rollback(gone, version)
    said = capsys.readouterr().out
    assert "not tracked in http://127.0.0.1:9: " in said
    assert "the alias in http://127.0.0.1:9 stays as it was: " in said
