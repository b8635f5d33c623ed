"""Templates and examples of uploads, made of what the tables hold."""

from collections.abc import Container, Sequence

import numpy as np
import pandas as pd

from serving.dashboard.figures import Query
from serving.dashboard.figures.people import quoted
from serving.requests import SYNONYMS
from serving.spot import NEEDED, OPTIONAL

# As people call them, in the order of the template.
PLAIN = (
    *("recency", "tenure", "orders", "monetary"),
    *("avg_discount", "return_rate", "category_diversity"),
)
ORDERS = (*NEEDED, *OPTIONAL)


def plain_names(features: Container[str]) -> dict[str, str]:
    """By plain name, the feature, where there is one."""
    return {name: SYNONYMS[name] for name in PLAIN if SYNONYMS[name] in features}


def customers(query: Query, names: dict[str, str], number: int, seed: int) -> pd.DataFrame:
    """So many customers drawn from the latest features, under other ids."""
    wanted = ", ".join(f"{quoted(feature)} AS {quoted(name)}" for name, feature in names.items())
    drawn = query(
        f"SELECT {wanted} FROM (SELECT * FROM features WHERE as_of = "
        "(SELECT max(as_of) FROM features) ORDER BY hash(customer_id, $seed) LIMIT $number)",
        {"number": number, "seed": seed},
    )
    drawn.insert(0, "customer_id", _ids(len(drawn)))
    return drawn


def orders(query: Query, columns: Sequence[str], number: int, seed: int) -> pd.DataFrame:
    """The orders of so many customers drawn from the log, under other ids."""
    wanted = ", ".join(name for name in ORDERS if name in columns)
    drawn = query(
        f"SELECT {wanted} FROM transactions WHERE customer_id IN (SELECT customer_id FROM "
        "current_scores ORDER BY hash(customer_id, $seed) LIMIT $number) "
        "ORDER BY customer_id, ordered_at",
        {"number": number, "seed": seed},
    )
    places, known = pd.factorize(drawn["customer_id"])
    return drawn.assign(customer_id=np.array(_ids(len(known)), dtype=object)[places])


def _ids(number: int) -> list[str]:
    return [f"E{place:05d}" for place in range(1, number + 1)]
