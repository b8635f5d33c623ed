"""A model takes the champion's place only with a reason."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conf.settings import load_settings
from models.challenge import Incumbent, decide
from models.judging import Comparison
from models.training import Evaluation

DAY, BEFORE, AFTER = (dt.date(2024, m, 1) for m in (6, 5, 7))
SETTINGS = load_settings("base").training


def _said(noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    signal = rng.normal(-1, 1.2, 3000)
    label = rng.random(3000) < 1 / (1 + np.exp(-signal))
    known = signal + noise * rng.normal(size=3000)
    return pd.DataFrame({"label": label.astype(int), "probability": 1 / (1 + np.exp(-known))})


def _challenger(noise: float = 0.0, ece: float = 0.01) -> Evaluation:
    nothing = pd.DataFrame()
    return Evaluation(
        "gbt",
        {},
        {"ece": ece, "ece_by_chance": 0.012, "log_loss": 0.5, "roc_auc": 0.8},
        nothing,
        nothing,
        _said(noise),
    )


def _incumbent(noise: float, trained_for: dt.date = BEFORE) -> Incumbent:
    return Incumbent("v1", trained_for, _said(noise))


def _against(difference: float, metric: str = "log_loss") -> Comparison:
    return Comparison("gbt", "recency", metric, difference, difference - 0.01, difference + 0.01)


def test_the_first_model_is_published():
    found = decide(_challenger(), [_against(-0.1)], None, DAY, SETTINGS)
    assert found.published
    assert "first" in found.reason


def test_a_better_model_takes_the_place():
    found = decide(_challenger(), [], _incumbent(1.5), DAY, SETTINGS)
    assert found.published
    assert found.reason.startswith("better than v1 on 2024-06-01 (log_loss -")
    assert {one.metric for one in found.comparisons} == {"roc_auc", "pr_auc", "log_loss"}


def test_one_that_is_not_worse_takes_it_because_it_knows_more():
    found = decide(_challenger(), [], _incumbent(0.0), DAY, SETTINGS)
    assert found.published
    assert found.reason.startswith("not worse than v1")
    assert "knows later days" in found.reason


def test_a_worse_model_does_not():
    found = decide(_challenger(1.5), [], _incumbent(0.0), DAY, SETTINGS)
    assert not found.published
    assert found.reason.startswith("worse than v1")


def test_a_champion_that_knows_what_followed_is_said_to():
    seen = decide(_challenger(), [], _incumbent(0.0, AFTER), DAY, SETTINGS)
    fair = decide(_challenger(), [], _incumbent(0.0, DAY), DAY, SETTINGS)
    assert "had seen days after it" in seen.reason
    assert "had seen days after it" not in fair.reason


def test_knowing_the_answers_a_little_better_is_no_reason_to_stay():
    """A champion of last week has learned from what this week's customers did."""
    little = {"noise": 0.2}
    seen = decide(_challenger(**little), [], _incumbent(0.0, AFTER), DAY, SETTINGS)
    fair = decide(_challenger(**little), [], _incumbent(0.0, DAY), DAY, SETTINGS)
    assert not fair.published
    assert seen.published
    assert seen.reason.startswith("behind v1 by less than a hundredth on 2024-06-01 (log_loss +")
    assert not decide(_challenger(1.5), [], _incumbent(0.0, AFTER), DAY, SETTINGS).published


def test_one_whose_customers_are_all_gone_cannot_be_compared():
    old = _said(0.0)
    renamed = replace(_incumbent(0.0), some=old.set_axis(old.index + len(old)))
    found = decide(_challenger(), [], renamed, DAY, SETTINGS)
    assert found.published
    assert "customers who are no longer in the log" in found.reason


def test_of_a_champion_judged_by_the_same_date_counts_what_it_foretold():
    foretold = replace(_incumbent(0.0, AFTER), foretold=True)
    found = decide(_challenger(), [], foretold, DAY, SETTINGS)
    assert found.published
    assert "had seen days after it" not in found.reason
    assert found.reason.endswith("and it is made with the settings and data of now")
    assert not decide(_challenger(1.5), [], foretold, DAY, SETTINGS).published


def test_two_are_compared_on_the_customers_of_both_by_what_is_known_now():
    challenger, before = _challenger(), _said(0.0)
    fewer = before.iloc[::2].assign(label=0)
    found = decide(challenger, [], Incumbent("v1", BEFORE, fewer), DAY, SETTINGS)
    assert {one.difference for one in found.comparisons} == {0.0}


def test_baselines_that_it_does_not_clearly_beat_are_named():
    ahead, level = _against(-0.1), replace(_against(-0.001), other="pareto_nbd")
    for incumbent in (None, _incumbent(0.0), _incumbent(1.5), Incumbent("v1", BEFORE, None)):
        found = decide(_challenger(), [ahead, level], incumbent, DAY, SETTINGS)
        assert found.reason.endswith("; not clearly better than pareto_nbd")
        assert "than pareto" not in decide(_challenger(), [ahead], incumbent, DAY, SETTINGS).reason


def test_one_that_loses_to_a_baseline_is_not_published():
    found = decide(_challenger(), [_against(0.02)], None, DAY, SETTINGS)
    assert not found.published
    assert "the baseline recency is better on 2024-06-01" in found.reason
    # Within the noise, by next to nothing, or by a metric that does not decide, it is no loss.
    clear = replace(_against(0.004), low=0.003, high=0.005)
    assert clear.verdict == "worse"
    for harmless in (_against(0.005), clear, _against(-0.02, "roc_auc")):
        assert decide(_challenger(), [harmless], None, DAY, SETTINGS).published


def test_one_that_is_badly_calibrated_is_not_published():
    strict = SETTINGS.model_copy(update={"max_ece": 0.03})
    assert decide(_challenger(ece=0.03), [], None, DAY, strict).published
    found = decide(_challenger(ece=0.031), [], None, DAY, strict)
    assert not found.published
    assert "0.0310, above training.max_ece of 0.03" in found.reason
    assert "it would be 0.0120 on average, by chance alone" in found.reason


def test_one_cannot_be_compared_with_a_champion_whose_features_are_gone():
    found = decide(_challenger(), [], Incumbent("v1", BEFORE, None), DAY, SETTINGS)
    assert found.published
    assert "no longer built" in found.reason


@pytest.mark.parametrize("incumbent", [None, _incumbent(0.0)])
def test_where_so_configured_everything_is_published(incumbent):
    always = SETTINGS.model_copy(update={"publish": "always"})
    found = decide(_challenger(1.5, ece=0.5), [_against(0.5)], incumbent, DAY, always)
    assert found.published
    assert "training.publish" in found.reason
