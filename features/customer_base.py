"""The models of the customer base, fitted for each as-of date on nothing but what lies before it,
and the table of their parameters.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.histories import histories, spends
from features.likelihood import FitError, Fitted, fit_purchases, fit_spend
from features.predictions import Predictions
from features.probabilistic import GammaGamma, MbgNbd
from features.snapshots import sampled
from features.windows import Snapshots, made_features
from lake.contracts import AS_OF, Column, Table
from lake.key_ranges import KeyRanges

# By the name in the table: the kind of the model, and what of it is fixed.
PURCHASES: dict[str, dict[str, int]] = {"mbg_nbd": {}, "mbg_cnbd_2": {"k": 2}}
SPEND = "gamma_gamma"
# Snapshots whose histories come to the driver together: there may be as many of these.
MOST_HISTORIES = 5_000_000
CUSTOMER_BASE = Table(
    "customer_base",
    "One row per as_of, model and parameter: the buy-till-you-die models of all customers",
    (
        AS_OF,
        Column("model", "string", "mbg_nbd, mbg_cnbd_2 (regular gaps) or gamma_gamma (spend)"),
        Column("parameter", "string", "The parameter; times are in days, money in the currency"),
        Column("estimate", "double", "The estimate of maximum likelihood"),
        Column("standard_error", "double", "Its standard error; null at an end of what is sought"),
        Column(
            "log_likelihood",
            "double",
            "That of the model; of mbg_cnbd_2 less the logs of all gaps, which no parameter moves, "
            "of gamma_gamma with spends in steps of 1 %",
        ),
        Column("customers", "double", "Customers that it is fitted to"),
    ),
)
_OF_HISTORY = (
    *("active_days_lifetime", "first_to_last_order_days", "tenure_days", "revenue_lifetime"),
)


def fitted_customer_base(
    customer_days: DataFrame, snapshots: Snapshots, share: float, ranges: KeyRanges | None = None
) -> DataFrame:
    """The rows of CUSTOMER_BASE for the dates, fitted to this share of the customers, whom workers
    read by ranges where these are given and all are wanted.

    A model that cannot be fitted, as where nobody has ordered twice, has no rows.
    """
    spark = customer_days.sparkSession
    days, read = sampled(customer_days, share), ranges if share >= 1 else None
    known = made_features(days, snapshots, _OF_HISTORY, ranges=read).frame().cache()
    dates = sorted(snapshots.as_ofs)
    try:
        together = max(1, MOST_HISTORIES * len(dates) // max(known.count(), 1))
        rows = [
            row
            for begin in range(0, len(dates), together)
            for row in _fitted_at(known, dates[begin : begin + together])
        ]
    finally:
        known.unpersist()
    return spark.createDataFrame(rows, CUSTOMER_BASE.schema)


def _fitted_at(known: DataFrame, dates: Sequence[date]) -> list[tuple[Any, ...]]:
    some = known.where(F.col("as_of").isin(list(dates)))
    orders, money = histories(some).toPandas(), spends(some).toPandas()

    def fitted(as_of: date) -> list[tuple[Any, ...]]:
        then, spent = orders[orders["as_of"] == as_of], money[money["as_of"] == as_of]
        rows = [
            row
            for name, fixed in PURCHASES.items()
            for row in _rows(as_of, name, partial(fit_purchases, MbgNbd, then, **fixed))
        ]
        return rows + _rows(as_of, SPEND, partial(fit_spend, spent))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [row for rows in threads.map(fitted, dates) for row in rows]


def predictions(rows: DataFrame, as_ofs: Sequence[date], horizon_days: int) -> Predictions:
    """What the models in these rows of CUSTOMER_BASE predict, at the dates in their order."""
    known = rows.select("as_of", "model", "parameter", "estimate").toPandas()
    return predictions_by(known, as_ofs, horizon_days)


def predictions_by(known: pd.DataFrame, as_ofs: Sequence[date], horizon_days: int) -> Predictions:
    """The same of rows that are here already."""
    table = known.pivot_table(index="as_of", columns=["model", "parameter"], values="estimate")
    by_date = table.reindex(sorted(as_ofs))

    def parameters(kind: Any, model: str) -> dict[str, Any]:
        missing = np.full(len(by_date), np.nan)
        return {
            name: by_date[model, name].to_numpy(float) if (model, name) in by_date else missing
            for name in kind.parameters()
        }

    return Predictions(
        horizon_days,
        MbgNbd(**parameters(MbgNbd, "mbg_nbd")),
        MbgNbd(**parameters(MbgNbd, "mbg_cnbd_2"), **PURCHASES["mbg_cnbd_2"]),
        GammaGamma(**parameters(GammaGamma, SPEND)),
    )


def _rows(as_of: date, model: str, fit: Callable[[], Fitted[Any]]) -> list[tuple[Any, ...]]:
    try:
        fitted = fit()
    except FitError:
        return []
    return [
        (
            *(as_of, model, name, float(getattr(fitted.model, name))),
            None if np.isnan(error) else error,
            *(float(fitted.log_likelihood), float(fitted.customers)),
        )
        for name, error in fitted.standard_errors.items()
    ]
