"""The scores: how many, how likely, in which deciles and bands, and from date to date."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from conf.settings import Horizon
from serving.dashboard.figures import Query
from serving.dashboard.figures import charts as c
from serving.tables import horizon_of

BINS = 40
BANDS = ("high", "medium", "low")
_UPRIGHT = alt.Axis(labelAngle=0)
_PROBABILITY = "probability of an order, %"


@dataclass(frozen=True)
class Totals:
    """The scores of the latest as_of in a few numbers."""

    as_of: pd.Timestamp
    scored_at: pd.Timestamp
    model_name: str
    model_version: str
    customers: int
    mean: float
    expected: float


def horizons(query: Query) -> list[Horizon]:
    """The horizons that customers are scored for, that of most customers first."""
    # Tables of an earlier release know days alone.
    known = query("SELECT * FROM current_scores LIMIT 0").columns
    keys = ", ".join(name for name in ("horizon_days", "horizon_hours") if name in known)
    rows = query(
        f"SELECT {keys}, count(*) AS customers FROM current_scores "
        "GROUP BY ALL ORDER BY customers DESC"
    )
    return [horizon_of(row) for row in rows.to_dict("records")]


def totals(query: Query, horizon: Horizon) -> Totals:
    """Of all customers scored."""
    row = query(
        "SELECT max(as_of) AS as_of, max(scored_at) AS scored_at, "
        "any_value(model_name) AS model_name, any_value(model_version) AS model_version, "
        "count(*) AS customers, avg(probability) AS mean, sum(probability) AS expected "
        f"FROM current_scores WHERE {horizon.where}"
    )
    return Totals(**{str(name): value for name, value in row.iloc[0].items()})


def predicted(query: Query, horizon: Horizon, threshold: float) -> int:
    """How many customers are at the threshold or above it."""
    rows = query(
        "SELECT count(*) AS customers FROM current_scores "
        f"WHERE probability >= $threshold AND {horizon.where}",
        {"threshold": threshold},
    )
    return int(rows["customers"][0])


def money(query: Query, horizon: Horizon) -> dict[str, Any] | None:
    """What is expected to be spent in the horizon by all customers, and the currency."""
    rows = query(
        "SELECT sum(expected_value) AS value, any_value(currency) AS currency FROM lifetime_value "
        f"WHERE as_of = (SELECT max(as_of) FROM lifetime_value) AND {horizon.where}"
    )
    found = {str(name): value for name, value in rows.iloc[0].items()}
    return None if pd.isna(found["value"]) else found


def distribution(query: Query, horizon: Horizon) -> pd.DataFrame:
    """How many customers have a probability from `low` to `high`."""
    return query(
        f"SELECT least(floor(probability * {BINS}), {BINS - 1}) / {BINS} AS low, "
        f"low + 1 / {BINS} AS high, count(*) AS customers "
        f"FROM current_scores WHERE {horizon.where} GROUP BY ALL ORDER BY low"
    )


def deciles(query: Query, horizon: Horizon) -> pd.DataFrame:
    """By decile: customers, their mean probability, and from where to where it goes."""
    return query(
        "SELECT decile, count(*) AS customers, avg(probability) AS mean, "
        "min(probability) AS low, max(probability) AS high "
        f"FROM current_scores WHERE {horizon.where} GROUP BY decile ORDER BY decile"
    )


def bands(query: Query, horizon: Horizon) -> pd.DataFrame:
    """By band: customers, their mean probability, and the orderers expected among them."""
    return query(
        "SELECT band, count(*) AS customers, avg(probability) AS mean, "
        "sum(probability) AS expected FROM current_scores "
        f"WHERE {horizon.where} GROUP BY band ORDER BY mean DESC"
    )


def predicted_by_date(query: Query, horizon: Horizon) -> pd.DataFrame:
    """By as_of, the mean probability of the customers scored."""
    return query(
        "SELECT as_of, 'predicted' AS kind, count(*) AS customers, avg(probability) AS rate "
        f"FROM scores WHERE {horizon.where} GROUP BY as_of ORDER BY as_of"
    )


def realised_by_date(query: Query, horizon: Horizon) -> pd.DataFrame:
    """By as_of, the share of the customers that ordered in the label window."""
    return query(
        "SELECT as_of, 'realised' AS kind, count(*) AS customers, avg(repurchased::INT) AS rate "
        f"FROM labels WHERE {horizon.where} GROUP BY as_of ORDER BY as_of"
    )


def distribution_chart(rows: pd.DataFrame, threshold: float | None) -> c.Chart:
    """The histogram of the scores, with the threshold."""
    chart: c.Chart = c.histogram(rows, (_PROBABILITY, ".0%"), "customers")
    if threshold is not None:
        chart = alt.layer(chart, c.rule(threshold, f"threshold {threshold:.1%}"))
    top = rows.sort_values("customers").iloc[-1]
    most = f"most are from {top['low']:.1%} to {top['high']:.1%}"
    text = f"Histogram of {rows['customers'].sum():,} customers by probability; {most}."
    return c.finished(chart, "Distribution of scores", text)


def deciles_chart(rows: pd.DataFrame) -> c.Chart:
    """The mean probability of each decile, with its range."""
    tooltip = c.told(
        *(("decile:O", "decile", ""), ("customers:Q", "customers", ",")),
        *(("mean:Q", "mean", ".1%"), ("low:Q", "lowest", ".1%"), ("high:Q", "highest", ".1%")),
    )
    base = alt.Chart(rows).encode(
        x=alt.X("decile:O", title="decile, 1 is the likeliest tenth", axis=_UPRIGHT)
    )
    mean = base.mark_bar(color=c.BLUE).encode(
        y=c.height("mean", "mean probability, %", ".0%"), tooltip=tooltip
    )
    reach = base.mark_rule(color=c.ORANGE, size=3).encode(y="low:Q", y2="high:Q", tooltip=tooltip)
    ends = rows["mean"].iloc[[0, -1]].tolist()
    text = f"Mean probability by decile, from {ends[0]:.1%} in the first to {ends[1]:.1%}."
    return c.finished(mean + reach, "Mean probability by decile, with lowest and highest", text)


def bands_chart(rows: pd.DataFrame) -> c.Chart:
    """How many customers each band has, and how many of them are expected to order."""
    named = {"customers": "all customers", "expected": "expected to order"}
    long = rows.rename(columns=named).melt("band", list(named.values()), "which", "customers")
    chart = alt.Chart(long).mark_bar()
    chart = chart.encode(
        x=c.number("customers", "customers", "~s"),
        y=alt.Y("band:N", sort=list(BANDS), title="band"),
        yOffset=alt.YOffset("which:N", sort=list(named.values())),
        color=c.named("which", list(named.values())),
        tooltip=c.told(("band:N", "band", ""), ("which:N", "", ""), ("customers:Q", "", ",.0f")),
    )
    said = "; ".join(f"{r.band}: {r.customers:,}, mean {r.mean:.1%}" for r in rows.itertuples())
    return c.finished(chart, "Customers by band", f"Customers by band. {said}.")


def trend_chart(rows: pd.DataFrame) -> c.Chart:
    """Predicted beside realised, by date."""
    x = c.dates("as_of", "as_of (the day that is looked from)", rows["as_of"])
    tooltip = c.told(
        *(("as_of:T", "as_of", "%Y-%m-%d"), ("kind:N", "", "")),
        *(("rate:Q", "rate", ".1%"), ("customers:Q", "customers", ",")),
    )
    names = list(dict.fromkeys(rows["kind"]))
    base = alt.Chart(rows).encode(
        x=x, y=c.height("rate", "share that orders, %", ".0%"), color=c.named("kind", names)
    )
    line = base.mark_line(strokeWidth=2.5).encode(strokeDash=c.dashed("kind", names).legend(None))
    dots = base.mark_point(filled=True, size=70).encode(
        shape=alt.Shape("kind:N", sort=None), tooltip=tooltip
    )
    text = "Share of customers that order, by date: " + "; ".join(
        f"{r.as_of:%Y-%m-%d} {r.kind} {r.rate:.1%}" for r in rows.itertuples()
    )
    return c.finished(line + dots, "Repurchase rate over dates, predicted and realised", text)
