"""The audit finds nothing where nothing leaks, and finds what does."""

import shutil
from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.settings import load_settings
from jobs.audit import SCORE, TAUGHT, _champion, _differing, _known, _taught, audit, show_audited
from jobs.build_features import dates_to_train, features_at_anew, labels_at
from jobs.console import console
from jobs.options import Job, LogSpan, log_span
from lake.store import Lake

pytestmark = pytest.mark.slow

PLAUSIBLE = 0.95


@pytest.fixture(scope="module")
def job(spark, undisturbed, tiny_env, tmp_path_factory) -> Job:
    folder = tmp_path_factory.mktemp("audit") / "lake"
    shutil.copytree(undisturbed, folder)
    return Job(spark, Lake(spark, str(folder)), load_settings(str(tiny_env)))


def test_nothing_of_the_future_is_in_what_the_job_makes(job):
    audited = audit(job, log_span(job, None))
    assert audited.changed == {}
    assert audited.snapshots > 200
    assert "recency_days" in audited.power.index
    with console.capture() as said:
        assert show_audited(audited, PLAUSIBLE)
    assert "no feature, no label and no score depends on the future" in said.get()


def test_what_is_made_of_later_days_too_is_found(job):
    """Features of a day seen from a few days later: what they read has changed."""
    span = log_span(job, None)
    day = dates_to_train(job, span)[-1]
    later = LogSpan(span.first, span.last, day + timedelta(10))
    left, right = (features_at_anew(job, later, _known(job, d)) for d in (None, day))
    changed = _differing(left, right)
    assert {"recency_days", "revenue_30d", "order_probability"} <= set(changed)
    assert SCORE not in changed
    # A label is known when its window has ended, and not before.
    for dates, known in (([day - timedelta(30)], set()), ([day - timedelta(15)], {TAUGHT})):
        taught = [_taught(job, _known(job, d), dates) for d in (None, day)]
        assert set(_differing(*taught)) == known


def test_a_champion_of_other_features_is_told(job, tiny_env, capsys):
    fewer = Job(job.spark, job.lake, load_settings(str(tiny_env), ["features.windows=[30]"]))
    assert _champion(fewer, log_span(job, None)) is None
    assert "which this configuration does not make: no score is compared" in capsys.readouterr().out


def test_a_feature_that_knows_the_label_is_implausible(spark, job, tmp_path, monkeypatch):
    """The labels of the day need not have been built, and no model published."""
    folder = tmp_path / "lake"
    unwanted = shutil.ignore_patterns("labels", "models", "saved_models")
    shutil.copytree(job.lake.location, folder, ignore=unwanted)
    leaking = Job(spark, Lake(spark, str(folder)), job.settings)
    day = dates_to_train(leaking, log_span(leaking, None))[-1]
    recent = job.lake.read("features").where(F.col("as_of") == F.lit(day))
    known = [r[0] for r in recent.where("recency_days < 20").select("customer_id").collect()]

    def told(*given):
        return labels_at(*given).withColumn("repurchased", F.col("customer_id").isin(known))

    monkeypatch.setattr("jobs.audit.labels_at", told)
    with console.capture() as said:
        audited = audit(leaking, log_span(leaking, None))
    assert "no model of 30 days is published" in said.get()
    assert audited.power["recency_days"] == 1.0
    with console.capture() as said:
        assert not show_audited(audited, PLAUSIBLE)
    assert "implausible" in said.get()
    assert "recency_days" in said.get()


def test_a_log_without_a_matured_date_says_so(job):
    span = log_span(job, None)
    begin = LogSpan(span.first, span.first + timedelta(20), span.first + timedelta(21))
    with pytest.raises(InputError, match="nothing to audit"):
        audit(job, begin)
