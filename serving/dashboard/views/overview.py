"""Overview: how many customers are likely to order, and how that has moved."""

import pandas as pd
import streamlit as st

from serving.dashboard import looks, reading
from serving.dashboard.figures import scores

ABOUT = {
    "Customers scored": "Everybody who had ordered before as_of.",
    "Expected to order": "The sum of all probabilities.",
    "Predicted to order": "Customers at the champion's threshold or above it.",
    "Expected revenue": "Money expected to be spent in the label window (MBG/NBD, Gamma-Gamma).",
}


def page() -> None:
    """Key figures, the distribution, deciles and bands, and the trend."""
    horizon = reading.horizon()
    looks.head("Overview", f"Who orders again in the next {horizon}, as scored last.")
    totals = scores.totals(reading.query, horizon)
    champion = reading.champion()
    threshold = None if champion is None else float(champion["threshold"])
    st.markdown(
        f"As of **{totals.as_of:%Y-%m-%d}**, scored {totals.scored_at:%Y-%m-%d %H:%M} UTC by "
        f"**{totals.model_name}** ({totals.model_version})."
    )
    if champion is not None and champion["model_version"] != totals.model_version:
        st.warning(
            f"The champion is now {champion['model_name']} ({champion['model_version']}): "
            "`repurchase score` lets it score."
        )
    looks.figures(_cells(totals, threshold), ABOUT)
    left, right = st.columns(2)
    with left:
        rows = scores.distribution(reading.query, horizon)
        looks.show(scores.distribution_chart(rows, threshold), rows)
        rows = scores.bands(reading.query, horizon)
        looks.show(scores.bands_chart(rows), rows)
    with right:
        rows = scores.deciles(reading.query, horizon)
        looks.show(scores.deciles_chart(rows), rows)
        rows = _trend()
        looks.show(scores.trend_chart(rows), rows)


def _cells(totals: scores.Totals, threshold: float | None) -> dict[str, str]:
    horizon = reading.horizon()
    cells = {
        "Customers scored": f"{totals.customers:,}",
        "Mean probability": looks.percent(totals.mean),
        "Expected to order": f"{totals.expected:,.0f}",
    }
    if threshold is not None:
        number = scores.predicted(reading.query, horizon, threshold)
        cells["Predicted to order"] = f"{number:,}"
    money = scores.money(reading.query, horizon) if reading.exists("lifetime_value") else None
    if money is not None:
        cells["Expected revenue"] = f"{money['value']:,.0f} {money['currency'] or ''}"
    return cells


def _trend() -> pd.DataFrame:
    horizon = reading.horizon()
    found = [scores.predicted_by_date(reading.query, horizon)]
    if reading.exists("labels"):
        found.insert(0, scores.realised_by_date(reading.query, horizon))
    return pd.concat(found, ignore_index=True)
