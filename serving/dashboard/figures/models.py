"""The trained models as the tables judge them: figures, curves, calibration, importance, dates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from conf.settings import Horizon
from serving.dashboard.figures import Query
from serving.tables import LAST_FIRST

# What `evaluations` and `comparisons` call it, and people.
METRICS = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "top_decile_lift": "lift of the top 10 %",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
LESS_IS_BETTER = ("log_loss", "brier", "ece")
BACKTEST = "backtest"


@dataclass(frozen=True)
class Subject:
    """A model or baseline as a training has judged it."""

    version: str
    model: str

    @property
    def key(self) -> dict[str, str]:
        """The parameters of `_OF_SUBJECT`."""
        return {"version": self.version, "model": self.model}


_OF_SUBJECT = "model_version = $version AND model = $model"


def trained(query: Query, horizon: Horizon) -> pd.DataFrame:
    """The rows of `models`, the last first, without settings and the model itself."""
    return query(
        "SELECT model_version, model_name, trained_for, held_out, tuned_on, threshold, "
        "len(features) AS features, published, decision, code_version FROM models "
        f"WHERE {horizon.where} ORDER BY {LAST_FIRST}, published DESC"
    )


def settings(query: Query, horizon: Horizon) -> str | None:
    """The settings of the champion's training, as JSON; None before the first."""
    rows = query(
        f"SELECT settings FROM models WHERE published AND {horizon.where} "
        f"ORDER BY {LAST_FIRST} LIMIT 1"
    )
    return None if rows.empty else rows["settings"][0]


def judged(query: Query, horizon: Horizon) -> list[Subject]:
    """Every model and baseline that has a curve, those of the last training first."""
    rows = query(
        f"SELECT DISTINCT model_version, model FROM curves WHERE {horizon.where} "
        "AND model_version <> $backtest ORDER BY model_version DESC, model",
        {"backtest": BACKTEST},
    )
    return [Subject(*map(str, row)) for row in rows.itertuples(index=False)]


def figures(query: Query, version: str) -> pd.DataFrame:
    """By model or baseline of a training: its metrics on the held-out date."""
    rows = query(
        "SELECT model, metric, value FROM evaluations WHERE model_version = $version",
        {"version": version},
    )
    return rows.pivot_table(index="model", columns="metric", values="value")


def curve(query: Query, subject: Subject) -> pd.DataFrame:
    """What contacting the likeliest hundredths of the customers would have found."""
    columns = "contacted, customers, orders, probability, recall, precision, "
    return query(
        f"SELECT {columns} false_positive_rate, lift FROM curves WHERE {_OF_SUBJECT} "
        "ORDER BY contacted",
        subject.key,
    )


def curves(query: Query, subjects: dict[str, Subject]) -> pd.DataFrame:
    """The curves of several, with `name`; each begins at nobody contacted."""
    start = pd.DataFrame({"contacted": [0.0], "recall": [0.0], "false_positive_rate": [0.0]})
    found = [
        pd.concat([start, curve(query, subject)]).assign(name=name)
        for name, subject in subjects.items()
    ]
    return pd.concat(found, ignore_index=True)


def calibration(query: Query, subject: Subject, bins: int = 15) -> pd.DataFrame:
    """Predicted beside observed, by bin of as many customers."""
    return query(
        "SELECT bin, customers, predicted, observed, lift FROM reliability "
        f"WHERE {_OF_SUBJECT} AND bins = $bins ORDER BY bin",
        {**subject.key, "bins": bins},
    )


def importances(query: Query, version: str, most: int = 20) -> pd.DataFrame:
    """The features of most gain, with what is lost without them."""
    return query(
        "SELECT feature, gain, permutation, permutation_low AS low, permutation_high AS high "
        "FROM importances WHERE model_version = $version ORDER BY gain DESC LIMIT $most",
        {"version": version, "most": most},
    )


def verdicts(query: Query, subject: Subject, metric: str) -> pd.DataFrame:
    """A model against each other of its training: difference, interval and verdict."""
    return query(
        "SELECT * FROM (SELECT other, difference, low, high, verdict FROM comparisons "
        f"WHERE {_OF_SUBJECT} AND metric = $metric UNION ALL "
        "SELECT model, -difference, -high, -low, CASE verdict WHEN 'better' THEN 'worse' "
        "WHEN 'worse' THEN 'better' ELSE verdict END FROM comparisons "
        "WHERE model_version = $version AND other = $model AND metric = $metric) "
        f"ORDER BY difference {'' if metric in LESS_IS_BETTER else 'DESC'}, other",
        {**subject.key, "metric": metric},
    )


def over_dates(query: Query, horizon: Horizon, metric: str) -> pd.DataFrame:
    """By model and date, a metric with its interval where there is one: of backtests, and where
    there are none, of the held-out dates of the trainings, of each date those of the last.
    """
    return query(
        f"WITH trainings AS (SELECT model_version, row_number() OVER (ORDER BY {LAST_FIRST}) "
        "AS place FROM models), "
        "found AS (SELECT model, as_of, metric, value, model_version = $backtest AS past "
        "FROM evaluations LEFT JOIN trainings USING (model_version) "
        f"WHERE {horizon.where} QUALIFY past OR place = min(place) OVER (PARTITION BY as_of)), "
        "wanted AS (SELECT * FROM found WHERE past = (SELECT bool_or(past) FROM found)) "
        "SELECT model, as_of, any_value(value) FILTER (metric = $metric) AS value, "
        "any_value(value) FILTER (metric = $metric || '_low') AS low, "
        "any_value(value) FILTER (metric = $metric || '_high') AS high, any_value(past) AS past "
        "FROM wanted GROUP BY model, as_of HAVING value IS NOT NULL ORDER BY model, as_of",
        {"metric": metric, "backtest": BACKTEST},
    )


def confusion(curve: pd.DataFrame, threshold: float) -> dict[str, float]:
    """Who is predicted and who orders at a threshold, to the nearest hundredth of the customers."""
    everybody = curve.iloc[-1]
    above = curve[curve["probability"] >= threshold]
    row = {"customers": 0.0, "orders": 0.0} if above.empty else above.iloc[-1]
    predicted, found = float(row["customers"]), float(row["orders"])
    return {
        "true positives": found,
        "false positives": predicted - found,
        "false negatives": float(everybody["orders"]) - found,
        "true negatives": float(everybody["customers"] - everybody["orders"]) - predicted + found,
    }


def rates(matrix: dict[str, float]) -> dict[str, float]:
    """Precision, recall, F1 and accuracy of a confusion matrix; NaN where nothing was to share."""
    found = matrix["true positives"]
    predicted, actual = found + matrix["false positives"], found + matrix["false negatives"]
    return {
        "precision": found / predicted if predicted else np.nan,
        "recall": found / actual if actual else np.nan,
        "F1": 2 * found / (predicted + actual) if predicted + actual else np.nan,
        "accuracy": (found + matrix["true negatives"]) / sum(matrix.values()),
    }


def profit(curve: pd.DataFrame, margin: float, cost: float) -> pd.DataFrame:
    """What is left when the likeliest are contacted: `profit` and `spent`, from nobody on."""
    nobody = pd.DataFrame({"contacted": [0.0], "customers": [0.0], "orders": [0.0]})
    both = pd.concat([nobody, curve], ignore_index=True)
    spent = both["customers"] * cost
    return both.assign(spent=spent, profit=both["orders"] * margin - spent)


def best(profits: pd.DataFrame, budget: float) -> dict[str, Any]:
    """The row of the highest profit that the budget pays for."""
    affordable = profits[profits["spent"] <= budget + 1e-9]
    top = affordable.sort_values("profit", kind="stable").iloc[-1]
    return {str(name): value for name, value in top.items()}
