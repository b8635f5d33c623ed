"""Data quality and drift: what was refused, how fresh, and whether customers have changed."""

import pandas as pd
import streamlit as st

from serving.dashboard import looks, reading
from serving.dashboard.figures import drift, health, models, people
from serving.sample import SAMPLE

SHOWN_FEATURES = 15
# Always there or made by the job.
_GIVEN = ("customer_id", "order_id", "ordered_at", "ordered_on", "kind", "amount", "file")


def page() -> None:
    """Rows in and refused, gaps, and the drift of features between two dates."""
    looks.head("Data quality and drift", "What came in, what was refused, and what has changed.")
    if reading.exists("transactions"):
        _log()
    else:
        looks.missing("transactions", "repurchase ingest", "The log comes")
    left, right = st.columns(2)
    with left:
        _refused()
    with right:
        _gaps()
    st.subheader("Drift", anchor=False)
    _drift()


def _log() -> None:
    span, lines = health.log_span(reading.query), health.rows_of(reading.query, "transactions")
    refused = health.rows_of(reading.query, "quarantine") if reading.exists("quarantine") else 0
    looks.figures(
        {
            "Lines in the log": f"{lines:,}",
            "Rows in quarantine": f"{refused:,}",
            "Share refused": f"{refused / max(1, lines + refused):.2%}",
            "First day": f"{span['first']:%Y-%m-%d}",
            "Last day": f"{span['last']:%Y-%m-%d}",
        }
    )


def _refused() -> None:
    if not reading.exists("quarantine"):
        looks.missing("quarantine", "repurchase ingest", "Refused rows come")
        return
    rows = health.refused(reading.query)
    if rows.empty:
        st.success("No row is in quarantine: every row fulfilled its contract.")
    else:
        looks.show(health.refused_chart(rows), rows)


def _gaps() -> None:
    if not reading.exists("transactions"):
        return
    columns = [name for name in reading.types("transactions") if name not in _GIVEN]
    rows = health.missing(reading.query, columns)
    if rows.empty:
        st.success("Every line of the log has a value in every column that the source maps.")
    else:
        looks.show(health.missing_chart(rows), rows)


def _drift() -> None:
    dates = drift.dates(reading.query) if reading.exists("features") else []
    if len(dates) < 2:
        looks.missing("features", "repurchase build-features", "Drift needs two dates")
        return
    pair = drift.Pair(_reference(dates), dates[0])
    names = _compared()
    bins = drift.bins(reading.query, pair, names)
    rows = drift.stability(bins)
    moved = int((rows["psi"] >= drift.WATCH).sum())
    st.markdown(
        f"The customers of **{pair.latest}** beside those of **{pair.reference}**: {moved} of "
        f"{len(rows)} features have moved (PSI of {drift.WATCH} or more; {drift.SHIFTED} is a "
        f"shift). Bins are the tenths of the reference date; from {SAMPLE:,} customers on, "
        "a sample by a hash of the customer."
    )
    left, right = st.columns(2)
    with left:
        looks.show(drift.stability_chart(rows), rows)
    with right:
        feature = st.selectbox("Feature", rows["feature"].tolist())
        own = bins[bins["feature"] == feature]
        looks.show(drift.bins_chart(bins, feature, pair), own)
        st.caption(reading.descriptions("features").get(feature, ""))
    _missing(rows)


def _reference(dates: list[str]) -> str:
    champion = reading.champion()
    held_out = None if champion is None else f"{champion['held_out']:%Y-%m-%d}"
    first = dates[1:].index(held_out) if held_out in dates[1:] else 0
    return st.selectbox(
        "Reference date", dates[1:], index=first, help="The held-out date judged the champion."
    )


def _compared() -> list[str]:
    """The numeric features that the champion looks at most."""
    known = reading.types("features")
    champion = reading.champion()
    if champion is None or not reading.exists("importances"):
        return [name for name in known if known[name] in people.NUMERIC][:SHOWN_FEATURES]
    most = models.importances(reading.query, champion["model_version"], 2 * SHOWN_FEATURES)
    names = [name for name in most["feature"] if known.get(name) in people.NUMERIC]
    return names[:SHOWN_FEATURES]


def _missing(rows: pd.DataFrame) -> None:
    gone = rows[(rows["missing_latest"] > 0.001) | (rows["missing_reference"] > 0.001)]
    if gone.empty:
        return
    with st.expander("Missing values of these features"):
        st.dataframe(
            gone[["feature", "missing_reference", "missing_latest"]],
            width="stretch",
            hide_index=True,
            column_config={
                "missing_reference": st.column_config.NumberColumn("reference", format="percent"),
                "missing_latest": st.column_config.NumberColumn("latest", format="percent"),
            },
        )
