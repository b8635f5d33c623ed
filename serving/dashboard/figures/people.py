"""One customer: found, scored, with reasons, orders and features."""

import re
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from conf.settings import Horizon
from serving.dashboard.figures import Query
from serving.dashboard.figures import charts as c
from serving.sample import among, every

SHOWN = 50
# A customer with more orders than this is shown by the last of them.
MOST_ORDERS = 500
KINDS = ("purchase", "return", "cancelled")
NUMERIC = ("double", "float", "integer", "long", "short", "byte")


def search(query: Query, horizon: Horizon, text: str, band: str | None) -> pd.DataFrame:
    """The likeliest customers whose id contains the text."""
    within = "" if band is None else "AND band = $band"
    return query(
        "SELECT customer_id, probability, decile, band "
        f"FROM current_scores WHERE {horizon.where} AND contains(lower(customer_id), $text) "
        f"{within} ORDER BY customer_id <> $exact, probability DESC, customer_id LIMIT {SHOWN}",
        {"text": text.lower(), "exact": text} | ({} if band is None else {"band": band}),
    )


def score(query: Query, horizon: Horizon, customer: str) -> dict[str, Any] | None:
    """The customer's row of `current_scores`; None where nobody is called that."""
    rows = query(
        f"SELECT * FROM current_scores WHERE {horizon.where} AND customer_id = $customer LIMIT 1",
        {"customer": customer},
    )
    return None if rows.empty else {str(name): value for name, value in rows.iloc[0].items()}


def past_scores(query: Query, horizon: Horizon, customer: str) -> pd.DataFrame:
    """The customer's probability at every as_of."""
    return query(
        "SELECT as_of, probability, decile, band, model_version FROM scores "
        f"WHERE {horizon.where} AND customer_id = $customer ORDER BY as_of",
        {"customer": customer},
    )


def orders(query: Query, customer: str, time_zone: str) -> pd.DataFrame:
    """The customer's orders, returns and cancellations, the last first: time by the clock of the
    time zone, lines, money.
    """
    rows = query(
        "SELECT order_id, kind, min(ordered_at) AS ordered_at, count(*) AS lines, "
        "sum(amount)::DOUBLE AS amount, string_agg(DISTINCT category, ', ' ORDER BY category) "
        "AS categories FROM transactions WHERE customer_id = $customer "
        f"GROUP BY order_id, kind ORDER BY ordered_at DESC LIMIT {MOST_ORDERS}",
        {"customer": customer},
    )
    moments = pd.to_datetime(rows["ordered_at"], utc=True)
    # Without a zone: what has one, a browser shows in its own.
    return rows.assign(ordered_at=moments.dt.tz_convert(time_zone).dt.tz_localize(None))


def lifetime_value(query: Query, horizon: Horizon, customer: str) -> dict[str, Any] | None:
    """What buy-till-you-die models expect of the customer."""
    rows = query(
        f"SELECT * FROM lifetime_value WHERE {horizon.where} AND customer_id = $customer "
        "ORDER BY as_of DESC LIMIT 1",
        {"customer": customer},
    )
    return None if rows.empty else {str(name): value for name, value in rows.iloc[0].items()}


def features(query: Query, as_of: Any, customer: str, names: Sequence[str]) -> dict[str, Any]:
    """The customer's features of a date; empty where they are not there."""
    rows = query(
        f"SELECT {_columns(names)} FROM features "
        "WHERE as_of = $as_of::DATE AND customer_id = $customer",
        {"as_of": str(as_of)[:10], "customer": customer},
    )
    return {} if rows.empty else {str(name): value for name, value in rows.iloc[0].items()}


def medians(query: Query, as_of: Any, names: Sequence[str]) -> dict[str, float]:
    """The median of each numeric feature over the customers of a date, or a sample of them."""
    wanted = ", ".join(f"median({quoted(name)}) AS {quoted(name)}" for name in names)
    picked = among(every(query, as_of))
    rows = query(
        f"SELECT {wanted} FROM features WHERE as_of = $as_of::DATE AND {picked}",
        {"as_of": str(as_of)[:10]},
    )
    return {str(name): value for name, value in rows.iloc[0].items()}


def quoted(name: str) -> str:
    """A column's name as SQL takes it."""
    return name if re.fullmatch(r"[a-z_]\w*", name) else '"' + name.replace('"', '""') + '"'


def _columns(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def orders_chart(rows: pd.DataFrame, as_of: pd.Timestamp, currency: str) -> c.Chart:
    """A stem for each order, at its time and as high as its money, and where today is."""
    x = c.moments("ordered_at", "time of the order")
    y = c.height("amount", f"money, {currency}".rstrip(", "), ",.0f")
    tooltip = c.told(
        *(("ordered_at:T", "when", "%Y-%m-%d %H:%M"), ("kind:N", "kind", "")),
        *(("amount:Q", "money", ",.2f"), ("lines:Q", "lines", ""), ("categories:N", "of", "")),
        ("order_id:N", "order", ""),
    )
    base = alt.Chart(rows).encode(x=x, color=c.named("kind", KINDS), tooltip=tooltip)
    stems = base.mark_rule(size=2).encode(y=y, y2=alt.datum(0))
    heads = base.mark_point(filled=True, size=70, opacity=1)
    heads = heads.encode(y=y, shape=alt.Shape("kind:N", scale=alt.Scale(domain=list(KINDS))))
    today = alt.Chart(pd.DataFrame({"as_of": [as_of]})).mark_rule(
        color=c.RED, strokeDash=[5, 3], size=2
    )
    text = f"{len(rows)} orders, returns and cancellations on a time line up to {as_of:%Y-%m-%d}."
    chart = (
        stems + heads + today.encode(x="as_of:T", tooltip=c.told(("as_of:T", "as_of", "%Y-%m-%d")))
    )
    return c.finished(chart, "Orders over time; the dashed line is as_of", text, 300)


def reasons_chart(reasons: pd.DataFrame) -> c.Chart:
    """How many points each reason moves the probability, up or down."""
    rows = reasons.assign(
        points=100 * reasons["contribution"],
        way=["raises" if value > 0 else "lowers" for value in reasons["contribution"]],
    )
    tooltip = c.told(
        ("feature:N", "feature", ""), ("points:Q", "points", "+.1f"), ("sentence:N", "", "")
    )
    value = c.number("points", "percentage points", "+.2~f")
    chart = c.bars(rows, "feature", value, tooltip).encode(
        color=c.named("way", ("raises", "lowers"))
    )
    text = "Reasons: " + "; ".join(f"{r.feature} {r.points:+.1f} points" for r in rows.itertuples())
    return c.finished(
        chart,
        "What moved the probability most",
        text,
        c.tall(len(rows), 36, legend=True),
    )


def past_chart(rows: pd.DataFrame) -> c.Chart:
    """The customer's probability from date to date."""
    x = c.dates("as_of", "as_of", rows["as_of"])
    y = c.height("probability", "probability of an order, %", ".0%", domain=[0, 1])
    tooltip = c.told(("as_of:T", "as_of", "%Y-%m-%d"), ("probability:Q", "probability", ".1%"))
    line = alt.Chart(rows).mark_line(color=c.BLUE, point={"size": 60, "filled": True})
    text = "Probability by date: " + "; ".join(
        f"{r.as_of:%Y-%m-%d} {r.probability:.1%}" for r in rows.itertuples()
    )
    return c.finished(line.encode(x=x, y=y, tooltip=tooltip), "Probability over dates", text, 300)
