"""`repurchase backtest`: what every model would have been worth on past dates."""

import statistics
from dataclasses import dataclass
from datetime import timedelta
from math import nan
from typing import Annotated

import typer

from conf.errors import InputError
from features.snapshots import Split, tuning_dates
from jobs.build_features import dates_to_train
from jobs.console import handled, interval, say, show, step
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, log_span, open_job
from jobs.train import snapshots_of
from lake.contracts import BACKTEST
from models import training
from models.judging import TURNED, comparable
from models.records import record
from models.training import Contest

SHOWN = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "log_loss": "log loss"}


@dataclass(frozen=True)
class Judged:
    """A past date and the dates that had matured by then, and what came of them."""

    split: Split
    contest: Contest


def dates_to_judge(job: Job, span: LogSpan, count: int) -> list[Split]:
    """The latest matured dates whose label windows do not overlap, each with the training dates
    whose labels had matured by then; the earliest first.

    Raises InputError where the log is too short for one.
    """
    horizon = job.settings.snapshots.horizon_days
    dates = dates_to_train(job, span)
    chosen: list[Split] = []
    for day in reversed(dates):
        tuning = tuning_dates(dates, day, horizon)
        apart = not chosen or chosen[-1].held_out - day >= timedelta(horizon)
        if apart and tuning and len(chosen) < count:
            chosen.append(Split(tuple(tuning), day, horizon))
    if not chosen:
        raise InputError(
            f"the log before {span.as_of} is too short: no date has both an earlier date to learn "
            f"from and {horizon} days after it to judge by"
        )
    return chosen[::-1]


def backtest(job: Job, span: LogSpan, count: int) -> list[Judged]:
    """Train on what had matured by each of the past dates, and judge what happened then; the
    figures go to `evaluations` and `comparisons`.
    """
    judged = []
    chosen = dates_to_judge(job, span, count)
    known = snapshots_of(job, sorted({d for one in chosen for d in (one.held_out, *one.tuning)}))
    for number, split in enumerate(chosen, 1):
        day, tuning = split.held_out, split.tuning
        say(f"{number} of {len(chosen)}: {day}, from {len(tuning)} dates up to {tuning[-1]}")
        then = known.snapshots.where(known.snapshots["as_of"].isin([day, *tuning]))
        contest = training.evaluate(
            then, known.numeric, known.texts, split, job.settings.training, say
        )
        record(job.lake, day, job.settings.snapshots.horizon, contest, BACKTEST)
        judged.append(Judged(split, contest))
    return judged


def show_backtest(judged: list[Judged], metric: str) -> None:
    """Each model's figures by date, with their 95 % intervals, and their mean where the model is
    there on every date; and which is better than which by the metric.
    """
    of_dates = [{e.name: e.held_out for e in one.contest.evaluations} for one in judged]
    for shown, title in SHOWN.items():
        rows = [
            [
                name,
                *[_with_interval(figures.get(name), shown) for figures in of_dates],
                statistics.fmean(figures.get(name, {}).get(shown, nan) for figures in of_dates),
            ]
            for name in dict.fromkeys(name for figures in of_dates for name in figures)
        ]
        show(title, ["model", *[str(j.split.held_out) for j in judged], "mean"], rows)
    by = comparable(metric)
    show(
        f"By the paired intervals of {SHOWN[by]}",
        ["model", "better on every date than", "worse on some date than"],
        _standing([j.contest for j in judged], by),
    )


def _standing(contests: list[Contest], metric: str) -> list[list[str]]:
    verdicts: dict[str, dict[str, set[str]]] = {}
    for one in (c for contest in contests for c in contest.comparisons if c.metric == metric):
        for model, other, verdict in (
            (one.model, one.other, one.verdict),
            (one.other, one.model, TURNED[one.verdict]),
        ):
            verdicts.setdefault(model, {}).setdefault(other, set()).add(verdict)
    return [
        [
            model,
            ", ".join(other for other, found in of.items() if found == {"better"}),
            ", ".join(other for other, found in of.items() if "worse" in found),
        ]
        for model, of in verdicts.items()
    ]


def _with_interval(figures: dict[str, float] | None, metric: str) -> str:
    if figures is None:
        return "-"
    low, high = (figures.get(f"{metric}_{end}", nan) for end in ("low", "high"))
    return f"{figures[metric]:.4f}{interval(low, high, 3)}"


@handled
def main(
    lake: LakeDir = None,
    as_of: AsOf = None,
    dates: Annotated[
        int, typer.Option("--dates", min=1, help="Past dates to judge, a horizon apart.")
    ] = 3,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Judge every model and baseline on past dates, each trained on what was known then."""
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    with step(f"Backtest as of {span.as_of}"):
        judged = backtest(job, span, dates)
    show_backtest(judged, job.settings.training.metric)


if __name__ == "__main__":
    typer.run(main)
