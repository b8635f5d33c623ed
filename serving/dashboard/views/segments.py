"""Segments and action plans: who the customers are, what to do, and the list to do it with."""

import pandas as pd
import streamlit as st

from conf.settings import Horizon
from models.segments import SEGMENTS, Cuts, Segment
from serving.cuts import current_cuts
from serving.dashboard import looks, reading
from serving.dashboard.figures import Query, groups, scores


def page() -> None:
    """The segments in numbers, and for each the plan and its customers."""
    looks.head(
        "Segments and action plans",
        "Customers by recency, frequency and monetary value, each scored 1 to 5 by fifths.",
    )
    if not reading.exists("features"):
        looks.missing("features", "repurchase build-features", "Segments come")
        return
    horizon, cuts = reading.horizon(), current_cuts(reading.query)
    money = reading.exists("lifetime_value")
    rows = groups.table(reading.query, horizon, reading.as_of(), cuts, money=money)
    left, right = st.columns(2)
    with left:
        looks.show(groups.sizes_chart(rows), rows)
    with right:
        looks.show(groups.rates_chart(rows), rows)
    _cuts(cuts)
    st.subheader("Action plans", anchor=False)
    bands = st.multiselect(
        "Bands in the lists", list(scores.BANDS), default=list(scores.BANDS), key="plan_bands"
    )
    there = [segment for segment in SEGMENTS if segment.name in set(rows["segment"])]
    for place, segment in enumerate(there):
        if place % 2 == 0:
            columns = st.columns(2)
        with columns[place % 2]:
            _plan(segment, rows[rows["segment"] == segment.name].iloc[0], cuts, bands)


def _cuts(cuts: Cuts) -> None:
    with st.expander("Where the fifths end"):
        rows = {
            "days since the last order": cuts.recency_days,
            "orders, lifetime": cuts.orders,
            f"revenue, lifetime, {reading.currency()}".rstrip(", "): cuts.revenue,
        }
        ends = ["20 %", "40 %", "60 %", "80 %"]
        known = {name: values for name, values in rows.items() if len(values)}
        st.table(pd.DataFrame(known, index=ends).T.map("{:,.1f}".format))


def _plan(segment: Segment, row: pd.Series, cuts: Cuts, bands: list[str]) -> None:
    with st.container(border=True):
        st.markdown(f"#### {segment.name.capitalize()}")
        st.caption(f"{segment.means.capitalize()}.")
        st.markdown(f"**Plan:** {segment.plan}")
        looks.figures(_cells(row))
        query, horizon, as_of = reading.tables().query, reading.horizon(), reading.as_of()
        st.download_button(
            f"Download {segment.name} (CSV)",
            data=lambda: _csv(query, horizon, as_of, cuts, segment.name, bands),
            file_name=f"{segment.name.replace(' ', '_')}.csv",
            mime="text/csv",
            on_click="ignore",
            disabled=not bands,
        )


def _cells(row: pd.Series) -> dict[str, str]:
    cells = {
        "Customers": f"{row['customers']:,.0f} ({row['share']:.0%})",
        "Expected to order": f"{row['expected']:,.0f}",
        "Mean probability": looks.percent(row["mean"]),
    }
    if pd.notna(row["expected_value"]):
        cells["Expected revenue"] = f"{row['expected_value']:,.0f} {reading.currency()}"
    return cells


def _csv(
    query: Query, horizon: Horizon, as_of: pd.Timestamp, cuts: Cuts, segment: str, bands: list[str]
) -> bytes:
    rows = groups.members(query, horizon, as_of, cuts, segment, bands)
    return rows.to_csv(index=False).encode()
