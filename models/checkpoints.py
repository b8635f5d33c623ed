"""What tuning has done, kept until the training is: an interrupted one goes on from there."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.ml import PipelineModel

from models.blending import Member
from models.calibration import calibration
from models.candidates import CANDIDATES
from models.fits import Shelf
from models.judging import Heard
from models.tuning import Tuned

# In seconds: a training that was interrupted and has not been gone on with for so long.
FORGOTTEN = 7 * 86_400
PREPARATION, WHOLE, FACTS = "preparation", "whole", "facts.json"


@dataclass(frozen=True)
class Checkpoints:
    """Tuned candidates in a folder that belongs to one training: the same data and settings.

    What took fewer than `worth` seconds is quicker tuned again than kept; so is a single fit of
    fewer than `fit_worth`.
    """

    folder: Path
    worth: float = 60.0
    fit_worth: float = 20.0

    def shelf(self, name: str) -> Shelf:
        """Where the fits of a candidate are kept until it is tuned."""
        return Shelf(self.folder / name / "fits", self.fit_worth)

    def load(self, name: str) -> Tuned | None:
        """The candidate as it was tuned, if it was."""
        place = self.folder / name
        if not (place / FACTS).exists():
            return None
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
        preparation = PipelineModel.load(str(place / PREPARATION))

        def member(part: str) -> Member:
            fitted = PipelineModel.load(str(place / part))
            pipeline = PipelineModel([preparation, *fitted.stages])
            return Member(name, pipeline, calibration(facts["calibration"]), facts["parameters"])

        return Tuned(
            CANDIDATES[name],
            member(WHOLE),
            [member(f"fold_{k}") for k in range(facts["folds"])],
            pd.DataFrame(facts["out_of_fold"]),
            Heard(pd.DataFrame(facts["held_out"]), _by_customer(facts["some"])),
            facts["seconds"],
            facts["points"],
        )

    def save(self, tuned: Tuned) -> None:
        """Keep the candidate; the facts come last, so that half of one is none, and then its fits
        can go.
        """
        if tuned.seconds < self.worth:
            return
        place = self.folder / tuned.candidate.name
        stages: list[Any] = tuned.whole.pipeline.stages
        stages[0].write().overwrite().save(str(place / PREPARATION))
        parts = {WHOLE: tuned.whole}
        parts |= {f"fold_{k}": member for k, member in enumerate(tuned.without_fold)}
        for part, member in parts.items():
            fitted = PipelineModel([member.pipeline.stages[-1]])
            fitted.write().overwrite().save(str(place / part))
        facts = {
            "calibration": tuned.whole.calibration.as_dict(),
            "parameters": tuned.whole.parameters,
            "folds": len(tuned.without_fold),
            "out_of_fold": tuned.out_of_fold.to_dict("list"),
            "held_out": tuned.held_out.histogram.to_dict("list"),
            "some": tuned.held_out.some.reset_index().to_dict("list"),
            "seconds": tuned.seconds,
            "points": tuned.points,
        }
        (place / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(self.shelf(tuned.candidate.name).folder, ignore_errors=True)

    def remove(self) -> None:
        """Forget this training, and others at which nothing was done for days."""
        for folder in self.folder.parent.glob("*"):
            if folder == self.folder or time.time() - folder.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)


def _by_customer(some: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(some).set_index("customer_id")
