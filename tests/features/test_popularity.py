"""What is rare is rare by the orders before its date alone."""

import numpy as np
import pyarrow as pa

from features.popularity import LOG_UNIT, RARE, Popularity, fewest


def test_all_products_are_told_apart_until_there_are_many_orders() -> None:
    assert fewest(np.array([0, 1, RARE, 2 * RARE - 1])).tolist() == [1, 1, 1, 1]
    assert fewest(np.array([2 * RARE, 30 * RARE])).tolist() == [2, 30]


def test_a_rare_product_counts_as_one_that_is_not_told() -> None:
    totals = np.array([RARE, 3 * RARE])
    found = Popularity.of(["tea", "milk"], np.array([[1, 3], [2, 9]]), totals)
    tea, milk, other = found.places(pa.array(["tea", "milk", "soap"])).tolist()
    shares = 10.0 ** (found.logs / LOG_UNIT) * totals[:, None]
    assert shares[:, [tea, milk, other]].round(3).tolist() == [[1, 3, 1], [3, 9, 3]]
