"""Champions, saved with everything that they were made of, and found again."""

import json
from dataclasses import dataclass
from datetime import date

from pyspark.ml import PipelineModel
from pyspark.sql import Column, Row
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.settings import Horizon
from features.snapshots import Split
from lake.contracts import IMPORTANCES, MODELS
from lake.store import Lake, among, quoted
from models.blending import Member, together
from models.calibration import Calibration
from models.challenge import Decision
from models.open_form import OpenModel, open_model
from models.opening import opened
from models.training import Champion


@dataclass(frozen=True)
class Registered:
    """A champion as it is in the table `models`, with its members; `open_form` is the same model
    in plain numbers.
    """

    name: str
    version: str
    trained_for: date
    members: list[Member]
    calibration: Calibration
    threshold: float
    features: list[str]
    open_form: OpenModel

    @property
    def probability(self) -> Column:
        """The calibrated probability, of the rows that `models.blending.said` gives."""
        return self.calibration(together(self.members)).alias("probability")


def register(
    lake: Lake,
    champion: Champion,
    *,
    version: str,
    trained_for: date,
    split: Split,
    horizon: Horizon,
    settings: str,
    data_versions: dict[str, int],
    folder: str,
    decision: Decision,
    code_version: str,
) -> None:
    """Save the champion of a day, in the place of the one saved for that day before."""
    path = f"{folder}/{version}"
    members = []
    for member in champion.members:
        saved = f"{path}/{member.name}"
        member.pipeline.write().overwrite().save(saved)
        members.append(opened(lake.spark, member, saved, champion.inputs))
    row = (
        version,
        champion.name,
        trained_for,
        horizon.days,
        path,
        champion.threshold,
        json.dumps({m.name: m.parameters for m in champion.members}),
        json.dumps(OpenModel(tuple(members), champion.calibration).as_dict()),
        champion.inputs.names,
        list(split.tuning),
        split.held_out,
        settings,
        data_versions,
        code_version,
        decision.published,
        decision.reason,
        horizon.hours,
    )
    frame = lake.spark.createDataFrame([row], MODELS.schema)
    # A challenger that is turned down does not take the place of the champion of its day.
    same = f"(published = {decision.published} OR model_version = '{version}')"
    lake.complete(MODELS)
    lake.replace(MODELS, frame, f"trained_for = DATE'{trained_for}' AND {horizon.where} AND {same}")
    rows = [(version, *vars(one).values()) for one in champion.importances]
    importances = lake.spark.createDataFrame(rows, IMPORTANCES.schema)
    lake.replace(IMPORTANCES, importances, f"model_version = '{version}'")


def champion(lake: Lake, as_of: date, horizon: Horizon) -> Registered:
    """The latest published model that was trained for `as_of` or before, for this horizon.

    Raises InputError when there is none.
    """
    if "open_form" not in lake.read("models").columns:
        raise InputError(
            f"the models in {lake.location} were saved by an earlier release: "
            "run `repurchase train` again"
        )
    found = find_champion(lake, as_of, horizon)
    if found is None:
        raise InputError(
            f"no model in {lake.location} is published that was trained for {as_of} or before with "
            f"a horizon of {horizon}: run `repurchase train --as-of {as_of}` first"
        )
    return found


def find_champion(lake: Lake, as_of: date, horizon: Horizon) -> Registered | None:
    """The same, or None."""
    if not lake.exists("models") or "open_form" not in lake.read("models").columns:
        return None
    known = (F.col("trained_for") <= F.lit(as_of)) & F.expr(horizon.where)
    published = lake.read("models").where(known & F.col("published"))
    rows = published.orderBy(F.desc("trained_for")).limit(1).collect()
    return _registered(rows[0]) if rows else None


def _registered(row: Row) -> Registered:
    open_form = open_model(json.loads(row["open_form"]))
    parameters = json.loads(row["parameters"])
    members = [
        Member(
            one.name,
            PipelineModel.load(f"{row['path']}/{one.name}"),
            one.calibration,
            parameters[one.name],
        )
        for one in open_form.members
    ]
    return Registered(
        row["model_name"],
        row["model_version"],
        row["trained_for"],
        members,
        open_form.calibration,
        row["threshold"],
        row["features"],
        open_form,
    )


def roll_back(lake: Lake, horizon: Horizon, to: str | None, reason: str) -> tuple[list[str], str]:
    """Withdraw the last published model, or every one after `to`: the versions withdrawn, and the
    one that is the champion now.

    Raises InputError where `to` is not published, or nothing comes before the last.
    """
    published = lake.read("models").where(F.col("published") & F.expr(horizon.where))
    versions = [
        row[0] for row in published.orderBy("trained_for").select("model_version").collect()
    ]
    if to is not None and to not in versions:
        raise InputError(f"{to} is not published; published are {', '.join(versions) or 'none'}")
    place = len(versions) - 2 if to is None else versions.index(to)
    if place < 0:
        raise InputError("there is no published model before the last one to go back to")
    withdrawn = versions[place + 1 :]
    if withdrawn:
        lake.update(
            MODELS,
            {"published": "false", "decision": quoted(reason)},
            among("model_version", withdrawn),
        )
    return withdrawn, versions[place]
