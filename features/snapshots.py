"""Which as-of dates train, and which of them is held out."""

from datetime import date, timedelta


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


def tuning_dates(dates: list[date], held_out: date, horizon_days: int) -> list[date]:
    """Those of the dates whose label window ends by the held-out date, so that what is fitted
    on them knew nothing of the days that judge it.
    """
    return [d for d in dates if d + timedelta(horizon_days) <= held_out]
