"""Past dates judged by what was known then; what is recorded, and what is not published."""

import shutil
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, permutations

import pytest
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.settings import load_settings
from jobs.backtest import Judged, _standing, backtest, dates_to_judge, show_backtest
from jobs.build_features import build_features, dates_to_train
from jobs.console import console
from jobs.options import Job, log_span
from jobs.train import dates_to_learn_from
from lake.contracts import BACKTEST
from lake.store import Lake
from models.judging import TURNED
from tests.jobs.commands import comparable

pytestmark = pytest.mark.slow

DATES = 10
DATES_JUDGED = 3
BASELINES = [
    *("rfm", "recency", "last_window", "mbg_nbd", "mbg_cnbd_2", "bg_nbd", "pareto_nbd"),
]


@pytest.fixture(scope="module")
def job(spark, undisturbed, tiny_env, tmp_path_factory) -> Job:
    """The tables of a run, with features of more dates."""
    folder = tmp_path_factory.mktemp("backtest") / "lake"
    shutil.copytree(undisturbed, folder)
    wanted = [f"snapshots.count={DATES}"]
    job = Job(spark, Lake(spark, str(folder)), load_settings(str(tiny_env), wanted))
    build_features(job, log_span(job, None))
    return job


def test_dates_are_a_horizon_apart_and_learn_only_from_what_had_matured(job):
    span = log_span(job, None)
    horizon = timedelta(job.settings.snapshots.horizon_days)
    chosen = dates_to_judge(job, span, DATES_JUDGED)
    days = [split.held_out for split in chosen]
    assert len(chosen) == DATES_JUDGED
    assert days[-1] == dates_to_train(job, span)[-1]
    assert all(after - before >= horizon for before, after in pairwise(days))
    assert all(max(split.tuning) + horizon <= split.held_out for split in chosen)


@pytest.fixture(scope="module")
def judged(job) -> list[Judged]:
    return backtest(job, log_span(job, None), DATES_JUDGED)


def test_every_model_and_baseline_is_recorded_for_every_date(job, judged):
    rows = job.lake.read("evaluations").where(F.col("model_version") == BACKTEST).collect()
    found = {(r["model"], r["as_of"], r["metric"]): r["value"] for r in rows}
    for date_judged in judged:
        evaluations, day = date_judged.contest.evaluations, date_judged.split.held_out
        names = [e.name for e in evaluations]
        assert names == ["logistic_regression", *BASELINES]
        for evaluation in evaluations:
            figures = evaluation.held_out
            assert figures["roc_auc_low"] < figures["roc_auc"] < figures["roc_auc_high"]
            key = evaluation.name, day, "roc_auc"
            assert found[key] == pytest.approx(figures["roc_auc"])


def test_what_the_training_found_on_the_same_date_stays(spark, undisturbed, job, judged):
    before = Lake(spark, str(undisturbed))
    for name in ("evaluations", "comparisons", "curves", "reliability", "segment_reliability"):
        trained = job.lake.read(name).where(F.col("model_version") != BACKTEST)
        assert comparable(trained) == comparable(before.read(name)), name
        assert judged[-1].split.held_out in {row["as_of"] for row in trained.collect()}


def test_nothing_after_a_past_date_has_any_influence_on_how_it_is_judged(
    spark, job, judged, tmp_path
):
    folder = tmp_path / "lake"
    shutil.copytree(job.lake.location, folder)
    other = Job(spark, Lake(spark, str(folder)), job.settings)
    span = log_span(job, None)
    day = dates_to_judge(job, span, DATES_JUDGED)[0].held_out
    later = f"WHERE as_of > DATE'{day}'"
    spark.sql(f"UPDATE {other.lake.name('labels')} SET repurchased = NOT repurchased {later}")
    spark.sql(f"UPDATE {other.lake.name('features')} SET recency_days = 1 {later}")
    after = backtest(other, span, DATES_JUDGED)
    first, last = (
        [(e.name, e.cross_validated, e.held_out) for e in judged[place].contest.evaluations]
        == [(e.name, e.cross_validated, e.held_out) for e in after[place].contest.evaluations]
        for place in (0, -1)
    )
    assert first
    assert not last


def test_every_two_are_compared_on_every_date(job, judged):
    found = job.lake.read("comparisons").where(F.col("model_version") == BACKTEST)
    assert found.groupBy("as_of", "metric").count().select("count").distinct().collect() == [
        (len(BASELINES) * (len(BASELINES) + 1) // 2,)
    ]
    assert found.select("as_of").distinct().count() == len(judged)
    told = {"better", "worse", "tie"}
    assert {row["verdict"] for row in found.collect()} <= told


def test_what_is_better_on_every_date_is_told(judged):
    with console.capture() as said:
        show_backtest(judged, "log_loss")
    assert "By the paired intervals of log loss" in said.get()
    standing = {m: (b, w) for m, b, w in _standing([j.contest for j in judged], "log_loss")}
    assert set(standing) == {"logistic_regression", *BASELINES}
    for model, other in permutations(standing, 2):
        verdicts = [
            c.verdict if c.model == model else TURNED[c.verdict]
            for j in judged
            for c in j.contest.comparisons
            if {c.model, c.other} == {model, other} and c.metric == "log_loss"
        ]
        assert len(verdicts) == DATES_JUDGED
        better, worse = (names.split(", ") for names in standing[model])
        assert (other in better) == (set(verdicts) == {"better"})
        assert (other in worse) == ("worse" in verdicts)


def test_a_model_that_some_date_lacks_has_no_mean(judged):
    """Nothing to blend, too little time, or no fit: what was found on other dates stays theirs."""
    first, *others = judged
    without = replace(first, contest=replace(first.contest, rivals=[]))
    with console.capture() as said:
        show_backtest([*others, without], "log_loss")
    (line, *_) = (text for text in said.get().splitlines() if "logistic_regression" in text)
    figures = line.replace(" .. ", "..").split("logistic_regression")[1].split(")")
    assert len(figures) == DATES_JUDGED
    assert figures[-1].split() == ["-", "-"]


def test_too_few_dates_to_learn_from_are_told_apart_from_a_short_log(job, tiny_env):
    few = Job(job.spark, job.lake, load_settings(str(tiny_env), ["snapshots.count=3"]))
    with pytest.raises(InputError, match=r"snapshots\.count is 3.* takes at least 4"):
        dates_to_learn_from(few, log_span(job, None))


def test_a_log_too_short_to_judge_by_says_so(job, tiny_env):
    short = Job(job.spark, job.lake, load_settings(str(tiny_env), ["snapshots.count=1"]))
    with pytest.raises(InputError, match="too short"):
        dates_to_judge(short, log_span(job, None), 1)


def test_lifetime_value_says_what_the_features_say(job):
    value = job.lake.read("lifetime_value").alias("value")
    features = job.lake.read("features").alias("features")
    both = value.join(features, ["customer_id", "as_of"])
    assert both.count() == value.count() == job.lake.read("current_scores").count()
    for column in ("alive_probability", "expected_orders", "expected_value_12m"):
        same = F.col(f"value.{column}").eqNullSafe(F.col(f"features.{column}"))
        assert both.where(~same).count() == 0
    money = F.col("value.expected_orders") * F.col("value.expected_order_value")
    assert both.where(~F.col("expected_value").eqNullSafe(money)).count() == 0
    assert value.select("currency").distinct().collect() == [("USD",)]
