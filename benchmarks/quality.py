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

import pandas as pd
from deltalake import DeltaTable

from benchmarks.ceiling import probability_by_history
from lake.synthetic import SyntheticShop
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
    page = PREAMBLE + _table(table, FIGURES) + LIMITS
    given.output.write_text(page, encoding="utf-8")
    short = _table(table[table["population"] == "A"], IN_README)
    _put_into(ROOT / "README.md", short)
    print(page)


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
    age = (pd.Timestamp(trial.as_of) - last).dt.days
    table = pd.DataFrame({"probability": today["probability"], "recency": 1 / age})
    table["label"] = table.index.isin(future["customer_id"]).astype(int)
    ranked = {_champion(lake): "probability", "recency": "recency"}
    truth = lake / "generated" / "truth" / f"as_of={trial.as_of}"
    if truth.is_dir():
        true = pd.read_parquet(truth).set_index("customer_id")["probability"]
        table["truth"] = true
        orders = past.drop_duplicates(["customer_id", "order_id"])
        table["history"] = probability_by_history(SyntheticShop(), orders, trial.as_of)
        ranked |= {"best by history": "history", "true probability": "truth"}
    populations = {"A": table}
    active = age.reindex(table.index) <= ACTIVE.days
    if not active.all():
        populations["B"] = table[active]
    return [
        {
            "log": trial.source,
            "as_of": trial.as_of,
            "population": name,
            "customers": len(rows),
            "ranked by": model,
            **_figures(rows, column),
        }
        for name, rows in populations.items()
        for model, column in ranked.items()
    ]


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
    if column == "recency":  # it ranks, and is no probability
        found |= dict.fromkeys(OF_PROBABILITIES, float("nan"))
    return {figure: found[figure] for figure in FIGURES}


def _table(rows: pd.DataFrame, figures: Mapping[str, str]) -> str:
    header = ["log", "as_of", "population", "customers", "ranked by", *figures.values()]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows.to_dict("records"):
        values = ["-" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in figures]
        cells = [*(str(row[name]) for name in header[:3]), f"{row['customers']:,}"]
        lines.append("| " + " | ".join([*cells, str(row["ranked by"]), *values]) + " |")
    return "\n".join(lines) + "\n"


def _put_into(page: Path, table: str) -> None:
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


PREAMBLE = """# How good the scores are

Made by `make quality` (about 40 minutes on 2 cores), which needs the public logs Online Retail
(UCI), CDNOW (Fader and Hardie) and Ta-Feng in one folder (`LOGS=DIR make quality`); `generated` is
`repurchase generate` with its defaults. Each log is ingested as delivered, and scored as of a past
day by `repurchase run --as-of` with the shipped settings, one and the same for all. The label is an
order in the 30 days from `as_of`. Nothing dated on or after it had any part in the training.
Ta-Feng's rows name age groups and postcodes; its source file takes them for customers' attributes.

Population A is everybody who had ordered before `as_of`; B those of them with an order in the 365
days before (left out where that is everybody). Recency is the ranking by the days since the last
order. The lift is that of the top decile, the ECE is over 15 bins of equal mass. The slope is that
of Cox's line from the logits of the scores to those of what is true: 1 where probabilities hold.

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
