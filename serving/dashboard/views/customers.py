"""Customers: one is searched, and everything that is known of them shown."""

from typing import Any

import pandas as pd
import streamlit as st

from serving.cuts import current_cuts
from serving.dashboard import looks, reading
from serving.dashboard.figures import groups, models, people, scores

SHOWN_FEATURES = 15
# Numbers from here on are told without what is behind the point.
_WHOLE = 1000


def page() -> None:
    """A search, the likeliest customers that it finds, and the one chosen of them."""
    horizon = reading.horizon()
    looks.head("Customers", f"Why a customer has their probability of an order in {horizon}.")
    left, right = st.columns([3, 1])
    st.session_state.setdefault("search", st.query_params.get("customer", ""))
    text = left.text_input("Search by customer id", key="search", placeholder="part of an id")
    text = text.strip()
    band = right.selectbox("Band", [None, *scores.BANDS], format_func=lambda b: b or "all bands")
    found = people.search(reading.query, horizon, text, band)
    if found.empty:
        st.warning(f"No customer scored for {horizon} has “{looks.plain(text)}” in their id.")
        return
    customer = st.selectbox(
        "Customer, the likeliest first",
        found["customer_id"].tolist(),
        format_func=_labels(found).__getitem__,
        help=f"At most {people.SHOWN}; search for more of the id to see others.",
    )
    with st.expander("These customers as a table"):
        _table(found)
    _customer(str(customer))


def _labels(found: pd.DataFrame) -> dict[str, str]:
    rows = zip(found["customer_id"], found["probability"], found["band"], strict=True)
    return {who: f"{who} · {probability:.1%} · {band}" for who, probability, band in rows}


def _table(found: pd.DataFrame) -> None:
    st.dataframe(
        found,
        width="stretch",
        hide_index=True,
        column_config={
            "customer_id": "customer",
            "probability": st.column_config.ProgressColumn(
                "probability", format="percent", min_value=0, max_value=1
            ),
        },
    )


def _customer(customer: str) -> None:
    scored = people.score(reading.query, reading.horizon(), customer)
    if scored is None:
        return
    st.query_params["customer"] = customer
    st.subheader(f"Customer {looks.plain(customer)}", anchor=False)
    looks.figures(_cells(customer, scored))
    looks.reasons(_told(scored))
    _history(customer, pd.Timestamp(scored["as_of"]))
    _features(customer, scored)


def _cells(customer: str, scored: dict[str, Any]) -> dict[str, str]:
    cells = {
        "Probability": looks.percent(scored["probability"]),
        "Decile (1 is the likeliest)": str(scored["decile"]),
        "Band": scored["band"],
    }
    if reading.exists("features"):
        cuts, as_of = current_cuts(reading.query), pd.Timestamp(scored["as_of"])
        segment = groups.segment_of(reading.query, as_of, cuts, customer)
        cells["Segment"] = segment or groups.UNKNOWN
    if not reading.exists("lifetime_value"):
        return cells
    value = people.lifetime_value(reading.query, reading.horizon(), customer)
    if value is None:
        return cells
    money = f"{value['expected_value_12m']:,.0f} {value['currency'] or ''}"
    return cells | {
        "Probability alive (MBG/NBD)": looks.percent(value["alive_probability"]),
        "Expected orders": f"{value['expected_orders']:.2f}",
        "Expected value, 12 months": "–" if pd.isna(value["expected_value_12m"]) else money,
    }


def _told(scored: dict[str, Any]) -> list[dict[str, Any]]:
    reasons = scored.get("reasons")
    return [] if reasons is None else list(reasons)


def _history(customer: str, as_of: pd.Timestamp) -> None:
    past = people.past_scores(reading.query, reading.horizon(), customer)
    if len(past) > 1:
        looks.show(people.past_chart(past), past)
    if not reading.exists("transactions"):
        looks.missing("transactions", "repurchase ingest", "The orders come")
        return
    rows = people.orders(reading.query, customer, reading.time_zone())
    if rows.empty:
        st.info("No order of this customer is in the table `transactions`.")
        return
    looks.show(people.orders_chart(rows, as_of, reading.currency()), rows)


def _features(customer: str, scored: dict[str, Any]) -> None:
    if not reading.exists("features"):
        looks.missing("features", "repurchase build-features", "The features come")
        return
    known, meant = reading.types("features"), reading.descriptions("features")
    names = [name for name in _wanted(scored) if name in known]
    values = people.features(reading.query, scored["as_of"], customer, names)
    if not values:
        st.info(
            f"The features of {scored['as_of']:%Y-%m-%d} are no longer in the table `features`."
        )
        return
    numeric = [name for name in names if known[name] in people.NUMERIC]
    usual = people.medians(reading.query, scored["as_of"], numeric)
    rows = pd.DataFrame(
        {
            "feature": names,
            "this customer": [_value(values[name]) for name in names],
            "median customer": [_value(usual.get(name)) for name in names],
            "what it is": [meant.get(name, "") for name in names],
        }
    )
    st.markdown(f"**Features** as of {scored['as_of']:%Y-%m-%d}, the most important first")
    st.dataframe(rows, width="stretch", hide_index=True)


def _wanted(scored: dict[str, Any]) -> list[str]:
    """Those of the reasons, recency, frequency and monetary value, and the most important."""
    own = [reason["feature"] for reason in _told(scored)]
    first = ["recency_days", "tenure_days", "orders_lifetime", "revenue_lifetime"]
    most = []
    if reading.exists("importances"):
        rows = models.importances(reading.query, scored["model_version"], SHOWN_FEATURES)
        most = rows["feature"].tolist()
    return list(dict.fromkeys([*own, *first, *most]))


def _value(value: Any) -> str:
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value % 1 == 0 or abs(value) >= _WHOLE else f"{value:.4g}"
