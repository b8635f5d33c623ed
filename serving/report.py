"""The model card of a training: one HTML page that needs nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from features.catalogue import OF_DATE
from models.judging import SAMPLED, TURNED
from models.segments import SEGMENTS
from serving import charts

# A calibration error that people should know of.
HIGH_ECE = 0.03
# Of true probabilities, the error is so many times what it is on average in one training of twenty
# at most: fifteen bins err independently, each by half a normal number.
BEYOND_CHANCE = 1.4
TWO_YEARS = 700
METRICS = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "top_decile_lift": "lift of the top 10%",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
    "calibration_slope": "calibration slope",
}
# Of a date: what was said of its customers on average, and what came true.
BY_DATE = {"mean_probability": "predicted", "base_rate": "ordered", **METRICS}
SHOWN_FEATURES = 15
# As charts call it.
AREA = {"roc_auc": "value", "roc_auc_low": "low", "roc_auc_high": "high"}


@dataclass(frozen=True)
class Training:
    """What a training has left in the tables: its row of `models`, and the rows of the others that
    belong to it, as they are there; `backtests` are the rows of `evaluations` of past dates.
    """

    model: Mapping[str, Any]
    evaluations: pd.DataFrame
    comparisons: pd.DataFrame
    curves: pd.DataFrame
    reliability: pd.DataFrame
    segments: pd.DataFrame
    importances: pd.DataFrame
    backtests: pd.DataFrame
    # By feature.
    descriptions: Mapping[str, str]
    currency: str


@dataclass(frozen=True)
class Offer:
    """What an order brings and what a contact costs, for the profit curve."""

    margin: float = 20.0
    contact_cost: float = 1.0


def page(training: Training, offer: Offer) -> str:
    """The page, as HTML."""
    name = training.model["model_name"]
    figures = _by_metric(training.evaluations, "model")
    own = figures.loc[name]
    template = Environment(
        loader=PackageLoader("serving", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("report.html.j2")
    profit = _profit(_of(training.curves, name), offer)
    models = _table(figures, training.comparisons, name)
    backtests = _wide(training.backtests, name)
    return template.render(
        model=training.model,
        own=own,
        metrics=METRICS,
        by_date=BY_DATE,
        baselines=models,
        charts=_charts(training, figures, profit),
        deciles=_bins(training, name, 10).to_dict("records"),
        segments=_segments(_of(training.segments, name)),
        importances=_importances(training),
        backtests=_records(backtests),
        best=profit.iloc[int(profit["profit"].argmax())],
        offer=offer,
        currency=training.currency,
        parameters=json.loads(training.model["parameters"]),
        settings=json.dumps(json.loads(training.model["settings"]), indent=2),
        limits=[*_limits(training, own, models), *_levels(backtests)],
    )


def _of(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    return rows[rows["model"] == model]


def _bins(training: Training, model: str, bins: int) -> pd.DataFrame:
    own = _of(training.reliability, model)
    return own[own["bins"] == bins].sort_values("bin")


def _segments(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per segment, in the order that everybody lists them in."""
    place = [segment.name for segment in SEGMENTS].index
    return sorted(_records(rows), key=lambda row: place(row["segment"]))


def _profit(curve: pd.DataFrame, offer: Offer) -> pd.DataFrame:
    gained = curve["orders"] * offer.margin - curve["customers"] * offer.contact_cost
    return curve.assign(profit=gained).sort_values("contacted").reset_index(drop=True)


def _table(figures: pd.DataFrame, comparisons: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """A row per model, the champion first; its verdict by the log loss against each other."""
    by_loss = comparisons[comparisons["metric"] == "log_loss"]
    against = by_loss[by_loss["model"] == name].set_index("other")["verdict"].to_dict()
    # The other way round, where the champion comes second.
    for row in by_loss[by_loss["other"] == name].to_dict("records"):
        against[row["model"]] = TURNED[row["verdict"]]
    rows = [
        {**row, "verdict": against.get(row["model"], "")} for row in _records(figures.reset_index())
    ]
    return sorted(rows, key=lambda row: (row["model"] != name, row["log_loss"]))


def _charts(training: Training, figures: pd.DataFrame, profit: pd.DataFrame) -> dict[str, str]:
    name = training.model["model_name"]
    areas = figures.rename(columns=AREA).reset_index()
    both = {
        model: _of(training.curves, model).sort_values("contacted")
        for model in (name, "recency")
        if model in figures.index
    }
    known = training.importances.head(SHOWN_FEATURES)
    tried = known.dropna(subset=["permutation"]).rename(
        columns={"permutation_low": "low", "permutation_high": "high"}
    )
    corners = charts.from_corner_to_corner
    share = "share of the customers contacted"
    found = {
        "models": charts.intervals(areas, name, "ROC-AUC, 95 % interval"),
        "reliability": charts.reliability(_bins(training, name, 15)),
        "roc": charts.lines(
            both,
            "false_positive_rate",
            "recall",
            ("of those who do not order", "of those who do"),
            corners,
        ),
        "pr": charts.lines(both, "recall", "precision", ("recall", "precision")),
        "gain": charts.lines(both, "contacted", "recall", (share, "of those who order"), corners),
        "lift": charts.lines(both, "contacted", "lift", (share, "times the share of all")),
        "profit": charts.lines({name: profit}, "contacted", "profit", (share, "profit")),
        "gains": charts.bars(
            list(known["feature"]), list(known["gain"]), "share of the importance"
        ),
    }
    if len(tried):
        found["permutation"] = charts.losses(tried, "ROC-AUC lost without it")
    dates = {
        model: rows.rename(columns=AREA)
        for model in (name, "recency")
        if len(rows := _wide(training.backtests, model)) > 1
    }
    if dates:
        found["dates"] = charts.over_dates(dates, "ROC-AUC")
    return found


def _wide(backtests: pd.DataFrame, model: str) -> pd.DataFrame:
    """A model's figures on past dates: a row per date, a column per metric."""
    return _by_metric(_of(backtests, model), "as_of").reset_index()


def _by_metric(rows: pd.DataFrame, index: str) -> pd.DataFrame:
    """A column per metric, those too that have no value: intervals of few customers."""
    return rows.pivot_table(index=index, columns="metric", values="value", dropna=False)


def _importances(training: Training) -> list[dict[str, Any]]:
    known = training.importances.head(SHOWN_FEATURES)
    return [
        {**row, "description": training.descriptions.get(row["feature"], "")}
        for row in _records(known)
    ]


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _limits(training: Training, own: "pd.Series[float]", models: list[dict[str, Any]]) -> list[str]:
    """What this training itself says should be known before its scores are used."""
    model = training.model
    found = []
    days = (model["held_out"] - min(model["tuned_on"])).days
    if not set(OF_DATE) & set(model["features"]):
        found.append(
            f"It has learned from dates that cover {days} days: what repeats once a year is "
            "not known to it."
        )
    elif days < TWO_YEARS:
        found.append(
            "It has seen each season once: how far one differs from year to year, it cannot know."
        )
    rates = own["cv_base_rate"], own["base_rate"]
    if abs(rates[1] - rates[0]) > HIGH_ECE:
        found.append(
            f"The share of customers who order moved from {rates[0]:.1%} on the tuning dates to "
            f"{rates[1]:.1%} on the held-out date; probabilities follow the past and lag behind."
        )
    by_chance = own.get("ece_by_chance", 0.0)
    if own["ece"] > max(HIGH_ECE, BEYOND_CHANCE * by_chance):
        found.append(
            f"Probabilities were off by {own['ece']:.1%} on average on the held-out date (ECE), "
            f"{by_chance:.1%} of it by chance; the order of the customers is surer than the level."
        )
    ties = [row["model"] for row in models if row["verdict"] == "tie"]
    if ties:
        found.append(
            f"On {min(own['snapshots'], SAMPLED):,.0f} customers it cannot be told from "
            f"{', '.join(ties)} by its log loss."
        )
    found.append(
        "A probability says who will order, not whom a contact would make order: for that, "
        "compare with customers who were not contacted."
    )
    return found


def _levels(backtests: pd.DataFrame) -> list[str]:
    """How far the level of the probabilities was off on past dates."""
    if "mean_probability" not in backtests or len(backtests) < 2:
        return []
    found = backtests["base_rate"] / backtests["mean_probability"]
    return [
        f"On {found.count()} past dates, {found.min():.0%} to {found.max():.0%} of the customers "
        "ordered whom the probabilities said would: demand moves from month to month in ways "
        "that no history tells."
    ]
