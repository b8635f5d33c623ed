"""The tables as the pages read them: what was asked before is not asked again of the same data."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from conf.errors import InputError
from conf.settings import Horizon
from serving.dashboard.figures import models, scores
from serving.dashboard.options import Options, options
from serving.tables import Tables

# Read by the pages; a table of which a page can do without may be missing.
NAMES = (
    *("comparisons", "current_scores", "curves", "customer_base", "customer_days", "customers"),
    *("evaluations", "event_days", "events", "feature_dates", "features", "importances"),
    *("ingested_files", "labels", "lifetime_value", "models", "quarantine", "reliability"),
    *("scores", "transactions"),
)
_SECONDS = 2
_WORD = re.compile(r"\w+")


def chosen() -> Options:
    """What the dashboard was started with."""
    return options()


def tables() -> Tables:
    """The tables that it was started on."""
    return Tables(chosen().lake)


def states() -> dict[str, str]:
    """The state of every table that is there, at most seconds old."""
    return _states(chosen().lake)


def exists(table: str) -> bool:
    """Whether the table is there."""
    return table in states()


def query(sql: str, parameters: Mapping[str, Any] | None = None, /) -> pd.DataFrame:
    """What `Tables.query` gives, from memory while the tables that it reads stay as they are."""
    read = {word: states().get(word) for word in sorted(set(_WORD.findall(sql)) & set(NAMES))}
    return _answer(chosen().lake, sql, dict(parameters or {}), read)


def descriptions(table: str) -> dict[str, str]:
    """By column, its comment."""
    return _descriptions(chosen().lake, table, states().get(table))


def types(table: str) -> dict[str, str]:
    """By column, its Delta type."""
    return _types(chosen().lake, table, states().get(table))


def history(table: str) -> pd.DataFrame:
    """The commits of a table."""
    return _history(chosen().lake, table, states().get(table))


def horizon() -> Horizon:
    """The horizon that the pages are about: the one chosen at the side.

    Raises InputError where nobody is scored.
    """
    known = scores.horizons(query)
    if not known:
        raise InputError(f"no scores in {chosen().lake}: `repurchase score` makes them")
    wanted = st.session_state.get("horizon")
    return next((one for one in known if str(one) == wanted), known[0])


def champion() -> pd.Series | None:
    """The row of `models` that scores, without the model itself; None before the first."""
    if not exists("models"):
        return None
    trained = models.trained(query, horizon())
    published = trained[trained["published"]]
    return None if published.empty else published.iloc[0]


def as_of() -> pd.Timestamp:
    """The day of the scores that count."""
    found = query(f"SELECT max(as_of) AS as_of FROM current_scores WHERE {horizon().where}")
    return pd.Timestamp(found["as_of"][0])


def currency() -> str:
    """Of all money in the tables; empty where none was named."""
    return _of_log("currency", "")


def time_zone() -> str:
    """The shop's, in which its days and hours are."""
    return _of_log("time_zone", "UTC")


def _of_log(name: str, otherwise: str) -> str:
    known = tables().properties("transactions") if exists("transactions") else {}
    return known.get(name, otherwise)


@st.cache_data(ttl=_SECONDS, show_spinner=False)
def _states(lake: str) -> dict[str, str]:
    there = Tables(lake)
    return {name: there.state(name) for name in NAMES if there.exists(name)}


@st.cache_data(max_entries=1000, show_spinner=False)
def _answer(
    lake: str, sql: str, parameters: dict[str, Any], states: dict[str, str | None]
) -> pd.DataFrame:
    return Tables(lake).query(sql, parameters)


@st.cache_data(max_entries=100, show_spinner=False)
def _descriptions(lake: str, table: str, state: str | None) -> dict[str, str]:
    return Tables(lake).descriptions(table)


@st.cache_data(max_entries=100, show_spinner=False)
def _types(lake: str, table: str, state: str | None) -> dict[str, str]:
    return Tables(lake).types(table)


@st.cache_data(max_entries=100, show_spinner=False)
def _history(lake: str, table: str, state: str | None) -> pd.DataFrame:
    return Tables(lake).history(table)
