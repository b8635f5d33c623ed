"""What contacting the likeliest customers first would have found, step by step."""

import numpy as np
import pandas as pd

# Hundredths of the customers.
STEPS = 100


def curve(histogram: pd.DataFrame) -> pd.DataFrame:
    """One row per hundredth of the customers, the likeliest first.

    `contacted` is the share of customers up to there, `customers` their number, `orders` how many
    of them ordered, `probability` the lowest among them; `recall` is the share of all who ordered
    (the gain), `precision` that of the contacted, `false_positive_rate` the share of all who did
    not order, and `lift` the precision over the base rate. Customers of equal scores are shared
    out in proportion.
    """
    n, positives = histogram["n"].to_numpy(float), histogram["positives"].to_numpy(float)
    total, actual = n.sum(), positives.sum()
    edges = np.linspace(0, total, STEPS + 1)[1:]
    ends = np.concatenate([[0.0], n.cumsum()])
    orders = np.interp(edges, ends, np.concatenate([[0.0], positives.cumsum()]))
    last = np.minimum(np.searchsorted(ends[1:], edges - 1e-9 * total), len(n) - 1)
    others = max(total - actual, 1e-12)
    return pd.DataFrame(
        {
            "contacted": edges / total,
            "customers": edges,
            "orders": orders,
            "probability": histogram["probability"].to_numpy(float)[last],
            "recall": orders / actual if actual else np.nan,
            "precision": orders / edges,
            "false_positive_rate": (edges - orders) / others,
            "lift": orders / edges / (actual / total) if actual else np.nan,
        }
    )
