"""Labels that a late line has changed are known until they are made again."""

import datetime as dt

import pytest

from conf.settings import Horizon
from features.stale_labels import note_made, note_stale, stale_dates
from lake.contracts import LABELS

pytestmark = pytest.mark.slow

START = dt.date(2024, 1, 1)
MONTH, WEEK, HOURS = Horizon(30), Horizon(7), Horizon(0, 6)


def _day(number: int) -> dt.date:
    return START + dt.timedelta(number)


def test_what_has_changed_stays_known_for_each_horizon_until_it_is_made_again(lake):
    note_stale(lake, START)  # nothing is labelled yet
    assert stale_dates(lake, MONTH, _day(100)) == []
    rows = [
        ("c1", _day(at), horizon.days, True, _day(at + (horizon.days or 1)), horizon.hours)
        for horizon in (MONTH, WEEK, HOURS)
        for at in (0, 10, 20, 30)
    ]
    lake.put(LABELS, rows)
    version = lake.version("labels")
    note_stale(lake, _day(70))  # all windows have ended before
    note_made(lake, MONTH, _day(100))
    assert lake.version("labels") == version

    note_stale(lake, _day(17))
    note_stale(lake, _day(45))
    assert stale_dates(lake, MONTH, _day(100)) == [_day(at) for at in (0, 10, 20, 30)]
    assert stale_dates(lake, MONTH, _day(40)) == [_day(0), _day(10)]
    assert stale_dates(lake, WEEK, _day(100)) == [_day(20), _day(30)]
    assert stale_dates(lake, HOURS, _day(100)) == [_day(20), _day(30)]

    note_made(lake, MONTH, _day(40))
    assert stale_dates(lake, MONTH, _day(100)) == [_day(20), _day(30)]
    note_made(lake, MONTH, _day(100))
    assert stale_dates(lake, MONTH, _day(100)) == []
    assert stale_dates(lake, WEEK, _day(100)) == [_day(20), _day(30)]
