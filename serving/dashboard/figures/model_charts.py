"""The charts of a model: what it tells apart, how true its probabilities are, what it pays."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from serving.dashboard.figures import charts as c

_CONTACTED = "customers contacted, likeliest first, %"
_SHARE = {"domain": [0, 1]}


def confusion(matrix: dict[str, float]) -> c.Chart:
    """The four fields, darker where there are more customers."""
    fields = [("orders", "orders"), ("orders", "does not"), ("does not", "orders")]
    fields.append(("does not", "does not"))
    names = ["true positives", "false positives", "false negatives", "true negatives"]
    rows = pd.DataFrame(fields, columns=["predicted", "actual"])
    rows = rows.assign(name=names, customers=[matrix[name] for name in names])
    rows["label"] = [f"{n:,.0f}" for n in rows["customers"]]
    base = alt.Chart(rows).encode(
        x=alt.X("predicted:N", title="predicted", sort=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("actual:N", title="what happened", sort=None),
    )
    color = alt.Color("customers:Q", scale=alt.Scale(scheme="blues"), legend=None)
    tiles = base.mark_rect(stroke="white", strokeWidth=3).encode(color=color)
    dark = alt.condition(
        alt.datum.customers > rows["customers"].max() * 0.55, alt.value("white"), alt.value("black")
    )
    number = base.mark_text(fontSize=20, dy=-8).encode(text="label:N", color=dark)
    name = base.mark_text(fontSize=12, dy=14).encode(text="name:N", color=dark)
    said = ", ".join(f"{name} {number:,.0f}" for name, number in matrix.items())
    return c.finished(
        tiles + number + name, "Confusion matrix, customers", f"Confusion matrix: {said}."
    )


def roc(curves: pd.DataFrame) -> c.Chart:
    """Who orders found, over who does not order contacted."""
    rows = curves.rename(columns={"false_positive_rate": "fpr"})
    x = c.number("fpr", "false positive rate, % of those who do not order", ".0%", **_SHARE)
    y = c.height("recall", "recall, % of those who order", ".0%", **_SHARE)
    tooltip = c.told(
        ("name:N", "model", ""), ("fpr:Q", "FPR", ".1%"), ("recall:Q", "recall", ".1%")
    )
    chart = alt.layer(c.diagonal("chance"), c.lines(rows, x, y, "name", tooltip))
    return c.finished(chart, "ROC curve", f"ROC curves of {_names(rows)}; chance is the diagonal.")


def precision_recall(curves: pd.DataFrame) -> c.Chart:
    """How many of the contacted order, as more of those who order are found."""
    rows = curves.dropna(subset=["precision"])
    x = c.number("recall", "recall, % of those who order", ".0%", **_SHARE)
    y = c.height("precision", "precision, % of the contacted", ".0%", **_SHARE)
    tooltip = c.told(
        ("name:N", "model", ""), ("recall:Q", "recall", ".1%"), ("precision:Q", "precision", ".1%")
    )
    base = rows.groupby("name")["precision"].last().iloc[0]
    chart = c.rule(base, f"all customers {base:.1%}", along="y") + c.lines(
        rows, x, y, "name", tooltip
    )
    text = f"Precision over recall of {_names(rows)}; of all customers {base:.1%} order."
    return c.finished(chart, "Precision-recall curve", text)


def gain(curves: pd.DataFrame) -> c.Chart:
    """How many of those who order are among the likeliest."""
    x = c.number("contacted", _CONTACTED, ".0%", **_SHARE)
    y = c.height("recall", "gain, % of those who order", ".0%", **_SHARE)
    tooltip = c.told(
        ("name:N", "model", ""), ("contacted:Q", "contacted", ".0%"), ("recall:Q", "gain", ".1%")
    )
    chart = alt.layer(c.diagonal("at random"), c.lines(curves, x, y, "name", tooltip))
    return c.finished(chart, "Cumulative gain", f"Cumulative gain of {_names(curves)}.")


def lift(curves: pd.DataFrame) -> c.Chart:
    """How many times likelier than all customers the contacted are."""
    rows = curves.dropna(subset=["lift"])
    x = c.number("contacted", _CONTACTED, ".0%", **_SHARE)
    y = c.height("lift", "lift over all customers", ".1f")
    tooltip = c.told(
        ("name:N", "model", ""), ("contacted:Q", "contacted", ".0%"), ("lift:Q", "lift", ".2f")
    )
    chart = c.rule(1.0, "all customers", along="y") + c.lines(rows, x, y, "name", tooltip)
    return c.finished(chart, "Lift", f"Lift of {_names(rows)} by share of customers contacted.")


def calibration(bins: pd.DataFrame) -> c.Chart:
    """What was predicted beside what happened."""
    most = min(1.0, 1.05 * float(bins[["predicted", "observed"]].max().max()))
    x = c.number("predicted", "mean predicted probability, %", ".0%", domain=[0, most])
    y = c.height("observed", "share that ordered, %", ".0%", domain=[0, most])
    tooltip = c.told(
        *(("bin:O", "bin", ""), ("customers:Q", "customers", ",.0f")),
        *(("predicted:Q", "predicted", ".1%"), ("observed:Q", "observed", ".1%")),
    )
    corners = pd.DataFrame({"predicted": [0.0, most], "observed": [0.0, most]})
    ideal = alt.Chart(corners).mark_line(color=c.GREY, strokeDash=[4, 4]).encode(x=x, y=y)
    dots = alt.Chart(bins).mark_line(color=c.BLUE, point={"size": 70, "filled": True})
    chart = ideal + dots.encode(x=x, y=y, tooltip=tooltip)
    said = "; ".join(
        f"{r.predicted:.1%} predicted, {r.observed:.1%} observed" for r in bins.itertuples()
    )
    return c.finished(
        chart,
        "Calibration; on the dashed line, probabilities are true",
        f"Calibration by bin: {said}.",
    )


def profit(profits: pd.DataFrame, best: dict[str, float], budget: float, currency: str) -> c.Chart:
    """What is left by share contacted, with the best and what the budget pays for."""
    x = c.number("contacted", _CONTACTED, ".0%", **_SHARE)
    y = c.height("profit", f"profit, {currency}", "~s")
    tooltip = c.told(
        *(("contacted:Q", "contacted", ".0%"), ("customers:Q", "customers", ",.0f")),
        *(("profit:Q", "profit", ",.0f"), ("spent:Q", "spent", ",.0f")),
    )
    rows = profits.assign(affordable=profits["spent"] <= budget + 1e-9)
    kind = ["within the budget", "beyond the budget"]
    rows["kind"] = [kind[0] if ok else kind[1] for ok in rows["affordable"]]
    base = alt.Chart(rows).encode(x=x, y=y, tooltip=tooltip)
    points = base.mark_point(filled=True, size=38).encode(
        color=c.named("kind", kind), shape=alt.Shape("kind:N", sort=kind)
    )
    top = c.rule(float(best["contacted"]), f"best: {best['contacted']:.0%}")
    text = f"Highest profit {best['profit']:,.0f} {currency} at {best['contacted']:.0%} contacted."
    return c.finished(base.mark_line(color=c.GREY) + points + top, "Profit curve", text)


def importance(rows: pd.DataFrame) -> c.Chart:
    """The features by their share of the gain."""
    tooltip = c.told(("feature:N", "feature", ""), ("gain:Q", "share", ".1%"))
    value = c.number("gain", "share of the gain, %", ".0%")
    text = "Importance by gain: " + _said(rows, "gain", ".1%")
    chart = c.bars(rows, "feature", value, tooltip)
    return c.finished(chart, "Importance by gain", text, c.tall(len(rows)))


def permutation(rows: pd.DataFrame) -> c.Chart:
    """The features by what is lost without them, with the interval."""
    kept = rows.dropna(subset=["permutation"]).sort_values("permutation", ascending=False)
    tooltip = c.told(
        *(("feature:N", "feature", ""), ("permutation:Q", "lost", ".4f")),
        *(("low:Q", "from", ".4f"), ("high:Q", "to", ".4f")),
    )
    value = c.number("permutation", "ROC-AUC lost, with 95 % interval", ".3f")
    bars = c.bars(kept, "feature", value, tooltip, c.GREEN)
    reach = alt.Chart(kept).mark_rule(color="black", size=1.5)
    reach = reach.encode(y=alt.Y("feature:N", sort=None), x="low:Q", x2="high:Q")
    text = "ROC-AUC lost when a feature is shuffled: " + _said(kept, "permutation", ".4f")
    return c.finished(bars + reach, "Importance by permutation", text, c.tall(len(kept)))


def dates(rows: pd.DataFrame, metric: str) -> c.Chart:
    """A metric from date to date, a line per model, with the interval of the first."""
    x = c.dates("as_of", "as_of", rows["as_of"])
    y = c.height("value", metric, ".3f", zero=False)
    tooltip = c.told(
        *(("model:N", "model", ""), ("as_of:T", "as_of", "%Y-%m-%d")),
        ("value:Q", metric, ".4f"),
    )
    names = list(dict.fromkeys(rows["model"]))
    first = alt.Chart(rows[(rows["model"] == names[0]) & rows["low"].notna()])
    reach = first.mark_area(color=c.BLUE, opacity=0.15).encode(x=x, y="low:Q", y2="high:Q")
    dots = alt.Chart(rows).mark_point(filled=True, size=60)
    dots = dots.encode(x=x, y=y, color=c.named("model", names), tooltip=tooltip)
    chart = reach + c.lines(rows, x, y, "model", tooltip) + dots
    text = f"{metric} by date of {', '.join(names)}."
    return c.finished(chart, f"{metric} over dates", text)


def intervals(rows: pd.DataFrame, metric: str, kinds: Sequence[str]) -> c.Chart:
    """The metric of every model with its interval; a colour and a shape for each of the kinds."""
    tooltip = c.told(
        *(("model:N", "model", ""), ("value:Q", metric, ".4f")),
        *(("low:Q", "from", ".4f"), ("high:Q", "to", ".4f"), ("kind:N", "", "")),
    )
    base = alt.Chart(rows).encode(
        y=alt.Y("model:N", sort=None, title=None),
        color=c.named("kind", kinds),
        tooltip=tooltip,
    )
    reach = base.mark_rule(size=2.5).encode(
        x=c.number("low", metric, ".3f", zero=False), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=90).encode(
        x="value:Q", shape=alt.Shape("kind:N", sort=list(kinds))
    )
    text = f"{metric}: " + "; ".join(f"{r.model} {r.value:.4f}" for r in rows.itertuples())
    return c.finished(
        reach + dots,
        f"{metric} on the held-out date, 95 % interval",
        text,
        c.tall(len(rows), 28, legend=True),
    )


def _names(rows: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(rows["name"]))


def _said(rows: pd.DataFrame, value: str, form: str) -> str:
    pairs = zip(rows["feature"], rows[value], strict=True)
    return "; ".join(f"{name} {number:{form}}" for name, number in pairs)
