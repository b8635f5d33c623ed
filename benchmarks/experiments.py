"""What moves the figures: one thing changed at a time, judged on past dates of some logs.

Reads the lakes that `python -m benchmarks.quality` leaves of a log's earlier day, and nothing dated
on or after it. LightGBM and logistic regression outside Spark, on the same features.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
from deltalake import DeltaTable
from sklearn.linear_model import LogisticRegression

from features.catalogue import OF_DATE, POPULARITY, PREDICTIONS
from models.boosting import OF_LIGHTGBM
from models.calibration import chances, fit_platt, logits
from models.metrics import (
    average_precision,
    counted,
    log_loss,
    merged,
    probability_metrics,
    roc_auc,
)
from models.training import HELD_OUT_SHARE, of_all_dates

ROOT = Path(__file__).parents[1]
# Of two past days the earlier: neither of them is then among the dates that a variant is judged on.
LAKES = (
    "online_retail-2011-09-10",
    "cdnow-1998-04-01",
    "tafeng-2001-01-29",
    "generated-2024-12-01",
)
HORIZON = timedelta(30)
DATES_JUDGED = 3
BEGIN, END = "<!-- experiments -->", "<!-- /experiments -->"
Floats = npt.NDArray[np.float64]
KEYS = {"customer_id", "as_of", "label"}


@dataclass(frozen=True)
class Variant:
    """How a model is made: the shipped way unless a field says otherwise."""

    name: str
    model: str = "lightgbm"
    # At most so many of the latest dates train.
    dates: int | None = None
    # In days; the weight of a date in the fit, and in the calibration, halves with such an age.
    half_life: float | None = None
    calibration_half_life: float | None = None
    # What the held-out date weighs in the calibration at least.
    held_out_share: float = HELD_OUT_SHARE
    active_within_days: int | None = None
    without: Callable[[str], bool] = lambda name: False
    # Probabilities among the features on the scale of logits.
    logits: bool = False
    # More are thinned to so many, by a hash of these.
    snapshots: int = 60_000
    thinned_by: tuple[str, ...] = ("customer_id", "as_of")


def _of_last_order(name: str) -> bool:
    return name.startswith("last_order_")


def _of_popularity(name: str) -> bool:
    return name in {feature.name for feature in POPULARITY}


BASE = Variant("LightGBM, as shipped")
BLEND = Variant("blend of both", model="both")
VARIANTS = (
    BASE,
    replace(BASE, name="60,000 snapshots of fewer customers", thinned_by=("customer_id",)),
    replace(BASE, name="200,000 snapshots", snapshots=200_000),
    replace(
        BASE,
        name="200,000 snapshots of fewer customers",
        snapshots=200_000,
        thinned_by=("customer_id",),
    ),
    replace(BASE, name="4 latest dates", dates=4),
    replace(BASE, name="12 latest dates", dates=12),
    replace(BASE, name="weight of a date halves in 45 days", half_life=45),
    replace(BASE, name="calibration: held-out date like any other", held_out_share=0.0),
    replace(BASE, name="calibration: half by the held-out date", held_out_share=0.5),
    replace(BASE, name="calibration: by the held-out date alone", held_out_share=0.999),
    replace(
        BASE,
        name="calibration: weight of a date halves in 30 days",
        held_out_share=0.0,
        calibration_half_life=30,
    ),
    replace(BASE, name="only customers active within a year train", active_within_days=365),
    replace(
        BASE,
        name="without what buy-till-you-die models say",
        without=lambda name: name in {feature.name for feature in PREDICTIONS},
    ),
    replace(BASE, name="without decayed orders", without=lambda n: n.startswith("orders_decayed")),
    replace(
        BASE,
        name="without lifetime columns",
        without=lambda n: n.endswith("_lifetime") or n in ("tenure_days", "lifetime_value"),
    ),
    replace(BASE, name="without weekday and month shares", without=lambda n: "_share" in n),
    replace(BASE, name="without the last order", without=_of_last_order),
    replace(BASE, name="without how popular its products are", without=_of_popularity),
    Variant("logistic regression, as shipped", model="line"),
    Variant("logistic regression, probabilities as logits", model="line", logits=True),
    BLEND,
    replace(BLEND, name="blend of both, without the last order", without=_of_last_order),
    replace(BLEND, name="blend of both, without how popular", without=_of_popularity),
)


def main() -> None:
    """Try every variant and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lakes", type=Path, default=ROOT / "lakehouse" / "quality")
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "experiments.md")
    given = arguments.parse_args()
    rows = [row for lake in LAKES for row in _tried(lake, given.lakes / lake)]
    table = pd.DataFrame(rows)
    mean = table.groupby(["log", "variant"], sort=False).mean(numeric_only=True).reset_index()
    text = given.output.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    given.output.write_text(f"{before}\n{_markdown(mean)}\n{after}", encoding="utf-8")


def _tried(name: str, lake: Path) -> Iterator[dict[str, object]]:
    known = _snapshots(lake, date.fromisoformat(name[-10:]))
    dates = sorted(known["as_of"].unique())
    judged = [dates[-1]]
    for day in reversed(dates):
        if judged[-1] - day >= HORIZON and len(judged) < DATES_JUDGED:
            judged.append(day)
    for day in judged:
        past = [d for d in dates if d + HORIZON <= day]
        if not past:
            continue
        later = known[known["as_of"] == day]
        for variant in VARIANTS:
            print(f"{name}, {day}: {variant.name}", flush=True)
            said = _said(variant, known, past, later)
            scored = counted(pd.DataFrame({"label": later["label"], "probability": said}))
            yield {
                "log": name[:-11],
                "variant": variant.name,
                "ROC-AUC": roc_auc(scored),
                "PR-AUC": average_precision(scored),
                "log loss": log_loss(scored),
                "ECE": probability_metrics(scored)["ece"],
            }


def _snapshots(lake: Path, scored: date) -> pd.DataFrame:
    labels = DeltaTable(lake / "labels").to_pandas()
    labels = labels[(labels["horizon_days"] == HORIZON.days) & (labels["as_of"] < scored)]
    labelled = labels.rename(columns={"repurchased": "label"})[["customer_id", "as_of", "label"]]
    features = DeltaTable(lake / "features").to_pandas().select_dtypes(["number"])
    keys = DeltaTable(lake / "features").to_pandas(columns=["customer_id", "as_of"])
    return pd.concat([keys, features], axis=1).merge(labelled, on=["customer_id", "as_of"])


def _said(variant: Variant, known: pd.DataFrame, past: list[date], later: pd.DataFrame) -> Floats:
    chosen = past[-variant.dates :] if variant.dates else past
    rows = known[known["as_of"].isin(chosen)]
    if variant.active_within_days:
        rows = rows[rows["recency_days"] <= variant.active_within_days]
    if len(rows) > variant.snapshots:
        some = pd.util.hash_pandas_object(rows[list(variant.thinned_by)], index=False).to_numpy()
        rows = rows[some % 1_000_000 < variant.snapshots / len(rows) * 1_000_000]
    seasons = (chosen[-1] - chosen[0]).days >= 330
    columns = [
        name
        for name in rows.columns
        if name not in KEYS and not variant.without(name) and (seasons or name not in OF_DATE)
    ]
    rows = rows.assign(age=[float((chosen[-1] - day).days) for day in rows["as_of"]])
    curve = fit_platt(_calibrating(variant, rows, columns), 1.0)
    return chances(curve.of_logits(_fitted(variant, rows, columns)(later)))


def _calibrating(variant: Variant, rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A score histogram: of past dates out of fold, and of the latest by those that had matured."""
    tuning, held_out = rows[rows["age"] >= HORIZON.days], rows[rows["age"] == 0]
    none_matured = tuning.empty
    if none_matured:
        tuning = rows
    fold = pd.util.hash_pandas_object(tuning["customer_id"], index=False).to_numpy() % 3
    past = merged(
        *(
            _histogram(variant, tuning[fold == k], _fitted(variant, tuning[fold != k], columns))
            for k in range(3)
        )
    )
    if none_matured:
        return past
    later = _histogram(variant, held_out, _fitted(variant, tuning, columns))
    return of_all_dates(past, later, variant.held_out_share)


def _histogram(
    variant: Variant, rows: pd.DataFrame, model: Callable[[pd.DataFrame], Floats]
) -> pd.DataFrame:
    said = chances(model(rows)).round(6)
    recent = variant.calibration_half_life
    weight = 0.5 ** (rows["age"] / recent) if recent else 1.0
    return merged(
        pd.DataFrame({"probability": said, "n": weight, "positives": weight * rows["label"]})
    )


def _fitted(
    variant: Variant, rows: pd.DataFrame, columns: list[str]
) -> Callable[[pd.DataFrame], Floats]:
    """A model, as what gives logits."""
    if variant.model == "both":
        parts = [
            _fitted(replace(variant, model=model), rows, columns) for model in ("lightgbm", "line")
        ]
        return lambda other: np.mean([part(other) for part in parts], axis=0)
    half_life = variant.half_life
    weight = 0.5 ** (rows["age"].to_numpy() / half_life) if half_life else np.ones(len(rows))
    label = rows["label"].to_numpy(float)
    if variant.model == "lightgbm":
        settings = {**OF_LIGHTGBM, "num_leaves": 8, "learning_rate": 0.05, "seed": 1}
        x = rows[columns].fillna(-1.0).to_numpy(float)
        booster = lightgbm.train(settings, lightgbm.Dataset(x, label, weight=weight), 100)
        return lambda other: np.asarray(
            booster.predict(other[columns].fillna(-1.0).to_numpy(float), raw_score=True)
        )
    logged = _logged(rows[columns], as_logits=variant.logits)
    mean = logged.mean().fillna(0.0)
    spread = logged.fillna(mean).std().replace(0.0, np.inf)
    low, high = logged.min(), logged.max()
    line = LogisticRegression(C=1 / (0.003 * len(rows)), max_iter=300)
    line.fit(((logged.fillna(mean) - mean) / spread).to_numpy(), label, sample_weight=weight)

    def said(other: pd.DataFrame) -> Floats:
        beyond = _logged(other[columns], as_logits=variant.logits)
        numbers = beyond.clip(low, high, axis=1).fillna(mean)
        return np.asarray(line.decision_function(((numbers - mean) / spread).to_numpy()))

    return said


def _logged(rows: pd.DataFrame, *, as_logits: bool) -> pd.DataFrame:
    numbers = rows.astype(float)
    logged: pd.DataFrame = numbers.abs().transform(np.log1p) * np.sign(numbers.to_numpy())
    if as_logits:
        for name in ("alive_probability", "order_probability", "order_probability_regular"):
            if name in numbers:
                logged[name] = logits(numbers[name].to_numpy())
    return logged


def _markdown(table: pd.DataFrame) -> str:
    metrics = ["ROC-AUC", "PR-AUC", "log loss", "ECE"]
    lines = ["| log | variant | " + " | ".join(metrics) + " |", "|---|---|---|---|---|---|"]
    for row in table.to_dict("records"):
        figures = " | ".join(f"{row[metric]:.4f}" for metric in metrics)
        lines.append(f"| {row['log']} | {row['variant']} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
