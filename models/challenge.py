"""Whether a trained model may take the place of the champion, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from conf.settings import TrainingSettings
from models.judging import COMPARED, NEGLIGIBLE, Comparison, bootstrap, comparable
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
    `foretold`: it was judged by the same date, and this is what it said before it saw that.
    """

    version: str
    trained_for: date
    some: pd.DataFrame | None
    foretold: bool = False


def decide(
    challenger: Evaluation,
    against_baselines: Sequence[Comparison],
    incumbent: Incumbent | None,
    held_out: date,
    settings: TrainingSettings,
) -> Decision:
    """The challenger is published unless its calibration error is above `max_ece`, a baseline is
    better by more than NEGLIGIBLE, or the champion before it is better: by `settings.metric`, on
    the same customers of the held-out date, with the 95 % interval clear of 0. A champion that has
    learned from what those customers did must be better by more than NEGLIGIBLE too, for knowing
    the answers makes any model better by a little.

    `against_baselines` compares the challenger with each baseline.
    """
    if settings.publish == "always":
        return Decision(True, "training.publish is always")
    if why := _unfit(challenger, against_baselines, settings, held_out):
        return Decision(False, why)
    beside = _unbeaten(against_baselines, settings)
    if incumbent is None:
        return Decision(True, f"the first model of this horizon{beside}")
    if incumbent.some is None:
        why = f"{incumbent.version} reads features that are no longer built"
        return Decision(True, f"{why}{beside}")
    # The log may have changed since: the same customers, and what is known of them now.
    both = challenger.some.index.intersection(incumbent.some.index)
    if both.empty:
        why = f"{incumbent.version} was judged by customers who are no longer in the log"
        return Decision(True, f"{why}{beside}")
    new = challenger.some.loc[both]
    old = incumbent.some.loc[both].assign(label=new["label"])
    both_said = {challenger.name: new, incumbent.version: old}
    found = bootstrap(both_said, settings.seed, metrics=COMPARED)
    compared = {
        metric: found.compared(challenger.name, incumbent.version, metric) for metric in COMPARED
    }
    now = compared[comparable(settings.metric)]
    has_seen = incumbent.trained_for > held_out and not incumbent.foretold
    figures = f"on {held_out} ({now}{', which had seen days after it' if has_seen else ''})"
    knows = (
        "is made with the settings and data of now" if incumbent.foretold else "knows later days"
    )
    little = has_seen and abs(now.difference) <= NEGLIGIBLE * challenger.held_out[now.metric]
    verdict = "little" if now.verdict == "worse" and little else now.verdict
    words = {
        "better": f"better than {incumbent.version} {figures}{beside}",
        "tie": f"not worse than {incumbent.version} {figures}, and it {knows}{beside}",
        "little": f"behind {incumbent.version} by less than a hundredth {figures}, and it "
        f"{knows}{beside}",
        "worse": f"worse than {incumbent.version} {figures}",
    }
    return Decision(verdict != "worse", words[verdict], tuple(compared.values()))


def _unbeaten(against_baselines: Sequence[Comparison], settings: TrainingSettings) -> str:
    """Of which baselines it must be said that the challenger is not clearly better."""
    by = comparable(settings.metric)
    found = [c.other for c in against_baselines if c.metric == by and c.verdict != "better"]
    return f"; not clearly better than {', '.join(found)}" if found else ""


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
            f"{settings.max_ece:g}; of true probabilities it would be "
            f"{challenger.held_out['ece_by_chance']:.4f} on average, by chance alone"
        )
    for one in against_baselines:
        decides = one.metric == comparable(settings.metric) and one.verdict == "worse"
        if decides and abs(one.difference) > NEGLIGIBLE * challenger.held_out[one.metric]:
            return f"the baseline {one.other} is better on {held_out} ({one})"
    return None
