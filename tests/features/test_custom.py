"""Features that users define: their values at every boundary, and what a mistake is told."""

from datetime import date, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from conf.errors import ConfigurationError
from conf.settings import CustomFeature, load_settings
from features.custom import check_types, check_values, custom_columns, custom_features
from lake.contracts import Column

AS_OF = date(2024, 3, 1)
TEA = CustomFeature(
    name="tea_orders",
    description="Orders with tea",
    sql="count(distinct case when category = 'tea' then order_id end)",
    windows=("1d", "30d", "lifetime"),
)
DEAREST = CustomFeature(
    name="dearest",
    description="The category of the dearest line",
    sql="max_by(category, amount)",
    windows=("30d",),
)


@pytest.fixture(scope="module")
def lines(spark: SparkSession) -> DataFrame:
    """One customer with a line at each boundary, one with none before as_of."""
    rows = [
        ("ann", "o1", AS_OF, "tea", 9),
        ("ann", "o2", AS_OF - timedelta(1), "tea", 5),
        ("ann", "o2", AS_OF - timedelta(1), "tea", 6),
        ("ann", "o3", AS_OF - timedelta(30), "tea", 3),
        ("ann", "o4", AS_OF - timedelta(31), "milk", 8),
        ("ann", "o5", AS_OF - timedelta(900), "tea", 1),
        ("bob", "o6", AS_OF, "tea", 1),
    ]
    schema = "customer_id string, order_id string, ordered_on date, category string, amount int"
    return spark.createDataFrame(rows, schema)


def test_each_window_ends_before_as_of_and_begins_with_its_first_day(lines) -> None:
    later = AS_OF + timedelta(1)
    made = custom_features(lines, [AS_OF, later], [TEA, DEAREST])
    found = {(row.customer_id, row.as_of): row for row in made.collect()}
    assert set(found) == {("ann", AS_OF), ("ann", later), ("bob", later)}
    ann = found["ann", AS_OF]
    assert (ann.tea_orders_1d, ann.tea_orders_30d, ann.tea_orders_lifetime) == (1, 2, 3)
    assert ann.dearest_30d == "tea"
    assert found["ann", later].tea_orders_1d == 1
    assert found["ann", later].tea_orders_lifetime == 4


def test_a_value_that_is_not_finite_is_null(lines) -> None:
    for sql in ("sqrt(-sum(amount))", "exp(1000 * sum(amount))", "float('-inf') * sum(amount)"):
        odd = CustomFeature(name="odd", description="Odd", sql=sql, windows=("30d",))
        made = custom_features(lines, [AS_OF], [odd, TEA]).collect()
        assert [(row.odd_30d, row.tea_orders_30d) for row in made] == [(None, 2)]


def test_a_window_without_a_line_is_null(lines) -> None:
    late = AS_OF + timedelta(100)
    made = custom_features(lines, [late], [TEA])
    assert {row.tea_orders_30d for row in made.collect()} == {None}


def test_columns_say_their_window_and_have_the_type_that_spark_finds(lines) -> None:
    columns = custom_columns(lines, [TEA, DEAREST], ["orders_30d"])
    assert [(c.name, c.type) for c in columns] == [
        ("tea_orders_1d", "double"),
        ("tea_orders_30d", "double"),
        ("tea_orders_lifetime", "double"),
        ("dearest_30d", "string"),
    ]
    assert "in the 30 days before as_of" in columns[1].description


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("sum(prize)", "prize"),
        ("amount", "no aggregate"),
        ("sum(amount", "Syntax error"),
        ("max(ordered_on)", "gives date"),
        ("collect_list(amount)", "gives array<int>"),
    ],
)
def test_a_mistake_is_told_with_the_name_of_the_feature(lines, sql: str, says: str) -> None:
    wrong = TEA.model_copy(update={"sql": sql})
    with pytest.raises(ConfigurationError, match="tea_orders") as told:
        custom_columns(lines, [wrong], [])
    assert says in str(told.value)


def test_sql_may_end_in_a_comment(lines) -> None:
    noted = TEA.model_copy(update={"sql": "count(1) -- of whatever kind"})
    assert [column.type for column in custom_columns(lines, [noted], [])] == ["double"] * 3


def test_what_fails_while_it_is_computed_is_told_with_the_name_of_the_feature(lines) -> None:
    wrong = DEAREST.model_copy(update={"name": "share", "sql": "sum(amount) / 0"})
    check_values(lines, [AS_OF], [TEA, DEAREST])
    with pytest.raises(ConfigurationError, match=r"share: 'sum\(amount\) / 0' cannot be .*zero"):
        check_values(lines, [AS_OF], [TEA, wrong])


def test_another_type_than_the_table_has_is_refused() -> None:
    column = Column("dearest_30d", "double", "")
    check_types([column], {"dearest_30d": "double", "other": "string"})
    with pytest.raises(ConfigurationError, match=r"dearest_30d is a double now, .* as a string"):
        check_types([column], {"dearest_30d": "string"})


def test_a_name_that_exists_is_refused(lines) -> None:
    with pytest.raises(ConfigurationError, match="tea_orders_30d exists already"):
        custom_columns(lines, [TEA], ["tea_orders_30d"])


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        ("thirty", "'thirty' is no window: give days, such as 30d, or lifetime"),
        ("30d, 1000000d", "'1000000d' is no window"),
        ("30d, 30d", "give each word once"),
        ("", "at least 1 item"),
    ],
)
def test_a_window_is_written_as_in_the_names_of_columns(windows: str, says: str) -> None:
    wrong = f"features.custom=[{{name: a, description: b, sql: count(1), windows: [{windows}]}}]"
    with pytest.raises(ConfigurationError, match=r"features\.custom\.a\.windows") as told:
        load_settings("local", [wrong])
    assert says in str(told.value)
