"""Training dates and tuning dates."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from features.snapshots import Split, training_dates, tuning_dates

DAYS = st.dates(dt.date(2000, 1, 1), dt.date(2030, 12, 31))


def test_dates_go_back_by_the_step_from_the_last_that_has_matured():
    dates = training_dates(
        dt.date(2021, 7, 1),
        dt.date(2020, 1, 1),
        horizon_days=30,
        step_days=10,
        count=3,
        min_history_days=0,
    )
    assert dates == [dt.date(2021, 5, 12), dt.date(2021, 5, 22), dt.date(2021, 6, 1)]


def test_a_date_has_exactly_the_wanted_history_at_least():
    def dates(min_history_days: int) -> list[dt.date]:
        return training_dates(
            dt.date(2021, 1, 22),
            dt.date(2021, 1, 1),
            horizon_days=1,
            step_days=10,
            count=9,
            min_history_days=min_history_days,
        )

    assert dates(20) == [dt.date(2021, 1, 21)]
    assert dates(21) == []
    assert dates(10) == [dt.date(2021, 1, 11), dt.date(2021, 1, 21)]


def test_the_first_day_of_the_log_is_no_date_even_if_no_history_is_asked_for():
    dates = training_dates(
        dt.date(2021, 1, 4),
        dt.date(2021, 1, 1),
        horizon_days=1,
        step_days=1,
        count=9,
        min_history_days=0,
    )
    assert dates == [dt.date(2021, 1, 2), dt.date(2021, 1, 3)]


@given(
    as_of=DAYS,
    log_start=DAYS,
    horizon=st.integers(1, 365),
    step=st.integers(1, 40),
    count=st.integers(0, 40),
    history=st.integers(0, 400),
)
def test_every_training_date_has_matured_and_has_a_history(
    as_of, log_start, horizon, step, count, history
):
    dates = training_dates(
        as_of,
        log_start,
        horizon_days=horizon,
        step_days=step,
        count=count,
        min_history_days=history,
    )
    day, expected = as_of - dt.timedelta(horizon), []
    for _ in range(count):
        if log_start < day and log_start + dt.timedelta(history) <= day:
            expected.insert(0, day)
        day -= dt.timedelta(step)
    assert dates == expected


def test_a_tuning_date_has_its_label_window_end_by_the_held_out_date():
    held_out = dt.date(2021, 6, 1)
    dates = [dt.date(2021, 4, 22), dt.date(2021, 5, 2), dt.date(2021, 5, 3), held_out]
    assert tuning_dates(dates, held_out, 30) == [dt.date(2021, 4, 22), dt.date(2021, 5, 2)]


@given(dates=st.lists(DAYS, max_size=20), held_out=DAYS, horizon=st.integers(1, 365))
def test_no_label_of_a_tuning_date_saw_a_day_of_the_held_out_label(dates, held_out, horizon):
    tuning = tuning_dates(dates, held_out, horizon)
    for date in dates:
        last_day_of_the_label = date + dt.timedelta(horizon - 1)
        assert (date in tuning) == (last_day_of_the_label < held_out)


def test_a_split_says_its_dates_and_that_a_single_one_knows_no_other_month():
    first, second, last = dt.date(2021, 1, 1), dt.date(2021, 2, 1), dt.date(2021, 3, 8)
    two = str(Split((first, second), last, 30))
    assert two == "2 dates tune (2021-01-01 .. 2021-02-01), 2021-03-08 is held out"
    one = str(Split((first,), last, 30))
    assert one.startswith("1 date tunes (2021-01-01), 2021-03-08 is held out")
    assert "from month to month" in one
