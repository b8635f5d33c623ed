"""What the pages show: a query or a chart is a function, and none of them needs Streamlit."""

from collections.abc import Mapping
from typing import Any, Protocol

import pandas as pd


class Query(Protocol):
    """What `serving.tables.Tables.query` is, with or without a cache before it."""

    def __call__(self, sql: str, parameters: Mapping[str, Any] | None = None, /) -> pd.DataFrame:
        """The rows of DuckDB's SQL over the tables."""
        ...
