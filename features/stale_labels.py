"""Labels that the log has changed since they were made: noted with the table until they are made
again, whatever comes between.
"""

import json
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Horizon
from lake.contracts import LABELS
from lake.store import Lake

_PROPERTY = "stale_after"


def note_stale(lake: Lake, day: date | None) -> None:
    """Note that of every horizon, the labels whose window reaches to the day may be others now."""
    if day is None or not lake.exists("labels"):
        return
    lake.complete(LABELS)
    reached = lake.read("labels").where(F.col("matured_on") > F.lit(day))
    noted = _noted(lake)
    for row in reached.select("horizon_days", "horizon_hours").distinct().collect():
        key = Horizon(*row).where
        noted[key] = min(noted.get(key, str(day)), str(day))
    _note(lake, noted)


def stale_dates(lake: Lake, horizon: Horizon, until: date) -> list[date]:
    """The dates of the horizon whose labels may be others, of those that have matured by then."""
    day = _noted(lake).get(horizon.where)
    if day is None:
        return []
    reached = _after(lake, horizon, day).where(F.col("matured_on") <= F.lit(until))
    return sorted(row[0] for row in reached.select("as_of").distinct().collect())


def note_made(lake: Lake, horizon: Horizon, until: date) -> None:
    """Note that these have been made again; those that mature later stay noted."""
    noted = _noted(lake)
    day = noted.pop(horizon.where, None)
    if day is None:
        return
    later = max(day, str(until))
    if not _after(lake, horizon, later).isEmpty():
        noted[horizon.where] = later
    _note(lake, noted)


def _after(lake: Lake, horizon: Horizon, day: str) -> DataFrame:
    return lake.read("labels").where(horizon.where).where(F.col("matured_on") > F.lit(day))


def _noted(lake: Lake) -> dict[str, str]:
    """By the predicate of a horizon, the day on or before which its labels are good."""
    known = lake.properties("labels") if lake.exists("labels") else {}
    return dict(json.loads(known.get(_PROPERTY, "{}")))


def _note(lake: Lake, noted: dict[str, str]) -> None:
    if noted != _noted(lake):
        lake.set_properties("labels", {_PROPERTY: json.dumps(noted, sort_keys=True)})
