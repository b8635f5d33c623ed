"""Feature columns to the vector that a model reads, as Spark ML stages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.ml.base import Estimator, Transformer
from pyspark.ml.feature import (
    Imputer,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from models.open_form import OTHER

Stage = Estimator[Any] | Transformer
VECTOR = "model_features"
# A tree gets what is missing as a value of its own, below anything that a feature can be: some
# are logarithms of shares, and those of users may be any number.
MISSING = -1e18
# More texts than this share the place of the unseen ones.
MAX_TEXTS = 50
# Days between the first and the last date from which a season can be learned, of any step.
A_YEAR = 330


@dataclass(frozen=True)
class Inputs:
    """The feature columns of a model: the numeric ones, and the text ones with the texts that
    get a place of their own. `ranges` are the lowest and the highest number that trained.
    """

    numeric: tuple[str, ...]
    texts: dict[str, tuple[str, ...]]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All columns."""
        return [*self.numeric, *self.texts]


def chosen_inputs(snapshots: DataFrame, numeric: Sequence[str], texts: Sequence[str]) -> Inputs:
    """The numeric columns that vary in the snapshots, for the others can teach a model nothing, and
    the text columns that hold a text. What is known of some and missing of others varies.

    What is the same for everybody on a date (its month, the holidays ahead) is left out unless
    the dates cover a year: on fewer dates it tells them apart instead of the seasons, and a later
    date is one that no model has seen.
    """
    counts = [F.count(name).alias(f"known_{name}") for name in numeric]
    all_rows = F.count(F.lit(1)).alias("rows")
    dates = snapshots.groupBy("as_of").agg(all_rows, *counts, *_extremes(numeric)).collect()
    covered = (max(row["as_of"] for row in dates) - min(row["as_of"] for row in dates)).days
    of_customers = {n for n in numeric for row in dates if _varies(row, n)}
    of_dates = {n for n in numeric if len({row[f"min_{n}"] for row in dates}) > 1} - of_customers
    varying = of_customers | (of_dates if covered >= A_YEAR else set())
    kept = tuple(name for name in numeric if name in varying)
    known = {name: found for name in texts if (found := _frequent(snapshots, name))}
    return Inputs(kept, known, _ranges(kept, dates))


def _varies(of_date: Row, name: str) -> bool:
    low, high, known = (of_date[f"{of}_{name}"] for of in ("min", "max", "known"))
    return bool(low != high or 0 < known < of_date["rows"])


def with_ranges(inputs: Inputs, snapshots: DataFrame) -> Inputs:
    """The inputs with the ranges of these snapshots."""
    rows = snapshots.agg(*_extremes(inputs.numeric)).collect()
    return replace(inputs, ranges=_ranges(inputs.numeric, rows))


def _ranges(names: Sequence[str], rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    found = {}
    for name in names:
        known = [(row[f"min_{name}"], row[f"max_{name}"]) for row in rows]
        ends = [(float(low), float(high)) for low, high in known if low is not None]
        if ends:
            lows, highs = zip(*ends, strict=True)
            found[name] = (min(lows), max(highs))
    return found


def _extremes(names: Sequence[str]) -> list[Column]:
    each = (("min", F.min), ("max", F.max))
    return [find(name).alias(f"{end}_{name}") for end, find in each for name in names]


def _frequent(snapshots: DataFrame, name: str) -> tuple[str, ...]:
    counted = snapshots.where(F.col(name).isNotNull()).groupBy(name).count()
    rows = counted.orderBy(F.desc("count"), name).limit(MAX_TEXTS).collect()
    return tuple(row[0] for row in rows)


def for_trees(inputs: Inputs) -> list[Stage]:
    """Numbers as they are, with the missing ones as a value of their own; text one-hot."""
    filled = [f"coalesce(cast({n} as double), {MISSING}) as x_{n}" for n in inputs.numeric]
    return [
        _selected([*filled, *_texts(inputs)]),
        *_one_hot(inputs),
        _assembled(inputs, VECTOR),
    ]


def for_linear(inputs: Inputs) -> list[Stage]:
    """Numbers on a log scale, the missing ones as the mean, then standardised; text one-hot.

    Counts, days and money are skewed to the right and never far below 0, so
    sign(x) * log(1 + |x|) makes them comparable. A number beyond those that trained counts as the
    nearest of them: a line that was fitted to a narrow range says anything outside. Where only one
    number trained, it stands for the missing ones too: they do not move a line, only a tree.
    """
    logged = [f"{_logged(n, inputs.ranges.get(n))} as x_{n}" for n in inputs.numeric]
    numbers = [f"x_{n}" for n in inputs.numeric]
    return [
        _selected([*logged, *_texts(inputs)]),
        Imputer(inputCols=numbers, outputCols=numbers, strategy="mean"),
        *_one_hot(inputs),
        _assembled(inputs, "assembled_features"),
        StandardScaler(inputCol="assembled_features", outputCol=VECTOR, withMean=True),
    ]


def _logged(name: str, seen: tuple[float, float] | None) -> str:
    # Each mention of the column is Java that Spark has to compile, for each of a hundred columns.
    x = f"cast({name} as double)"
    logged = f"signum({x}) * log1p(abs({x}))"
    if seen is None:
        return logged
    low, high = (f"double('{math.copysign(math.log1p(abs(end)), end)!r}')" for end in seen)
    if low == high:
        # The mean of many such is rounded, and the rounding would be standardised.
        return low
    return f"if({x} is null, null, least(greatest({logged}, {low}), {high}))"


def _selected(expressions: Sequence[str]) -> SQLTransformer:
    return SQLTransformer(statement=f"SELECT *, {', '.join(expressions)} FROM __THIS__")


def _texts(inputs: Inputs) -> list[str]:
    def known(name: str) -> str:
        return ", ".join(
            "'" + t.replace("\\", "\\\\").replace("'", "\\'") + "'" for t in inputs.texts[name]
        )

    return [f"if({n} in ({known(n)}), {n}, '{OTHER}') as t_{n}" for n in inputs.texts]


def _one_hot(inputs: Inputs) -> list[Stage]:
    if not inputs.texts:
        return []
    indexes = [f"i_{n}" for n in inputs.texts]
    return [
        StringIndexer(
            inputCols=[f"t_{n}" for n in inputs.texts], outputCols=indexes, handleInvalid="keep"
        ),
        OneHotEncoder(
            inputCols=indexes, outputCols=[f"x_{n}" for n in inputs.texts], handleInvalid="keep"
        ),
    ]


def _assembled(inputs: Inputs, column: str) -> VectorAssembler:
    return VectorAssembler(inputCols=[f"x_{n}" for n in inputs.names], outputCol=column)
