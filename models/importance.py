"""Which features a champion lives on: what its trees gained, and what it loses without them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel

from features.customer_days import by_customer
from features.snapshots import sampled
from models.blending import Member, blended
from models.candidates import LABEL
from models.judging import Comparison, bootstrap
from models.material import Material
from models.opening import unscaled
from models.preparation import Inputs
from models.sharing import forest_of

# So many features of the highest gain are permuted, among about so many customers.
PERMUTED, CUSTOMERS = 15, 4_000
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Importance:
    """A feature's share of the gain; and how much ROC-AUC on the held-out date is lost when its
    values change places between customers, with the 95 % interval, None where that was not tried.
    """

    feature: str
    gain: float
    permutation: float | None = None
    low: float | None = None
    high: float | None = None


def gains(members: Sequence[Member], inputs: Inputs) -> list[Importance]:
    """Each feature's share, on average over the members, highest first: of the gain for trees, of
    the absolute standardised coefficients for the linear model.
    """
    shares = [_shares(member.pipeline, inputs) for member in members]
    mean = {name: sum(s[name] for s in shares) / len(shares) for name in inputs.names}
    return [Importance(*item) for item in sorted(mean.items(), key=lambda item: -item[1])]


def permuted(
    known: Sequence[Importance], members: Sequence[Member], material: Material, seed: int
) -> list[Importance]:
    """The same, the first of them with what is lost without each (Breiman 2001, Random forests;
    Fisher, Rudin and Dominici 2019). `members` are those that have not seen the held-out date.
    """
    chosen = [one.feature for one in known[:PERMUTED] if one.gain > 0]
    columns = [c for c in material.judged.columns if c not in ("customer_id", "as_of")]
    some = sampled(material.judged, CUSTOMERS / max(material.customers, 1))
    rows = some.orderBy("customer_id").select("customer_id", *columns).toPandas()
    if rows.empty or not chosen:
        return list(known)
    rng = np.random.default_rng(seed)
    tried = [rows.assign(without=AS_IT_IS)]
    for name in chosen:
        order = rng.permutation(len(rows))
        tried.append(rows.assign(without=name, **{name: rows[name].to_numpy()[order]}))
    # Arrow's way keeps a missing value missing.
    table = pa.Table.from_pandas(pd.concat(tried, ignore_index=True), preserve_index=False)
    # What is computed of a table of the driver's own, Spark computes on the driver as it plans.
    frame = by_customer(material.judged.sparkSession.createDataFrame(table))
    keep = ["without", "customer_id", LABEL]
    said = blended(frame, members, keep).toPandas()
    by_feature = {
        str(name): part.set_index("customer_id").sort_index()
        for name, part in said.groupby("without")
    }
    resampled = bootstrap(by_feature, seed, metrics=["roc_auc"])
    return [
        _with_loss(one, resampled.compared(AS_IT_IS, one.feature, "roc_auc"))
        if one.feature in chosen
        else one
        for one in known
    ]


def _with_loss(known: Importance, lost: Comparison) -> Importance:
    return replace(known, permutation=lost.difference, low=lost.low, high=lost.high)


def _shares(pipeline: PipelineModel, inputs: Inputs) -> dict[str, float]:
    model: Any = forest_of(pipeline.stages[-1]) or pipeline.stages[-1]
    linear = isinstance(model, LogisticRegressionModel)
    vector = model.coefficients if linear else model.featureImportances
    weights = [abs(float(weight)) for weight in vector.toArray()]
    shares = dict.fromkeys(inputs.names, 0.0)
    for one, weight in zip(unscaled(pipeline, inputs), weights, strict=True):
        shares[one.feature] += weight / (sum(weights) or 1.0)
    return shares
