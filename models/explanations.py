"""Why a customer's probability is what it is: the features that moved it most."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from models import calibration, open_form, trees
from models.open_form import Explainer, OpenModel

# Workers need numpy and Arrow, and no copy of this package.
for module in (calibration, open_form, trees, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
# How many reasons a score has.
COUNT = 3
# A number that is smaller would be written as 0.
LEAST_SHOWN, NEARLY_0 = 0.0005, "nearly 0"
REASONS = "reasons"
_FOUND = "found_reasons"
# Of numbers that are written when they are chosen: few of a customer's features are.
PLAIN = ("int", "bigint", "double")
Batches = Iterator[tuple[pa.Array, ...]]


def with_reasons(
    frame: DataFrame, model: OpenModel, types: Mapping[str, str], words: Mapping[str, str]
) -> DataFrame:
    """The frame with `reasons`: the features that moved the probability most, with their values,
    by how much each moved it, and in words; an array of structs.

    The frame has the features and what each member read (`models.blending.said`). `types` and
    `words` are the Spark type and the description of each feature. All features together move the
    probability from that of the average training snapshot to that of the customer; see
    `models.trees` and, for the line, `models.open_form`.
    """
    features = model.features
    count = min(COUNT, len(features))
    made = ",".join(f"place_{k}:int,moved_{k}:double" for k in range(count))
    read = [F.col(f"read_{place}") for place in range(len(model.members))]
    find = arrow_udf(_finder(model, count), f"struct<{made}>")  # type: ignore[call-overload]
    # What differs by feature, by its place.
    tables = {
        "feature": F.array(*map(F.lit, features)),
        "value": F.array(*[_number(name, types[name]) for name in features]),
        "said": F.array(*[F.lit(plain(words[name])) for name in features]),
        "text": F.array(*[_text(name, types[name]) for name in features]),
    }

    def reason(k: int) -> Column:
        of = {name: F.get(table, F.col(f"{_FOUND}.place_{k}")) for name, table in tables.items()}
        moved = F.col(f"{_FOUND}.moved_{k}")
        points = F.format_string(" (%+.1f points)", moved * 100)
        shown = F.coalesce(of["text"], _shown(of["value"]), F.lit("none"))
        return F.struct(
            of["feature"].alias("feature"),
            of["value"].alias("value"),
            moved.alias("contribution"),
            F.concat(of["said"], F.lit(": "), shown, points).alias("sentence"),
        )

    found = frame.withColumn(_FOUND, find(*read))
    return found.withColumn(REASONS, F.array(*[reason(k) for k in range(count)])).drop(_FOUND)


def plain(description: str) -> str:
    """The description of a feature without what only its maker wants to know."""
    said = re.sub(r" \([^)]*\)", "", description.split(";", maxsplit=1)[0])
    return said.replace("as_of", "today")


def _finder(model: OpenModel, count: int) -> Callable[[Batches], Iterator[pa.Array]]:
    def find(batches: Batches) -> Iterator[pa.Array]:
        explainer = Explainer(model)
        for found in batches:
            arrays = found if isinstance(found, tuple) else (found,)
            read = [
                trees.by_input(array, len(member.inputs))
                for array, member in zip(arrays, model.members, strict=True)
            ]
            moved = explainer.contributions(read)
            places, most = open_form.largest(moved, count)
            columns = [c for pair in zip(places.astype(np.int32), most, strict=True) for c in pair]
            names = [f"{name}_{k}" for k in range(count) for name in ("place", "moved")]
            yield pa.StructArray.from_arrays([pa.array(c) for c in columns], names)

    return find


def _number(name: str, kind: str) -> Column:
    return F.lit(None).cast("double") if kind == "string" else F.col(name).cast("double")


def _text(name: str, kind: str) -> Column:
    """What is shown as it is written; null for a plain number."""
    return F.lit(None).cast("string") if kind in PLAIN else F.col(name).cast("string")


def _shown(number: Column) -> Column:
    """The number as people write it; what is next to 0 or to 1 is not said to be there."""
    size = F.abs(number)
    rounded = F.when(size < 1, F.round(number, 3)).otherwise(F.round(number, 2))
    written = F.regexp_replace(F.format_string("%.3f", rounded), r"\.?0+$", "")
    return F.when((size > 0) & (size < LEAST_SHOWN), F.lit(NEARLY_0)).otherwise(written)
