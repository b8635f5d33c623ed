"""The features of a few customers, from their orders, without Spark.

The days are summed up here; from there on it is the fold that Spark's workers run.
"""

from typing import Any

import pandas as pd
import pyarrow as pa

from features import fold
from features.catalogue import catalogue
from features.customer_days import CUSTOMER_DAYS
from features.popularity import Popularity
from features.predictions import Predictions
from features.windows import Snapshots

DAY = ["customer_id", "day"]
ORDER = [*DAY, "order_id"]
# By kind of line: the money and how many orders have such lines, as customer_days calls them.
BOOKED = {
    "return": ("returned_cents", "returns"),
    "cancelled": ("cancelled_cents", "cancellations"),
}
KINDS = {column.name: column.type for column in CUSTOMER_DAYS.columns}
ARROW = {**fold.ARROW, "bigint": pa.int64(), "array<string>": pa.list_(pa.string())}
LISTS = {"category": "categories", "payment_method": "payment_methods", "product_id": "products"}


def features_of(
    lines: pd.DataFrame,
    snapshots: Snapshots,
    predicted: Predictions | None,
    popular: Popularity | None = None,
) -> pd.DataFrame:
    """Every feature of the catalogue that lines alone give: one row per snapshot, as
    `features.windows.customer_features` gives them.

    `lines` are those of `transactions`, with `day` (datetime64), `cents`, `discount_cents` and
    `thousandths` (of the quantity), integers, in the place of their moment, money and quantity.
    """
    known = catalogue(
        snapshots.windows,
        snapshots.horizon_days,
        popularity=popular is not None,
        predictions=predicted is not None,
    )
    folded = snapshots.fold(known, predicted, popular)
    last = pd.Timestamp(max(snapshots.as_ofs))
    days = customer_days_of(lines[lines["day"] < last])
    batches = days.select(folded.reads()).to_batches()
    schema = pa.schema([(name, fold.ARROW[kind]) for name, kind in folded.schema().items()])
    made = pa.Table.from_batches(list(folded(iter(batches))), schema)
    found: pd.DataFrame = made.to_pandas(date_as_object=True, integer_object_nulls=True)
    return found


def customer_days_of(lines: pd.DataFrame) -> pa.Table:
    """The rows of `customer_days` of the lines, in the order of customer and day."""
    bought = lines["kind"] == "purchase"
    parts = pd.DataFrame(
        {
            "lines": bought.astype(int),
            "units_thousandths": lines["thousandths"].where(bought, 0),
            "revenue_cents": lines["cents"].where(bought, 0),
            "discount_cents": lines["discount_cents"].where(bought, 0),
            **{
                name: column
                for kind, (money, count) in BOOKED.items()
                for is_kind in [lines["kind"] == kind]
                for name, column in (
                    (money, -lines["cents"].where(is_kind, 0)),
                    (count, is_kind.astype(int)),
                )
            },
        }
    )
    orders = pd.concat([lines[ORDER], parts], axis=1).groupby(ORDER, as_index=False).sum()
    is_order = orders["lines"] > 0
    value = orders["revenue_cents"].where(is_order)
    orders = orders.assign(
        orders=is_order.astype(int),
        max_order_cents=value,
        order_cents_squared=(value.astype(float) ** 2).fillna(0.0),
        **{count: (orders[count] > 0).astype(int) for _, count in BOOKED.values()},
    )
    summed = {name: "sum" for name in orders.columns if name not in ORDER}
    days = orders.groupby(DAY).agg({**summed, "max_order_cents": "max"})
    for name, column in LISTS.items():
        days[column] = _entries(lines[bought], name)
    days = days.sort_index().reset_index()
    arrays = {
        name: pa.array(days[name], from_pandas=True).cast(ARROW[kind], safe=False)
        for name, kind in KINDS.items()
    }
    return pa.table(arrays)


def _entries(bought: pd.DataFrame, name: str) -> Any:
    """A series: one entry per order and value, sorted, by customer and day."""
    once = bought.dropna(subset=[name]).drop_duplicates([*ORDER, name])
    return once.sort_values(name).groupby(DAY)[name].agg(list)
