"""Whether the customers of today are like those that the model has learned from.

The population stability index of a feature (Siddiqi 2006, Credit risk scorecards) compares the
shares of its bins: the tenths of a reference date, frozen, and one for missing values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from serving.dashboard.figures import Query
from serving.dashboard.figures import charts as c
from serving.dashboard.figures.people import quoted
from serving.sample import among, every

WATCH, SHIFTED = 0.1, 0.25
MISSING = -1
_DIGITS = range(4, 18)
_TENTHS = [round(0.1 * place, 1) for place in range(1, 10)]
# Customers that no bin has are counted as half a one, so that a logarithm is there.
_HALF = 0.5


@dataclass(frozen=True)
class Pair:
    """The date that is the measure, and the one that is compared with it."""

    reference: str
    latest: str


def dates(query: Query) -> list[str]:
    """The dates that have features, the last first."""
    rows = query("SELECT DISTINCT as_of FROM features ORDER BY as_of DESC")
    return [f"{day:%Y-%m-%d}" for day in rows["as_of"]]


def bins(query: Query, pair: Pair, features: Sequence[str]) -> pd.DataFrame:
    """By feature and bin: `reference` and `latest`, their shares of the customers; `bin` is its
    name.
    """
    step = every(query, pair.latest)
    edges = _edges(query, pair.reference, features, step)
    counted = _counted(query, pair, edges, step)
    return pd.concat([_shares(name, edges[name], counted) for name in edges], ignore_index=True)


def stability(bins: pd.DataFrame) -> pd.DataFrame:
    """By feature: its index, the verdict, and the share of missing values on both dates."""
    moved = bins["latest"] - bins["reference"]
    parts = bins.assign(psi=moved * np.log(bins["latest"] / bins["reference"]))
    found = parts.groupby("feature", sort=False)["psi"].sum().reset_index()
    gone = bins[bins["bin"] == "missing"].set_index("feature")
    found["missing_reference"] = found["feature"].map(gone["reference"])
    found["missing_latest"] = found["feature"].map(gone["latest"])
    found["verdict"] = [verdict(psi) for psi in found["psi"]]
    return found.sort_values("psi", ascending=False, ignore_index=True)


def verdict(psi: float) -> str:
    """An index in words."""
    return "stable" if psi < WATCH else "to watch" if psi < SHIFTED else "shifted"


def _edges(
    query: Query, reference: str, features: Sequence[str], step: int
) -> dict[str, list[float]]:
    each = ", ".join(f"quantile_cont({quoted(f)}, {_TENTHS}) AS {quoted(f)}" for f in features)
    rows = query(
        f"SELECT {each} FROM features WHERE as_of = $reference::DATE AND {among(step)}",
        {"reference": reference},
    )
    row = rows.iloc[0]
    return {
        name: sorted(set(map(float, row[name]))) if _known(row[name]) else [] for name in features
    }


def _known(value: object) -> bool:
    return isinstance(value, list | np.ndarray)


def _counted(
    query: Query, pair: Pair, edges: dict[str, list[float]], step: int
) -> dict[str, dict[str, dict[int, float]]]:
    each = ", ".join(f"histogram({_bin(f, ends)}) AS {quoted(f)}" for f, ends in edges.items())
    rows = query(
        f"SELECT as_of, {each} FROM features WHERE {among(step)} AND "
        "as_of IN ($reference::DATE, $latest::DATE) GROUP BY as_of",
        {"reference": pair.reference, "latest": pair.latest},
    ).set_index("as_of")
    sides = {"reference": pair.reference, "latest": pair.latest}
    return {
        side: {name: dict(rows[name][pd.Timestamp(day)]) for name in edges}
        for side, day in sides.items()
    }


def _bin(feature: str, ends: list[float]) -> str:
    above = " + ".join(f"({quoted(feature)} > {end!r})::INT" for end in ends) or "0"
    return f"CASE WHEN {quoted(feature)} IS NULL THEN {MISSING} ELSE {above} END"


def _shares(
    name: str, ends: list[float], counted: dict[str, dict[str, dict[int, float]]]
) -> pd.DataFrame:
    places, told = [*range(len(ends) + 1), MISSING], _told(ends)
    found = {"feature": name, "place": places, "bin": [_named(place, told) for place in places]}
    for side, features in counted.items():
        counts = np.array([features[name].get(place, 0) for place in places], float) + _HALF
        found[side] = counts / counts.sum()
    return pd.DataFrame(found)


def _told(ends: list[float]) -> list[str]:
    """The ends with as few digits as tell them apart."""
    told = [[f"{end:,.{digits}g}" for end in ends] for digits in _DIGITS]
    return next((one for one in told if len(set(one)) == len(ends)), told[-1])


def _named(place: int, ends: list[str]) -> str:
    if place == MISSING:
        return "missing"
    if not ends:
        return "any value"
    return f"> {ends[-1]}" if place == len(ends) else f"≤ {ends[place]}"


def stability_chart(rows: pd.DataFrame) -> c.Chart:
    """The index of each feature, with where one begins to watch and where it has shifted."""
    most = max(0.3, 1.05 * float(rows["psi"].max()))
    value = c.number("psi", "population stability index (PSI)", ".2f", domain=[0, most])
    kinds = ["stable", "to watch", "shifted"]
    tooltip = c.told(
        ("feature:N", "feature", ""), ("psi:Q", "PSI", ".3f"), ("verdict:N", "verdict", "")
    )
    scale = alt.Scale(domain=kinds, range=[c.BLUE, c.ORANGE, c.RED])
    bars = c.bars(rows, "feature", value, tooltip).encode(color=alt.Color("verdict:N", scale=scale))
    chart = alt.layer(bars, c.rule(WATCH, "watch"), c.rule(SHIFTED, "shifted"))
    text = "PSI by feature: " + "; ".join(f"{r.feature} {r.psi:.3f}" for r in rows.itertuples())
    return c.finished(
        chart, "Drift of the most important features", text, c.tall(len(rows), legend=True)
    )


def bins_chart(rows: pd.DataFrame, feature: str, pair: Pair) -> c.Chart:
    """The shares of a feature's bins on the two dates, side by side."""
    sides = {"reference": f"reference {pair.reference}", "latest": f"latest {pair.latest}"}
    own = rows[rows["feature"] == feature].rename(columns=sides)
    long = own.melt(["bin", "place"], list(sides.values()), "date", "share")
    names = list(sides.values())
    chart = alt.Chart(long).mark_bar()
    chart = chart.encode(
        x=alt.X("bin:N", sort=None, title=f"{feature}, by tenths of the reference"),
        y=c.height("share", "share of customers, %", ".0%"),
        xOffset=alt.XOffset("date:N", sort=names),
        color=c.named("date", names),
        tooltip=c.told(("bin:N", "bin", ""), ("date:N", "", ""), ("share:Q", "share", ".1%")),
    )
    text = f"Shares of the bins of {feature} on {pair.reference} and {pair.latest}."
    return c.finished(chart, f"Distribution of {feature}", text)
