"""Whether a trained model may take the place of the champion, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from conf.settings import TrainingSettings
from models.judging import NEGLIGIBLE, Comparison, bootstrap, comparable
from models.training import Evaluation


@dataclass(frozen=True)
class Decision:
    """Whether a model is published, and why; what was compared with the champion before it."""

    published: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class Incumbent:
    """The champion before: its version, the date it was trained for, and what it says of some
    customers of the held-out date (`models.judging.Heard`); None where that cannot be told.
    """

    version: str
    trained_for: date
    some: pd.DataFrame | None


def decide(
    challenger: Evaluation,
    against_baselines: Sequence[Comparison],
    incumbent: Incumbent | None,
    held_out: date,
    settings: TrainingSettings,
) -> Decision:
    """The challenger is published unless its calibration error is above `max_ece`, a baseline is
    better by more than NEGLIGIBLE, or the champion before it is better: by `settings.metric`, on
    the same customers of the held-out date, with the 95 % interval clear of 0.

    `against_baselines` compares the challenger with each baseline.
    """
    if settings.publish == "always":
        return Decision(True, "training.publish is always")
    if why := _unfit(challenger, against_baselines, settings, held_out):
        return Decision(False, why)
    if incumbent is None:
        return Decision(True, "the first model of this horizon")
    if incumbent.some is None:
        return Decision(True, f"{incumbent.version} reads features that are no longer built")
    models = {challenger.name: challenger.some, incumbent.version: incumbent.some}
    found = bootstrap(models, settings.seed)
    compared = {
        metric: found.compared(challenger.name, incumbent.version, metric) for metric in found.found
    }
    now = compared[comparable(settings.metric)]
    seen = ", which had seen days after it" if incumbent.trained_for > held_out else ""
    figures = f"on {held_out} ({now}{seen})"
    words = {
        "better": f"better than {incumbent.version} {figures}",
        "tie": f"not worse than {incumbent.version} {figures}, and it knows later days",
        "worse": f"worse than {incumbent.version} {figures}",
    }
    return Decision(now.verdict != "worse", words[now.verdict], tuple(compared.values()))


def _unfit(
    challenger: Evaluation,
    against_baselines: Sequence[Comparison],
    settings: TrainingSettings,
    held_out: date,
) -> str | None:
    ece = challenger.held_out["ece"]
    if settings.max_ece is not None and ece > settings.max_ece:
        return (
            f"its calibration error (ECE) on {held_out} is {ece:.4f}, above training.max_ece of "
            f"{settings.max_ece:g}"
        )
    for one in against_baselines:
        decides = one.metric == comparable(settings.metric) and one.verdict == "worse"
        if decides and abs(one.difference) > NEGLIGIBLE * challenger.held_out[one.metric]:
            return f"the baseline {one.other} is better on {held_out} ({one})"
    return None
