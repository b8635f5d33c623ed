"""Model: how good the champion is, where it pays, what it looks at, and who challenges it."""

import math
from typing import Any

import pandas as pd
import streamlit as st

from conf.errors import InputError
from serving.dashboard import looks, reading
from serving.dashboard.figures import model_charts as charts
from serving.dashboard.figures import models
from serving.dashboard.figures.models import Subject

BASELINE = "recency"
_CHOSEN_BUDGET = "chosen_budget"
KINDS = ("the model shown", "other model or baseline")
COMPARED: list[str] = ["roc_auc", "pr_auc", "log_loss"]
BY_DATE: list[str] = [*COMPARED, "brier", "ece"]


def page() -> None:
    """Every figure of a trained model on the date that it had not seen."""
    horizon = reading.horizon()
    looks.head("Model", "How good the scores are, on a date that the model had not seen.")
    trained = models.trained(reading.query, horizon)
    if trained.empty:
        raise InputError(f"no model is trained for {horizon}: run `repurchase train`")
    model = _chosen(trained)
    subject = Subject(model["model_version"], model["model_name"])
    if models.curve(reading.query, subject).empty:
        raise InputError(
            f"the figures of {subject.version} are gone: an earlier release has let those of "
            f"another training that was judged on {model['held_out']:%Y-%m-%d} take their place"
        )
    _figures(model, subject)
    names = ("Curves", "Threshold and calibration", "Profit", "Importance", "Challengers", "Dates")
    drawn = (_curves, _threshold, _profit, _importance, _challengers, _dates)
    for tab, draw in zip(st.tabs(names, on_change="rerun"), drawn, strict=True):
        if tab.open:
            with tab:
                draw(model, subject)


def _chosen(trained: pd.DataFrame) -> pd.Series:
    """The champion, or whatever is chosen in its place."""
    published = trained.index[trained["published"]]
    first = int(published[0]) if len(published) else 0
    roles = {i: "champion" if i == first else _role(row) for i, row in trained.iterrows()}
    place = st.selectbox(
        "Trained model",
        list(trained.index),
        index=first,
        format_func=lambda i: (
            f"{trained.loc[i, 'model_name']} · {trained.loc[i, 'model_version']} · {roles[i]}"
        ),
    )
    return trained.iloc[int(place)]


def _role(row: pd.Series) -> str:
    return "earlier champion" if row["published"] else "challenger, not published"


def _figures(model: pd.Series, subject: Subject) -> None:
    own = models.figures(reading.query, subject.version).loc[subject.model]
    st.markdown(
        f"Trained for **{model['trained_for']:%Y-%m-%d}**, judged on the held-out date "
        f"**{model['held_out']:%Y-%m-%d}** with {own['snapshots']:,.0f} customers, of whom "
        f"{own['base_rate']:.1%} ordered. {model['features']} features. Decision: "
        f"{model['decision']}."
    )
    shown = ("roc_auc", "pr_auc", "top_decile_lift", "log_loss", "brier", "ece")
    looks.figures({models.METRICS[name]: f"{own[name]:.3f}" for name in shown if name in own})


def _curves(model: pd.Series, subject: Subject) -> None:
    others = [one for one in models.judged(reading.query, reading.horizon()) if one != subject]
    labels = {_label(one, subject): one for one in others}
    default = [name for name, one in labels.items() if one == Subject(subject.version, BASELINE)]
    compared = st.multiselect("Compared with", list(labels), default=default, max_selections=5)
    named = {_label(subject, subject): subject}
    rows = models.curves(reading.query, {**named, **{name: labels[name] for name in compared}})
    left, right = st.columns(2)
    for column, draws in ((left, (charts.roc, charts.gain)), (right, _RIGHT)):
        with column:
            for draw in draws:
                looks.show(draw(rows), rows)


def _label(one: Subject, subject: Subject) -> str:
    """A version is named only where it is another."""
    return one.model if one.version == subject.version else f"{one.model} · {one.version}"


_RIGHT = (charts.precision_recall, charts.lift)


@st.fragment
def _threshold(model: pd.Series, subject: Subject) -> None:
    left, right = st.columns(2)
    with left:
        curve = models.curve(reading.query, subject)
        threshold = st.slider(
            "Threshold: predicted to order from this probability on, %",
            *(0.0, 100.0, round(100 * float(model["threshold"]), 1)),
            step=0.1,
            format="%.1f",
            help="Begins at the model's own. Counts are of hundredths of the customers.",
        )
        matrix = models.confusion(curve, threshold / 100)
        looks.figures({name: looks.percent(value) for name, value in models.rates(matrix).items()})
        looks.show(charts.confusion(matrix), pd.DataFrame([matrix]))
    with right:
        bins = models.calibration(reading.query, subject)
        looks.show(charts.calibration(bins), bins)


@st.fragment
def _profit(model: pd.Series, subject: Subject) -> None:
    currency = reading.currency()
    curve = models.curve(reading.query, subject)
    first, second, third = st.columns(3)
    margin = first.slider(
        f"Margin of an order, {currency}", 1.0, 500.0, 20.0, step=1.0, format="%.0f"
    )
    cost = second.slider(f"Cost of a contact, {currency}", 0.0, 50.0, 1.0, step=0.1)
    budget = _budget(third, f"Budget, {currency}", float(curve["customers"].max()) * cost)
    profits = models.profit(curve, margin, cost)
    best = models.best(profits, budget)
    looks.figures(
        {
            "Highest profit": f"{best['profit']:,.0f} {currency}",
            "Contact the likeliest": f"{best['contacted']:.0%}",
            "Customers contacted": f"{best['customers']:,.0f}",
            "Spent on contacts": f"{best['spent']:,.0f} {currency}",
            "Of them order": f"{best['orders']:,.0f}",
        }
    )
    looks.show(charts.profit(profits, best, budget, currency), profits)
    st.caption(
        "On the held-out date, had the likeliest been contacted. It counts every order of a "
        "contacted customer, also those that would have come without the contact."
    )


def _budget(place: Any, label: str, everybody: float) -> float:
    """A slider in a hundred steps up to what it costs to contact everybody, where it begins; a
    budget that was chosen stays when that cost changes.
    """
    step = max(1.0, float(round(everybody / 100)))
    most = step * max(1, math.ceil(everybody / step))
    chosen = min(st.session_state.get(_CHOSEN_BUDGET) or most, most)
    budget: float = place.slider(label, 0.0, most, chosen, step=step, format="%.0f")
    st.session_state[_CHOSEN_BUDGET] = None if budget == most else budget
    return budget


def _importance(model: pd.Series, subject: Subject) -> None:
    rows = models.importances(reading.query, subject.version)
    if rows.empty:
        looks.missing("importances", "repurchase train", "Importances come")
        return
    left, right = st.columns(2)
    with left:
        looks.show(charts.importance(rows), rows)
    with right:
        if rows["permutation"].notna().any():
            looks.show(charts.permutation(rows), rows)
    meant = reading.descriptions("features")
    told = rows[["feature"]].assign(means=[meant.get(name, "") for name in rows["feature"]])
    st.dataframe(told, width="stretch", hide_index=True)


def _challengers(model: pd.Series, subject: Subject) -> None:
    all_figures = models.figures(reading.query, subject.version)
    metric = st.selectbox("Metric", COMPARED, format_func=models.METRICS.__getitem__)
    less = metric in models.LESS_IS_BETTER
    rows = all_figures.reset_index().rename(
        columns={metric: "value", f"{metric}_low": "low", f"{metric}_high": "high"}
    )
    kept = rows[["model", "value", "low", "high"]].sort_values("value", ascending=less)
    kept["kind"] = [KINDS[int(name != subject.model)] for name in kept["model"]]
    looks.show(charts.intervals(kept, models.METRICS[metric], KINDS), kept)
    against = models.verdicts(reading.query, subject, metric)
    st.markdown(
        f"**{subject.model}** against each of the others, on the same customers: the difference in "
        f"{models.METRICS[metric]} ({'less' if less else 'more'} is better), its 95 % interval, "
        "and a tie where that contains 0."
    )
    st.dataframe(against, width="stretch", hide_index=True)
    st.markdown("**All figures on the held-out date**")
    shown = [name for name in models.METRICS if name in all_figures]
    table = all_figures[shown].rename(columns=models.METRICS).reset_index()
    st.dataframe(table, width="stretch", hide_index=True)


def _dates(model: pd.Series, subject: Subject) -> None:
    metric = st.selectbox("Metric over dates", BY_DATE, format_func=models.METRICS.__getitem__)
    rows = models.over_dates(reading.query, reading.horizon(), metric)
    if rows.empty or not rows["past"].any():
        looks.missing("evaluations", "repurchase backtest", "Figures of past dates come")
    if rows.empty:
        return
    names = [subject.model, BASELINE, *sorted(set(rows["model"]) - {subject.model, BASELINE})]
    known = [name for name in names if name in set(rows["model"])]
    shown = st.multiselect("Models", known, default=known[:2], max_selections=6)
    order = {name: place for place, name in enumerate(shown)}
    kept = rows[rows["model"].isin(shown)].sort_values(["model", "as_of"])
    kept = kept.sort_values("model", key=lambda names: names.map(order), kind="stable")
    if len(kept):
        looks.show(charts.dates(kept, models.METRICS[metric]), kept)
