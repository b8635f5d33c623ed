"""Charts as SVG text, each of one idea, readable in print and on a phone."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHAMPION, OTHER, PLAIN = "#0b6e4f", "#8a8f98", "#c8ccd2"
SIZE = (5.2, 3.6)
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.labelcolor": "#374151",
    "xtick.color": "#6b7280",
    "ytick.color": "#6b7280",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    # Text stays text, and the same chart is the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "repurchase",
}


@contextmanager
def _axes(size: tuple[float, float] = SIZE) -> "Iterator[tuple[Figure, Axes]]":
    # It takes half a second, and most commands draw nothing.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: "Figure") -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]


def intervals(rows: pd.DataFrame, champion: str, title: str) -> str:
    """A dot and its interval per model: `model`, `value`, `low`, `high`; the best at the top."""
    ordered = rows.sort_values("value", ascending=True)
    with _axes((5.2, 0.9 + 0.32 * len(ordered))) as (figure, axes):
        for place, row in enumerate(ordered.to_dict("records")):
            color = CHAMPION if row["model"] == champion else OTHER
            axes.plot([row["low"], row["high"]], [place, place], color=color, linewidth=2)
            axes.plot(row["value"], place, "o", color=color)
        axes.set_yticks(range(len(ordered)), ordered["model"])
        axes.set_xlabel(title)
        return _svg(figure)


def lines(
    curves: dict[str, pd.DataFrame],
    x: str,
    y: str,
    labels: tuple[str, str],
    diagonal: "Callable[[Axes], object] | None" = None,
) -> str:
    """A line per model, the first in colour: y over x."""
    with _axes() as (figure, axes):
        if diagonal is not None:
            diagonal(axes)
        for place, (name, curve) in enumerate(curves.items()):
            color = CHAMPION if place == 0 else OTHER
            axes.plot(curve[x], curve[y], color=color, linewidth=2, label=name)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(frameon=False)
        return _svg(figure)


def from_corner_to_corner(axes: "Axes") -> None:
    """What chance would give."""
    axes.plot([0, 1], [0, 1], color=PLAIN, linestyle="--")


def reliability(bins: pd.DataFrame) -> str:
    """Realised over predicted, a dot per bin: `predicted`, `observed`."""
    with _axes() as (figure, axes):
        most = 1.05 * max(bins["predicted"].max(), bins["observed"].max())
        axes.plot([0, most], [0, most], color=PLAIN, linestyle="--")
        axes.plot(bins["predicted"], bins["observed"], "o-", color=CHAMPION)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("share that ordered")
        return _svg(figure)


def bars(names: Sequence[str], values: Sequence[float], title: str) -> str:
    """A bar per name, the first at the top."""
    with _axes((5.2, 0.9 + 0.28 * len(names))) as (figure, axes):
        axes.barh(range(len(names)), list(values), color=CHAMPION)
        axes.set_yticks(range(len(names)), list(names))
        axes.invert_yaxis()
        axes.set_xlabel(title)
        return _svg(figure)


def losses(rows: pd.DataFrame, title: str) -> str:
    """A bar with its interval per `feature`: `permutation`, `low`, `high`; the first at the top."""
    with _axes((5.2, 0.9 + 0.28 * len(rows))) as (figure, axes):
        lost, low, high = (rows[name].to_numpy(float) for name in ("permutation", "low", "high"))
        axes.barh(
            range(len(rows)),
            lost,
            xerr=[(lost - low).clip(min=0), (high - lost).clip(min=0)],
            color=CHAMPION,
            ecolor=OTHER,
        )
        axes.set_yticks(range(len(rows)), rows["feature"])
        axes.invert_yaxis()
        axes.set_xlabel(title)
        return _svg(figure)


def over_dates(models: dict[str, pd.DataFrame], title: str) -> str:
    """A line per model over `as_of` with its interval, the first in colour."""
    with _axes() as (figure, axes):
        for place, (name, rows) in enumerate(models.items()):
            color = CHAMPION if place == 0 else OTHER
            axes.plot(rows["as_of"], rows["value"], "o-", color=color, label=name)
            if place == 0:
                axes.fill_between(rows["as_of"], rows["low"], rows["high"], color=color, alpha=0.15)
        axes.set_ylabel(title)
        axes.legend(frameon=False)
        figure.autofmt_xdate()
        return _svg(figure)
