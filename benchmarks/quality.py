"""Score past days of public logs and compare with what happened then: docs/quality.md, README.

`make quality` runs it: `repurchase run` on each log as it is delivered, with the shipped source
file and settings, as of a day whose label window has ended since. What happened is read from
`transactions`, the same way for every log. On the generated log, the true probabilities are judged
beside the scores, and the best that can be said of them from the purchases.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from deltalake import DeltaTable

from benchmarks.ceiling import probability_by_history
from features.likelihood import fit_purchases
from features.probabilistic import History
from lake.synthetic import SyntheticShop
from models.baselines import FITTED, OF_A_FEATURE
from models.judging import bootstrap
from models.metrics import metrics

ROOT = Path(__file__).parents[1]
REPURCHASE = Path(sys.executable).with_name("repurchase")
HORIZON = timedelta(30)
# Population B of a day: those whose last order is at most so long ago.
ACTIVE = timedelta(365)
FIGURES = {
    "base_rate": "base rate",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "top_decile_lift": "lift 10%",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
    "calibration_slope": "slope",
}
OF_PROBABILITIES = ("log_loss", "brier", "ece", "calibration_slope")
# What ranks, and is no probability.
RANKINGS = ("recency", "last window")
LEAD = "the model's lead"
# Columns of `features` that are probabilities of a buy-till-you-die model.
OF_FEATURES = {name: OF_A_FEATURE[name][0] for name in ("mbg_nbd", "mbg_cnbd_2")}
HISTORY = ("active_days_lifetime", "first_to_last_order_days", "tenure_days")
SEED = 1
IN_README = {
    name: FIGURES[name] for name in ("base_rate", "roc_auc", "pr_auc", "top_decile_lift", "ece")
}
BEGIN, END = "<!-- quality -->", "<!-- /quality -->"


@dataclass(frozen=True)
class Trial:
    """A source, its log, and the day to score."""

    source: str
    path: str
    as_of: date


TRIALS = (
    Trial("online_retail", "online_retail", date(2011, 11, 9)),
    Trial("online_retail", "online_retail", date(2011, 9, 10)),
    Trial("cdnow", "cdnow/CDNOW_master.txt", date(1998, 5, 31)),
    Trial("cdnow", "cdnow/CDNOW_master.txt", date(1998, 4, 1)),
    Trial("tafeng", "tafeng/ta_feng_all_months_merged.csv.gz", date(2001, 1, 29)),
    Trial("generated", "generated", date(2024, 12, 1)),
)


def main() -> None:
    """Run every trial and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--logs", type=Path, default=ROOT.parent / "shared" / "data")
    arguments.add_argument("--lakes", type=Path, default=ROOT / "lakehouse" / "quality")
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments.add_argument("--reuse", action="store_true", help="judge the tables of the last time")
    given = arguments.parse_args()
    rows = []
    for trial in TRIALS:
        lake = given.lakes / f"{trial.source}-{trial.as_of}"
        if not (given.reuse and (lake / "current_scores").is_dir()):
            _run(trial, given.logs, lake)
        rows += _judged(trial, lake)
    table = pd.DataFrame(rows)
    page = PREAMBLE + _table(table, {**FIGURES, LEAD: f"{LEAD}, ROC-AUC"}) + LIMITS
    given.output.write_text(page, encoding="utf-8")
    _put_into(ROOT / "README.md", _table(_of_readme(table), IN_README))
    print(page)


def _of_readme(table: pd.DataFrame) -> pd.DataFrame:
    """Of everybody, and of the baselines beside recency that which ranks best."""
    everybody = table[table["population"] == "A"]
    is_other = everybody["ranked by"].isin(("last window", *OF_FEATURES, *FITTED))
    best = everybody[is_other].groupby(["log", "as_of"])["roc_auc"].idxmax()
    return everybody[~is_other | everybody.index.isin(best)]


def _run(trial: Trial, logs: Path, lake: Path) -> None:
    log = logs / trial.path
    if trial.source == "generated":
        log = lake / "generated"
        days = ["--as-of", str(trial.as_of), "--output", str(log)]
        subprocess.run([REPURCHASE, "generate", *days], check=True)
        log = log / "log"
    options = ["--source", trial.source, "--input", str(log), "--as-of", str(trial.as_of)]
    subprocess.run([REPURCHASE, "run", *options, "--lake", str(lake)], check=True)


def _judged(trial: Trial, lake: Path) -> list[dict[str, object]]:
    past, future = _purchases(lake, trial.as_of)
    scored = DeltaTable(lake / "scores").to_pandas()
    today = scored[scored["as_of"] == trial.as_of].set_index("customer_id")
    last = pd.to_datetime(past.groupby("customer_id")["ordered_on"].max())
    if set(last.index) != set(today.index):
        sys.exit(f"{lake}: the scored customers are not those with an order before {trial.as_of}")
    age = (pd.Timestamp(trial.as_of) - last).dt.days.reindex(today.index)
    table = pd.DataFrame(
        {"label": today.index.isin(future["customer_id"]).astype(int)}, today.index
    )
    champion = _champion(lake)
    table[champion] = today["probability"]
    table["recency"] = 1 / age
    for name, probability in _baselines(lake, trial.as_of).items():
        table[name] = probability.reindex(table.index)
    truth = lake / "generated" / "truth" / f"as_of={trial.as_of}"
    if truth.is_dir():
        orders = past.drop_duplicates(["customer_id", "order_id"])
        table["best by history"] = probability_by_history(SyntheticShop(), orders, trial.as_of)
        true = pd.read_parquet(truth).set_index("customer_id")["probability"]
        table["true probability"] = true
    populations = {"A": table}
    active = age <= ACTIVE.days
    if not active.all():
        populations["B"] = table[active]
    return [
        {
            "log": trial.source,
            "as_of": trial.as_of,
            "population": name,
            "customers": len(rows),
            "ranked by": model,
            **_figures(rows, model),
            LEAD: lead,
        }
        for name, rows in populations.items()
        for model, lead in _leads(rows, champion).items()
    ]


def _baselines(lake: Path, as_of: date) -> dict[str, pd.Series]:
    """By customer, what rankings and models of purchases alone say, fitted to what lies before."""
    columns = ["customer_id", "orders_30d", *HISTORY, *OF_FEATURES.values()]
    features = DeltaTable(lake / "features").to_pandas(
        partitions=[("as_of", "=", str(as_of))], columns=columns
    )
    known = features.set_index("customer_id").astype(float)
    repeats, first_to_last, tenure = known[HISTORY[0]] - 1, known[HISTORY[1]], known[HISTORY[2]]
    histories = pd.DataFrame({"repeats": repeats, "first_to_last": first_to_last, "tenure": tenure})
    counted = histories.value_counts().rename("customers").reset_index()
    found = {"last window": (known["orders_30d"] > 0).astype(float)}
    found |= {name: known[column].fillna(0.0) for name, column in OF_FEATURES.items()}
    for name, kind in FITTED.items():
        model = fit_purchases(kind, counted).model
        numbers = (column.to_numpy(float) for column in (repeats, first_to_last, tenure))
        chance = np.asarray(model.p_order(History(*numbers), HORIZON.days), float)
        found[name] = pd.Series(chance, known.index).fillna(0.0)
    return found


def _leads(rows: pd.DataFrame, champion: str) -> dict[str, str]:
    """By what ranks the customers, how much the model's ROC-AUC is above its own on the same
    customers, with the 95 % interval.
    """
    ranked = [name for name in rows.columns if name != "label"]
    said = {name: rows[["label"]].assign(probability=rows[name]) for name in ranked}
    resampled = bootstrap(said, SEED)
    leads = {champion: ""}
    for name in ranked[1:]:
        lead = resampled.compared(champion, name, "roc_auc")
        leads[name] = f"{lead.difference:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"
    return leads


def _purchases(lake: Path, as_of: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = ["customer_id", "order_id", "ordered_on", "kind"]
    lines = DeltaTable(lake / "transactions").to_pandas(columns=columns)
    bought = lines[lines["kind"] == "purchase"]
    day = bought["ordered_on"]
    if as_of + HORIZON > lines["ordered_on"].max() + timedelta(1):
        sys.exit(f"{lake}: the label window of {as_of} has not ended")
    return bought[day < as_of], bought[(day >= as_of) & (day < as_of + HORIZON)]


def _champion(lake: Path) -> str:
    return str(DeltaTable(lake / "current_scores").to_pandas()["model_name"].iloc[0])


def _figures(rows: pd.DataFrame, column: str) -> dict[str, float]:
    histogram = (
        rows.groupby(column)["label"].agg(n="count", positives="sum").reset_index()
    ).rename(columns={column: "probability"})
    found = metrics(histogram.sort_values("probability", ascending=False), threshold=0.5)
    if column in RANKINGS:
        found |= dict.fromkeys(OF_PROBABILITIES, float("nan"))
    return {figure: found[figure] for figure in FIGURES}


def _table(rows: pd.DataFrame, figures: Mapping[str, str]) -> str:
    header = ["log", "as_of", "population", "customers", "ranked by", *figures.values()]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows.to_dict("records"):
        values = [_shown(row[name]) for name in figures]
        cells = [*(str(row[name]) for name in header[:3]), f"{row['customers']:,}"]
        lines.append("| " + " | ".join([*cells, str(row["ranked by"]), *values]) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return "-" if pd.isna(value) else f"{value:.4f}"


def _put_into(page: Path, table: str) -> None:
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


PREAMBLE = """# How good the scores are

Made by `make quality` (about 40 minutes on 2 cores), which needs the public logs Online Retail
(UCI), CDNOW (Fader and Hardie) and Ta-Feng in one folder (`LOGS=DIR make quality`); `generated` is
`repurchase generate` with its defaults. Each log is ingested as delivered, and scored as of a past
day by `repurchase run --as-of` with the settings of `local`, one and the same for all. The label is
an order in the 30 days from `as_of`. Nothing dated on or after it had any part in the training.
Ta-Feng's rows name age groups and postcodes; its source file takes them for customers' attributes.

Population A is everybody who had ordered before `as_of`; B those of them with an order in the 365
days before (left out where that is everybody). Recency is the ranking by the days since the last
order; last window by whether there is an order in the last 30 days. BG/NBD, Pareto/NBD, MBG/NBD and
MBG/CNBD-2 are fitted to the purchases before `as_of`, and are the probability of an order. The
lead is the difference in ROC-AUC on the same customers, with its 95 % interval. The lift is that of
the top decile, the ECE is over 15 bins of equal mass. The slope is that of Cox's line from the
logits of the scores to those of what is true: 1 where probabilities hold.

On the generated log the true probability knows each customer's hidden rates. Best by history does
not: it is what Bayes' theorem makes of the purchases for one who knows how the log was made
([benchmarks/ceiling.py](../benchmarks/ceiling.py)), and no model can rank better, except by chance.

"""
LIMITS = """
Limits: these are five days of three shops, and one synthetic shop whose customers follow the model
in [lake/synthetic.py](../lake/synthetic.py). Calibration rests on past months: where the base rate
rises with the season and the log is shorter than two years (Online Retail in November), the
probabilities come out too low, while the ranking holds.
"""


if __name__ == "__main__":
    main()
