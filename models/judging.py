"""What models are worth on a date that they have not seen, and which of two is better there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from features.snapshots import sampled
from models.metrics import (
    METRICS_WHERE_LESS_IS_BETTER,
    counted,
    probability_metrics,
    score_histograms,
)
from models.resampling import Floats, resampled

# Of more customers than this, so many stand for all in intervals.
SAMPLED = 50_000
RESAMPLES = 400
# Among many customers the least difference is clear of noise, and still none that counts from one
# date to the next: less than this share of a metric decides nothing.
NEGLIGIBLE = 0.01
# What differs from the others helps them in a blend, unless it is behind by more than this share.
FAR = 0.03
# Of fewer who ordered, or did not, resamples tell nothing: they all have the same few.
FEWEST = 10
# By which any two are compared.
COMPARED = ("roc_auc", "pr_auc", "log_loss")
LOW, HIGH = 2.5, 97.5
# A verdict, as the other of the two sees it.
TURNED = {"better": "worse", "worse": "better", "tie": "tie"}


@dataclass(frozen=True)
class Heard:
    """What a model says of the customers of a date: its score histogram, and for some of the
    customers, by id, the `label` and the `probability`.
    """

    histogram: pd.DataFrame = field(repr=False)
    some: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """How much a metric of `model` is above that of `other` on the same customers of a date, with
    its 95 % interval; NaN where there is none.
    """

    model: str
    other: str
    metric: str
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the model is better, worse, or neither by the interval: a tie."""
        if self.low <= 0 <= self.high or np.isnan(self.low):
            return "tie"
        less_is_better = self.metric in METRICS_WHERE_LESS_IS_BETTER
        return "better" if (self.difference < 0) == less_is_better else "worse"

    def __str__(self) -> str:
        """The figures, to be read."""
        if np.isnan(self.low):
            return f"{self.metric} {self.difference:+.4f}, too few customers for an interval"
        between = f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        return f"{self.metric} {self.difference:+.4f}, {between}"


def comparable(metric: str) -> str:
    """The metric of those in COMPARED that stands for one."""
    return metric if metric in COMPARED else "log_loss"


def heard(scored: DataFrame, customers: int) -> Heard:
    """What is said in `scored`: `customer_id`, `label`, `probability`, a row per customer."""
    return heard_of_each(scored, ["probability"], customers)["probability"]


def heard_of_each(scored: DataFrame, names: Sequence[str], customers: int) -> dict[str, Heard]:
    """What each of these columns says in `scored`, all in one pass."""
    of_some = some_of(scored, customers).select("customer_id", "label", *names)
    some = of_some.toPandas().set_index("customer_id").sort_index()
    of_each = {n: some[["label", n]].rename(columns={n: "probability"}) for n in names}
    if customers <= SAMPLED:
        return {name: Heard(counted(said), said) for name, said in of_each.items()}
    histograms = score_histograms(scored, names)
    return {name: Heard(histograms[name], said) for name, said in of_each.items()}


def some_of(rows: DataFrame, customers: int) -> DataFrame:
    """The rows of the customers, of so many, who are heard one by one."""
    return sampled(rows, SAMPLED / max(customers, 1))


@dataclass(frozen=True)
class Bootstrap:
    """The metrics of models on the same resamples of the customers of a date.

    `found` holds for each metric and model its value on the customers as they are, and on each
    resample, in which a customer comes a Poisson(1) number of times (Chamandy and others 2012,
    Estimating uncertainty for massive data streams).
    """

    found: Mapping[str, Mapping[str, Floats]] = field(repr=False)

    def __or__(self, other: "Bootstrap") -> "Bootstrap":
        """The models of both, which must be of the same customers and seed."""
        metrics = self.found.keys() | other.found.keys()
        return Bootstrap(
            {m: {**self.found.get(m, {}), **other.found.get(m, {})} for m in sorted(metrics)}
        )

    def intervals(
        self, model: str, figures: Mapping[str, float] | None = None, share: float = 1.0
    ) -> dict[str, float]:
        """The 95 % interval of each metric of a model, as `<metric>_low` and `<metric>_high`.

        Where the resampled customers are but a `share` of those of whom the `figures` are, it lies
        around these as it does around that of the share, and is narrower by the root of it.
        """
        found: dict[str, float] = {}
        for metric, of_models in self.found.items():
            if model not in of_models:
                continue
            here, low, high = float(of_models[model][0]), *_between(of_models[model][1:])
            if figures is not None and share < 1:
                low, high = (figures[metric] + (e - here) * share**0.5 for e in (low, high))
            found |= {f"{metric}_low": low, f"{metric}_high": high}
        return found

    def comparisons(self) -> list[Comparison]:
        """Every two models by every metric of COMPARED."""
        return [
            self.compared(model, other, metric)
            for metric in COMPARED
            for model, other in combinations(self.found[metric], 2)
        ]

    def compared(self, model: str, other: str, metric: str) -> Comparison:
        """Two models by a metric."""
        difference = self.found[metric][model] - self.found[metric][other]
        return Comparison(model, other, metric, float(difference[0]), *_between(difference[1:]))


def bootstrap(
    models: Mapping[str, pd.DataFrame],
    seed: int,
    thresholds: Mapping[str, float] | None = None,
    metrics: Sequence[str] | None = None,
) -> Bootstrap:
    """The resampled metrics of the models, of which each has a `label` and a `probability` by
    customer, of the same customers in the same order: all or those named; those at a threshold
    where it is known. Where fewer than FEWEST ordered, or did not, there is no resample.
    """
    rng = np.random.default_rng(seed)
    labels = next(iter(models.values()))["label"]
    customers, ordered = len(labels), labels.sum()
    few = min(ordered, customers - ordered) < FEWEST
    drawn = rng.poisson(1.0, (0 if few else RESAMPLES, customers))
    times = np.vstack([np.ones(customers), drawn])
    found: dict[str, dict[str, Floats]] = {}
    for model, said in models.items():
        threshold = (thresholds or {}).get(model)
        for metric, values in resampled(said, times, threshold, metrics).items():
            found.setdefault(metric, {})[model] = values
    return Bootstrap(found)


def of_segments(some: pd.DataFrame, segment: "pd.Series[str]") -> pd.DataFrame:
    """Whether what is said of some customers (`Heard`) holds in each segment: one row per
    `segment` with its `customers`, the mean `predicted` and the `observed` share that ordered,
    the `ece`, the `brier` score and the `ece_by_chance` among them. `segment` is that of each
    customer, by id.
    """
    rows = []
    for name, said in some.groupby(segment.reindex(some.index)):
        found = probability_metrics(counted(said))
        means = {"predicted": said["probability"].mean(), "observed": said["label"].mean()}
        errors = {metric: found[metric] for metric in ("ece", "brier", "ece_by_chance")}
        rows.append({"segment": name, "customers": len(said), **means, **errors})
    return pd.DataFrame(rows)


def _between(values: Floats) -> tuple[float, float]:
    if np.isnan(values).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(values, [LOW, HIGH])
    return float(low), float(high)
