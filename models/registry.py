"""Champions, saved with everything that they were made of, and found again."""

import json
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.settings import Horizon
from lake.contracts import MODELS
from lake.store import Lake
from models.blending import Member
from models.calibration import Calibration
from models.training import Champion


@dataclass(frozen=True)
class Registered:
    """A champion as it is in the table `models`, with its members."""

    name: str
    version: str
    trained_for: date
    members: list[Member]
    calibration: Calibration
    threshold: float
    features: list[str]


def register(
    lake: Lake,
    champion: Champion,
    *,
    version: str,
    trained_for: date,
    horizon: Horizon,
    settings: str,
    data_versions: dict[str, int],
    folder: str,
) -> None:
    """Save the champion of a day, in the place of the one saved for that day before."""
    path = f"{folder}/{version}"
    for member in champion.members:
        member.pipeline.write().overwrite().save(f"{path}/{member.name}")
    members = [
        {"name": m.name, **asdict(m.calibration), "parameters": m.parameters}
        for m in champion.members
    ]
    row = (
        version,
        champion.name,
        trained_for,
        horizon.days,
        path,
        champion.threshold,
        json.dumps({**asdict(champion.calibration), "members": members}),
        champion.inputs.names,
        settings,
        data_versions,
        champion.importances,
        horizon.hours,
    )
    frame = lake.spark.createDataFrame([row], MODELS.schema)
    where = f"trained_for = DATE'{trained_for}' AND {horizon.where}"
    lake.complete(MODELS)
    lake.replace(MODELS, frame, where)


def champion(lake: Lake, as_of: date, horizon: Horizon) -> Registered:
    """The latest champion that was trained for `as_of` or before, for this horizon.

    Raises InputError when there is none.
    """
    rows = (
        lake.read("models")
        .where((F.col("trained_for") <= F.lit(as_of)) & F.expr(horizon.where))
        .orderBy(F.desc("trained_for"))
        .limit(1)
        .collect()
    )
    if not rows:
        raise InputError(
            f"no model in {lake.location} was trained for {as_of} or before with a horizon of "
            f"{horizon}: run `repurchase train --as-of {as_of}` first"
        )
    row = rows[0]
    fitted = json.loads(row["calibration"])
    if "members" not in fitted:
        raise InputError(
            f"the model {row['model_version']} in {lake.location} was saved by an earlier release: "
            f"run `repurchase train --as-of {row['trained_for']}` again"
        )
    members = [
        Member(
            of["name"],
            PipelineModel.load(f"{row['path']}/{of['name']}"),
            _calibration(of),
            of["parameters"],
        )
        for of in fitted["members"]
    ]
    return Registered(
        row["model_name"],
        row["model_version"],
        row["trained_for"],
        members,
        _calibration(fitted),
        row["threshold"],
        row["features"],
    )


def _calibration(fitted: dict[str, Any]) -> Calibration:
    return Calibration(fitted["intercept"], fitted["slope"], fitted["weight_ratio"])
