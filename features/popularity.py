"""How popular products are: what share each has of all orders before each as-of date.

Spark sends this module to the workers as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Ints = npt.NDArray[np.int64]
# Logarithms are whole multiples of 1 over this, so that sums of them are exact.
LOG_UNIT = 2**20


@dataclass(frozen=True)
class Popularity:
    """By as-of date, in their order, and product: the logarithm (base 10, in units of LOG_UNIT) of
    the share that it has of all products of all orders before the date.

    Of all other products, which one order has or none, `rare` has that of a product in one order,
    by date.
    """

    products: pa.Array
    logs: npt.NDArray[np.int32]
    rare: npt.NDArray[np.int32]

    @classmethod
    def of(cls, products: Sequence[str], orders: Ints, totals: Ints) -> "Popularity":
        """Of the orders with each product, by date and product, and by date the sum of those of all
        products, those in a single order included, which need not be told.
        """
        total = np.log10(np.maximum(totals, 1))
        logs = np.log10(np.maximum(orders, 1)) - total[:, None]
        return cls(
            pa.array(products, pa.string()),
            np.rint(logs * LOG_UNIT).astype(np.int32),
            np.rint(-total * LOG_UNIT).astype(np.int32),
        )

    def codes(self, names: pa.Array) -> Ints:
        """What `of_date` knows the products by."""
        known = names.dictionary_encode()
        places = pc.index_in(known.dictionary, value_set=self.products)
        code = np.append(places.fill_null(len(self.products)).to_numpy(), 0).astype(np.int64)
        of_name: Ints = code[known.indices.to_numpy()]
        return of_name

    def of_date(self, place: int) -> Ints:
        """The logarithms at a date, by code."""
        return np.append(self.logs[place], self.rare[place]).astype(np.int64)


def popularity(customer_days: DataFrame, as_ofs: Sequence[date]) -> Popularity:
    """That of the products at these dates, of the customer-days of all customers.

    Whatever is dated on or after an as-of date has no influence on it.
    """
    dates = sorted(as_ofs)
    names = [str(day) for day in dates]
    past = customer_days.where(F.col("day") < F.lit(dates[-1]))
    ordered = past.select("day", F.explode("products").alias("product"))
    before = [F.count_if(F.col("day") < F.lit(day)).alias(str(day)) for day in dates]
    by_product = ordered.groupBy("product").agg(*before)
    # Products in a single order are many, and are told by their sum.
    told = F.when(F.col(names[-1]) > 1, F.col("product")).alias("product")
    summed = [F.sum(name).alias(name) for name in names]
    found = by_product.groupBy(told).agg(*summed).toPandas()
    orders = found[names].to_numpy(np.int64).T
    is_told = found["product"].notna().to_numpy()
    return Popularity.of(found["product"][is_told].tolist(), orders[:, is_told], orders.sum(axis=1))
