"""The champion, ready to answer; loaded anew when the tables that it is made of change."""

import streamlit as st

from conf.settings import Horizon
from serving.dashboard import reading
from serving.predictor import Predictor, load_predictor
from serving.tables import Tables

_MADE_OF = ("models", "current_scores", "features", "customer_base")


def predictor() -> Predictor:
    """The champion of now, of the horizon chosen at the side.

    Raises InputError where none is published.
    """
    states = {table: reading.states().get(table) for table in _MADE_OF}
    horizon = reading.horizon()
    return _loaded(reading.chosen().lake, states, horizon.days, horizon.hours)


@st.cache_resource(max_entries=1, show_spinner="Loading the champion")
def _loaded(lake: str, states: dict[str, str | None], days: int, hours: int | None) -> Predictor:
    return load_predictor(Tables(lake), Horizon(days, hours))
