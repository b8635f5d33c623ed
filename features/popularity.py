"""How popular products are: what share each has of all orders before each as-of date.

This module knows numpy and Arrow only: Spark sends it to the workers as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
# Logarithms are whole multiples of 1 over this, so that sums of them are exact.
LOG_UNIT = 2**20
# A product of which there are no more among so many products of all orders is as rare as any.
RARE = 500_000


@dataclass(frozen=True)
class Popularity:
    """`logs[date, place]`, of the product of each place: the logarithm (base 10, in units of
    LOG_UNIT) of the share that it has of all products of all orders before the date.

    The last place is that of rare products (`fewest`), which all count alike, as do those that
    nobody has ordered.
    """

    place_of: Mapping[str, int]
    logs: npt.NDArray[np.int32]

    @classmethod
    def of(cls, products: Sequence[str], orders: Ints, totals: Ints) -> "Popularity":
        """Of `orders[date, product]`, in how many orders before the date the product is, and of
        `totals[date]`, their sum over all products, also those that are rare, which can be left
        out.
        """
        counts = np.repeat(fewest(totals)[:, None].astype(float), len(products) + 1, axis=1)
        np.maximum(orders, counts[:, :-1], out=counts[:, :-1])
        logs = np.log10(counts, out=counts)
        logs -= np.log10(np.maximum(totals, 1))[:, None]
        logs *= LOG_UNIT
        place_of = {name: place for place, name in enumerate(products)}
        return cls(place_of, np.rint(logs, out=logs).astype(np.int32))

    def places(self, names: pa.Array) -> Ints:
        """That of each product."""
        known = names.dictionary_encode()
        last = len(self.place_of)
        of_name = [self.place_of.get(name, last) for name in known.dictionary.to_pylist()]
        found: Ints = np.array(of_name, np.int64)[known.indices.to_numpy()]
        return found


def fewest(totals: Ints) -> Ints:
    """By date, in how many orders a product is at most that is called rare: so that no more than
    RARE are not, however many products and orders there are.
    """
    return np.maximum(totals // RARE, 1)
