"""What came in, what was refused, and how fresh everything is."""

import altair as alt
import pandas as pd

from serving.dashboard.figures import Query
from serving.dashboard.figures import charts as c

MOST_REASONS = 20


def rows_of(query: Query, table: str) -> int:
    """How many rows a table has."""
    return int(query(f"SELECT count(*) AS rows FROM {table}")["rows"][0])


def refused(query: Query) -> pd.DataFrame:
    """By table and reason, how many rows were refused; a row can have several reasons."""
    return query(
        "SELECT table_name, reason, count(*) AS rows FROM "
        "(SELECT table_name, unnest(reasons) AS reason FROM quarantine) "
        f"GROUP BY ALL ORDER BY rows DESC, reason LIMIT {MOST_REASONS}"
    )


def log_span(query: Query) -> dict[str, pd.Timestamp]:
    """The first and the last day of the log."""
    row = query("SELECT min(ordered_on) AS first, max(ordered_on) AS last FROM transactions")
    return {str(name): pd.Timestamp(value) for name, value in row.iloc[0].items()}


def missing(query: Query, columns: list[str]) -> pd.DataFrame:
    """By column of `transactions` that has gaps, the share of lines without a value; not of those
    without any, which the source does not map.
    """
    each = ", ".join(f"avg(({name} IS NULL)::INT) AS {name}" for name in columns)
    row = query(f"SELECT {each} FROM transactions").iloc[0]
    rows = pd.DataFrame({"column": list(row.index), "share": list(map(float, row))})
    has_gaps = (rows["share"] > 0) & (rows["share"] < 1)
    return rows[has_gaps].sort_values("share", ascending=False, ignore_index=True)


def refused_chart(rows: pd.DataFrame) -> c.Chart:
    """The reasons by how many rows they refused."""
    tooltip = c.told(
        *(("reason:N", "reason", ""), ("table_name:N", "meant for", "")),
        ("rows:Q", "rows", ","),
    )
    chart = c.bars(rows, "reason", c.number("rows", "rows refused", "~s"), tooltip, c.ORANGE)
    text = "Rows refused, by reason: " + "; ".join(
        f"{r.reason}: {r.rows:,}" for r in rows.itertuples()
    )
    return c.finished(chart, "Rows in quarantine, by reason", text, c.tall(len(rows), 30))


def missing_chart(rows: pd.DataFrame) -> c.Chart:
    """Which columns of the log have gaps."""
    tooltip = c.told(("column:N", "column", ""), ("share:Q", "without a value", ".1%"))
    value = c.number("share", "lines without a value, %", ".0%", domain=[0, 1])
    chart = c.bars(rows, "column", value, tooltip)
    text = "Lines without a value: " + "; ".join(
        f"{r.column} {r.share:.1%}" for r in rows.itertuples()
    )
    return c.finished(chart, "Missing values in the log", text, c.tall(len(rows)))


def commits_chart(rows: pd.DataFrame) -> c.Chart:
    """When each table was written."""
    rows = rows.assign(when=rows["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S"))
    x = c.moments("timestamp", "time of the commit, UTC", utc=True)
    y = alt.Y("table:N", title=None, axis=alt.Axis(labelLimit=160))
    tooltip = c.told(
        *(("table:N", "table", ""), ("when:N", "when, UTC", "")),
        *(("operation:N", "operation", ""), ("rows:Q", "rows", ",")),
    )
    dots = alt.Chart(rows).mark_tick(thickness=3, color=c.BLUE, size=14)
    tables = rows["table"].nunique()
    text = f"{len(rows)} commits of {tables} tables over time."
    chart = dots.encode(x=x, y=y, tooltip=tooltip)
    return c.finished(chart, "Commits by table", text, c.tall(tables, 22))
