"""What came of a contest, in the tables that hold it."""

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from conf.settings import Horizon
from lake.contracts import COMPARISONS, CURVES, EVALUATIONS, RELIABILITY, SEGMENT_RELIABILITY
from lake.store import Lake, quoted
from models.curves import curve
from models.judging import Comparison, of_segments
from models.metrics import ECE_BINS, reliability
from models.training import Contest, Evaluation

DECILES = 10
Rows = list[tuple[Any, ...]]


def record(
    lake: Lake,
    judged_on: date,
    horizon: Horizon,
    contest: Contest,
    version: str,
    further: Sequence[Comparison] = (),
) -> None:
    """Write the figures of every model and baseline on a date into `evaluations`, `curves`,
    `reliability` and `segment_reliability`, and which of any two is better into `comparisons`, in
    the place of what the same version had there of the date: what another training has found
    stays.
    """
    figures = [
        (e.name, judged_on, horizon.days, metric, value, version, horizon.hours)
        for e in contest.evaluations
        for metric, value in _metrics(e).items()
    ]
    compared = [
        (
            *(one.model, one.other, judged_on, horizon.days, one.metric),
            *map(_finite, (one.difference, one.low, one.high)),
            *(one.verdict, version, horizon.hours),
        )
        for one in [*contest.comparisons, *further]
    ]
    key = (judged_on, horizon.days)
    curves, bins = _curves(contest, key, version, horizon), _bins(contest, key, version, horizon)
    own = f"model_version = {quoted(version)}"
    where = f"as_of = DATE'{judged_on}' AND {horizon.where} AND {own}"
    for table, rows in (
        (EVALUATIONS, figures),
        (COMPARISONS, compared),
        (CURVES, curves),
        (RELIABILITY, bins),
        (SEGMENT_RELIABILITY, _of_segments(contest, key, version, horizon)),
    ):
        lake.put(table, rows, where)


def _curves(contest: Contest, key: tuple[date, int], version: str, horizon: Horizon) -> Rows:
    return [
        (e.name, *key, *map(_finite, row), version, horizon.hours)
        for e in contest.evaluations
        for row in curve(e.later).itertuples(index=False)
    ]


def _bins(contest: Contest, key: tuple[date, int], version: str, horizon: Horizon) -> Rows:
    return [
        (e.name, *key, bins, int(row[0]), *map(_finite, row[1:]), version, horizon.hours)
        for e in contest.evaluations
        for bins in (DECILES, ECE_BINS)
        for row in reliability(e.later, bins).itertuples(index=False)
    ]


def _of_segments(contest: Contest, key: tuple[date, int], version: str, horizon: Horizon) -> Rows:
    return [
        (e.name, *key, row[0], int(row[1]), *map(_finite, row[2:]), version, horizon.hours)
        for e in contest.evaluations
        for row in of_segments(e.some, contest.segments).itertuples(index=False)
    ]


def _metrics(evaluation: Evaluation) -> dict[str, float | None]:
    named = {
        **evaluation.held_out,
        **{f"cv_{name}": value for name, value in evaluation.cross_validated.items()},
    }
    return {name: _finite(value) for name, value in named.items()}


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
