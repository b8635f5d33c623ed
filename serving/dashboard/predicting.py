"""The champion, ready to answer; loaded anew when the tables that it is made of change."""

import streamlit as st

from serving.dashboard import reading
from serving.predictor import Predictor, load_predictor
from serving.tables import Tables

_MADE_OF = ("models", "current_scores", "features", "customer_base")


def predictor() -> Predictor:
    """The champion of now.

    Raises InputError where none is published.
    """
    versions = {table: reading.versions().get(table) for table in _MADE_OF}
    return _loaded(reading.chosen().lake, versions)


@st.cache_resource(max_entries=1, show_spinner="Loading the champion")
def _loaded(lake: str, versions: dict[str, int | None]) -> Predictor:
    return load_predictor(Tables(lake))
