"""Single prediction: a customer as a form, and what the champion says of them."""

from typing import Any

import pandas as pd
import streamlit as st

from models.segments import SEGMENTS
from serving.dashboard import looks, reading
from serving.dashboard.figures import examples, models, people
from serving.dashboard.predicting import predictor
from serving.predictor import Prediction, Predictor
from serving.requests import InvalidRows

# As the form asks for them, with the unit.
ASKED = {
    "recency": "Recency: days since the last order",
    "tenure": "Tenure: days since the first order",
    "orders": "Frequency: orders so far",
    "monetary": "Monetary: money spent so far",
    "avg_discount": "Average discount, share of the money (0 to 1)",
    "return_rate": "Returns per order",
    "category_diversity": "Categories bought from",
}
_COUNTED = ("recency", "tenure", "orders", "category_diversity")
_AT_LEAST_ONE = ("recency", "tenure", "orders")
_MORE = 8


def page() -> None:
    """The form, filled with the median customer, and the answer below it."""
    looks.head("Single prediction", "What the champion says of a customer as you describe them.")
    champion = predictor()
    row = _form(champion)
    known = {name: value for name, value in row.items() if value is not None}
    if known.get("recency", 0) > known.get("tenure", float("inf")):
        st.error(
            "The last order cannot be longer ago than the first: lower recency or raise tenure."
        )
        return
    try:
        said = champion.predict([known])[0]
    except InvalidRows as wrong:
        for problem in wrong.problems:
            st.error(f"{problem.field} {problem.message}")
        return
    _answer(said, champion, champion.unused(known))


def _form(champion: Predictor) -> dict[str, Any]:
    plain = examples.plain_names(champion.names.features)
    more = _important(champion, list(plain.values()))
    usual = _medians([*plain.values(), *more])
    with st.form("customer"):
        row = {}
        for place, (name, feature) in enumerate(plain.items()):
            if place % 3 == 0:
                columns = st.columns(3)
            with columns[place % 3]:
                row[name] = _field(name, usual.get(feature), champion.descriptions.get(feature, ""))
        with st.expander("More features, as far as you know them"):
            row |= {name: _optional(name, usual.get(name), champion) for name in more}
        st.form_submit_button("Predict", type="primary", icon=":material/calculate:")
    return row


def _medians(features: list[str]) -> dict[str, float]:
    latest = reading.query("SELECT max(as_of) AS as_of FROM features")["as_of"][0]
    return people.medians(reading.query, latest, features)


def _important(champion: Predictor, taken: list[str]) -> list[str]:
    """The numbers that the champion looks at most and the form does not ask for yet."""
    if not reading.exists("importances"):
        return []
    most = models.importances(reading.query, champion.version, 6 * _MORE)["feature"].tolist()
    # What follows from the form is not asked for.
    asked = champion.names.texts.union(taken, champion.implied())
    return [name for name in most if name not in asked][:_MORE]


def _field(name: str, usual: float | None, meant: str) -> float | int | None:
    """A number that begins at the median customer's."""
    value = 0.0 if usual is None or pd.isna(usual) else float(usual)
    label = f"{ASKED[name]}, {reading.currency()}" if name == "monetary" else ASKED[name]
    help_ = f"{meant}. It begins at the median customer's." if meant else None
    if name in _COUNTED:
        least = 1 if name in _AT_LEAST_ONE else 0
        return st.number_input(label, least, None, max(least, round(value)), help=help_)
    most = 1.0 if name == "avg_discount" else None
    step = 10.0 if name == "monetary" else 0.05
    return st.number_input(label, 0.0, most, round(value, 2), step=step, help=help_)


def _optional(name: str, usual: float | None, champion: Predictor) -> float | None:
    median = "" if usual is None or pd.isna(usual) else f"not told; the median is {usual:,.4g}"
    return st.number_input(
        champion.descriptions.get(name) or name, value=None, placeholder=median, help=name
    )


def _answer(said: Prediction, champion: Predictor, unused: list[str]) -> None:
    st.subheader("Answer", anchor=False)
    looks.figures(
        {
            f"Probability of an order in {reading.horizon()}": looks.percent(said.probability),
            f"Prediction (threshold {champion.threshold:.1%})": (
                "orders" if said.prediction else "does not order"
            ),
            "Decile (1 is the likeliest)": str(said.decile or "–"),
            "Band": said.band or "–",
            "Segment": said.segment or "–",
        }
    )
    st.progress(said.probability, f"{said.probability:.1%} likely to order")
    plan = next((one for one in SEGMENTS if one.name == said.segment), None)
    if plan is not None:
        st.markdown(f"**{plan.name.capitalize()}** ({plan.means}). **Plan:** {plan.plan}")
    looks.reasons([vars(reason) for reason in said.reasons])
    st.caption(
        f"{champion.name} ({champion.version}) was told {said.features_given} features; the others "
        "follow from these or are those of customers alike."
        + (f" It makes no use of {', '.join(unused)}." if unused else "")
    )
