"""Weekends and public holidays: how many of them lie before each day; when days begin."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday, Monday being 0
_SATURDAY = 5


@dataclass(frozen=True)
class Calendar:
    """The days from `first` up to but not including `end`, with the public holidays of a country
    (none without one). Days between two days are differences of what lies before each.
    """

    first: date
    end: date
    country: str | None

    def weekends_before(self) -> Ints:
        """By day from `first` to `end`: the Saturdays and Sundays since `first` and before it."""
        weekday = (self._days() + _EPOCH_WEEKDAY) % 7
        return _before(weekday >= _SATURDAY)

    def holidays_before(self) -> Ints:
        """By day from `first` to `end`: the public holidays since `first` and before it."""
        if self.country is None:
            return np.zeros((self.end - self.first).days + 1, np.int64)
        years = range(self.first.year, self.end.year + 1)
        public = holidays.country_holidays(self.country, years=years)
        return _before(np.isin(self._days(), [numbered(day) for day in public]))

    def _days(self) -> Ints:
        return np.arange(numbered(self.first), numbered(self.end))


@dataclass(frozen=True)
class Clock:
    """Where and when the business days begin."""

    time_zone: str = "UTC"
    day_starts_at: str = "00:00"

    def start(self, day: date) -> datetime:
        """The moment at which the day begins."""
        local = datetime.combine(day, time.fromisoformat(self.day_starts_at))
        return local.replace(tzinfo=ZoneInfo(self.time_zone)).astimezone(UTC)

    def today(self) -> date:
        """The day that it is now."""
        begins = time.fromisoformat(self.day_starts_at)
        now = datetime.now(ZoneInfo(self.time_zone))
        return (now - timedelta(hours=begins.hour, minutes=begins.minute)).date()

    def start_micros(self, day: date) -> int:
        """The same in microseconds since 1970."""
        return int(self.start(day).timestamp()) * 1_000_000


def numbered(day: date) -> int:
    """The day's number: days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _before(is_counted: npt.NDArray[np.bool_]) -> Ints:
    return np.append(0, np.cumsum(is_counted, dtype=np.int64))
