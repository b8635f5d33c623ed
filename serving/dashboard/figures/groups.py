"""Customers in segments: named by `models.segments`, counted by DuckDB."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from conf.settings import Horizon
from models.segments import SEGMENTS, Cuts, segment_sql
from serving.dashboard.figures import Query
from serving.dashboard.figures import charts as c

UNKNOWN = "unknown"


def table(
    query: Query, horizon: Horizon, as_of: pd.Timestamp, cuts: Cuts, *, money: bool
) -> pd.DataFrame:
    """By segment, in the order of `SEGMENTS`: customers, expected to order, and money."""
    value = "sum(expected_value)" if money else "NULL::DOUBLE"
    joined = (
        f"LEFT JOIN (SELECT customer_id, expected_value FROM lifetime_value WHERE {horizon.where} "
        "AND as_of = $as_of) USING (customer_id)"
    )
    found = query(
        f"SELECT coalesce(segment, '{UNKNOWN}') AS segment, count(*) AS customers, "
        f"sum(probability) AS expected, {value} AS expected_value, avg(probability) AS mean, "
        f"count(*) / sum(count(*)) OVER () AS share FROM ({_placed(cuts)}) "
        f"JOIN (SELECT customer_id, probability FROM current_scores WHERE {horizon.where}) "
        f"USING (customer_id) {joined if money else ''} GROUP BY ALL",
        {"as_of": as_of},
    ).set_index("segment")
    order = [name for name in (*(s.name for s in SEGMENTS), UNKNOWN) if name in found.index]
    return found.loc[order].reset_index()


def members(
    query: Query,
    horizon: Horizon,
    as_of: pd.Timestamp,
    cuts: Cuts,
    segment: str,
    bands: Sequence[str],
) -> pd.DataFrame:
    """The customers of a segment and of these bands, the likeliest first, with the reasons in
    words.
    """
    return query(
        "SELECT customer_id, segment, round(probability, 4) AS probability, decile, band, "
        "array_to_string(list_transform(reasons, lambda one: one.sentence), '; ') AS reasons "
        f"FROM ({_placed(cuts)}) "
        f"JOIN current_scores USING (customer_id) WHERE {horizon.where} AND segment = $segment "
        "AND list_contains($bands, band) ORDER BY current_scores.probability DESC, customer_id",
        {"as_of": as_of, "segment": segment, "bands": list(bands)},
    )


def segment_of(query: Query, as_of: pd.Timestamp, cuts: Cuts, customer: str) -> str | None:
    """The segment of one customer; None where the features of the date do not tell."""
    rows = query(
        f"SELECT segment FROM ({_placed(cuts)} AND customer_id = $customer)",
        {"as_of": as_of, "customer": customer},
    )
    return None if rows.empty or pd.isna(rows["segment"][0]) else str(rows["segment"][0])


def _placed(cuts: Cuts) -> str:
    return f"SELECT customer_id, {segment_sql(cuts)} AS segment FROM features WHERE as_of = $as_of"


def sizes_chart(rows: pd.DataFrame) -> c.Chart:
    """How many customers each segment has."""
    tooltip = c.told(
        *(("segment:N", "segment", ""), ("customers:Q", "customers", ",")),
        ("share:Q", "share", ".1%"),
    )
    chart = c.bars(rows, "segment", c.number("customers", "customers", "~s"), tooltip)
    text = "Customers by segment: " + "; ".join(
        f"{r.segment} {r.customers:,} ({r.share:.0%})" for r in rows.itertuples()
    )
    return c.finished(chart, "Customers by segment", text, c.tall(len(rows), 36))


def rates_chart(rows: pd.DataFrame) -> c.Chart:
    """How likely the customers of each segment are to order."""
    tooltip = c.told(
        *(("segment:N", "segment", ""), ("mean:Q", "mean probability", ".1%")),
        ("expected:Q", "expected to order", ",.0f"),
    )
    room = [0, min(1.0, 1.12 * float(rows["mean"].max()))]
    value = c.number("mean", "mean probability of an order, %", ".0%", domain=room)
    bars = c.bars(rows, "segment", value, tooltip, c.GREEN)
    labels = bars.mark_text(align="left", dx=4).encode(text=alt.Text("mean:Q", format=".0%"))
    text = "Mean probability by segment: " + "; ".join(
        f"{r.segment} {r.mean:.1%}" for r in rows.itertuples()
    )
    return c.finished(
        alt.layer(bars, labels), "Mean probability by segment", text, c.tall(len(rows), 36)
    )
