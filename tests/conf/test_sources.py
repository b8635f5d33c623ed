"""A source file says how a log maps onto the contract; a wrong one says what is wrong."""

import re
from pathlib import Path

import pytest

from conf.errors import ConfigurationError
from conf.loading import shipped_names
from conf.source import load_source

GOOD = """
name: mine
columns: {customer_id: id, ordered_at: at, amount: money}
time_zone: Europe/London
currency: GBP
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "mine.yml"
        path.write_text(text)
        return str(path)

    return write


def test_every_shipped_source_loads_by_name_and_by_path() -> None:
    names = shipped_names("sources")
    assert {"cdnow", "generated", "online_retail", "tafeng", "template"} <= set(names)
    for name in names:
        assert load_source(name).name == name
        assert load_source(f"conf/sources/{name}.yml") == load_source(name)


def test_only_the_required_keys_are_required(written) -> None:
    source = load_source(written(GOOD))
    assert (source.reader.format, source.kind, source.exact_duplicates) == (
        "csv",
        "'purchase'",
        "keep",
    )
    assert source.columns.order_id is None


@pytest.mark.parametrize("key", ["name", "columns", "time_zone", "currency"])
def test_a_required_key_is_missed_by_name(written, key: str) -> None:
    without = "\n".join(line for line in GOOD.split("\n") if not line.startswith(key))
    with pytest.raises(ConfigurationError, match=f"{key}: missing, and required"):
        load_source(written(without))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("amount: money", "amuont: money"), "columns.amuont: unknown key; did you mean amount?"),
        (("amount: money", "quantity: n"), "columns.amount: missing, and required"),
        (("Europe/London", "Europe/Londn"), "not a time zone of the IANA database"),
        (("Europe/London", "GMT+25"), "not a time zone of the IANA database"),
        (("GBP", "pounds"), "currency: String should match pattern"),
        (("name: mine", "name: mine\ncountry: NO"), "put it in quotes"),
        (("name: mine", "name: mine\ncountry: UKK"), "not a country of the package holidays"),
        (("name: mine", "name: mine\nexact_duplicates: drop"), "'keep' or 'refuse'"),
        (("name: mine", "name: mine\nreader: {options: {header: null}}"), "reader.options.header"),
        (("name: mine", "name: mine\nday_starts_at: 14:00"), "YAML reads this as 840; put it in"),
        (
            ("name: mine", "name: mine\nday_starts_at: '14:30'"),
            "day_starts_at: String should match",
        ),
        (("name: mine", "name: ''"), "name: String should have at least 1 character"),
        (("name: mine", "name: ["), "not valid YAML"),
    ],
)
def test_a_wrong_source_says_what_is_wrong(written, change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        load_source(written(GOOD.replace(*change)))


def test_secrets_come_from_the_environment(written, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = "reader: {format: jdbc, options: {password: '${oc.env:SHOP_PASSWORD}'}}"
    path = written(f"{GOOD}{reader}\n")
    monkeypatch.setenv("SHOP_PASSWORD", "pa$$ word")
    assert load_source(path).reader.options == {"password": "pa$$ word"}
    monkeypatch.delenv("SHOP_PASSWORD")
    with pytest.raises(ConfigurationError, match=r"reader\.options\.password: .*SHOP_PASSWORD"):
        load_source(path)


def test_a_missing_source_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigurationError, match="generated, online_retail, tafeng, t"):
        load_source("conf/sources/nowhere.yml")
