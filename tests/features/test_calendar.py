"""Weekends and public holidays."""

import datetime as dt

import pytest

from features.calendar import Calendar, Clock, numbered

SPRING = Calendar(dt.date(2021, 3, 27), dt.date(2021, 4, 7), "GB")  # Easter Sunday is 4 April


def test_a_day_is_numbered_from_1970():
    assert numbered(dt.date(1970, 1, 1)) == 0
    assert numbered(dt.date(1969, 12, 31)) == -1
    assert numbered(dt.date(2000, 3, 1)) == 11_017


def test_by_day_what_lies_before_it():
    before = {
        dt.date(2021, 3, 27): (0, 0),
        dt.date(2021, 3, 28): (1, 0),  # clocks go forward
        dt.date(2021, 3, 29): (2, 0),
        dt.date(2021, 3, 30): (2, 0),
        dt.date(2021, 3, 31): (2, 0),
        dt.date(2021, 4, 1): (2, 0),
        dt.date(2021, 4, 2): (2, 0),  # Good Friday
        dt.date(2021, 4, 3): (2, 1),
        dt.date(2021, 4, 4): (3, 1),
        dt.date(2021, 4, 5): (4, 1),  # Easter Monday is none in Scotland
        dt.date(2021, 4, 6): (4, 1),
        dt.date(2021, 4, 7): (4, 1),  # the end
    }
    counted = zip(SPRING.weekends_before(), SPRING.holidays_before(), strict=True)
    assert [tuple(map(int, pair)) for pair in counted] == list(before.values())


def test_a_year_has_its_weekends_whether_or_not_it_is_a_leap_year():
    for year, length in ((2020, 366), (2021, 365)):
        weekends = Calendar(dt.date(year, 1, 1), dt.date(year + 1, 1, 1), None).weekends_before()
        assert (len(weekends), weekends[-1]) == (length + 1, 104)


def test_days_before_1970_have_weekdays_too():
    # 1969-12-27 was a Saturday.
    calendar = Calendar(dt.date(1969, 12, 26), dt.date(1970, 1, 5), None)
    assert calendar.weekends_before().tolist() == [0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 4]


def test_today_is_the_day_of_the_shop():
    now = dt.datetime.now(dt.UTC)
    # Kiritimati is 14 hours ahead; where days begin at 14:00, they turn there as in UTC.
    turned_back = Clock("Pacific/Kiritimati", "14:00").today()
    assert now.date() <= turned_back <= dt.datetime.now(dt.UTC).date()
    assert Clock("Pacific/Kiritimati").today() >= now.date()
    assert Clock("Etc/GMT+12").today() <= now.date()


def test_without_a_country_there_are_no_holidays_but_weekends():
    calendar = Calendar(dt.date(2020, 12, 25), dt.date(2020, 12, 27), None)
    assert calendar.holidays_before().tolist() == [0, 0, 0]
    assert calendar.weekends_before().tolist() == [0, 0, 1]


def test_holidays_of_every_year_that_the_calendar_touches():
    calendar = Calendar(dt.date(2020, 12, 25), dt.date(2022, 1, 2), "GB")
    before = calendar.holidays_before()
    for day in (dt.date(2020, 12, 25), dt.date(2021, 12, 25), dt.date(2022, 1, 1)):
        offset = (day - calendar.first).days
        assert before[offset + 1] - before[offset] == 1


@pytest.mark.parametrize("country", ["GB", "US", "TW", "DE", "BR"])
def test_a_longer_calendar_knows_the_same_holidays_of_the_shorter_one(country: str):
    # Or else the as-of dates of a run would change each other's features.
    years = range(2005, 2030)
    everything = Calendar(dt.date(2005, 1, 1), dt.date(2030, 1, 1), country).holidays_before()
    for year in years:
        first, end = dt.date(year, 1, 1), dt.date(year + 1, 1, 1)
        alone = Calendar(first, end, country).holidays_before()
        offset = (first - dt.date(2005, 1, 1)).days
        assert (everything[offset : offset + len(alone)] - everything[offset] == alone).all(), year
