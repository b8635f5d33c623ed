"""Where the fifths of the customers end, as DuckDB finds it in the table of features."""

from collections.abc import Callable

import pandas as pd

from models.segments import FIFTHS, RFM, Cuts


def current_cuts(query: Callable[[str], pd.DataFrame]) -> Cuts:
    """By recency, frequency and monetary value, on the last date that has features.

    `query` is `Tables.query`, or one with a cache before it.
    """
    ends = ", ".join(f"quantile_cont({name}, {list(FIFTHS)}) AS {name}" for name in RFM)
    latest = "as_of = (SELECT max(as_of) FROM features)"
    found = query(f"SELECT {ends} FROM features WHERE {latest}").iloc[0]
    return Cuts(*(list(map(float, found[name])) for name in RFM))
