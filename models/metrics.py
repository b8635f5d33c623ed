"""How good scores are: ranking, probability and threshold metrics from a score histogram.

Spark reduces any number of scored snapshots to one row per distinct score, rounded to six
digits, so that at most a million rows reach the driver; metrics there are exact up to that
rounding, ties counted by halves.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from models.calibration import NEAREST, calibration_slope

Floats = npt.NDArray[np.float64]
ECE_BINS = 15
METRICS_WHERE_LESS_IS_BETTER = {"log_loss", "brier", "ece"}


def score_histogram(scored: DataFrame) -> pd.DataFrame:
    """One row per distinct score, highest first: `probability`, `n`, and `positives` among them.

    `scored` has the `probability` and `label` (0 or 1), one row per snapshot.
    """
    return score_histograms(scored, ["probability"])["probability"]


def score_histograms(scored: DataFrame, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The score histogram of each of these columns, all in one pass: columns as of
    `score_histogram`.
    """
    each = [F.struct(F.lit(n).alias("name"), F.round(n, 6).alias("probability")) for n in names]
    found = (
        scored.select("label", F.inline(F.array(*each)))
        .groupBy("name", "probability")
        .agg(F.count(F.lit(1)).alias("n"), F.sum("label").cast("double").alias("positives"))
        .toPandas()
        .sort_values("probability", ascending=False)
    )
    return {
        name: found[found["name"] == name].drop(columns="name").reset_index(drop=True)
        for name in names
    }


def counted(scored: pd.DataFrame) -> pd.DataFrame:
    """The score histogram of scores that are here already."""
    rounded = scored.assign(probability=scored["probability"].round(6), n=1.0)
    found = rounded.groupby("probability", as_index=False).agg({"n": "sum", "label": "sum"})
    named = found.rename(columns={"label": "positives"}).astype({"positives": float})
    return named.sort_values("probability", ascending=False, ignore_index=True)


def merged(*histograms: pd.DataFrame) -> pd.DataFrame:
    """One histogram of all."""
    joined = pd.concat(histograms).groupby("probability", as_index=False).sum()
    return joined.sort_values("probability", ascending=False, ignore_index=True)


def weighted(histogram: pd.DataFrame, weight: float) -> pd.DataFrame:
    """Each snapshot counted so often."""
    return histogram.assign(n=histogram["n"] * weight, positives=histogram["positives"] * weight)


def metrics(histogram: pd.DataFrame, threshold: float) -> dict[str, float]:
    """Every metric of a score histogram; those that need both classes are NaN without them."""
    return {
        "snapshots": float(histogram["n"].sum()),
        "base_rate": float(histogram["positives"].sum() / max(histogram["n"].sum(), 1)),
        "mean_probability": _mean_probability(histogram),
        "roc_auc": roc_auc(histogram),
        "pr_auc": average_precision(histogram),
        **probability_metrics(histogram),
        "calibration_slope": calibration_slope(histogram),
        "top_decile_lift": top_lift(histogram, 0.1),
        **threshold_metrics(histogram, threshold),
    }


def _mean_probability(histogram: pd.DataFrame) -> float:
    said = (histogram["probability"] * histogram["n"]).sum()
    return float(said / max(histogram["n"].sum(), 1))


def roc_auc(histogram: pd.DataFrame) -> float:
    """The chance that a random positive outranks a random negative, ties counted by halves
    (Mann and Whitney 1947).
    """
    positives = histogram["positives"].to_numpy(float)
    negatives = histogram["n"].to_numpy(float) - positives
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return float("nan")
    below = negatives.sum() - negatives.cumsum()
    return float((positives * (below + negatives / 2)).sum() / pairs)


def average_precision(histogram: pd.DataFrame) -> float:
    """The mean of the precision at each positive, with ties as one step."""
    positives, n = histogram["positives"].to_numpy(float), histogram["n"].to_numpy(float)
    if positives.sum() == 0:
        return float("nan")
    return float((positives * positives.cumsum() / n.cumsum()).sum() / positives.sum())


def probability_metrics(histogram: pd.DataFrame) -> dict[str, float]:
    """`log_loss` (natural), `brier`, `ece` (Naeini and others 2015, 15 bins of equal mass) and
    `ece_by_chance`, which is what `ece` would be on average if every probability were true: in a
    bin, the share that orders is then off by a normal number of the binomial variance.
    """
    p = histogram["probability"].to_numpy(float).clip(NEAREST, 1 - NEAREST)
    n, positives = histogram["n"].to_numpy(float), histogram["positives"].to_numpy(float)
    total = n.sum()
    brier = (positives * (1 - p) ** 2 + (n - positives) * p**2).sum() / total
    bins = reliability(histogram)
    ece = (bins["n"] * (bins["observed"] - bins["predicted"]).abs()).sum() / total
    variance = np.diff(_up_to_edges(n, n * p * (1 - p), ECE_BINS))
    by_chance = np.sqrt(2 / np.pi * variance.clip(0)).sum() / total
    return {
        "log_loss": log_loss(histogram),
        "brier": float(brier),
        "ece": float(ece),
        "ece_by_chance": float(by_chance),
    }


def log_loss(histogram: pd.DataFrame) -> float:
    """The mean of the negative natural logarithm of what was thought of the outcome."""
    p = histogram["probability"].to_numpy(float).clip(NEAREST, 1 - NEAREST)
    n, positives = histogram["n"].to_numpy(float), histogram["positives"].to_numpy(float)
    return float(-(positives * np.log(p) + (n - positives) * np.log1p(-p)).sum() / n.sum())


def reliability(histogram: pd.DataFrame, bins: int = ECE_BINS) -> pd.DataFrame:
    """One row per bin of equal mass, highest scores first: `bin` (from 1), `n`, `predicted`
    (mean probability), `observed` (share of positives), `lift` over the base rate, and `brier`
    (mean squared difference of probability and outcome). Scores that are the same are shared out
    between bins in proportion.
    """
    n, positives = histogram["n"].to_numpy(float), histogram["positives"].to_numpy(float)
    total = n.sum()
    size = np.diff(np.linspace(0, total, bins + 1))
    observed = np.diff(_up_to_edges(n, positives, bins)) / size
    p = histogram["probability"].to_numpy(float)
    squared = positives * (1 - p) ** 2 + (n - positives) * p**2
    return pd.DataFrame(
        {
            "bin": np.arange(1, bins + 1),
            "n": size,
            "predicted": np.diff(_up_to_edges(n, n * p, bins)) / size,
            "observed": observed,
            "lift": observed / (positives.sum() / total) if positives.sum() else np.nan,
            "brier": np.diff(_up_to_edges(n, squared, bins)) / size,
        }
    )


def _up_to_edges(n: Floats, values: Floats, bins: int) -> Floats:
    """The sum of the values up to each edge of bins of equal mass, where a score of `n` customers
    is shared out in proportion.
    """
    edges = np.linspace(0, n.sum(), bins + 1)
    sums = np.concatenate([[0.0], values.cumsum()])
    return np.asarray(np.interp(edges, np.concatenate([[0.0], n.cumsum()]), sums))


def top_lift(histogram: pd.DataFrame, share: float) -> float:
    """The rate of positives in the top share by score over the rate of all."""
    return float(reliability(histogram, bins=round(1 / share))["lift"].iloc[0])


def threshold_metrics(histogram: pd.DataFrame, threshold: float) -> dict[str, float]:
    """The confusion matrix at `probability >= threshold`, with precision, recall and F1."""
    above = histogram[histogram["probability"] >= threshold]
    true_positives = float(above["positives"].sum())
    predicted, actual = float(above["n"].sum()), float(histogram["positives"].sum())
    total = float(histogram["n"].sum())
    return {
        "threshold": threshold,
        "true_positives": true_positives,
        "false_positives": predicted - true_positives,
        "false_negatives": actual - true_positives,
        "true_negatives": total - predicted - actual + true_positives,
        "precision": true_positives / predicted if predicted else float("nan"),
        "recall": true_positives / actual if actual else float("nan"),
        "f1": 2 * true_positives / (predicted + actual) if predicted + actual else float("nan"),
    }


def decile_cuts(histogram: pd.DataFrame) -> list[float]:
    """The lowest score of each of the deciles 1 to 9; equal scores share the better decile."""
    ranks = histogram["n"].cumsum() - histogram["n"]
    total = histogram["n"].sum()
    decile = np.minimum((ranks * 10 // total).to_numpy() + 1, 10)
    scores = histogram["probability"].to_numpy(float)
    return [float(scores[decile <= d].min(initial=np.inf)) for d in range(1, 10)]
