"""The model card: complete, self-contained, honest about ties and limits, and safe to open."""

import datetime as dt
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from models.curves import curve
from models.metrics import counted, metrics, reliability
from serving.report import Offer, Training, page

pytestmark = pytest.mark.slow

DAY = dt.date(2024, 6, 1)
OFFER = Offer(20.0, 1.0)
VOID = {"meta", "br", "img", "hr", "input", "link"}


def _histogram(noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    signal = rng.normal(-1, 1.2, 2000)
    label = rng.random(2000) < 1 / (1 + np.exp(-signal))
    known = signal + noise * rng.normal(size=2000)
    return counted(pd.DataFrame({"label": label, "probability": 1 / (1 + np.exp(-known))}))


def _training(name: str = "gbt") -> Training:
    evaluations, curves, bins = [], [], []
    for model, noise in ((name, 0.0), ("recency", 1.5)):
        histogram = _histogram(noise)
        figures = metrics(histogram, 0.4) | {"calibration_moved": 0.01, "cv_base_rate": 0.2}
        figures |= {
            f"{m}_{end}": figures[m] for m in ("roc_auc", "pr_auc") for end in ("low", "high")
        }
        evaluations += [{"model": model, "metric": m, "value": v} for m, v in figures.items()]
        curves.append(curve(histogram).assign(model=model))
        for count in (10, 15):
            found = reliability(histogram, count).rename(columns={"n": "customers"})
            bins.append(found.assign(model=model, bins=count))
    model = {
        "model_name": name,
        "model_version": "2024-07-01-abc",
        "trained_for": dt.date(2024, 7, 1),
        "horizon_days": 30,
        "horizon_hours": None,
        "tuned_on": [dt.date(2024, 3, 1), dt.date(2024, 5, 1)],
        "held_out": DAY,
        "features": ["orders_30d"],
        "parameters": json.dumps({name: {"maxDepth": 3.0}}),
        "settings": json.dumps({"training": {"folds": 3}}),
        "data_versions": {"transactions": 7},
        "code_version": "0.1.0",
        "published": True,
        "decision": "the first model of this horizon",
    }
    compared = [{"model": name, "other": "recency", "metric": "log_loss", "verdict": "better"}]
    known = [("orders_30d", 0.7, 0.1, 0.05, 0.15), ("recency_days", 0.3, np.nan, np.nan, np.nan)]
    columns = ["feature", "gain", "permutation", "permutation_low", "permutation_high"]
    return Training(
        model,
        pd.DataFrame(evaluations),
        pd.DataFrame(compared),
        pd.concat(curves),
        pd.concat(bins),
        pd.DataFrame(
            [
                (name, "hibernating", 900, 0.1, 0.12, 0.021, 0.09, 0.031),
                (name, "champions", 300, 0.7, 0.68, 0.034, 0.2, 0.082),
                ("recency", "champions", 300, 0.5, 0.68, 0.18, 0.25, 0.089),
            ],
            columns=[
                *("model", "segment", "customers", "predicted", "observed"),
                *("ece", "brier", "ece_by_chance"),
            ],
        ),
        pd.DataFrame(known, columns=columns),
        pd.DataFrame(columns=["model", "as_of", "metric", "value"]),
        {"orders_30d": "Orders in the last 30 days"},
        "EUR",
    )


class _Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else():
    text = page(_training(), OFFER)
    parser = _Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r"<(script|link|img|iframe)\b", text)
    # Only the names of SVG's vocabularies look like addresses.
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert all(
        "w3.org" in a or "purl.org" in a or "creativecommons" in a or "matplotlib" in a
        for a in addresses
    )
    assert text.count("<svg") >= 9


def test_the_champion_s_figures_have_their_intervals_where_they_are_known():
    training = _training()
    ends = pd.DataFrame(
        [
            {"model": model, "metric": f"brier_{end}", "value": value}
            for model in ("gbt", "recency")
            for end, value in (("low", 0.1234), ("high", 0.2341))
        ]
    )
    known = pd.concat([training.evaluations, ends])
    text = page(replace(training, evaluations=known), OFFER)
    assert text.count("0.123 to 0.234") == 1
    assert "nan to" not in text


def test_few_customers_have_no_interval():
    training = _training()
    known = training.evaluations
    known.loc[known["metric"].str.contains("_low|_high"), "value"] = None
    text = page(training, OFFER)
    assert text.count("too few customers for an interval") == 2
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)


def test_it_shows_the_figures_of_the_tables():
    training = _training()
    figures = training.evaluations.query("model == 'gbt'").set_index("metric")["value"]
    text = page(training, OFFER)
    assert f"{figures['roc_auc']:.4f}" in text
    assert f"{100 * figures['ece']:.1f} %" in text
    assert "Orders in the last 30 days" in text
    assert "2024-07-01-abc" in text
    assert "run <code>repurchase backtest</code>" in text


def test_segments_are_told_the_best_first():
    text = page(_training(), OFFER)
    assert 0 < text.index(">champions<") < text.index(">hibernating<")
    assert "3.4 %" in text
    assert "18.0 %" not in text


def test_the_best_share_to_contact_follows_the_offer():
    training = _training()
    cheap, dear = (page(training, Offer(20.0, cost)) for cost in (0.0, 12.0))
    shares = [int(re.search(r"the likeliest (\d+) %", text)[1]) for text in (cheap, dear)]
    assert shares[0] > 90
    assert shares[1] < 30


def test_where_no_contact_pays_it_says_so():
    text = page(_training(), Offer(0.5, 1.0))
    assert "it would not have paid to contact even the likeliest hundredth" in text
    assert "would have brought most" not in text


def test_backtests_are_shown_by_date():
    rows = [
        {"model": m, "as_of": day, "metric": f"roc_auc{end}", "value": value}
        for day in (dt.date(2024, 4, 1), dt.date(2024, 5, 1))
        for m, value in (("gbt", 0.8123), ("recency", 0.7))
        for end in ("", "_low", "_high")
    ]
    others = ("pr_auc", "top_decile_lift", "log_loss", "brier", "ece")
    rows += [{**row, "metric": m, "value": 0.5} for row in rows[::3] for m in others]
    assert "probabilities said" not in page(
        replace(_training(), backtests=pd.DataFrame(rows)), OFFER
    )
    for day, ordered in ((dt.date(2024, 4, 1), 0.18), (dt.date(2024, 5, 1), 0.25)):
        for metric, value in (("base_rate", ordered), ("mean_probability", 0.2)):
            rows.append({"model": "gbt", "as_of": day, "metric": metric, "value": value})
    backtests = pd.DataFrame(rows)
    text = page(replace(_training(), backtests=backtests), OFFER)
    assert "On 2 past dates, 90% to 125% of the customers" in text
    assert text.count("0.8123") == 2
    assert "2024-04-01" in text
    backtests.loc[backtests["metric"].str.contains("_low|_high"), "value"] = None
    assert page(replace(_training(), backtests=backtests), OFFER).count("0.8123") == 2


def test_limits_are_told_where_there_are_any():
    text = page(_training(), OFFER)
    assert f"dates that cover {(DAY - dt.date(2024, 3, 1)).days} days: what repeats" in text
    assert "lag behind" in text
    seasonal = {**_training().model, "features": ["orders_30d", "horizon_month"]}
    told = page(replace(_training(), model=seasonal), OFFER)
    assert "has seen each season once" in told
    assert "once a year is not known" not in told
    tie = pd.DataFrame(
        [{"model": "recency", "other": "gbt", "metric": "log_loss", "verdict": "tie"}]
    )
    assert "cannot be told from recency" in page(replace(_training(), comparisons=tie), OFFER)
    assert "cannot be told" not in text


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "\"'&", "模型 ☕"])
def test_names_from_outside_are_only_text(hostile):
    training = _training()
    model = {**training.model, "decision": hostile}
    text = page(replace(training, model=model, currency=hostile), OFFER)
    assert "<script>" not in text
