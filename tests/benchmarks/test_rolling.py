"""What rolling is compared with: yesterday's rows, a day older, in a table as good as one made."""

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from benchmarks import rolling
from benchmarks.skew import lines
from features.customer_days import CUSTOMER_DAYS, by_range_of_days, customer_days
from lake.store import Lake

pytestmark = pytest.mark.slow
CUSTOMERS = 300


def test_a_copy_differs_from_the_day_before_by_the_ages_alone(spark, tmp_path):
    stored, made = Lake(spark, str(tmp_path / "stored")), Lake(spark, str(tmp_path / "made"))
    log = lines(spark, CUSTOMERS, CUSTOMERS)
    stored.replace(CUSTOMER_DAYS, customer_days(log, by_range_of_days))
    names = (*rolling.AGES, "orders_30d", "revenue_lifetime")
    rolling.make(stored, made, names, rolling.YESTERDAY)
    rolling.copy(made, names, rolling.YESTERDAY, rolling.TODAY)
    features = made.read("features")
    before = features.where(F.col("as_of") == F.lit(rolling.YESTERDAY))
    older = {name: F.col(name) + 1 for name in rolling.AGES}
    expected = before.withColumns({"as_of": F.lit(rolling.TODAY), **older})
    copied = features.where(F.col("as_of") == F.lit(rolling.TODAY))
    assert copied.count() == CUSTOMERS
    loosely = {"ignore_nullable": True, "ignore_metadata": True}
    assert_df_equality(copied, expected, ignore_row_order=True, **loosely)
