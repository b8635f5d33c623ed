"""Champions, saved with everything that they were made of, and found again."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import pandas as pd
from pyspark.errors import AnalysisException
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

# Beside the members of a saved model.
HEARD = "held_out"
# Of a lake: the folder of its models, where no other is configured.
SAVED = "saved_models"


@dataclass(frozen=True)
class Registered:
    """A champion as it is in the table `models`, with its members; `open_form` is the same model
    in plain numbers.
    """

    name: str
    version: str
    trained_for: date
    held_out: date
    path: str
    members: list[Member]
    calibration: Calibration
    threshold: float
    features: list[str]
    open_form: OpenModel

    @property
    def probability(self) -> Column:
        """The calibrated probability, of the rows that `models.blending.said` gives."""
        return self.calibration(together(self.members)).alias("probability")

    def lacks(self, made: Collection[str]) -> str | None:
        """Which of its features are not among those that are made, for people to read; None where
        all are.
        """
        missing = sorted(set(self.features) - set(made))
        if not missing:
            return None
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        return (
            f"the champion {self.version} reads {missing[0]}{more}, which this configuration does "
            "not make"
        )


def register(
    lake: Lake,
    champion: Champion,
    *,
    version: str,
    trained_for: date,
    split: Split,
    heard: pd.DataFrame,
    horizon: Horizon,
    settings: str,
    data_versions: dict[str, int],
    folder: str,
    decision: Decision,
    code_version: str,
) -> None:
    """Save what was trained. `heard` is what it said of some customers of the held-out date before
    it saw them (`models.judging.Heard`).

    The same trained again takes the place of the row, and is saved beside the files that the row
    named: whoever scores with these goes on, and so does the champion where the saving fails.
    """
    # No training before has found as many versions of `models` as this one.
    path = f"{folder}/{version}.{data_versions.get('models', -1) + 1}"
    members = []
    for member in champion.members:
        saved = f"{path}/{member.name}"
        member.pipeline.write().overwrite().save(saved)
        members.append(opened(lake.spark, member, saved, champion.inputs))
    rows = lake.spark.createDataFrame(heard.rename_axis("customer_id").reset_index())
    rows.coalesce(1).write.mode("overwrite").parquet(f"{path}/{HEARD}")
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
    own = f"model_version = {quoted(version)}"
    lake.put(MODELS, [row], own)
    gained = [(version, *vars(one).values()) for one in champion.importances]
    lake.put(IMPORTANCES, gained, own)


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


def find_champion(
    lake: Lake, as_of: date, horizon: Horizon, other_than: str | None = None
) -> Registered | None:
    """The same, or None; `other_than` is a version that does not count."""
    if not lake.exists("models") or "open_form" not in lake.read("models").columns:
        return None
    known = (F.col("trained_for") <= F.lit(as_of)) & F.expr(horizon.where)
    if other_than is not None:
        known = known & (F.col("model_version") != F.lit(other_than))
    published = lake.read("models").where(known & F.col("published"))
    rows = published.orderBy(*last_first()).limit(1).collect()
    return _registered(lake, rows[0]) if rows else None


def last_first() -> tuple[Column, Column]:
    """How to order `models`, the last first: by the day it was trained for, and of one day by the
    version of `models` that the training found.
    """
    return F.desc("trained_for"), F.col("data_versions")["models"].desc_nulls_last()


def heard_then(lake: Lake, model: Registered) -> pd.DataFrame | None:
    """What the model said of some customers of its held-out date before it saw them: `label` and
    `probability` by customer; None where an earlier release has not kept it.
    """
    try:
        rows = lake.spark.read.parquet(f"{model.path}/{HEARD}").toPandas()
    except AnalysisException:
        return None
    return rows.set_index("customer_id").sort_index()


def _saved_at(lake: Lake, row: Row) -> str:
    """Where its members are. A lake that was moved, or copied, has brought its models along."""
    path = str(row["path"])
    own = f"{lake.folder(SAVED)}/{os.path.basename(path)}"
    return own if lake.is_folder and os.path.isdir(own) else path


def _registered(lake: Lake, row: Row) -> Registered:
    path = _saved_at(lake, row)
    open_form = open_model(json.loads(row["open_form"]))
    parameters = json.loads(row["parameters"])
    members = [
        Member(
            one.name,
            PipelineModel.load(f"{path}/{one.name}"),
            one.calibration,
            parameters[one.name],
        )
        for one in open_form.members
    ]
    return Registered(
        row["model_name"],
        row["model_version"],
        row["trained_for"],
        row["held_out"],
        path,
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
    rows = published.orderBy(*last_first()).select("model_version").collect()
    versions = [row[0] for row in reversed(rows)]
    if to is not None and to not in versions:
        raise InputError(f"{to} is not published; published are {', '.join(versions) or 'none'}")
    place = len(versions) - 2 if to is None else versions.index(to)
    if place < 0:
        raise InputError("there is no published model before the last one to go back to")
    withdrawn = versions[place + 1 :]
    if withdrawn:
        lake.update(
            MODELS,
            {
                "published": "false",
                "decision": f"concat_ws('; before: ', {quoted(reason)}, decision)",
            },
            among("model_version", withdrawn),
        )
    return withdrawn, versions[place]
