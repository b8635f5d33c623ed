"""A lake of forty customers, whose every figure can be told by heart.

Customer `C07` has the seventh highest probability, 0.90 - 0.02 * 7, and ordered 3 * 7 days ago.
"""

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from conf.settings import load_settings

AS_OF, BEFORE, HELD_OUT = dt.date(2024, 6, 1), dt.date(2024, 5, 1), dt.date(2024, 5, 1)
SCORED = dt.datetime(2024, 6, 1, 6, 30, tzinfo=dt.UTC)
CUSTOMERS = range(1, 41)
VERSION, CHALLENGER = "2024-06-01-aaaa1111", "2024-06-02-bbbb2222"
BEFORE_IT = "2024-05-01-cccc3333"
MODEL = "logistic_regression"
SENTENCE = "Days from the last day with an order to today: {} (+12.0 points)"
KEY = {"horizon_days": 30, "horizon_hours": None}
COMMENTS = {
    "recency_days": "Days from the last day with an order to as_of, at least 1",
    "orders_lifetime": "Orders over all days before as_of",
    "revenue_lifetime": "Money spent over all days before as_of",
}
PROPERTIES = {
    "transactions": {"repurchase.currency": "EUR", "repurchase.time_zone": "UTC"},
    "features": {"repurchase.windows": "30 90"},
}


def write_lake(folder: Path) -> None:
    """Every table that the dashboard reads."""
    for table, rows in _tables().items():
        write(folder, table, rows)
    for table, properties in PROPERTIES.items():
        altered = DeltaTable(str(folder / table)).alter
        altered.set_table_properties(properties, raise_if_not_exists=False)


def write(folder: Path, table: str, rows: list[dict[str, Any]]) -> None:
    """Rows with the types that the contract gives them."""
    types = {**_TYPES, "reasons": pa.list_(pa.string() if table == "quarantine" else _WHY)}
    schema = pa.schema(
        [
            pa.field(
                name, types.get(name, _of(value)), metadata={"comment": COMMENTS.get(name, "")}
            )
            for name, value in rows[0].items()
        ]
    )
    parts = ["as_of"] if table in ("features", "scores", "labels") else None
    data = pa.Table.from_pylist(rows, schema=schema)
    write_deltalake(str(folder / table), data, mode="overwrite", partition_by=parts)


def scores(as_of: dt.date = AS_OF, customers: range = CUSTOMERS) -> list[dict[str, Any]]:
    """Forty scores, a decile of four customers each."""
    return [
        {
            "customer_id": f"C{n:02d}",
            "as_of": as_of,
            "probability": round(0.9 - 0.02 * n, 4),
            "decile": (n - 1) // 4 + 1,
            "band": "high" if n <= 8 else "medium" if n <= 20 else "low",
            "reasons": [_reason(n)],
            "model_name": MODEL,
            "model_version": VERSION,
            "scored_at": SCORED,
            **KEY,
        }
        for n in customers
    ]


def _reason(n: int) -> dict[str, Any]:
    return {
        "feature": "recency_days",
        "value": 3.0 * n,
        "contribution": 0.12,
        "sentence": SENTENCE.format(3 * n),
    }


def _features(as_of: dt.date, shift: int) -> list[dict[str, Any]]:
    return [
        {
            "customer_id": f"C{n:02d}",
            "as_of": as_of,
            "recency_days": 3 * n + shift,
            "tenure_days": 400 + n,
            "orders_lifetime": 41 - n,
            "revenue_lifetime": 10.0 * (41 - n),
            "gap_mean_days": None if n > 30 else 7.0 + n,
        }
        for n in CUSTOMERS
    ]


def _labels() -> list[dict[str, Any]]:
    return [
        {"customer_id": f"C{n:02d}", "as_of": BEFORE, "repurchased": n <= 20, **KEY}
        for n in CUSTOMERS
    ]


def _lifetime_value() -> list[dict[str, Any]]:
    return [
        {
            "customer_id": f"C{n:02d}",
            "as_of": AS_OF,
            "alive_probability": 0.9,
            "expected_orders": 1.5,
            "expected_value": 10.0,
            "expected_value_12m": 120.0,
            "currency": "EUR",
            **KEY,
        }
        for n in CUSTOMERS
    ]


def _transactions() -> list[dict[str, Any]]:
    moments = [(n, day) for n in CUSTOMERS for day in (3 * n, 3 * n + 30)]
    return [
        {
            "customer_id": f"C{n:02d}",
            "order_id": f"O{n:02d}-{day}",
            "ordered_at": dt.datetime.combine(AS_OF, dt.time(12), dt.UTC) - dt.timedelta(day),
            "ordered_on": AS_OF - dt.timedelta(day),
            "kind": "purchase",
            "amount": 19.9,
            "category": "tea" if n % 2 else None,
        }
        for n, day in moments
    ]


def _quarantine() -> list[dict[str, Any]]:
    reasons = [["amount is not a number"], ["amount is not a number", "customer_id is missing"]]
    return [
        {"source": "shop", "table_name": "transactions", "source_row": "{}", "reasons": why}
        for why in reasons
    ]


def _models() -> list[dict[str, Any]]:
    first = {
        "model_version": VERSION,
        "model_name": MODEL,
        "trained_for": AS_OF,
        "threshold": 0.5,
        "open_form": json.dumps(_open_form()),
        "features": ["recency_days", "orders_lifetime", "revenue_lifetime"],
        "tuned_on": [dt.date(2024, 3, 1), dt.date(2024, 4, 1)],
        "held_out": HELD_OUT,
        "code_version": "0.1.0",
        "settings": load_settings("local").model_dump_json(),
        "data_versions": {"features": 9, "models": 1},
        "published": True,
        "decision": "better than the champion before it",
        **KEY,
    }
    turned_down = {
        "model_version": CHALLENGER,
        "trained_for": dt.date(2024, 6, 2),
        "published": False,
        "decision": "the champion before it is better",
    }
    earlier = {"model_version": BEFORE_IT, "trained_for": BEFORE, "decision": "the first model"}
    return [first, {**first, **turned_down}, {**first, **earlier}]


def _open_form() -> dict[str, Any]:
    """A line: less with every day since the last order, more with every order."""
    named = (("recency_days", 60.0, 1 / 30), ("orders_lifetime", 20.0, 0.1))
    inputs = [
        {"feature": f, "text": None, "missing": 0.0, "log": False, "centre": c, "scale": s}
        for f, c, s in (*named, ("revenue_lifetime", 200.0, 0.005))
    ]
    as_it_is = {"kind": "platt", "weight_ratio": 1.0, "intercept": 0.0, "slope": 1.0}
    member = {
        "name": MODEL,
        "inputs": inputs,
        "of_probability": False,
        "calibration": as_it_is,
        "intercept": 0.0,
        "coefficients": [-1.0, 0.5, 0.25],
    }
    return {"members": [member], "calibration": as_it_is}


def _judged(version: str = VERSION, as_of: dt.date = HELD_OUT) -> Mapping[str, Any]:
    return {"as_of": as_of, "model_version": version, **KEY}


def _evaluations() -> list[dict[str, Any]]:
    figures = {
        **{"snapshots": 40.0, "base_rate": 0.5, "roc_auc": 0.75, "pr_auc": 0.7},
        **{"top_decile_lift": 1.9, "log_loss": 0.55, "brier": 0.18, "ece": 0.02},
        **{"roc_auc_low": 0.7, "roc_auc_high": 0.8, "pr_auc_low": 0.6, "pr_auc_high": 0.8},
        **{"log_loss_low": 0.5, "log_loss_high": 0.6},
    }
    runs = [_judged(), _judged(CHALLENGER, dt.date(2024, 5, 2))]
    runs += [_judged("backtest", dt.date(2024, month, 1)) for month in (2, 3, 4)]
    return [
        {"model": model, "metric": metric, "value": value * share, **run}
        for run in runs
        for model, share in ((MODEL, 1.0), ("recency", 0.9))
        for metric, value in figures.items()
    ]


def _curves() -> list[dict[str, Any]]:
    """Of forty customers, twenty order; the likeliest c find 1 - (1 - c)² of them."""
    return [
        {
            "model": model,
            "contacted": c,
            "customers": 40 * c,
            "orders": 20 * recall,
            "probability": 1 - c,
            "recall": recall,
            "precision": recall / c / 2,
            "false_positive_rate": 2 * c - recall,
            "lift": recall / c,
            **run,
        }
        for run in (_judged(), _judged(CHALLENGER, dt.date(2024, 5, 2)))
        for model in (MODEL, "recency")
        for c, recall in ((k / 100, 1 - (1 - k / 100) ** 2) for k in range(1, 101))
    ]


def _reliability() -> list[dict[str, Any]]:
    return [
        {
            "model": MODEL,
            "bins": bins,
            "bin": place,
            "customers": 40 / bins,
            "predicted": 1 - place / bins,
            "observed": 0.95 - 0.9 * place / bins,
            "lift": 1.0,
            **_judged(),
        }
        for bins in (10, 15)
        for place in range(1, bins + 1)
    ]


def _comparisons() -> list[dict[str, Any]]:
    return [
        {
            "model": "recency",
            "other": MODEL,
            "metric": metric,
            "difference": -0.1,
            "low": -0.15,
            "high": -0.05,
            "verdict": "worse",
            **_judged(),
        }
        for metric in ("roc_auc", "pr_auc", "log_loss")
    ]


def _importances() -> list[dict[str, Any]]:
    shares = {"recency_days": 0.6, "orders_lifetime": 0.3, "revenue_lifetime": 0.1}
    return [
        {
            "model_version": VERSION,
            "feature": feature,
            "gain": gain,
            "permutation": gain / 10,
            "permutation_low": gain / 20,
            "permutation_high": gain / 5,
        }
        for feature, gain in shares.items()
    ]


def _tables() -> dict[str, list[dict[str, Any]]]:
    return {
        "current_scores": scores(),
        "scores": scores() + scores(BEFORE),
        "features": _features(BEFORE, 0) + _features(AS_OF, 30),
        "labels": _labels(),
        "lifetime_value": _lifetime_value(),
        "transactions": _transactions(),
        "quarantine": _quarantine(),
        "models": _models(),
        "evaluations": _evaluations(),
        "curves": _curves(),
        "reliability": _reliability(),
        "comparisons": _comparisons(),
        "importances": _importances(),
    }


_WHY = pa.struct(
    [
        *(("feature", pa.string()), ("value", pa.float64())),
        *(("contribution", pa.float64()), ("sentence", pa.string())),
    ]
)
_TYPES = {
    "horizon_hours": pa.int32(),
    "gap_mean_days": pa.float64(),
    "category": pa.string(),
    "features": pa.list_(pa.string()),
    "tuned_on": pa.list_(pa.date32()),
}


def _of(value: Any) -> pa.DataType:
    if isinstance(value, dt.datetime):
        return pa.timestamp("us", tz="UTC")
    return pa.scalar(value).type
