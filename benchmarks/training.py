"""How long training and scoring take beside single-machine libraries, and how well each ranks.

The same table of made-up snapshots for all: 40 features, of which ten tell something. Libraries get
it as one array in memory; this project as a cached Spark table.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import lightgbm
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import xgboost
from matplotlib.ticker import NullLocator
from pyspark.ml import Pipeline
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from conf.settings import TrainingSettings, load_settings
from features.snapshots import Split
from jobs.session import spark_session
from models.blending import Member, blended
from models.boosting import OF_XGBOOST
from models.calibration import IDENTITY, Platt
from models.candidates import CANDIDATES
from models.fits import Terms
from models.material import Material, made_ready
from models.metrics import roc_auc
from models.open_form import OpenModel
from models.opening import opened
from models.preparation import Inputs
from models.registry import Registered
from models.scoring import explained
from models.segments import RFM
from models.training import train
from models.tuning import READ, Grid, cross_validator, tuned

ROOT = Path(__file__).parents[1]
FEATURES, TELLING = 40, 10
DATES = (date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1))
SPLIT = Split(DATES[:2], DATES[2], 30)
# The first three are known to the baselines and to the segments.
NAMES = (*RFM, *(f"f{k}" for k in range(len(RFM), FEATURES)))
LR_GRID = (0.0003, 0.003, 0.03, 0.3)
FOLDS, CORES = 3, 2
LR_SEARCH = f"logistic regression, {len(LR_GRID)} points x {FOLDS} folds"
FOUR = ("logistic_regression", "random_forest", "gbt", "xgboost")
Floats = npt.NDArray[np.float64]
Row = dict[str, object]
COLUMNS = ("rows", "what", "engine", "seconds", "ROC-AUC")


def main() -> None:
    """Time everything at each size and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, nargs="*", default=[100_000, 500_000])
    arguments.add_argument("--scored", type=int, default=1_000_000, help="0: no scoring")
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "training.md")
    arguments.add_argument(
        "--keep", action="store_true", help="leave what the page has of other sizes"
    )
    given = arguments.parse_args()
    known = list(_known(given.output)) if given.keep else []
    spark = spark_session(load_settings("local").spark)
    rows: list[Row] = []
    for size in given.rows:
        table = _made_up(size)
        rows += [*_of_libraries(table), *_of_spark(spark, table)]
    if given.scored:
        rows += _scoring(spark, _made_up(50_000), given.scored)
    measured = {row["rows"] for row in rows}
    rows += [row for row in known if row["rows"] not in measured]
    given.output.write_text(_page(rows), encoding="utf-8")
    _plot(rows, given.output.with_suffix(".svg"))


def _made_up(rows: int) -> pd.DataFrame:
    """Snapshots of three dates, a third each: customer_id, as_of, label, the features."""
    rng = np.random.default_rng(1)
    rows -= rows % len(DATES)
    known = rng.gamma(1.5, 2.0, (rows, FEATURES)).round(3)
    signal = np.log1p(known[:, :TELLING]) @ rng.normal(0, 0.5, TELLING)
    signal += 0.4 * (known[:, 0] > 4) * (known[:, 1] < 2)
    label = rng.random(rows) < 1 / (1 + np.exp(-(signal - np.median(signal) - 0.8)))
    table = pd.DataFrame(known, columns=list(NAMES))
    table["customer_id"] = [f"c{k % (rows // 3)}" for k in range(rows)]
    table["as_of"] = [DATES[min(k // (rows // 3), 2)] for k in range(rows)]
    return table.assign(label=label.astype(int))


def _timed(what: str, engine: str, rows: int, work: Callable[[], float]) -> Row:
    started = time.monotonic()
    area = work()
    seconds = time.monotonic() - started
    ranks = "" if np.isnan(area) else f", ROC-AUC {area:.4f}"
    print(f"{rows:,} rows, {what}, {engine}: {seconds:.1f} s{ranks}", flush=True)
    return dict(zip(COLUMNS, (rows, what, engine, seconds, area), strict=True))


def _of_libraries(table: pd.DataFrame) -> Iterator[Row]:
    past, later = table[table["as_of"] < DATES[2]], table[table["as_of"] == DATES[2]]
    x, y, after = (
        part.to_numpy() for part in (past[list(NAMES)], past["label"], later[list(NAMES)])
    )
    truth, rows = later["label"].to_numpy(), len(table)

    def logistic() -> float:
        logged, then = np.log1p(x), np.log1p(after)
        mean, spread = logged.mean(axis=0), logged.std(axis=0)
        grid = {"C": [1 / (r * len(x)) for r in LR_GRID]}
        # One fit after the other: its linear algebra has both cores.
        search = GridSearchCV(
            LogisticRegression(max_iter=100), grid, cv=FOLDS, scoring="neg_log_loss"
        )
        search.fit((logged - mean) / spread, y)
        return float(roc_auc_score(truth, search.predict_proba((then - mean) / spread)[:, 1]))

    def forest() -> float:
        model = RandomForestClassifier(20, max_depth=8, min_samples_leaf=20, n_jobs=-1).fit(x, y)
        return float(roc_auc_score(truth, model.predict_proba(after)[:, 1]))

    def histogram() -> float:
        model = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=8).fit(x, y)
        return float(roc_auc_score(truth, model.predict_proba(after)[:, 1]))

    def light() -> float:
        settings = {"objective": "binary", "num_leaves": 8, "verbose": -1}
        model = lightgbm.train(settings, lightgbm.Dataset(x, y), 100)
        return float(roc_auc_score(truth, model.predict(after)))

    def extreme() -> float:
        settings = {k: v for k, v in OF_XGBOOST.items() if k != "num_workers"}
        settings |= {"max_depth": 4, "eta": 0.05, "objective": "binary:logistic"}
        model = xgboost.train(settings, xgboost.DMatrix(x, y), 100)
        return float(roc_auc_score(truth, model.predict(xgboost.DMatrix(after))))

    yield _timed(LR_SEARCH, "scikit-learn", rows, logistic)
    yield _timed("random forest, 20 trees of depth 8", "scikit-learn", rows, forest)
    yield _timed("boosting, 100 trees of 8 leaves", "scikit-learn", rows, histogram)
    yield _timed("boosting, 100 trees of 8 leaves", "LightGBM", rows, light)
    yield _timed("boosting, 100 trees of depth 4", "XGBoost", rows, extreme)


def _of_spark(spark: SparkSession, table: pd.DataFrame) -> Iterator[Row]:
    all_rows = [f"training.partitions={CORES}", "training.max_snapshots=null"]
    settings = load_settings("local", [f"training.folds={FOLDS}", *all_rows])
    snapshots = _in_spark(spark, table)
    inputs = Inputs(NAMES, {})
    tries: dict[str, tuple[str, Grid]] = {
        LR_SEARCH: ("logistic_regression", {"regParam": LR_GRID}),
        f"random forest, 20 trees of depth 8, {FOLDS} folds and a fit": (
            "random_forest",
            {"numTrees": (20.0,), "maxDepth": (8.0,)},
        ),
        f"GBT, 20 trees of depth 5, {FOLDS} folds and a fit": (
            "gbt",
            {"maxIter": (20.0,), "maxDepth": (5.0,)},
        ),
        f"LightGBM, 100 trees of 8 leaves, {FOLDS} folds and a fit": (
            "lightgbm",
            {"numLeaves": (8.0,), "maxIter": (100.0,)},
        ),
        f"XGBoost, 100 trees of depth 4, {FOLDS} folds and a fit": (
            "xgboost",
            {"maxDepth": (4.0,), "maxIter": (100.0,)},
        ),
    }
    with made_ready(snapshots, SPLIT, settings.training) as material:
        material.learned.count()
        for what, (name, grid) in tries.items():

            def work(name: str = name, grid: Grid = grid) -> float:
                one = tuned(
                    CANDIDATES[name], grid, material, inputs, settings.training, Terms(_said)
                )
                return roc_auc(one.held_out.histogram)

            yield _timed(what, "repurchase", len(table), work)
        yield from _cross_validation(material, inputs, settings.training, len(table))
    shipped = load_settings("local").training
    everything = load_settings("local", all_rows).training
    four = everything.model_copy(
        update={"models": {name: everything.models[name] for name in FOUR}}
    )
    kinds = {f"{', '.join(FOUR)}, on all": four, "on all": everything}
    if shipped.max_snapshots and len(table) > shipped.max_snapshots:
        kinds[f"as shipped, thinned to {shipped.max_snapshots:,}"] = shipped
    for said, whole in kinds.items():
        once = partial(_whole, snapshots, whole)
        yield _timed(f"train, whole, {said}", "repurchase", len(table), once)


def _cross_validation(
    material: Material, inputs: Inputs, settings: TrainingSettings, rows: int
) -> Iterator[Row]:
    """Of vectors that are there, as scikit-learn has them: not counted are their preparation and
    what is said of the last date.
    """
    candidate = CANDIDATES["logistic_regression"]
    preparation = Pipeline(stages=candidate.preparation(inputs)).fit(material.tuning)
    prepared = preparation.transform(material.tuning).select(*READ).persist()
    prepared.count()
    grid: Grid = {"regParam": LR_GRID}
    search = cross_validator(candidate, grid, material.split, settings, Terms(_said))

    def alone() -> float:
        search.fit(prepared)
        return float("nan")

    yield _timed(f"{LR_SEARCH}, CrossValidator alone", "repurchase", rows, alone)
    prepared.unpersist()


def _whole(snapshots: DataFrame, settings: TrainingSettings) -> float:
    """The models of the settings, baselines, calibration, the blend and the last fit."""
    found = train(snapshots, NAMES, (), SPLIT, settings, _said)
    won = next(one for one in found.evaluations if one.name == found.champion.name)
    return float(won.held_out["roc_auc"])


def _said(what: str) -> None:
    print(f"  {what}", flush=True)


def _scoring(spark: SparkSession, table: pd.DataFrame, scored: int) -> Iterator[Row]:
    """Every kind of model on many customers, with and without reasons."""
    snapshots = _in_spark(spark, table).withColumn("weight", F.lit(1.0)).persist()
    inputs = Inputs(NAMES, {})
    grids = {
        "logistic_regression": {},
        "random_forest": {"numTrees": 30, "maxDepth": 8},
        "gbt": {"maxIter": 30, "maxDepth": 4},
        "lightgbm": {"numLeaves": 8, "maxIter": 100},
    }
    many = spark.range(scored).select(
        F.concat(F.lit("c"), "id").alias("customer_id"),
        F.lit(DATES[2]).alias("as_of"),
        *[
            (F.pmod(F.xxhash64("id", F.lit(name)), F.lit(8000)) / 1000).alias(name)
            for name in NAMES
        ],
    )
    many = many.persist()
    many.count()
    members, opens = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, grid in grids.items():
            estimator = CANDIDATES[name].estimator(1)
            fixed = estimator.copy({estimator.getParam(k): v for k, v in grid.items()})
            stages = [*CANDIDATES[name].preparation(inputs), fixed]
            member = Member(name, Pipeline(stages=stages).fit(snapshots), Platt(1.0), {})
            member.pipeline.save(f"{folder}/{name}")
            members.append(member)
            opens.append(opened(spark, member, f"{folder}/{name}", inputs))
    types, words = dict.fromkeys(NAMES, "double"), {name: name for name in NAMES}
    for kinds in ([0], [1], [2], [3], [0, 1, 2, 3]):
        of = [members[k] for k in kinds]
        form = OpenModel(tuple(opens[k] for k in kinds), IDENTITY)
        day = DATES[2]
        model = Registered("m", "v", day, day, folder, of, IDENTITY, 0.5, list(NAMES), form)
        what = "scoring by " + ("a blend of these" if len(of) > 1 else of[0].name)

        def plain(of: list[Member] = of) -> float:
            _written(blended(many, of, ["customer_id"]))
            return float("nan")

        def told(model: Registered = model) -> float:
            _written(explained(many, model, types, words))
            return float("nan")

        yield _timed(what, "repurchase", scored, plain)
        yield _timed(f"{what}, with reasons", "repurchase", scored, told)


def _written(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _in_spark(spark: SparkSession, table: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pandas(table, preserve_index=False))


PREAMBLE = """# How long training and scoring take

Made by `python -m benchmarks.training` on 2 cores: a made-up table of 40 features and three dates,
of which two train and one judges; libraries have it in memory as one array, this project as a
cached Spark table. "CrossValidator alone" is its fits on vectors that are there; "train, whole" is
all models with their blend, baselines, calibration and last fit, "on all" rows or on those that the
settings of `local` leave. Times are of one run for each size on a shared machine: compare within a
size.

![seconds by rows](training.svg)

| rows | what | by | seconds | ROC-AUC |
|---|---|---|---|---|
"""


def _page(rows: list[Row]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: int(str(row["rows"]))):
        area = float(str(row["ROC-AUC"]))
        cells = (f"{row['rows']:,}", row["what"], row["engine"], f"{row['seconds']:.1f}")
        lines.append(
            f"| {' | '.join(map(str, cells))} | {'' if np.isnan(area) else f'{area:.4f}'} |"
        )
    return PREAMBLE + "\n".join(lines) + "\n"


def _plot(rows: list[Row], path: Path) -> None:
    """Seconds by rows, a line for whatever was timed at several sizes."""
    table = pd.DataFrame(rows).sort_values("rows")
    figure, panel = plt.subplots(figsize=(11, 5))
    palette = iter(plt.get_cmap("tab20").colors)  # type: ignore[attr-defined]
    for (what, engine), part in table.groupby(["what", "engine"], sort=False):
        if len(part) > 1:
            style = "o-" if engine == "repurchase" else "s--"
            label, colour = f"{what}, {engine}", next(palette)
            panel.plot(part["rows"], part["seconds"], style, label=label, color=colour)
    panel.set(xscale="log", yscale="log", xlabel="rows of 40 features", ylabel="seconds")
    sizes = sorted(set(table["rows"][table.duplicated(["what", "engine"], keep=False)]))
    panel.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter("{x:g}")
    panel.grid(visible=True, alpha=0.3)
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _known(page: Path) -> Iterator[Row]:
    """The rows of the table that is there."""
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(COLUMNS) and cells[0].replace(",", "").isdecimal():
            values = (int(cells[0].replace(",", "")), *cells[1:3], float(cells[3]))
            area = float(cells[4]) if cells[4] else float("nan")
            yield dict(zip(COLUMNS, (*values, area), strict=True))


if __name__ == "__main__":
    main()
