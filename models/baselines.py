"""What anybody could use instead of a model: rankings by one number."""

import re
from collections.abc import Collection

from pyspark.sql import Column
from pyspark.sql import functions as F

from features.histories import histories, history_columns
from features.likelihood import FitError, fit_purchases
from features.probabilistic import BgNbd, ParetoNbd, PurchaseModel
from models.fits import Report
from models.material import Material
from models.tuning import Grid

# By baseline, the feature that it needs, and its score. The logit of 1 / (1 + days) is -log(days):
# Platt's scaling of it is a logistic regression on log recency, and ranks as recency does. The
# last window, of those that there are the one most like the label's, is the naive forecast: who
# ordered in it orders again.
OF_A_FEATURE = {
    "recency": ("recency_days", "1 / (1 + recency_days)"),
    "last_window": ("orders_{days}d", "if(orders_{days}d > 0, 0.75, 0.25)"),
    "mbg_nbd": ("order_probability", "coalesce(order_probability, 0)"),
    "mbg_cnbd_2": ("order_probability_regular", "coalesce(order_probability_regular, 0)"),
}
_WINDOW = re.compile(r"orders_(\d+)d")
FITTED: dict[str, type[PurchaseModel]] = {"bg_nbd": BgNbd, "pareto_nbd": ParetoNbd}
OF_A_HISTORY = {"active_days_lifetime", "first_to_last_order_days", "tenure_days"}
# Of logistic regression on recency, frequency and monetary value.
RFM_GRID: Grid = {"regParam": (0.0,)}


def rankings(material: Material, report: Report) -> dict[str, Column]:
    """By baseline, its score of a snapshot, between 0 and 1, as far as there are such features; of
    one that cannot be fitted it is told why.

    BG/NBD (Fader, Hardie and Lee 2005) and Pareto/NBD (Schmittlein, Morrison and Colombo 1987) are
    fitted to histories; their score is the probability of an order in the label window. On the
    held-out date, as of the others, these are the histories before it; on the tuning dates, whose
    scores calibrate, those before the last of them.
    """
    columns = set(material.judged.columns)
    horizon = material.split.horizon_days
    days = _window_like(horizon, columns)
    found = {
        name: F.expr(score.format(days=days)).cast("double")
        for name, (of, score) in OF_A_FEATURE.items()
        if of.format(days=days) in columns
    }
    if not columns >= OF_A_HISTORY:
        return found
    split = material.split
    last = material.tuning.where(F.col("as_of") == F.lit(max(split.tuning)))
    past, later = (histories(of_date).toPandas() for of_date in (last, material.judged))
    for name, kind in FITTED.items():
        try:
            before, then = (
                fit_purchases(kind, known).model.p_order(history_columns(), horizon)
                for known in (past, later)
            )
        except FitError as error:
            report(f"{name} is no baseline here: {error}")
            continue
        chance = F.when(F.col("as_of") == F.lit(split.held_out), then).otherwise(before)
        found[name] = F.coalesce(F.nanvl(chance, F.lit(None)), F.lit(0.0))
    return found


def _window_like(horizon_days: int, columns: Collection[str]) -> int | None:
    windows = [int(found[1]) for name in columns if (found := _WINDOW.fullmatch(name))]
    return min(windows, key=lambda days: (abs(days - horizon_days), days), default=None)
