"""Every row of a log is kept as the contract says, or refused as it came with every reason."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from conf.errors import ConfigurationError, InputError
from conf.loading import validated
from conf.source import Source
from lake.ingestion import Limits, business_session, mapped, read_log

LIMITS = Limits(1_000, 10_000, dt.date(2000, 1, 1), dt.date(2030, 1, 1))
CSV = """
name: shop
reader: {format: csv, options: {header: true}}
columns:
  {customer_id: id, ordered_at: at, amount: money, order_id: order, quantity: n, discount: less}
kind: case when money < 0.0 then 'return' else 'purchase' end
time_zone: UTC
currency: EUR
"""
HEADER = "id,at,money,order,n,less"


@dataclass
class Ingested:
    kept: list[Row]
    refused: list[Row]


Ingest = Callable[..., Ingested]


@pytest.fixture
def ingest(spark: SparkSession, tmp_path: Path) -> Ingest:
    """What becomes of a CSV's lines: `ingest(lines, source file's text, header)`."""

    def ingested(*lines: str, source: str = CSV, header: str = HEADER) -> Ingested:
        path = tmp_path / "log.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return mapped_rows(spark, source, str(path))

    return ingested


def mapped_rows(spark: SparkSession, source: str, path: str | None) -> Ingested:
    loaded = validated(Source, [("shop.yml", source)])
    with business_session(spark, loaded.time_zone):
        rows = mapped(read_log(spark, loaded, path), loaded, LIMITS).collect()
    return Ingested([r for r in rows if not r.reasons], [r for r in rows if r.reasons])


@pytest.mark.parametrize(
    "customer",
    [
        "007",
        "7",
        "17850.0",
        "18446744073709551617",
        "1e5",
        " spaced ",
        "Zoë",
        "客户",
        "null",
        "0x1F",
    ],
)
def test_an_id_survives_untouched(ingest: Ingest, customer: str) -> None:
    (row,) = ingest(f'"{customer}",2024-01-01,5,{customer}-1,1,0').kept
    assert (row.customer_id, row.order_id) == (customer, f"{customer}-1")


@pytest.mark.parametrize("blank", ["", "   ", "\t", "\u00a0", '""', "\u200b"])
def test_a_blank_customer_is_missing(ingest: Ingest, blank: str) -> None:
    (row,) = ingest(f"{blank},2024-01-01,5,o,1,0").refused
    assert row.reasons == ["customer_id is missing"]


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        ("a,,5,o,1,0", ["ordered_at is missing or not a date"]),
        ("a,10:30,5,o,1,0", ["ordered_at is missing or not a date"]),
        ("a,2024,5,o,1,0", ["ordered_at is missing or not a date"]),
        ("a,2023-02-29,5,o,1,0", ["ordered_at is missing or not a date"]),
        ("a,1999-12-31,5,o,1,0", ["ordered_at is before the first day allowed"]),
        ("a,2030-01-02,5,o,1,0", ["ordered_at is after the last day allowed"]),
        ("a,2024-01-01,,o,1,0", ["amount is missing or not a number"]),
        ("a,2024-01-01,five,o,1,0", ["amount is missing or not a number"]),
        ("a,2024-01-01,NaN,o,1,0", ["amount is missing or not a number"]),
        ("a,2024-01-01,Infinity,o,1,0", ["amount is infinite"]),
        ("a,2024-01-01,1000.01,o,1,0", ["amount is above max_amount"]),
        ("a,2024-01-01,1e300,o,1,0", ["amount is above max_amount"]),
        ("a,2024-01-01,5,,1,0", ["order_id is missing"]),
        ("a,2024-01-01,5,o,many,0", ["quantity is not a number"]),
        ("a,2024-01-01,5,o,NaN,0", ["quantity is not a number"]),
        ("a,2024-01-01,5,o,10000.01,0", ["quantity is above max_quantity"]),
        ("a,2024-01-01,5,o,-1e300,0", ["quantity is above max_quantity"]),
        ("a,2024-01-01,5,o,1,some", ["discount is not a number"]),
        ("a,2024-01-01,5,o,1,1000.01", ["discount is above max_amount"]),
        (",then,5,,1,0",
         ["customer_id is missing", "order_id is missing", "ordered_at is missing or not a date"]),
        ("a,2024-01-01,5", ["the line is malformed"]),
        ("a,2024-01-01,5,o,1,0,extra", ["the line is malformed"]),
    ],
)  # fmt: skip
def test_a_row_that_breaks_the_contract_is_refused_as_it_came(
    ingest: Ingest, line: str, reasons: list[str]
) -> None:
    found = ingest(line)
    assert not found.kept
    (row,) = found.refused
    assert set(reasons) <= set(row.reasons)
    if "the line is malformed" in reasons:
        assert row.source_row == line
    else:
        assert row.reasons == reasons
        for cell in filter(None, line.split(",")):
            assert f'"{cell}"' in row.source_row


def test_a_text_of_blanks_is_none(ingest: Ingest) -> None:
    columns = "product_id: sku, category: kind_of, payment_method: paid, channel: via, "
    source = CSV.replace("{customer_id: id", f"{{{columns}customer_id: id")
    (row,) = ingest(
        'a,2024-01-01,5,o,1,0," ",\u00a0,"","\t"',
        source=source,
        header=f"{HEADER},sku,kind_of,paid,via",
    ).kept
    assert (row.product_id, row.category, row.payment_method, row.channel) == (None,) * 4


def test_the_limits_themselves_are_allowed(ingest: Ingest) -> None:
    found = ingest("a,2000-01-01,1000,o,1,0", "a,2030-01-01 23:59:59,-1000,o,1,0")
    assert [row.amount for row in found.kept] == [Decimal(1000), Decimal(-1000)]


def test_the_kind_gives_amount_and_quantity_their_sign(ingest: Ingest) -> None:
    source = CSV.replace("case when money < 0.0 then 'return' else 'purchase' end", "order")
    rows = ingest(
        "a,2024-01-01,5,purchase,2,1",
        "a,2024-01-01,5,return,2,1",
        "a,2024-01-01,-5,cancelled,-2,-1",
        "a,2024-01-01,-5,purchase,2,1",
        "a,2024-01-01,5,gift,2,1",
        source=source,
    )
    kept = [(r.kind, int(r.amount), int(r.quantity), int(r.discount)) for r in rows.kept]
    assert kept == [("purchase", 5, 2, 1), ("return", -5, -2, 1), ("cancelled", -5, -2, 1)]
    assert [row.reasons for row in rows.refused] == [
        ["a purchase has a negative amount"],
        ["kind is none of purchase, return, cancelled"],
    ]


def test_amounts_are_rounded_to_cents_half_up_as_decimals(ingest: Ingest) -> None:
    lines = [f"a,2024-01-01,{text},o,1,0" for text in ("1.005", "0.004999", "2.675", "1e2")]
    amounts = [str(row.amount) for row in ingest(*lines).kept]
    assert amounts == ["1.01", "0.00", "2.68", "100.00"]


def test_days_are_cut_in_the_business_time_zone(ingest: Ingest) -> None:
    source = CSV.replace("UTC", "America/New_York")
    rows = ingest(
        "a,2024-01-01T03:00:00Z,5,o,1,0",  # the evening before in New York
        "a,2024-01-01 03:00:00,5,o,1,0",  # the shop's own clock
        "a,2024-03-10 02:30:00,5,o,1,0",  # the hour that the spring skips
        "a,2024-11-03 01:30:00,5,o,1,0",  # the hour that the autumn has twice
        source=source,
    )
    assert [row.ordered_on for row in rows.kept] == [
        dt.date(2023, 12, 31),
        dt.date(2024, 1, 1),
        dt.date(2024, 3, 10),
        dt.date(2024, 11, 3),
    ]


def test_without_order_ids_a_customers_day_is_an_order(ingest: Ingest) -> None:
    source = CSV.replace("order_id: order, ", "")
    rows = ingest("a,2024-01-01 09:00:00,5,x,1,0", "a,2024-01-01 19:00:00,5,y,1,0",
                  "a,2024-01-02,5,z,1,0", "b,2024-01-02,5,z,1,0", source=source).kept  # fmt: skip
    assert [row.order_id for row in rows] == [
        "a|2024-01-01", "a|2024-01-01", "a|2024-01-02", "b|2024-01-02",
    ]  # fmt: skip


@pytest.mark.parametrize(("rule", "kept"), [("keep", 3), ("refuse", 2)])
def test_exact_duplicates_are_kept_unless_the_source_says_that_they_are_errors(
    ingest: Ingest, rule: str, kept: int
) -> None:
    line = "a,2024-01-01,5,o,1,0"
    found = ingest(line, line, "a,2024-01-01,5,o,2,0", source=f"{CSV}exact_duplicates: {rule}\n")
    assert len(found.kept) == kept
    assert [row.reasons for row in found.refused] == [["an exact duplicate of another row"]] * (
        3 - kept
    )


def test_quotes_commas_and_quotes_in_quotes_are_one_cell(ingest: Ingest) -> None:
    (row,) = ingest('"a, ""the"" customer",2024-01-01,5,"o\\",1,0').kept
    assert (row.customer_id, row.order_id) == ('a, "the" customer', "o\\")


def test_rows_that_are_no_rows_are_passed_over(ingest: Ingest) -> None:
    source = f"{CSV}skip: id = 'TOTAL'\n"
    found = ingest("a,2024-01-01,5,o,1,0", "TOTAL,,5,,,", source=source)
    assert (len(found.kept), len(found.refused)) == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "parquet", "delta", "orc", "jdbc", "table"])
def test_whatever_spark_reads_is_a_log(spark: SparkSession, tmp_path: Path, form: str) -> None:
    columns = "id string, at timestamp, money decimal(9,2), `order` string, n int, less double"
    rows = spark.createDataFrame(
        [("007", dt.datetime(2024, 1, 1, 9), Decimal("5.25"), "o1", 2, 0.5)], columns
    )
    path, options = str(tmp_path / "log"), ""
    if form == "jdbc":  # Derby comes with Spark
        url = f"jdbc:derby:memory:{tmp_path.name};create=true"
        rows.withColumnRenamed("at", "at").write.jdbc(url, "log_lines", mode="overwrite")
        options, path = f", options: {{url: '{url}', dbtable: log_lines}}", None
    elif form == "table":
        path = "ingested_table"
        rows.createOrReplaceTempView(path)
    else:
        rows.write.format(form).save(path)
    source = CSV.replace("format: csv, options: {header: true}", f"format: {form}{options}")
    (row,) = mapped_rows(spark, source, path).kept
    assert (row.customer_id, row.order_id, row.amount) == ("007", "o1", Decimal("5.25"))
    assert (row.ordered_on, row.quantity) == (dt.date(2024, 1, 1), 2)


@pytest.mark.slow
def test_a_time_of_a_database_is_the_clock_of_the_shop(spark: SparkSession, tmp_path: Path) -> None:
    late = dt.datetime(2024, 7, 1, 23, 30)
    rows = spark.createDataFrame(
        [("a", late, 5, "o1", 2, 0)],
        "id string, at timestamp_ntz, money int, `order` string, n int, less int",
    )
    url = f"jdbc:derby:memory:{tmp_path.name};create=true"
    rows.write.jdbc(url, "log_lines", mode="overwrite")
    options = f"format: jdbc, options: {{url: '{url}', dbtable: log_lines}}"
    source = CSV.replace("format: csv, options: {header: true}", options)
    for zone in ("Europe/London", "America/New_York"):
        of_zone = source.replace("time_zone: UTC", f"time_zone: {zone}")
        (row,) = mapped_rows(spark, of_zone, None).kept
        assert row.ordered_on == late.date(), zone


@pytest.mark.slow
def test_lines_a_microsecond_apart_are_no_duplicates(spark: SparkSession, tmp_path: Path) -> None:
    at = dt.datetime(2024, 1, 1, 9, 0, 0, 100)
    times = [at, at, at + dt.timedelta(microseconds=1)]
    columns = "id string, at timestamp, money int, `order` string, n int, less int"
    rows = spark.createDataFrame([("a", when, 5, "o", 1, 0) for when in times], columns)
    rows.write.parquet(str(tmp_path / "log"))
    parquet = CSV.replace("format: csv, options: {header: true}", "format: parquet")
    source = f"{parquet}exact_duplicates: refuse\n"
    found = mapped_rows(spark, source, str(tmp_path / "log"))
    assert (len(found.kept), len(found.refused)) == (2, 1)


def test_ids_of_json_survive(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(
        '{"id": 18446744073709551617, "at": "2024-01-01", "money": 5.10, "order": 1}\n'
        '{"id": "007", "at": "2024-01-01", "money": "5", "order": 2}\n'
        "{broken\n"
    )
    source = (
        CSV.replace("format: csv, options: {header: true}", "format: json")
        .replace("quantity: n, discount: less", "")
    )  # fmt: skip
    found = mapped_rows(spark, source, str(tmp_path / "log.json"))
    assert [row.customer_id for row in found.kept] == ["18446744073709551617", "007"]
    assert [row.source_row for row in found.refused] == ["{broken"]


def test_files_whose_headers_differ_are_no_one_log(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}\na,2024-01-01,5,o,1,0\n")
    (tmp_path / "b.csv").write_text("id,money,at,order,n,less\na,5,2024-01-01,o,1,0\n")
    with pytest.raises(Exception, match="CSV header does not conform"):
        mapped_rows(spark, CSV, str(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("amount: money", "amount: price"), "'price' does not fit the log"),
        (("amount: money", "amount: sum(money)"), "amount: 'sum(money)' does not fit"),
        (("amount: money", "amount: mone y z"), "amount: 'mone y z' does not fit"),
        (("ordered_at: at", "ordered_at: cast(n as int)"), "is a number; say what it counts"),
        (("kind: case when", "skip: nothing\nkind: case when"), "skip: 'nothing' does not fit"),
    ],
)
def test_an_expression_that_does_not_fit_is_named(
    ingest: Ingest, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says.replace("(", r"\(").replace(")", r"\)")):
        ingest("a,2024-01-01,5,o,1,0", source=CSV.replace(*change))


def test_a_header_with_a_name_twice_is_refused(ingest: Ingest) -> None:
    with pytest.raises(InputError, match="has 'id' more than once"):
        ingest("a,2024-01-01,5,o,1,0,b", header=f"{HEADER},id")


def test_the_session_is_as_before_afterwards(spark: SparkSession) -> None:
    before = spark.conf.get("spark.sql.session.timeZone")
    with business_session(spark, "Asia/Tokyo"):
        assert spark.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
        assert spark.range(1).select(F.lit("x").cast("int")).first()[0] is None
    assert spark.conf.get("spark.sql.session.timeZone") == before
