"""What all pages share: how one is laid out, how a chart is shown, how an error is told."""

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import pandas as pd
import streamlit as st

from conf.errors import RepurchaseError
from serving.dashboard.figures.charts import Chart
from serving.dashboard.figures.people import reasons_chart

TABLES = "tables"
# What people ask about, by the name of the figure.
TERMS = {
    "ROC-AUC": "How often one who ordered was scored above one who did not: 0.5 is chance, 1 all.",
    "PR-AUC": "Mean precision over all recalls: chance is the share that ordered, 1 is perfect.",
    "lift of the top 10 %": "How many times as many of the likeliest tenth ordered as of all.",
    "log loss": "How far the probabilities are from what happened; surprise costs most. Less is "
    "better.",
    "Brier score": "Mean squared distance of the probabilities from what happened. Less is better.",
    "ECE": "Expected calibration error: by how much probabilities and shares that ordered differ, "
    "on average over groups of alike probabilities. Less is better.",
    "precision": "Of those predicted to order, the share that did.",
    "recall": "Of those who ordered, the share that was predicted to.",
    "F1": "The harmonic mean of precision and recall.",
    "Probability alive (MBG/NBD)": "That the customer has not left for good, by a model of how "
    "often and how lately people order; it knows the order days alone.",
}
_STYLE = """<style>
.block-container {padding-top: 2.6rem; padding-bottom: 3rem; max-width: 1500px}
[data-testid="stMetric"] {padding: .1rem 1.4rem .1rem 0}
[data-testid="stMetricValue"] {font-size: 1.6rem}
[data-testid="stMetricLabel"] p {white-space: normal}
:focus-visible {outline: 3px solid #e69f00 !important; outline-offset: 2px}
@media (max-width: 640px) {
  .block-container {padding-left: 1rem; padding-right: 1rem}
  [data-testid="stMetricValue"] {font-size: 1.4rem}
  h1 {font-size: 1.7rem !important}
}
</style>"""


def guarded(draw: Callable[[], None]) -> Callable[[], None]:
    """The page, with a problem told where it would have been; never a traceback."""

    @wraps(draw)
    def drawn() -> None:
        try:
            draw()
        except RepurchaseError as problem:
            st.error(plain(problem), icon=":material/error:")
        except Exception as problem:
            if os.environ.get("REPURCHASE_DEBUG"):
                traceback.print_exc()
            st.error(
                f"This page could not be made: {type(problem).__name__}: {plain(problem)}. "
                "Reload it; with REPURCHASE_DEBUG=1, the terminal says where it happened.",
                icon=":material/error:",
            )

    return drawn


def head(title: str, about: str) -> None:
    """The page's heading and what it is for."""
    st.html(_STYLE)
    st.title(title, anchor=False)
    st.caption(about)


def show(chart: Chart, rows: pd.DataFrame) -> None:
    """A chart, and its rows as a table where that is asked for."""
    st.altair_chart(chart, width="stretch")
    if st.session_state.get(TABLES):
        st.dataframe(rows, width="stretch", hide_index=True)


def reasons(told: Sequence[Mapping[str, Any]]) -> None:
    """The reasons of a probability in words, and how far each moved it."""
    rows = pd.DataFrame([dict(one) for one in told])
    if rows.empty:
        st.info("This score was written without reasons.")
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**Reasons**, compared with the average customer")
        for sentence in rows["sentence"]:
            st.markdown(f"- {plain(sentence)}")
    with right:
        show(reasons_chart(rows), rows)


def plain(text: object) -> str:
    """What a table or a file says, where Markdown would make more of it: a link, a picture."""
    return str(text).translate({ord(sign): f"\\{sign}" for sign in "\\`*_[]<>$#~!:|"})


def missing(table: str, command: str, what: str) -> None:
    """Says that a part of the page has nothing to show yet, and which command makes it."""
    st.info(f"{what} from the table `{table}`: `{command}` makes it.", icon=":material/info:")


def percent(value: float) -> str:
    """A share, in percent with one digit; a dash for one that is not there."""
    return "–" if pd.isna(value) else f"{value:.1%}"


def figures(cells: dict[str, str], help_: dict[str, str] | None = None) -> None:
    """Key figures in one row that breaks where the window is narrow; what a term of the field
    means is said beside it.
    """
    known = TERMS | (help_ or {})
    with st.container(horizontal=True, gap="small"):
        for name, value in cells.items():
            st.metric(name[:1].upper() + name[1:], value, help=known.get(name), width="content")
