"""A customer with very many lines: the work is spread as without one."""

from statistics import median

import pytest
from chispa import assert_df_equality

from benchmarks.skew import (
    HEAVY,
    LINES_OF_DAYS,
    ROWS_OF_RANGE,
    costs,
    lines,
    lines_by_partition,
)
from features.customer_days import by_day, by_range_of_days, customer_days
from tests.features.test_windows import configured, exchanges_of

pytestmark = pytest.mark.slow
CUSTOMERS, LINES = 5_000, 20_000


@pytest.fixture(scope="module")
def log(spark):
    """One customer has as many lines as all others together."""
    return lines(spark, CUSTOMERS, LINES, heavy=True)


def test_by_day_the_log_is_exchanged_once_and_no_partition_holds_a_customer_of_many_lines(
    spark, log
):
    settings = {
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
    }
    with configured(spark, settings):
        days = customer_days(log, by_range_of_days)
        assert len(exchanges_of(days)) == 1
        sizes = lines_by_partition(days)
    assert len(sizes) == 8
    assert sum(sizes) == 2 * LINES
    assert max(sizes) <= 2 * median(sizes)
    for others in (customer_days(log), customer_days(log, by_day)):
        assert_df_equality(days, others, ignore_row_order=True, ignore_nullable=True)


def test_the_command_measures_the_steps_and_their_parts(log, tmp_path):
    assert log.where(f"customer_id = '{HEAVY}'").count() == LINES
    found = costs(log, str(tmp_path))
    assert all(value > 0 for value in found.values())
    assert 1 <= found[LINES_OF_DAYS] <= 2
    assert 1 <= found[ROWS_OF_RANGE] <= 2
