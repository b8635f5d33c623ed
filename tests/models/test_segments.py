"""Segments in SQL are those of the function."""

import duckdb
import numpy as np
import pandas as pd

from models.segments import RFM, SEGMENTS, Cuts, cuts_of, segment_between, segment_sql, segments

CUTS = Cuts([10, 20.5, 40, 90], [1, 2, 4, 9], [20.0, 50.0, 99.99, 400.0])
EVERY_SIDE = [
    [*sorted({value for cut in ends for value in (cut - 0.5, cut, cut + 0.5)}), np.nan]
    for ends in (CUTS.recency_days, CUTS.orders, CUTS.revenue)
]
CUSTOMERS = pd.DataFrame(
    np.stack([axis.ravel() for axis in np.meshgrid(*EVERY_SIDE)], axis=1),
    columns=["recency_days", "orders_lifetime", "revenue_lifetime"],
)


def test_sql_gives_the_segments_of_the_function_on_every_side_of_every_cut():
    expected = segments(*(CUSTOMERS[c].to_numpy() for c in CUSTOMERS), CUTS)
    rows = duckdb.from_df(CUSTOMERS.astype(object).where(CUSTOMERS.notna(), None).astype("Float64"))
    found = [row[0] for row in rows.project(segment_sql(CUTS)).fetchall()]
    assert found == expected
    assert set(expected) == {None, *(segment.name for segment in SEGMENTS)}


def test_the_ends_of_the_fifths_may_be_columns():
    rows = duckdb.from_df(
        pd.DataFrame(
            {"recency_days": [5], "orders_lifetime": [9], "revenue_lifetime": [1.0], "e": 4}
        )
    )
    found = rows.project(segment_between(["e"] * 4, ["e"] * 4, ["e"] * 4)).fetchall()
    same = Cuts([4] * 4, [4] * 4, [4] * 4)
    assert [row[0] for row in found] == segments(*np.array([[5.0], [9.0], [1.0]]), same)


def test_cuts_are_where_the_fifths_of_the_customers_end():
    rows = pd.DataFrame({name: np.arange(1, 12) * 10.0 for name in RFM})
    assert cuts_of(rows) == Cuts(*[[30.0, 50.0, 70.0, 90.0]] * 3)
