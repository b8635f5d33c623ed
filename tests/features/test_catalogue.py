"""The catalogue reads like a data dictionary: one name and one description per feature."""

import re

import pytest

from features.catalogue import WINDOWED, catalogue

CHOICES = [((7, 30, 90, 180, 365), 30), ((3, 14), 1), ((1,), 365), ((30, 365, 730), 366)]


@pytest.mark.parametrize(("windows", "horizon"), CHOICES)
def test_names_and_descriptions_are_unique(windows, horizon):
    features = catalogue(windows, horizon)
    assert len({feature.name for feature in features}) == len(features)
    assert len({feature.description for feature in features}) == len(features)


@pytest.mark.parametrize(("windows", "horizon"), CHOICES)
def test_names_are_snake_case_and_every_text_is_filled_in(windows, horizon):
    for feature in catalogue(windows, horizon):
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", feature.name)
        assert feature.description.strip() == feature.description != ""
        assert feature.type in ("int", "double", "string")
        assert not set("{}") & set(feature.name + feature.description + feature.formula)


def test_windows_are_what_the_settings_say():
    names = [feature.name for feature in catalogue((3, 14), 30)]
    windows = {match[1] for name in names if (match := re.fullmatch(r"revenue_(\w+)", name))}
    assert windows == {"3d", "14d", "lifetime", "trend_3d_14d"}
    assert not [
        name for name in names if re.search(r"_(7|30|90|180|365)d", name) and "decayed" not in name
    ]
    assert len([name for name in names if name.endswith(("_3d", "_14d", "_lifetime"))]) == (
        3 * len(WINDOWED) + 2 + 2  # the trends and `history_shorter_than`
    )


def test_every_windowed_feature_names_its_window_in_its_description():
    described = {feature.name: feature.description for feature in catalogue((3, 14), 30)}
    for feature in WINDOWED:
        assert "in the 14 days before as_of" in described[feature.name.format(w="14d")]
        assert "over all days before as_of" in described[feature.name.format(w="lifetime")]


def test_last_year_is_a_feature_only_where_the_longest_window_reaches_it():
    def has(windows, horizon):
        return "orders_same_period_last_year" in {f.name for f in catalogue(windows, horizon)}

    assert has((365,), 365)
    assert not has((364,), 30)
    assert not has((365,), 366)


def test_the_column_of_the_table_carries_the_description():
    feature = catalogue((7,), 30)[0]
    column = feature.column()
    assert (column.name, column.type, column.description) == (
        *("orders_7d", "int", "Orders in the 7 days before as_of"),
    )
