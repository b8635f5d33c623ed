"""Customer-days to how popular products are with all customers."""

from collections.abc import Sequence
from datetime import date
from functools import reduce
from operator import or_

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.popularity import Popularity, fewest


def popularity(customer_days: DataFrame, as_ofs: Sequence[date]) -> Popularity:
    """That of the products at these dates, all of them different, in their order, by the
    customer-days of all customers.

    Whatever is dated on or after an as-of date has no influence on it.
    """
    dates = sorted(as_ofs)
    # How many of the dates it comes too late for.
    late = sum(((F.col("day") >= F.lit(d)).cast("int") for d in dates), F.lit(0)).alias("late")
    past = customer_days.where(F.col("day") < F.lit(dates[-1]))
    ordered = past.select(late, F.explode("products").alias("product"))
    counted = ordered.groupBy("product", "late").agg(F.count(F.lit(1)).alias("orders"))
    names = [str(day) for day in dates]
    before = [
        F.sum(F.when(F.col("late") <= place, F.col("orders")).otherwise(0)).alias(name)
        for place, name in enumerate(names)
    ]
    by_product = counted.groupBy("product").agg(*before)
    by_product = by_product.cache()
    try:
        sums = by_product.agg(*[F.sum(name) for name in names]).collect()[0]
        totals = np.array([total or 0 for total in sums], np.int64)
        least = fewest(totals)
        # Products in so few orders are many, and all alike: of them the sums are enough.
        told = [F.col(name) > F.lit(int(few)) for name, few in zip(names, least, strict=True)]
        found = by_product.where(reduce(or_, told)).toPandas()
    finally:
        by_product.unpersist()
    return Popularity.of(found["product"].tolist(), found[names].to_numpy(np.int64).T, totals)
