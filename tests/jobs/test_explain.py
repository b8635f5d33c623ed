"""`explain` shows the value in the table and the lines behind it; `features list` names it."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from typer.testing import CliRunner

from conf.errors import InputError
from conf.settings import load_settings
from features.catalogue import catalogue
from jobs.cli import app
from jobs.console import BAD_INPUT
from jobs.explain import _behind, _days, explain
from jobs.options import Job, LogSpan, log_span
from lake.store import Lake

# Features, and how many days before as_of what they look at begins and ends.
LOOKS_BACK = {
    "revenue_30d": (30, 1),
    "orders_trend_30d_90d": (90, 1),
    "recency_days": (10_000, 1),
    "order_probability": (10_000, 1),
}


@pytest.fixture
def job(spark: SparkSession, undisturbed: Path, tiny_env: Path) -> Job:
    return Job(spark, Lake(spark, str(undisturbed)), load_settings(str(tiny_env)))


def explained(
    job: Job, feature: str, most: str, capsys: pytest.CaptureFixture[str]
) -> tuple[Row, str]:
    """Today's features of the customer with the most of one, and what is said of the feature."""
    span = log_span(job, None)
    today = job.lake.read("features").where(F.col("as_of") == F.lit(span.as_of))
    row = today.orderBy(F.desc(most), "customer_id").first()
    assert row is not None
    explain(job, span, row.customer_id, feature)
    said = capsys.readouterr().out
    assert f"{feature} of {row.customer_id} as of {span.as_of}: {row[feature]}" in said
    return row, said


def lines_ago(job: Job, row: Row, latest: int, earliest: int) -> list[Row]:
    """The customer's lines from so many days before today to so many."""
    ago = F.date_diff(F.lit(row.as_of), "ordered_on")
    own = F.col("customer_id") == row.customer_id
    return job.lake.read("transactions").where(own & ago.between(latest, earliest)).collect()


@pytest.mark.slow
@pytest.mark.parametrize("feature", LOOKS_BACK)
def test_the_value_is_that_of_the_table_and_the_lines_are_those_of_the_window(
    job: Job, feature: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, end = LOOKS_BACK[feature]
    row, said = explained(job, feature, "orders_30d", capsys)
    looked_at = lines_ago(job, row, end, begin)
    assert len(re.findall(r"^ +\d{4}-\d\d-\d\d ", said, re.MULTILINE)) == len(looked_at)


@pytest.mark.slow
def test_of_many_lines_the_latest_are_shown(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    row, _ = explained(job, "orders_lifetime", "orders_lifetime", capsys)
    lines = lines_ago(job, row, 1, 10_000)
    explain(job, log_span(job, None), row.customer_id, "orders_lifetime", most=2)
    said = capsys.readouterr().out
    shown = re.findall(r"^ +(\d{4}-\d\d-\d\d) ", said, re.MULTILINE)
    assert shown == [str(day) for day in sorted(line.ordered_on for line in lines)[-2:]]
    assert f"the latest 2 of {len(lines):,} lines; --lines shows more" in said


@pytest.mark.slow
def test_of_a_feature_of_the_last_order_its_lines_and_their_products_are_shown(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    row, said = explained(job, "last_order_popularity", "last_order_lines", capsys)
    last = lines_ago(job, row, row.recency_days, row.recency_days)
    products = [line.product_id for line in last]
    assert len(products) >= row.last_order_lines > 1
    assert len(re.findall(r"^ +\d{4}-\d\d-\d\d ", said, re.MULTILINE)) == len(products)
    assert all(product in said for product in products)


def test_of_the_year_before_the_days_of_the_horizon_alone_are_looked_at() -> None:
    job = Job(None, None, load_settings("local"))
    span = LogSpan(date(2023, 1, 1), date(2024, 12, 31), date(2024, 12, 31))
    year_before = (date(2024, 1, 1), date(2024, 1, 31))
    assert _days(job, span, "revenue_same_period_last_year") == year_before
    assert _days(job, span, "revenue_30d") == (date(2024, 12, 1), span.as_of)
    assert _days(job, span, "recency_days") == (None, span.as_of)


@pytest.mark.slow
def test_the_columns_of_the_lines_that_a_feature_is_made_of_are_shown(job: Job) -> None:
    own = "{name: ways, description: Ways, sql: count(distinct channel), windows: [30d]}"
    asked = replace(job, settings=load_settings("local", [f"features.custom=[{own}]"]))
    for feature, column in {
        "discount_share_90d": "discount",
        "favourite_payment_method": "payment_method",
        "ways_30d": "channel",
    }.items():
        ((*_, last, file),) = [rows_behind.shown for rows_behind in _behind(asked, feature)]
        assert (last, file) == (column, "file")


@pytest.mark.slow
def test_what_does_not_exist_is_told(job: Job) -> None:
    span = log_span(job, None)
    with pytest.raises(InputError, match="did you mean revenue_30d"):
        explain(job, span, "C0000001", "revenues_30d")
    with pytest.raises(InputError, match="--customer nobody"):
        explain(job, span, "nobody", "revenue_30d")


@pytest.mark.slow
def test_the_list_has_every_family_and_your_own(spark: SparkSession) -> None:
    own = "features.custom=[{name: tea, description: Cups, sql: count(1), windows: [30d]}]"
    said = CliRunner().invoke(app, ["features", "list", "--set", own], terminal_width=200)
    assert said.exit_code == 0
    assert "revenue_W" in said.output
    assert "Cups" in said.output
    settings = load_settings("local")
    wanted = settings.features.windows, settings.snapshots.horizon_days
    known = catalogue(*wanted, popularity=True, predictions=True)
    assert f"{len(known) + 1} columns" in said.output
    assert all(f.name in said.output for f in known if not f.over)


@pytest.mark.slow
def test_the_list_tells_what_is_wrong_with_your_own(spark: SparkSession) -> None:
    own = "features.custom=[{name: tea, description: Cups, sql: count(cups), windows: [30]}]"
    said = CliRunner().invoke(app, ["features", "list", "--set", own], terminal_width=200)
    assert said.exit_code == BAD_INPUT
    assert "features.custom, tea: 'count(cups)' is no aggregate of the lines" in said.stderr
