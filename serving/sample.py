"""So many of the customers of a date that their shares and middles can stand for all."""

from collections.abc import Callable

import pandas as pd

# By a hash of the customer: the error of a share is then below a quarter of a percent.
SAMPLE = 50_000


def every(
    query: Callable[..., pd.DataFrame], as_of: str | pd.Timestamp, enough: int = SAMPLE
) -> int:
    """Of how many customers of a date one is looked at, so that about enough are.

    `query` is `Tables.query`, or one with a cache before it.
    """
    rows = query(
        "SELECT count(*) AS customers FROM features WHERE as_of = $as_of::DATE",
        {"as_of": str(as_of)[:10]},
    )
    return max(1, int(rows["customers"][0]) // enough)


def among(every: int) -> str:
    """The predicate of the customers that are looked at."""
    return "TRUE" if every == 1 else f"hash(customer_id) % {every} = 0"
