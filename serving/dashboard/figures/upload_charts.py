"""What an upload looks like as a whole: the histogram, and the top against the bottom."""

import altair as alt
import numpy as np
import pandas as pd

from serving.dashboard.figures import charts as c

BINS = 20


def tenths(customers: pd.DataFrame) -> pd.DataFrame:
    """By column, the mean of the likeliest tenth, of the least likely, and of all."""
    ordered = customers.sort_values("probability", ascending=False)
    size = max(1, len(ordered) // 10)
    numbers = ordered.select_dtypes("number").drop(columns=["decile"], errors="ignore")
    return pd.DataFrame(
        {
            "mean of": list(numbers.columns),
            "top 10 %": numbers.head(size).mean().tolist(),
            "bottom 10 %": numbers.tail(size).mean().tolist(),
            "all": numbers.mean().tolist(),
        }
    ).sort_values("mean of", key=lambda names: names != "probability", kind="stable")


def binned(customers: pd.DataFrame) -> pd.DataFrame:
    """How many customers have a probability from `low` to `high`."""
    counts, edges = np.histogram(customers["probability"], bins=BINS, range=(0, 1))
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "customers": counts})


def histogram_chart(customers: pd.DataFrame, threshold: float) -> c.Chart:
    """The histogram of the probabilities, with the threshold."""
    rows = binned(customers)
    bars = c.histogram(rows, ("probability of an order, %", ".0%"), "customers")
    chart = alt.layer(bars, c.rule(threshold, f"threshold {threshold:.1%}"))
    mean = customers["probability"].mean()
    text = f"Histogram of {len(customers):,} customers by probability; the mean is {mean:.1%}."
    return c.finished(chart, "Probabilities of the uploaded customers", text)


def tenths_chart(rows: pd.DataFrame) -> c.Chart:
    """The mean probability of the likeliest tenth beside the others."""
    means = rows[rows["mean of"] == "probability"].drop(columns="mean of").iloc[0]
    long = pd.DataFrame({"group": list(means.index), "mean": list(map(float, means))})
    room = [0, min(1.0, 1.12 * float(long["mean"].max()))]
    tooltip = c.told(("group:N", "group", ""), ("mean:Q", "mean probability", ".1%"))
    bars = c.bars(
        long, "group", c.number("mean", "mean probability, %", ".0%", domain=room), tooltip
    )
    labels = bars.mark_text(align="left", dx=4).encode(text=alt.Text("mean:Q", format=".1%"))
    text = "Mean probability: " + "; ".join(
        f"{g} {m:.1%}" for g, m in zip(long["group"], long["mean"], strict=True)
    )
    title = "Top against bottom 10 %: mean probability"
    return c.finished(alt.layer(bars, labels), title, text, c.tall(len(long), 50))
