"""Which as-of dates train, which of them is held out, and which customers stand for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def training_dates(
    as_of: date,
    log_start: date,
    *,
    horizon_days: int,
    step_days: int,
    count: int,
    min_history_days: int,
) -> list[date]:
    """At most `count` dates, every `step_days` days back from `as_of - horizon_days`, oldest first.

    All have matured at `as_of`, and at least `min_history_days` days of log before them.
    """
    latest = as_of - timedelta(horizon_days)
    dates = [latest - timedelta(step_days * k) for k in range(count)]
    return sorted(d for d in dates if (d - log_start).days >= max(min_history_days, 1))


def tuning_dates(dates: Sequence[date], held_out: date, horizon_days: int) -> list[date]:
    """Those of the dates whose label window ends by the held-out date, so that what is fitted
    on them knew nothing of the days that judge it.
    """
    return [d for d in dates if d + timedelta(horizon_days) <= held_out]


@dataclass(frozen=True)
class Split:
    """Dates that are learned from, and the later one by which is judged what was learned; the
    label windows have `horizon_days` days.
    """

    tuning: tuple[date, ...]
    held_out: date
    horizon_days: int

    def __str__(self) -> str:
        """Which dates serve for what, and what a single one cannot tell."""
        first, last, judges = self.tuning[0], self.tuning[-1], f"{self.held_out} is held out"
        if first == last:
            return (
                f"1 date tunes ({first}), {judges}; a single date does not say how the share of "
                "customers who order moves from month to month: expect the probabilities to be "
                "off by that"
            )
        return f"{len(self.tuning)} dates tune ({first} .. {last}), {judges}"

    def known_by(self, day: date) -> list[date]:
        """The tuning dates whose label windows have ended by the day."""
        return tuning_dates(self.tuning, day, self.horizon_days)

    def folds_in_time(self, count: int) -> list[list[date]]:
        """The tuning dates that earlier ones can predict, in so many runs of dates that follow each
        other, the earliest first; fewer where there are fewer such dates.
        """
        able = [day for day in self.tuning if self.known_by(day)]
        cuts = [len(able) * k // count for k in range(count + 1)]
        return [able[a:b] for a, b in pairwise(cuts) if a < b]


def sampled(rows: DataFrame, share: float, keys: Sequence[str] = ("customer_id",)) -> DataFrame:
    """The rows of about this share of the customers, or of the values of other keys; of the same
    ones each time.
    """
    parts = 1_000_000
    part = F.pmod(F.xxhash64(*keys), F.lit(parts))
    return rows if share >= 1 else rows.where(part < round(share * parts))
