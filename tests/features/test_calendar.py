"""Weekends and public holidays."""

import datetime as dt

import pytest
from pyspark.sql import SparkSession

from features.calendar import Calendar

SPRING = Calendar(dt.date(2021, 3, 27), dt.date(2021, 4, 6), "GB")  # Easter Sunday is 4 April


def test_one_row_per_day_with_what_came_before_it(spark: SparkSession):
    rows = [tuple(row) for row in SPRING.days(spark).orderBy("day").collect()]
    assert rows == [
        # day, is_weekend, is_holiday, weekends_before, holidays_before
        (dt.date(2021, 3, 27), 1, 0, 0, 0),
        (dt.date(2021, 3, 28), 1, 0, 1, 0),  # clocks go forward
        (dt.date(2021, 3, 29), 0, 0, 2, 0),
        (dt.date(2021, 3, 30), 0, 0, 2, 0),
        (dt.date(2021, 3, 31), 0, 0, 2, 0),
        (dt.date(2021, 4, 1), 0, 0, 2, 0),
        (dt.date(2021, 4, 2), 0, 1, 2, 0),  # Good Friday
        (dt.date(2021, 4, 3), 1, 0, 2, 1),
        (dt.date(2021, 4, 4), 1, 0, 3, 1),
        (dt.date(2021, 4, 5), 0, 0, 4, 1),  # Easter Monday is none in Scotland
        (dt.date(2021, 4, 6), 0, 0, 4, 1),
    ]


def test_a_window_holds_its_first_day_and_not_the_day_after_its_last():
    saturday = dt.date(2021, 4, 3)
    assert SPRING.weekend_days(saturday, 0) == 0
    assert SPRING.weekend_days(saturday, 1) == 1
    assert SPRING.weekend_days(saturday, 2) == 2
    assert SPRING.weekend_days(saturday, 7) == 2
    assert SPRING.weekend_days(saturday, 8) == 3
    good_friday = dt.date(2021, 4, 2)
    assert SPRING.holiday_days(good_friday, 1) == 1
    assert SPRING.holiday_days(good_friday - dt.timedelta(1), 1) == 0
    assert SPRING.holiday_days(good_friday - dt.timedelta(1), 2) == 1
    assert SPRING.holiday_days(good_friday + dt.timedelta(1), 1) == 0


def test_a_year_has_its_weekends_whether_or_not_it_is_a_leap_year():
    calendar = Calendar(dt.date(2020, 1, 1), dt.date(2021, 12, 31), None)
    assert calendar.weekend_days(dt.date(2020, 1, 1), 366) == 104
    assert calendar.weekend_days(dt.date(2021, 1, 1), 365) == 104
    assert calendar.weekend_days(dt.date(2020, 2, 29), 1) == 1  # a Saturday


def test_without_a_country_there_are_no_holidays_but_weekends(spark: SparkSession):
    calendar = Calendar(dt.date(2020, 12, 25), dt.date(2020, 12, 26), None)
    assert calendar.holiday_days(dt.date(2020, 12, 25), 2) == 0
    rows = [tuple(row) for row in calendar.days(spark).orderBy("day").collect()]
    assert rows == [(dt.date(2020, 12, 25), 0, 0, 0, 0), (dt.date(2020, 12, 26), 1, 0, 0, 0)]


def test_holidays_of_every_year_that_the_calendar_touches():
    calendar = Calendar(dt.date(2020, 12, 31), dt.date(2022, 1, 1), "GB")
    assert calendar.holiday_days(dt.date(2020, 12, 25), 1) == 1
    assert calendar.holiday_days(dt.date(2021, 12, 25), 1) == 1
    assert calendar.holiday_days(dt.date(2022, 1, 1), 1) == 1


@pytest.mark.parametrize("country", ["GB", "US", "TW", "DE", "BR"])
def test_a_longer_calendar_knows_the_same_holidays_of_the_shorter_one(country: str):
    # Or else the as-of dates of a run would change each other's features.
    years = range(2005, 2030)
    everything = Calendar(dt.date(years[0], 1, 1), dt.date(years[-1], 12, 31), country)
    for year in years:
        first = dt.date(year, 1, 1)
        alone = Calendar(first, dt.date(year, 12, 31), country)
        for day in (first + dt.timedelta(n) for n in range(365)):
            assert alone.holiday_days(day, 1) == everything.holiday_days(day, 1), day
