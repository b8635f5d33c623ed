"""Events and customers from their files to features, day after day, and what is said of them."""

import datetime as dt
import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from conf.errors import ConfigurationError, InputError
from conf.loading import validated
from conf.settings import load_settings
from conf.source import Source, load_source
from jobs.build_features import build_features
from jobs.cli import app
from jobs.explain import explain
from jobs.ingest import Ingested, ingest
from jobs.inputs import inputs
from jobs.options import Job, log_span
from lake.store import Lake
from tests.jobs.commands import comparable, stored

SOURCE = """
name: shop
reader: {format: csv, options: {header: true}}
columns: {customer_id: who, ordered_at: day, amount: money}
time_zone: Europe/London
currency: GBP
events:
  reader: {format: csv, options: {header: true}}
  columns: {customer_id: who, happened_at: at, kind: what, traffic_source: came_by}
customers:
  reader: {format: csv, options: {header: true}}
  columns: {customer_id: who, valid_from: since, birth_year: born, location: town}
"""
PLAIN = SOURCE[: SOURCE.index("events:")]
START = dt.date(2024, 1, 1)
DAYS = [START + dt.timedelta(n) for n in (20, 30, 40)]
LOG = "who,day,money\n" + "".join(
    f"c{c},{START + dt.timedelta(d)},{5 + c}\n" for c in range(5) for d in range(0, 60, 7 + c)
)
EVENT_LINES = (
    "who,at,what,came_by\n"
    + "".join(
        f"c{c},{START + dt.timedelta(d)} 12:00:00,{kind},email\n"
        for c in range(4)
        for d, kind in enumerate(["view", "cart", "view"] * 18)
    )
    + "c1,never,view,email\n"
)
PEOPLE = "who,since,born,town\nc1,2023-01-01,1980,York\nc2,2024-01-05,1990,\nc3,,1970,Hull\n"


INPUTS = ("log", "events", "customers")


class Shop:
    """Files of a shop, and jobs on them with tables of their own."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        for name, text in (("log", LOG), ("events", EVENT_LINES), ("customers", PEOPLE)):
            (folder / name).mkdir()
            self.write(name, text)
        self.maps(SOURCE)

    def write(self, name: str, text: str, file: str = "1.csv") -> None:
        (self.folder / name / file).write_text(text)

    def maps(self, source: str) -> None:
        (self.folder / "shop.yml").write_text(source)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def job(self, lake: str) -> Job:
        small = ["snapshots.count=2", "features.windows=[7, 30]"]
        return Job(
            self.spark, Lake(self.spark, str(self.folder / lake)), load_settings("local", small)
        )

    def ingest(self, job: Job, *names: str) -> dict[str, Ingested]:
        """What came of the tables of these names, or of all."""
        source = load_source(self.path("shop.yml"))
        found = {n: self.path(n) if not names or n in names else None for n in INPUTS}
        given = inputs(source, *found.values())
        return {g.table.name: ingest(job, g.source, g.path, g.table) for g in given}

    def built(self, job: Job, *names: str) -> list[dt.date]:
        """The dates that had to be made, after taking what the files are now."""
        self.ingest(job, *names)
        return build_features(job, log_span(job, None), DAYS).made


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path)


def same(job: Job, other: Job) -> None:
    names = ("transactions", "events", "customers", "quarantine", "event_days", "features")
    for name in names:
        assert stored(job.lake, name) == stored(other.lake, name), name


def source_with(events_reader: str) -> Source:
    text = SOURCE.replace(
        "events:\n  reader: {format: csv, options: {header: true}}",
        f"events:\n  reader: {{{events_reader}}}",
    )
    return validated(Source, [("shop.yml", text)])


def tables(*arguments: object) -> list[tuple[str, object]]:
    return [(given.table.name, given.path) for given in inputs(*arguments)]  # type: ignore[arg-type]


def test_what_is_mapped_and_can_be_found_is_ingested() -> None:
    source = source_with("format: csv")
    assert tables(source, "log") == [("transactions", "log")]
    assert tables(source, "log", "e") == [("transactions", "log"), ("events", "e")]
    assert tables(source, None, None, "c") == [("customers", "c")]
    assert tables(source, None) == [("transactions", None)]  # which then says that it needs a path
    jdbc = source_with("format: jdbc")
    assert tables(jdbc, "log") == [("transactions", "log"), ("events", None)]
    whole = validated(Source, [("shop.yml", IN_LOG.replace("format: csv", "format: jdbc"))])
    assert tables(whole, None) == [("transactions", None), ("customers", None)]


IN_LOG = """
name: shop
reader: {format: csv, options: {header: true}}
skip: who = 'TOTAL'
columns: {customer_id: who, ordered_at: day, amount: money}
time_zone: Europe/London
currency: GBP
customers:
  in_log: true
  columns: {customer_id: who, valid_from: day, location: town}
"""


@pytest.mark.slow
def test_customers_in_the_log_are_read_from_it_and_kept_once(shop: Shop) -> None:
    source = validated(Source, [("shop.yml", IN_LOG)])
    lines = ["a,2024-01-01,5,York"] * 3 + ["a,2024-01-02,5,York", "a,2024-01-02,5,Hull"]
    more = ["TOTAL,2024-01-02,5,York", ",2024-01-02,5,Leeds", ",2024-01-02,6,Leeds"]
    shop.write("log", "\n".join(["who,day,money,town", *lines, *more]) + "\n")
    shop.maps(IN_LOG)
    job, log = shop.job("lake"), shop.path("log")
    assert tables(source, log) == [("transactions", log), ("customers", log)]
    assert tables(source, log, None, "c") == [("transactions", log), ("customers", "c")]
    counts = shop.ingest(job, "log")
    assert counts == {"transactions": Ingested(7, 5, 2), "customers": Ingested(4, 3, 1)}
    kept = job.lake.read("customers").select("customer_id", "valid_from_day", "location").collect()
    assert sorted((c, day.day, town) for c, day, town in kept) == [
        *(("a", 1, "York"), ("a", 2, "Hull"), ("a", 2, "York")),
    ]
    assert shop.ingest(job, "log") == counts


def test_customers_in_the_log_have_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "shop.yml"
    path.write_text(IN_LOG.replace("in_log: true", "in_log: true\n  reader: {format: json}"))
    with pytest.raises(ConfigurationError, match="reader is the log's own where in_log is true"):
        load_source(str(path))


def test_an_option_without_its_section_is_refused() -> None:
    plain = validated(Source, [("shop.yml", PLAIN)])
    for more in (("e", None), (None, "c")):
        with pytest.raises(ConfigurationError, match=r"--(events|customers): the source shop has"):
            inputs(plain, "log", *more)


def test_a_wrong_section_is_told_with_what_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "shop.yml"
    path.write_text(SOURCE.replace("happened_at: at", "hapened_at: at"))
    with pytest.raises(ConfigurationError) as problem:
        load_source(str(path))
    assert "events.columns.happened_at: missing, and required" in str(problem.value)
    assert "events.columns.hapened_at: unknown key; did you mean happened_at?" in str(problem.value)


@pytest.mark.slow
def test_every_row_is_in_its_table_or_in_quarantine(shop: Shop) -> None:
    job = shop.job("lake")
    counts = shop.ingest(job)
    assert counts["events"] == Ingested(4 * 54 + 1, 4 * 54, 1)
    assert counts["customers"] == Ingested(3, 2, 1)
    refused = {row.table_name: row.reasons for row in job.lake.read("quarantine").collect()}
    assert refused == {
        "events": ["happened_at is missing or not a date"],
        "customers": ["valid_from is missing or not a date"],
    }
    # Another log leaves what was refused of the others alone.
    shop.write("log", f"{LOG},,\n")
    shop.ingest(job, "log")
    meant = [row.table_name for row in job.lake.read("quarantine").collect()]
    assert sorted(meant) == ["customers", "events", "transactions"]
    files = job.lake.read("ingested_files").select("table_name", "file").collect()
    assert {(f.table_name, Path(f.file).parent.name) for f in files} == {
        *(("transactions", "log"), ("events", "events"), ("customers", "customers")),
    }


@pytest.mark.slow
def test_a_quarantine_from_before_there_were_other_tables_is_completed(shop: Shop) -> None:
    job = shop.job("lake")
    shop.write("log", f"{LOG},,\n")
    shop.ingest(job, "log")
    for name in ("quarantine", "ingested_files"):
        table = job.lake.name(name)
        job.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.columnMapping.mode'='name')")
        job.spark.sql(f"ALTER TABLE {table} DROP COLUMN table_name")
    assert shop.ingest(job, "events")["events"].refused == 1
    assert shop.ingest(job, "log")["transactions"].refused == 1
    assert job.lake.read("quarantine").count() == 2


@pytest.mark.slow
def test_a_lake_without_events_and_customers_has_no_column_of_them(shop: Shop) -> None:
    plain, both = shop.job("plain"), shop.job("both")
    shop.maps(PLAIN)
    shop.built(plain, "log")
    shop.maps(SOURCE)
    shop.built(both)
    columns = plain.lake.read("features").columns
    assert not {"events_7d", "location"} & set(columns)
    assert {"events_7d", "location"} <= set(both.lake.read("features").columns)
    assert comparable(plain.lake.read("features")) == comparable(
        both.lake.read("features").select(columns)
    )
    # Once they come, every date is made again.
    assert shop.built(plain) == DAYS
    same(plain, both)


@pytest.mark.slow
def test_features_are_made_again_only_where_events_and_customers_have_changed(shop: Shop) -> None:
    growing = shop.job("growing")
    assert shop.built(growing) == DAYS
    assert shop.built(growing) == []
    shop.write("events", f"who,at,what,came_by\nc1,{DAYS[1]} 10:00:00,cart,paid\n", "late.csv")
    assert shop.built(growing, "events") == DAYS[2:]
    shop.write("customers", f"{PEOPLE}c4,{DAYS[0]},1999,Leeds\n")
    assert shop.built(growing, "customers") == DAYS[1:]
    # What says the same in another file changes nothing.
    (shop.folder / "customers" / "1.csv").rename(shop.folder / "customers" / "2.csv")
    assert shop.built(growing, "customers") == []
    fresh = shop.job("fresh")
    assert shop.built(fresh) == DAYS
    same(growing, fresh)


@pytest.mark.slow
def test_another_vocabulary_makes_the_days_of_events_again(shop: Shop) -> None:
    job = shop.job("lake")
    shop.built(job)
    other = load_settings("local", ["features.windows=[7, 30]", "features.event_kinds=[view]"])
    changed = Job(job.spark, job.lake, other)
    assert build_features(changed, log_span(job, None), DAYS).made == DAYS
    seen = job.lake.read("features").where("customer_id = 'c1'")
    assert {row.kind_view for row in job.lake.read("event_days").collect()} == {0, 1}
    assert seen.where("view_events_7d > 0").count() == len(DAYS)


@pytest.mark.slow
def test_explain_shows_the_events_or_the_rows_behind_a_feature(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    job = shop.job("lake")
    shop.ingest(job)
    span = log_span(job, DAYS[2])
    build_features(job, span, DAYS)
    capsys.readouterr()

    def said(feature: str) -> str:
        explain(job, span, "c1", feature)
        return capsys.readouterr().out

    for feature in ("cart_events_7d", "hours_since_last_event", "location"):
        row = job.lake.read("features").where(f"customer_id = 'c1' and as_of = '{DAYS[2]}'").first()
        assert f"{feature} of c1 as of {DAYS[2]}: {row[feature]}" in said(feature)
    assert len(re.findall(r"^ +2024-\d\d-\d\d 12:00:00 ", said("events_7d"), re.MULTILINE)) == 7
    both = said("cart_days_without_order_7d")
    assert "The customer's events on the days" in both
    assert "The customer's lines on the days" in both
    assert "York" in said("location")
    with pytest.raises(InputError, match="did you mean cart_events_7d"):
        explain(job, span, "c1", "card_events_7d")


@pytest.mark.slow
def test_the_command_takes_all_three_and_says_what_came(
    shop: Shop, tiny_env: Path, spark: SparkSession
) -> None:
    options = ["--source", shop.path("shop.yml"), "--lake", shop.path("lake")]
    paths = [f"--{name}={shop.path(name)}" for name in ("events", "customers")]

    def called(*more: str) -> str:
        given = ["ingest", "--env", str(tiny_env), *options, *more]
        result = CliRunner().invoke(app, given, terminal_width=200)
        assert result.exit_code == 0, result.output
        return str(result.output)

    assert "Would be kept in events" in called("--input", shop.path("log"), *paths, "--check")
    said = called("--input", shop.path("log"), *paths)
    assert "217 rows in all = 216 kept + 1 quarantined" in said
    assert "3 rows in all = 2 kept + 1 quarantined" in said
    only = called(*paths)
    assert "Transactions" not in only
    assert "files: 0 new or changed" in only


@pytest.mark.slow
def test_where_days_begin_in_the_afternoon_as_of_is_that_time_and_labels_may_be_in_hours(
    shop: Shop,
) -> None:
    """c0 orders every day at noon, c1 every day at 15:00, c2 once."""
    days = [START + dt.timedelta(n) for n in range(60)]
    rows = [f"c0,{day} 12:00:00,5\n" for day in days] + [f"c1,{day} 15:00:00,5\n" for day in days]
    shop.write("log", "who,day,money\n" + "".join(rows) + f"c2,{days[3]} 09:00:00,5\n")
    job = shop.job("lake")
    shop.ingest(job)
    shop.maps(SOURCE.replace("currency", 'day_starts_at: "14:00"\ncurrency'))
    shop.ingest(job, "log")
    with pytest.raises(InputError, match="the days of the table events begin elsewhere or at ano"):
        build_features(job, log_span(job, None), DAYS)
    shop.ingest(job, "events", "customers")
    first = job.lake.read("transactions").where("customer_id = 'c0'").orderBy("ordered_at").first()
    assert first.ordered_on == START - dt.timedelta(1)

    at = dt.datetime.combine(DAYS[2], dt.time(14))
    span = log_span(job, at)
    assert span == log_span(job, DAYS[2])
    with pytest.raises(InputError, match=f"--as-of {DAYS[2]}T15:00: the days of this log begin at"):
        log_span(job, at.replace(hour=15))
    in_hours = ["snapshots.horizon_hours=6", "features.windows=[7, 30]"]
    hourly = Job(job.spark, job.lake, load_settings("local", in_hours))
    daily = Job(
        job.spark, job.lake, load_settings("local", ["snapshots.horizon_days=1", in_hours[1]])
    )
    for one in (hourly, daily):
        build_features(one, span, DAYS[:2])
    found = {
        (r.customer_id, r.as_of, r.horizon_days, r.horizon_hours): r.repurchased
        for r in job.lake.read("labels").collect()
    }
    # Within 6 hours of 14:00 is 15:00; within the day from 14:00 is noon as well.
    for day in DAYS[:2]:
        assert [found[f"c{n}", day, 0, 6] for n in range(3)] == [False, True, False]
        assert [found[f"c{n}", day, 1, None] for n in range(3)] == [True, True, False]
    row = job.lake.read("features").where(f"customer_id = 'c1' and as_of = '{DAYS[0]}'").first()
    # The events are at noon: the last one two hours before 14:00.
    assert (row.hours_since_last_event, row.orders_7d, row.recency_days) == (2.0, 7, 1)
