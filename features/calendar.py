"""Weekends and public holidays: which days they are, and how many lie in a window."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import holidays
from pyspark.sql import DataFrame, SparkSession

SATURDAY = 6


@dataclass(frozen=True)
class Calendar:
    """The days [first, last] with the public holidays of a country (none without one)."""

    first: date
    last: date
    country: str | None

    @cached_property
    def _holidays(self) -> frozenset[date]:
        if self.country is None:
            return frozenset()
        years = range(self.first.year, self.last.year + 1)
        return frozenset(holidays.country_holidays(self.country, years=years))

    def weekend_days(self, first: date, days: int) -> int:
        """How many of the `days` days from `first` on are a Saturday or a Sunday."""
        return sum(_is_weekend(first + timedelta(d)) for d in range(days))

    def holiday_days(self, first: date, days: int) -> int:
        """How many of the `days` days from `first` on are public holidays."""
        return sum(first + timedelta(d) in self._holidays for d in range(days))

    def days(self, spark: SparkSession) -> DataFrame:
        """One row per day: `day`, `is_weekend` and `is_holiday` (0 or 1), and how many of
        either came before it: `weekends_before`, `holidays_before`.
        """
        rows = []
        weekends = public = 0
        for offset in range((self.last - self.first).days + 1):
            day = self.first + timedelta(offset)
            is_weekend, is_holiday = int(_is_weekend(day)), int(day in self._holidays)
            rows.append((day, is_weekend, is_holiday, weekends, public))
            weekends, public = weekends + is_weekend, public + is_holiday
        return spark.createDataFrame(
            rows,
            "day date, is_weekend int, is_holiday int, weekends_before int, holidays_before int",
        )


def _is_weekend(day: date) -> bool:
    return day.isoweekday() >= SATURDAY
