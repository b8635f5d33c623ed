"""Events and customers are kept as their contracts say, or refused with every reason."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from conf.errors import ConfigurationError
from conf.loading import validated
from conf.source import Source
from lake.contracts import CUSTOMERS, EVENTS, Table
from lake.ingestion import business_session, mapped, read_log
from lake.rules import Limits

LIMITS = Limits(1_000, 10_000, dt.date(2000, 1, 1), dt.date(2030, 1, 1))
SOURCE = """
name: shop
columns: {customer_id: id, ordered_at: at, amount: money}
time_zone: America/New_York
currency: USD
events:
  reader: {format: csv, options: {header: true}}
  skip: what = 'heartbeat'
  columns:
    {customer_id: who, happened_at: at, kind: what, session_id: visit, traffic_source: came_by}
customers:
  reader: {format: csv, options: {header: true}}
  columns:
    customer_id: who
    valid_from: since
    valid_until: until
    birth_year: born
    gender: sex
    signed_up_on: joined
"""
EVENT_HEADER, CUSTOMER_HEADER = "who,at,what,visit,came_by", "who,since,until,born,sex,joined"

Ingest = Callable[..., tuple[list[Row], list[Row]]]


@pytest.fixture
def ingest(spark: SparkSession, tmp_path: Path) -> Ingest:
    """What becomes of a CSV's lines: `kept, refused = ingest(table, lines, source file's text)`."""

    def ingested(table: Table, *lines: str, source: str = SOURCE) -> tuple[list[Row], list[Row]]:
        header = EVENT_HEADER if table is EVENTS else CUSTOMER_HEADER
        path = tmp_path / "rows.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        loaded = validated(Source, [("shop.yml", source)])
        with business_session(spark, loaded.time_zone):
            found = mapped(read_log(spark, loaded, str(path), table), loaded, LIMITS, table)
            rows = found.drop("valid_from", "valid_until", "happened_at").collect()
        return [r for r in rows if not r.reasons], [r for r in rows if r.reasons]

    return ingested


def test_an_event_is_kept_on_the_day_of_the_business(ingest: Ingest) -> None:
    (late, plain), refused = ingest(
        EVENTS,
        "007,2024-01-01T03:00:00Z, Add_To_Cart ,,",
        "8,2024-01-01 03:00:00,view,v1, Email ",
    )
    assert not refused
    assert (late.customer_id, late.happened_on) == ("007", dt.date(2023, 12, 31))
    assert (late.kind, late.session_id, late.traffic_source) == ("add_to_cart", None, None)
    assert (plain.happened_on, plain.traffic_source) == (dt.date(2024, 1, 1), "email")
    assert (plain.product_id, plain.table_name, plain.source) == (None, "events", "shop")


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        (",2024-01-01,view,v,", ["customer_id is missing"]),
        ("a,soon,view,v,", ["happened_at is missing or not a date"]),
        ("a,1999-12-31,view,v,", ["happened_at is before the first day allowed"]),
        ("a,2030-01-02,view,v,", ["happened_at is after the last day allowed"]),
        ("a,2024-01-01, ,v,", ["kind is missing"]),
        (",,,v,", ["customer_id is missing", "happened_at is missing or not a date",
                   "kind is missing"]),
    ],
)  # fmt: skip
def test_an_event_that_breaks_the_contract_is_refused_as_it_came(
    ingest: Ingest, line: str, reasons: list[str]
) -> None:
    kept, (row,) = ingest(EVENTS, line)
    assert not kept
    assert row.reasons == reasons
    assert '"v"' in row.source_row


def test_a_malformed_event_is_refused_and_a_skipped_one_is_none(ingest: Ingest) -> None:
    kept, (row,) = ingest(EVENTS, "a,2024-01-01", "a,2024-01-01,heartbeat,v,")
    assert not kept
    assert "the line is malformed" in row.reasons


def test_a_customer_is_kept_with_what_is_known(ingest: Ingest) -> None:
    (ann, bob, eve), refused = ingest(
        CUSTOMERS,
        "ann,2020-01-01,2024-02-29 12:00:00,1980,f,2019-12-24",
        "bob,1900-01-01,9999-12-31,1970.0,,",
        'eve,2024-03-01 09:00:00,2024-03-01 17:00:00,," ",2024-03-02T03:00:00Z',
    )
    assert not refused
    assert (ann.valid_from_day, ann.valid_until_day) == (dt.date(2020, 1, 1), dt.date(2024, 2, 29))
    assert (ann.birth_year, ann.gender, ann.location) == (1980, "f", None)
    assert ann.signed_up_on == dt.date(2019, 12, 24)
    assert (bob.birth_year, bob.signed_up_on) == (1970, None)
    assert (eve.birth_year, eve.gender) == (None, None)
    assert eve.valid_from_day == eve.valid_until_day == eve.signed_up_on == dt.date(2024, 3, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,,,1980,f,", "valid_from is missing or not a date"),
        ("a,2020-01-01,later,1980,f,", "valid_until is not a date"),
        ("a,2020-01-01,2020-01-01,1980,f,", "valid_until is not after valid_from"),
        ("a,2020-01-02,2020-01-01,1980,f,", "valid_until is not after valid_from"),
        ("a,2020-01-01,,80,f,", "birth_year is no year from 1850 on"),
        ("a,2020-01-01,,2031,f,", "birth_year is no year from 1850 on"),
        ("a,2020-01-01,,young,f,", "birth_year is no year from 1850 on"),
        ("a,2020-01-01,,1980,f,once", "signed_up_on is not a date"),
    ],
)
def test_a_customers_row_that_breaks_the_contract_is_refused(
    ingest: Ingest, line: str, reason: str
) -> None:
    kept, (row,) = ingest(CUSTOMERS, line)
    assert not kept
    assert row.reasons == [reason]


def test_an_expression_that_does_not_fit_is_named_with_its_section(ingest: Ingest) -> None:
    source = SOURCE.replace("kind: what", "kind: whatever")
    with pytest.raises(ConfigurationError, match=r"source shop, events\.kind: 'whatever' does not"):
        ingest(EVENTS, "a,2024-01-01,view,v,", source=source)
    source = SOURCE.replace("valid_until: until", "valid_until: cast(born as int)")
    with pytest.raises(ConfigurationError, match=r"customers\.valid_until: .* is a number"):
        ingest(CUSTOMERS, "a,2024-01-01,,1980,f,", source=source)


def test_exact_duplicates_may_be_refused(ingest: Ingest) -> None:
    source = SOURCE.replace("  skip: what", "  exact_duplicates: refuse\n  skip: what")
    line = "a,2024-01-01,view,v,"
    kept, (row,) = ingest(EVENTS, line, line, source=source)
    assert len(kept) == 1
    assert row.reasons == ["an exact duplicate of another row"]


def test_days_begin_at_the_time_that_the_source_says(ingest: Ingest) -> None:
    source = SOURCE.replace("currency", 'day_starts_at: "02:00"\ncurrency')
    rows, _ = ingest(
        EVENTS,
        "a,2024-02-29 01:59:59,view,,",
        "a,2024-02-29 02:00:00,view,,",
        "a,2024-01-01T06:59:59Z,view,,",  # 01:59:59 in New York
        "a,2024-03-10 03:00:00,view,,",  # on that day the clocks go from 02:00 to 03:00
        "a,2024-03-10 01:59:59,view,,",
        "a,2024-11-03T06:15:00Z,view,,",  # the second 01:15 of that day
        source=source,
    )
    assert [row.happened_on.isoformat() for row in rows] == [
        *("2024-02-28", "2024-02-29", "2023-12-31", "2024-03-10", "2024-03-09", "2024-11-02"),
    ]


def test_the_first_day_that_there_is_has_none_before(ingest: Ingest) -> None:
    """Some write it for what has always been so."""
    source = SOURCE.replace("currency", 'day_starts_at: "14:00"\ncurrency')
    (ann,), _ = ingest(CUSTOMERS, "ann,0001-01-01 00:00:00,,1980,f,", source=source)
    assert ann.valid_from_day == dt.date(1, 1, 1)


def test_a_sign_up_without_a_time_is_on_the_day_that_it_names(ingest: Ingest) -> None:
    source = SOURCE.replace("currency", 'day_starts_at: "14:00"\ncurrency')
    (ann, bob, eve), _ = ingest(
        CUSTOMERS,
        "ann,2020-01-01,,1980,f,2024-03-31",
        "bob,2020-01-01,,1980,f,2024-03-31 13:59:59",
        "eve,2020-01-01,,1980,f,2024-03-31 14:00:00",
        source=source,
    )
    assert ann.signed_up_on == eve.signed_up_on == dt.date(2024, 3, 31)
    assert bob.signed_up_on == dt.date(2024, 3, 30)
    # A moment is one: midnight of the first of January lies in the day before.
    assert ann.valid_from_day == dt.date(2019, 12, 31)
