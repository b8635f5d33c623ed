"""Scores from the tables: one customer's, or a page of many."""

from datetime import date
from typing import Any

import pandas as pd

from conf.settings import Horizon
from models.segments import segment_sql
from serving.predictor import Predictor
from serving.tables import Tables, horizon_of

COLUMNS = (
    *("customer_id", "as_of", "horizon_days", "horizon_hours", "probability", "decile", "band"),
    *("reasons", "model_name", "model_version", "scored_at"),
)


def scores(
    tables: Tables,
    predictor: Predictor | None,
    filters: dict[str, Any],
    *,
    limit: int,
    offset: int,
) -> tuple[list[dict[str, Any]], int]:
    """The scores that match the filters (customer_id, as_of, horizon_days, horizon_hours, decile,
    band, segment; None: any), the highest probability first, and how many there are.
    """
    if filters["as_of"] is None:
        return [], 0
    where, parameters = _conditions(filters)
    cuts = predictor.cuts if predictor else None
    segment = segment_sql(cuts) if cuts else "NULL"
    rfm = "recency_days, orders_lifetime, revenue_lifetime"
    joined = (
        f"(SELECT s.*, {segment} AS segment FROM scores s "
        f"LEFT JOIN (SELECT customer_id, as_of, {rfm} FROM features WHERE as_of = $as_of) f "
        "USING (customer_id, as_of) WHERE as_of = $as_of)"
        if cuts
        else "(SELECT *, NULL AS segment FROM scores WHERE as_of = $as_of)"
    )
    # Tables of an earlier release know days alone.
    hours = "horizon_hours" if "horizon_hours" in tables.types("scores") else "NULL"
    known = [f"{hours} AS horizon_hours" if name == "horizon_hours" else name for name in COLUMNS]
    columns = ", ".join((*known, "segment"))
    found = tables.query(
        f"SELECT {columns}, count(*) OVER () AS total FROM {joined} WHERE {where} "
        f"ORDER BY probability DESC, customer_id LIMIT {limit} OFFSET {offset}",
        parameters,
        filters["as_of"],
    )
    if found.empty and offset:
        counted = tables.query(
            f"SELECT count(*) AS n FROM {joined} WHERE {where}", parameters, filters["as_of"]
        )
        return [], int(counted["n"][0])
    total = int(found["total"][0]) if len(found) else 0
    return [_score(row) for row in found.to_dict("records")], total


def horizon(tables: Tables) -> Horizon:
    """That of the scores written last."""
    found = tables.query("SELECT * FROM scores ORDER BY scored_at DESC, horizon_days DESC LIMIT 1")
    return Horizon(0) if found.empty else horizon_of(found.iloc[0].to_dict())


def latest(tables: Tables, horizon: Horizon) -> date | None:
    """The day scored last for the horizon."""
    found = tables.query(f"SELECT max(as_of) AS day FROM scores WHERE {horizon.where}")["day"][0]
    return None if pd.isna(found) else pd.Timestamp(found).date()


def _conditions(filters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    given = {name: value for name, value in filters.items() if value is not None}
    where = [f"{name} = ${name}" for name in given if name != "as_of"]
    return " AND ".join(where) or "true", given


def _score(row: dict[Any, Any]) -> dict[str, Any]:
    reasons = [
        {**one, "value": None if pd.isna(one["value"]) else one["value"]}
        for one in (row["reasons"] if row["reasons"] is not None else [])
    ]
    segment = row["segment"] if isinstance(row["segment"], str) else None
    return {
        **{name: row[name] for name in COLUMNS},
        "horizon_hours": horizon_of(row).hours,
        "as_of": pd.Timestamp(row["as_of"]).date(),
        "scored_at": pd.Timestamp(row["scored_at"]).to_pydatetime(),
        "segment": segment,
        "reasons": reasons,
    }
