"""Lines to customer-days: what is an order, and what counts on which day."""

import datetime as dt

import pytest

from features.customer_days import (
    CUSTOMER_DAYS,
    PARTITION_BYTES,
    by_customer,
    customer_days,
)
from tests.features.oracle import line, transactions
from tests.features.test_windows import configured

DAY = dt.date(2021, 6, 26)  # a Saturday
NEXT = dt.date(2021, 6, 27)


def days(spark, lines):
    """The customer-days as dicts by customer and day."""
    rows = [row.asDict() for row in customer_days(transactions(spark, lines)).collect()]
    keyed = {(row.pop("customer_id"), row.pop("day")): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def test_one_day_with_everything(spark):
    tea = {"category": "tea", "product_id": "black"}
    pot = {"category": "pot", "product_id": "pot"}
    cup = {"category": "cup", "product_id": "cup"}
    found = days(
        spark,
        [
            line("a", DAY, "o1", amount="10.10", quantity="2", discount="1.05", **tea),
            line("a", DAY, "o1", amount="0.05", quantity="0.125", **tea),
            line("a", DAY, "o2", amount="5", quantity=None, **pot, payment_method="card"),
            line("a", DAY, "o3", kind="return", amount="-3.30", quantity="-1", **cup),
            line("a", DAY, "o3", kind="return", amount="-0.20", quantity="-1"),
            line(
                "a", DAY, "o4", kind="cancelled", amount="-7", quantity="-1", payment_method="cash"
            ),
        ],
    )
    assert found == {
        ("a", DAY): {
            "orders": 2,
            "lines": 3,
            "units_thousandths": 2125,
            "revenue_cents": 1515,
            "max_order_cents": 1015,
            "order_cents_squared": 1015.0**2 + 500.0**2,
            "discount_cents": 105,
            "returns": 1,
            "returned_cents": 350,
            "cancellations": 1,
            "cancelled_cents": 700,
            "categories": ["pot", "tea"],
            "payment_methods": ["card"],
            "products": ["black", "pot"],
        }
    }


def test_the_columns_are_those_of_the_contract(spark):
    schema = customer_days(transactions(spark, [])).schema
    assert [(f.name, f.dataType.simpleString()) for f in schema] == [
        (column.name, column.type) for column in CUSTOMER_DAYS.columns
    ]


def test_trap_lines_of_one_order_are_counted_once_as_an_order(spark):
    # 2021-06-26 is a Saturday: what counted lines as orders would count 5 at the weekend.
    found = days(spark, [line("a", DAY, "o1") for _ in range(5)])
    assert (found["a", DAY]["orders"], found["a", DAY]["lines"]) == (1, 5)
    assert found["a", DAY]["max_order_cents"] == 5000


def test_an_order_id_on_another_day_or_of_another_customer_is_another_order(spark):
    found = days(spark, [line("a", DAY, "o1"), line("a", NEXT, "o1"), line("b", DAY, "o1")])
    assert {key: day["orders"] for key, day in found.items()} == {
        **{("a", DAY): 1, ("a", NEXT): 1, ("b", DAY): 1},
    }


def test_ids_that_look_alike_when_joined_stay_apart(spark):
    found = days(
        spark, [line("1", DAY, "23"), line("12", DAY, "3"), line("1", DAY, "2"), line("01", DAY)]
    )
    assert {key: day["orders"] for key, day in found.items()} == {
        **{("1", DAY): 2, ("12", DAY): 1, ("01", DAY): 1},
    }


def test_trap_a_return_stays_on_its_own_day_and_leaves_the_order_alone(spark):
    found = days(
        spark,
        [line("a", DAY, "o1", amount="100"), line("a", NEXT, "o1", kind="return", amount="-100")],
    )
    bought, returned = found["a", DAY], found["a", NEXT]
    assert (bought["orders"], bought["revenue_cents"], bought["returned_cents"]) == (1, 10000, 0)
    assert (returned["orders"], returned["revenue_cents"], returned["returned_cents"]) == (
        0,
        0,
        10000,
    )
    assert (returned["returns"], returned["lines"], returned["max_order_cents"]) == (1, 0, None)


def test_a_return_under_the_id_of_an_order_of_the_same_day_is_netted_with_nothing(spark):
    found = days(
        spark,
        [line("a", DAY, "o1", amount="100"), line("a", DAY, "o1", kind="return", amount="-40")],
    )
    day = found["a", DAY]
    assert (day["orders"], day["lines"], day["revenue_cents"], day["max_order_cents"]) == (
        *(1, 1, 10000, 10000),
    )
    assert (day["returns"], day["returned_cents"]) == (1, 4000)


def test_a_cancellation_is_no_return_and_no_order(spark):
    found = days(spark, [line("a", DAY, "o1", kind="cancelled", amount="-9", category="tea")])
    day = found["a", DAY]
    assert (day["orders"], day["returns"], day["cancellations"], day["cancelled_cents"]) == (
        0,
        0,
        1,
        900,
    )
    assert (day["categories"], day["payment_methods"]) == ([], [])


def test_cents_are_exact(spark):
    # 0.07 * 100 is 7.000000000000001 in doubles, 0.29 * 100 is 28.999999999999996.
    amounts = ["0.07", "0.29", "1.13", "4.35", "8.41", "1234567890123.45"]
    found = days(spark, [line("a", DAY, f"o{n}", amount=a) for n, a in enumerate(amounts)])
    assert found["a", DAY]["revenue_cents"] == 7 + 29 + 113 + 435 + 841 + 123456789012345
    assert found["a", DAY]["max_order_cents"] == 123456789012345


def test_a_thousand_lines_of_a_cent_are_ten(spark):
    found = days(spark, [line("a", DAY, amount="0.01", quantity="0.001") for _ in range(1000)])
    assert (found["a", DAY]["revenue_cents"], found["a", DAY]["units_thousandths"]) == (1000, 1000)


def test_units_and_discounts_of_returns_do_not_count(spark):
    found = days(
        spark,
        [
            line("a", DAY, "o1", quantity="5", discount="2.00"),
            line("a", DAY, "o2", kind="return", amount="-10", quantity="-3", discount="1.00"),
        ],
    )
    assert (found["a", DAY]["units_thousandths"], found["a", DAY]["discount_cents"]) == (5000, 200)


def test_a_log_without_quantities_and_discounts_has_none(spark):
    found = days(spark, [line("a", DAY, quantity=None, discount=None)])
    assert (found["a", DAY]["units_thousandths"], found["a", DAY]["discount_cents"]) == (0, 0)


def test_an_order_of_nothing_but_free_lines_is_an_order(spark):
    found = days(spark, [line("a", DAY, amount="0")])
    assert (found["a", DAY]["orders"], found["a", DAY]["max_order_cents"]) == (1, 0)


def test_a_category_counts_once_per_order_in_it(spark):
    found = days(
        spark,
        [
            line("a", DAY, "o1", category="tea", payment_method="card"),
            line("a", DAY, "o1", category="tea", payment_method="card"),
            line("a", DAY, "o1", category="pot", payment_method=None),
            line("a", DAY, "o2", category="tea", payment_method="card"),
            line("a", DAY, "o3", category=None),
        ],
    )
    assert found["a", DAY]["categories"] == ["pot", "tea", "tea"]
    assert found["a", DAY]["payment_methods"] == ["card", "card"]


@pytest.mark.parametrize(
    ("stored_bytes", "partitions"),
    [(None, 8), (8 * PARTITION_BYTES, 8), (8 * PARTITION_BYTES - 1, 4), (0, 2)],
)
def test_few_rows_are_in_few_partitions(spark, stored_bytes, partitions):
    rows = spark.range(100).withColumnRenamed("id", "customer_id")
    with configured(spark, {"spark.sql.shuffle.partitions": "8"}):
        together = by_customer(rows, stored_bytes)
        assert together.rdd.getNumPartitions() == partitions
