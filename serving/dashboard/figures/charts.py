"""Charts that say what they show: a title, the axes with their units, and a text in their place.

The colours are of Okabe and Ito (2008), which people who cannot tell red from green can tell apart;
what matters also differs in shape or dashes.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import altair as alt
import pandas as pd

BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PURPLE, GREY = "#56b4e9", "#cc79a7", "#7a7f87"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
HEIGHT = 330
# What the title, the axis and the legend take of a chart's height.
_AROUND, _LEGEND = 95, 30
_MOST_DAYS = 40
# Vega draws SVG: its text is text, to a screen reader and to a search on the page.
_EMBED = {"embedOptions": {"renderer": "svg", "actions": False}}
# Vega's own labels of a time are those of one country; these are written as everywhere else here.
_MOMENT = (
    "{words}Format(datum.value, {of}seconds(datum.value) ? '%H:%M:%S' : "
    "{of}hours(datum.value) || {of}minutes(datum.value) ? '%H:%M' : '%Y-%m-%d')"
)
Chart: TypeAlias = "alt.Chart | alt.LayerChart | alt.FacetChart"


def finished(
    chart: Chart, title: str, description: str, height: int = HEIGHT, columns: int = 3
) -> Chart:
    """The chart with its title, and the text that stands for it where it cannot be seen."""
    heading = alt.TitleParams(title, anchor="start", fontSize=14, offset=10)
    done: Chart = (
        chart.properties(title=heading, description=description, height=height, usermeta=_EMBED)
        .configure_axis(
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=230
        )
        .configure_legend(
            orient="bottom", title=None, labelFontSize=12, labelLimit=300, columns=columns
        )
        .configure_view(strokeWidth=0)
    )
    return done


def tall(rows: int, each: int = 24, *, legend: bool = False) -> int:
    """The height of a chart of so many rows, each of so many pixels."""
    return max(1, rows) * each + _AROUND + (_LEGEND if legend else 0)


def number(name: str, title: str, format_: str = "", **scale: Any) -> alt.X:
    """A quantity along the x axis."""
    axis = alt.Axis(format=format_, tickCount=5, labelOverlap=True)
    return alt.X(f"{name}:Q", title=title, axis=axis, scale=alt.Scale(**scale))


def height(name: str, title: str, format_: str = "", **scale: Any) -> alt.Y:
    """A quantity along the y axis."""
    axis = alt.Axis(format=format_, tickCount=5)
    return alt.Y(f"{name}:Q", title=title, axis=axis, scale=alt.Scale(**scale))


def dates(name: str, title: str, days: pd.Series) -> alt.X:
    """Days along the x axis, with a label at days that are there and nowhere else."""
    known = sorted(set(pd.to_datetime(days)))
    values = [alt.DateTime(year=d.year, month=d.month, date=d.day) for d in known[-_MOST_DAYS:]]
    axis = alt.Axis(format="%Y-%m-%d", values=values, labelOverlap="greedy", labelSeparation=8)
    return alt.X(f"{name}:T", title=title, axis=axis)


def moments(name: str, title: str, *, utc: bool = False) -> alt.X:
    """Times along the x axis: of days the date, within a day the time on a clock of 24 hours."""
    said = _MOMENT.format(words="utc" if utc else "time", of="utc" if utc else "")
    axis = alt.Axis(tickCount=5, labelExpr=said, labelOverlap=True)
    scale = alt.Scale(type="utc") if utc else alt.Undefined
    return alt.X(f"{name}:T", title=title, axis=axis, scale=scale)


def told(*fields: tuple[str, str, str]) -> list[alt.Tooltip]:
    """What a mark says under the pointer: field with its type, title, format."""
    return [alt.Tooltip(field, title=title, format=form) for field, title, form in fields]


def named(field: str, names: Sequence[str]) -> alt.Color:
    """A colour for each name, always the same in this order."""
    colors = [PALETTE[place % len(PALETTE)] for place in range(len(names))]
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(names), range=colors), sort=None)


def dashed(field: str, names: Sequence[str]) -> alt.StrokeDash:
    """A kind of dash for each name, the first without gaps."""
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3]]
    styles = [dashes[place % len(dashes)] for place in range(len(names))]
    return alt.StrokeDash(
        f"{field}:N", scale=alt.Scale(domain=list(names), range=styles), sort=None
    )


def rule(value: float, label: str, *, along: str = "x") -> Chart:
    """A line across the chart at a value, with its name."""
    at = alt.Chart(pd.DataFrame({"at": [value], "label": [label]}))
    place: Any = {along: alt.X("at:Q") if along == "x" else alt.Y("at:Q")}
    line = at.mark_rule(color=RED, strokeDash=[5, 3], size=2).encode(**place)
    top: Any = {"y": alt.value(0)} if along == "x" else {"x": alt.value(0)}
    text = at.mark_text(align="left", dx=5, dy=6, color=RED, fontSize=12)
    return alt.layer(line, text.encode(**place, **top, text="label:N"))


def lines(rows: pd.DataFrame, x: alt.X, y: alt.Y, by: str, tooltip: list[alt.Tooltip]) -> Chart:
    """A line for each value of `by`, with a point under the pointer."""
    names = list(dict.fromkeys(rows[by]))
    color = named(by, names).legend(symbolType="stroke", symbolStrokeWidth=3)
    base = alt.Chart(rows).encode(x=x, y=y, color=color, tooltip=tooltip)
    line = base.mark_line(strokeWidth=2.5).encode(strokeDash=dashed(by, names))
    return alt.layer(line, base.mark_point(size=60, opacity=0, filled=True))


def diagonal(label: str) -> Chart:
    """From corner to corner: what chance, or perfect agreement, would be."""
    corners = pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0], "name": [label, label]})
    line = alt.Chart(corners).mark_line(color=GREY, strokeDash=[4, 4])
    return alt.layer(line.encode(x="x:Q", y="y:Q", tooltip="name:N"))


def bars(
    rows: pd.DataFrame, name: str, value: alt.X, tooltip: list[alt.Tooltip], color: str = BLUE
) -> alt.Chart:
    """A bar across for each row, in the order of the rows."""
    names = alt.Y(f"{name}:N", sort=None, title=None, axis=alt.Axis(labelLimit=190))
    drawn: alt.Chart = (
        alt.Chart(rows).mark_bar(color=color).encode(y=names, x=value, tooltip=tooltip)
    )
    return drawn


def histogram(
    rows: pd.DataFrame, what: tuple[str, str], count: str, color: str = BLUE
) -> alt.Chart:
    """Bars of `count` from `low` to `high`; `what` is the x axis's title and its number format."""
    tooltip = told(
        ("low:Q", "from", what[1]), ("high:Q", "to", what[1]), (f"{count}:Q", count, ",")
    )
    axis = alt.Axis(format=what[1], tickCount=5, labelOverlap=True)
    x = alt.X("low:Q", bin="binned", title=what[0], axis=axis)
    kept = alt.Chart(rows).mark_bar(color=color, stroke="white", strokeWidth=0.5)
    drawn: alt.Chart = kept.encode(x=x, x2="high:Q", y=height(count, count, "~s"), tooltip=tooltip)
    return drawn
