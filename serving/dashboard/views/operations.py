"""Operations: what has run, how fresh the tables are, how fast the API is, and two buttons."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from conf.errors import ConfigurationError, InputError
from conf.settings import as_environment
from serving.dashboard import looks, reading, work
from serving.dashboard.api import Response, ask
from serving.dashboard.figures import health, models

AS_BEFORE = "as the champion's"
ENVIRONMENTS = ("local", "demo")
_SECONDS = 2
_FRESH = ("transactions", "features", "scores", "models")


def page() -> None:
    """Freshness, commands, models, the API, and the commits of every table."""
    looks.head("Operations", f"What has run on {reading.chosen().lake}, and what to run next.")
    _freshness()
    commands, api = st.columns([3, 2])
    with commands:
        _commands()
    with api:
        _api()
    st.subheader("Models", anchor=False)
    _models()
    st.subheader("Runs", anchor=False)
    _runs()


def _freshness() -> None:
    cells = {}
    for table in _FRESH:
        if reading.exists(table):
            written = reading.history(table)["timestamp"].max()
            cells[f"{table} written, UTC"] = f"{written:%Y-%m-%d %H:%M}"
    looks.figures(cells)
    if reading.exists("transactions"):
        last, as_of = health.log_span(reading.query)["last"], reading.as_of()
        st.markdown(
            f"The log ends **{last:%Y-%m-%d}**; scores are as of **{as_of:%Y-%m-%d}**"
            + (
                ", the day after."
                if (as_of - last).days == 1
                else f", {abs((as_of - last).days)} days {'after' if as_of > last else 'before'}."
            )
        )


def _commands() -> None:
    st.subheader("Retrain and roll back", anchor=False)
    lake = reading.chosen().lake
    if not reading.chosen().private:
        st.info(
            "These buttons are there only when the dashboard listens on this machine alone "
            "(`--host 127.0.0.1`). Elsewhere, run `repurchase train` and `repurchase rollback`."
        )
        return
    if not Path(lake).is_dir():
        st.info(
            "The tables are not in a folder of this machine: run `repurchase train` where Spark is."
        )
        return
    _train(lake)
    _roll_back(lake)
    _progress()


def _train(lake: str) -> None:
    before = models.settings(reading.query, reading.horizon())
    known = (AS_BEFORE, *ENVIRONMENTS) if before else ENVIRONMENTS
    with st.form("train", border=True):
        environment = st.selectbox(
            "Settings", known, help="Those of the champion's training, or an environment's."
        )
        scores = st.checkbox("Score all customers afterwards", value=True)
        asked = st.form_submit_button("Retrain", type="primary", icon=":material/model_training:")
    if asked:
        try:
            if before and environment == AS_BEFORE:
                environment = work.keep(lake, "settings.yml", as_environment(before))
        except ConfigurationError as problem:
            st.warning(f"Choose an environment, the champion is of another release: {problem}")
            return
        where = ["--lake", lake, "--env", environment, *_horizon()]
        commands = [["train", *where]] + ([["score", *where]] if scores else [])
        _start("Retraining", commands)


def _roll_back(lake: str) -> None:
    trained = models.trained(reading.query, reading.horizon())
    published = trained[trained["published"]]
    if len(published) < 2:
        st.caption("There is no champion before this one to roll back to.")
        return
    now, before = (f"{published.iloc[place]['model_version']}" for place in (0, 1))
    with st.form("rollback", border=True):
        st.markdown(f"Withdraw the champion **{now}**; **{before}** is the champion again.")
        sure = st.checkbox("Yes, withdraw it")
        asked = st.form_submit_button("Roll back", icon=":material/undo:")
    if asked and not sure:
        st.warning("Tick “Yes, withdraw it” first.")
    elif asked:
        _start("Rollback", [["rollback", "--lake", lake, "--to", before, *_horizon()]])


def _horizon() -> list[str]:
    """What the page is about, as the commands take it."""
    known = reading.horizon()
    if known.hours is None:
        return ["--set", f"snapshots.horizon_days={known.days}"]
    return ["--set", f"snapshots.horizon_hours={known.hours}"]


def _start(title: str, commands: list[list[str]]) -> None:
    try:
        work.start(reading.chosen().lake, title, commands)
    except InputError as problem:
        st.warning(str(problem))


@st.fragment(run_every=_SECONDS)
def _progress() -> None:
    done = work.last(reading.chosen().lake)
    if done is None:
        return
    since = f"since {done.started:%Y-%m-%d %H:%M:%S} UTC"
    if done.running:
        seconds = (datetime.now(UTC) - done.started).total_seconds()
        st.info(f"{done.title} is running {since}, for {seconds:.0f} s", icon=":material/sync:")
    elif done.code == 0:
        st.success(
            f"{done.title} has finished; it was started {done.started:%Y-%m-%d %H:%M:%S} UTC."
        )
    else:
        ended = "was ended from outside" if done.code is None else f"failed (exit code {done.code})"
        st.error(f"{done.title} {ended}; what it said is below.")
    if done.output:
        st.code(done.output, language=None, height=260, wrap_lines=True)


def _api() -> None:
    st.subheader("Response times", anchor=False)
    address = reading.chosen().api
    if address is None:
        st.info("Name the API with `repurchase dashboard --api http://127.0.0.1:8000` to see them.")
        return
    _asked(address)


@st.fragment
def _asked(address: str) -> None:
    st.button("Measure again", icon=":material/timer:")
    found = ask(address)
    if isinstance(found, Response):
        looks.figures(found.cells)
        if found.table is not None:
            st.dataframe(found.table, width="stretch", hide_index=True)
        if found.why_not:
            st.info(looks.plain(found.why_not))
    else:
        st.warning(looks.plain(found))


def _models() -> None:
    if not reading.exists("models"):
        looks.missing("models", "repurchase train", "Models come")
        return
    trained = models.trained(reading.query, reading.horizon())
    columns = ["model_version", "model_name", "trained_for", "held_out", "published", "decision"]
    st.dataframe(
        trained[columns],
        width="stretch",
        hide_index=True,
        column_config={
            "trained_for": st.column_config.DateColumn("trained for"),
            "held_out": st.column_config.DateColumn("held out"),
        },
    )


def _runs() -> None:
    histories = [reading.history(table).assign(table=table) for table in reading.states()]
    found = [rows.astype({"rows": "Float64"}) for rows in histories]
    rows = pd.concat(found, ignore_index=True).sort_values("timestamp", ascending=False)
    looks.show(health.commits_chart(rows), rows)
    st.dataframe(
        rows[["timestamp", "table", "operation", "rows", "version"]].head(200),
        width="stretch",
        hide_index=True,
        column_config={
            "timestamp": st.column_config.DatetimeColumn(
                "written, UTC", format="YYYY-MM-DD HH:mm:ss"
            ),
            "rows": st.column_config.NumberColumn("rows written", format="localized"),
        },
    )
