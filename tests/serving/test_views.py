"""The SQL views: what they say of small tables, in a catalog and by path, and their comments."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import Row, SparkSession

from conf.errors import InputError
from conf.settings import load_settings
from jobs.options import Job
from jobs.views import register, script
from lake.contracts import CURRENT_SCORES, FEATURES, LABELS, LIFETIME_VALUE, SCORES, Column, Table
from lake.store import Lake
from models.campaigns import in_control
from models.segments import FIFTHS, RFM, SEGMENTS, Cuts, segments
from serving.sql_views import CONTROL_SHARE, tables_of, views

pytestmark = pytest.mark.slow

JUNE, JULY = dt.date(2024, 6, 1), dt.date(2024, 7, 1)
SCHEMA = "views_test"
WITH_RFM = FEATURES.with_columns(
    [Column(RFM[0], "int", ""), Column(RFM[1], "int", ""), Column(RFM[2], "double", "")]
)
#         customer, as_of, probability, decile, band
SCORED = [
    ("a", JUNE, 0.9, 1, "high"),
    ("b", JUNE, 0.7, 1, "high"),
    ("c", JUNE, 0.2, 8, "low"),
    ("a", JULY, 0.8, 1, "high"),
    ("b", JULY, 0.3, 7, "low"),
    ("c", JULY, 0.5, 4, "medium"),
    ("d", JULY, 0.1, 10, "low"),
]
#           customer, as_of, repurchased
FOLLOWED = [("a", JUNE, True), ("b", JUNE, False), ("c", JUNE, True), ("x", JUNE, True)]
#          customer, recency, orders, revenue
LOOKED_AT = [("a", 1, 9, 900.0), ("b", 50, 2, 40.0), ("c", 20, 5, 80.0), ("d", None, None, None)]
#        customer, value of an order, of all orders in the label window
WORTH = [("a", 100.0, 130.0), ("b", 20.0, 7.0), ("c", None, None)]
REASON = [("recency_days", 1.0, 0.2, "ordered lately"), ("orders_30d", 2.0, 0.1, "orders often")]


def write(lake: Lake, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """The rows as a table; what they do not say is null."""
    complete = [tuple(row.get(column.name) for column in table.columns) for row in rows]
    lake.replace(table, lake.spark.createDataFrame(complete, table.schema))


def fill(lake: Lake) -> None:
    """The tables that the views read."""
    key = {"horizon_days": 30, "model_version": "m1", "reasons": REASON}
    names = ("customer_id", "as_of", "probability", "decile", "band")
    worth = ("customer_id", "expected_order_value", "expected_value")
    scored = [{**key, **dict(zip(names, row, strict=True))} for row in SCORED]
    write(lake, SCORES, scored)
    write(lake, CURRENT_SCORES, [row for row in scored if row["as_of"] == JULY])
    write(
        lake,
        LABELS,
        [
            {"customer_id": c, "as_of": d, "horizon_days": 30, "repurchased": r, "matured_on": JULY}
            for c, d, r in FOLLOWED
        ],
    )
    write(
        lake,
        WITH_RFM,
        [
            {"customer_id": c, "as_of": JULY, **dict(zip(RFM, r, strict=True))}
            for c, *r in LOOKED_AT
        ],
    )
    write(
        lake,
        LIFETIME_VALUE,
        [
            {**dict(zip(worth, row, strict=True)), "as_of": day, "horizon_days": 30}
            for row in WORTH
            for day in (JUNE, JULY)
        ],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tables of the schema are."""
    return tmp_path_factory.mktemp("views") / "schema"


@pytest.fixture(scope="module")
def catalogued(spark: SparkSession, folder: Path) -> Iterator[Job]:
    """Tables and views in a schema of the catalog, gone after the tests."""
    spark.sql(f"CREATE SCHEMA {SCHEMA} LOCATION '{folder}'")
    settings = load_settings("local", [f"lake.catalog_schema={SCHEMA}"])
    job = Job(spark, Lake(spark, "", SCHEMA), settings)
    fill(job.lake)
    register(job)
    yield job
    spark.sql(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.fixture
def by_path(catalogued: Job, folder: Path) -> Job:
    """The same tables, by their paths."""
    return Job(catalogued.spark, Lake(catalogued.spark, str(folder)), load_settings("local"))


def rows(job: Job, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in job.spark.sql(query).collect()]


def test_the_script_of_a_catalog_makes_the_same_views(catalogued: Job) -> None:
    made = views()
    for name in made:
        catalogued.spark.sql(f"DROP VIEW {SCHEMA}.{name}")
    for statement in script(catalogued).removesuffix(";\n").split(";\n\n"):
        catalogued.spark.sql(statement)
    there = rows(catalogued, f"SHOW VIEWS IN {SCHEMA}")
    assert {row[1] for row in there if not row[2]} == set(made)


def test_history_tells_what_changed_since_the_score_before(catalogued: Job) -> None:
    found = rows(
        catalogued,
        "SELECT customer_id, previous_as_of, previous_probability, previous_decile, previous_band, "
        f"deciles_gained, band_change FROM {SCHEMA}.score_history WHERE as_of = DATE'2024-07-01' "
        "ORDER BY customer_id",
    )
    assert found == [
        ("a", JUNE, 0.9, 1, "high", 0, "same"),
        ("b", JUNE, 0.7, 1, "high", -6, "down"),
        ("c", JUNE, 0.2, 8, "low", 4, "up"),
        ("d", None, None, None, None, None, None),
    ]


def test_deciles_are_judged_by_matured_labels_of_scored_customers(catalogued: Job) -> None:
    found = rows(
        catalogued,
        "SELECT as_of, decile, customers, predicted, repurchased, observed, lift, recall, "
        f"matured_on FROM {SCHEMA}.decile_performance ORDER BY decile",
    )
    assert found == [
        (JUNE, 1, 2, pytest.approx(0.8), 1, 0.5, pytest.approx(0.75), 0.5, JULY),
        (JUNE, 8, 1, 0.2, 1, 1.0, pytest.approx(1.5), 1.0, JULY),
    ]


def test_a_current_score_has_its_segment_value_and_first_reason(catalogued: Job) -> None:
    found = rows(
        catalogued,
        "SELECT customer_id, as_of, segment, why, expected_order_value, expected_value "
        f"FROM {SCHEMA}.scored_customers ORDER BY customer_id",
    )
    known = [np.array([row[n] for row in LOOKED_AT[:3]], float) for n in (1, 2, 3)]
    cuts = Cuts(*[np.quantile(values, FIFTHS) for values in known])
    named = dict(zip("abc", segments(*known, cuts), strict=True))
    assert found == [
        ("a", JULY, named["a"], "ordered lately", 100.0, 130.0),
        ("b", JULY, named["b"], "ordered lately", 20.0, 7.0),
        ("c", JULY, named["c"], "ordered lately", None, None),
        ("d", JULY, None, "ordered lately", None, None),
    ]


def test_segments_in_spark_are_those_of_the_function(catalogued: Job, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    values = pd.DataFrame(
        {
            "recency_days": random.integers(0, 200, 400),
            "orders_lifetime": random.geometric(0.3, 400),
            "revenue_lifetime": random.gamma(1.0, 90.0, 400).round(2),
        }
    )
    customers = [f"C{number}" for number in range(400)]
    lake = Lake(catalogued.spark, str(tmp_path / "many"))
    looked_at = values.assign(customer_id=customers, as_of=JULY).to_dict("records")
    write(lake, WITH_RFM, looked_at)
    write(lake, CURRENT_SCORES, [{"customer_id": c, "as_of": JULY} for c in customers])
    write(lake, LIFETIME_VALUE, [])
    current = views()["scored_customers"].query(lake.name)
    found = dict(rows(catalogued, f"SELECT customer_id, segment FROM ({current})"))
    columns = [values[name].to_numpy(float) for name in RFM]
    cuts = Cuts(*[np.quantile(column, FIFTHS) for column in columns])
    assert found == dict(zip(customers, segments(*columns, cuts), strict=True))
    assert set(found.values()) == {segment.name for segment in SEGMENTS}


def test_lists_rank_by_value_and_spare_the_control_group_of_the_campaign(catalogued: Job) -> None:
    found = catalogued.spark.table(f"{SCHEMA}.campaign_lists").collect()
    assert sorted(row.customer_id for row in found) == ["a", "b", "c"]
    for row in found:
        assert [row.control] == in_control([row.customer_id], row.campaign, CONTROL_SHARE)
    of_all = views()["campaign_lists"].query(
        lambda _: (
            "(SELECT *, 'loyal' AS segment FROM (SELECT * EXCEPT (segment) FROM "
            f"{SCHEMA}.scored_customers))"
        )
    )
    places = rows(catalogued, f"SELECT customer_id FROM ({of_all}) ORDER BY place")
    assert places == [("a",), ("b",), ("c",), ("d",)]


def test_sizes_add_up_to_all_customers(catalogued: Job) -> None:
    sizes = catalogued.spark.table(f"{SCHEMA}.segment_sizes").toPandas()
    assert sizes["customers"].sum() == 4
    assert sizes["share"].sum() == pytest.approx(1)
    assert sizes["orderers"].sum() == pytest.approx(0.8 + 0.3 + 0.5 + 0.1)
    assert sizes["expected_value"].sum() == pytest.approx(137.0)
    assert sizes["revenue_lifetime"].sum() == pytest.approx(1020.0)


@pytest.mark.parametrize("name", sorted(views()))
def test_every_view_and_column_has_its_comment(catalogued: Job, name: str) -> None:
    view = views()[name]
    described = catalogued.spark.sql(f"DESCRIBE {SCHEMA}.{name}").collect()
    assert [(row.col_name, row.comment) for row in described] == list(view.columns)
    assert all(what for _, what in view.columns)
    shown = catalogued.spark.sql(f"DESCRIBE EXTENDED {SCHEMA}.{name}").collect()
    assert Row("Comment", view.description, "") in [Row(*row) for row in shown]
    assert view.description.startswith("One row per ")


def test_by_path_the_views_say_what_they_say_in_the_catalog(by_path: Job) -> None:
    for view in register(by_path):
        here, there = (by_path.spark.table(n) for n in (view.name, f"{SCHEMA}.{view.name}"))
        assert sorted(here.collect(), key=repr) == sorted(there.collect(), key=repr), view.name
        by_path.spark.catalog.dropTempView(view.name)


def test_the_statements_of_a_folder_create_the_views_elsewhere(
    by_path: Job, tmp_path: Path
) -> None:
    spark, other = by_path.spark, "views_elsewhere"
    spark.sql(f"CREATE SCHEMA {other} LOCATION '{tmp_path / other}'")
    try:
        for statement in script(by_path).split(";\n"):
            if statement.strip():
                spark.sql(statement.replace("REPLACE VIEW ", f"REPLACE VIEW {other}."))
        assert spark.table(f"{other}.segment_sizes").count() == 4
    finally:
        spark.sql(f"DROP SCHEMA {other} CASCADE")


def test_a_missing_table_names_the_command_that_makes_it(spark: SparkSession, lake: Lake) -> None:
    with pytest.raises(InputError, match=r"no table current_scores .* `repurchase score`"):
        register(Job(spark, lake, load_settings("local")))


def test_a_table_of_an_earlier_release_names_what_completes_it(
    by_path: Job, tmp_path: Path
) -> None:
    older = Lake(by_path.spark, str(tmp_path / "older"))
    fill(older)
    narrow = older.read("labels").drop("horizon_hours")
    narrow.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(
        older.folder("labels")
    )
    with pytest.raises(InputError, match=r"labels .* no column horizon_hours: .* build-features"):
        register(Job(by_path.spark, older, by_path.settings))


def test_views_read_tables_that_the_project_makes() -> None:
    assert tables_of(views()) == (
        *("current_scores", "features", "labels", "lifetime_value", "scores"),
    )
