"""Upload: a CSV in, its probabilities out, and every row back."""

from datetime import date
from typing import Any

import pandas as pd
import streamlit as st

from conf.errors import InputError
from serving.dashboard import looks, reading
from serving.dashboard.figures import examples, models, sheets, upload_charts, uploads
from serving.dashboard.figures.uploads import Scored
from serving.dashboard.predicting import predictor
from serving.predictor import Predictor

CUSTOMERS, ORDERS = "Customers: one row each, with features", "Orders: one row each"
SHOWN_ROWS = 1_000
_IMPORTANT = 15


def page() -> None:
    """The file, its scores, and where to begin without one."""
    looks.head("Upload", "Score a CSV of customers or orders with the champion, here and now.")
    champion = predictor()
    kinds = [CUSTOMERS, ORDERS] if champion.spot is not None else [CUSTOMERS]
    kind = st.radio("What the file holds", kinds, horizontal=True)
    _examples(champion, kind)
    as_of = _as_of(champion) if kind == ORDERS else None
    file = st.file_uploader("CSV file", type=["csv", "txt"])
    if file is None:
        st.info("Choose a file, or download an example above and choose that.")
        return
    try:
        scored = _scored(file.getvalue(), kind, as_of, champion.version, champion)
    except InputError as problem:
        st.error(looks.plain(f"{file.name}: {problem}"), icon=":material/error:")
        return
    _result(scored, champion, file.name, by_order=kind == ORDERS)


def _as_of(champion: Predictor) -> date:
    latest = champion.spot.as_of if champion.spot is not None else date.today()
    chosen: date = st.date_input(
        "Today is",
        latest,
        help="Orders before this day are looked at; the latest one with features, or yours.",
    )
    return chosen


@st.cache_data(max_entries=3, show_spinner="Scoring")
def _scored(
    data: bytes, kind: str, as_of: date | None, version: str, _champion: Predictor
) -> Scored:
    upload = sheets.read_csv(data)
    if as_of is None:
        return uploads.score_customers(_champion, upload)
    return uploads.score_orders(_champion, upload, as_of)


def _examples(champion: Predictor, kind: str) -> None:
    with st.expander("Template and example files"):
        names = _names(champion)
        number = st.number_input("Customers in the example", 1, 10_000, 100, step=10)
        seed = st.number_input("Seed: another number draws other customers", 0, 10**6, 1)
        st.caption(
            "Drawn from the tables, under other ids. A feature that is left out is worked out "
            "where it follows from the others; else it is that of customers alike."
        )
        left, right = st.columns(2)
        template, example = (_file(kind, names, n, int(seed)) for n in (1, int(number)))
        what = "customers" if kind == CUSTOMERS else "orders"
        for column, title, data in ((left, "template", template), (right, "example", example)):
            column.download_button(
                f"Download the {title} (CSV)",
                data,
                f"{what}_{title}.csv",
                "text/csv",
                on_click="ignore",
                width="stretch",
            )


def _names(champion: Predictor) -> dict[str, str]:
    """The template's columns: as people call them, then what the champion looks at most."""
    plain = examples.plain_names(champion.names.features)
    most = []
    if reading.exists("importances"):
        most = models.importances(reading.query, champion.version, _IMPORTANT)["feature"].tolist()
    return plain | {name: name for name in most if name not in plain.values()}


def _file(kind: str, names: dict[str, str], number: int, seed: int) -> bytes:
    if kind == CUSTOMERS:
        rows = examples.customers(reading.query, names, number, seed)
    else:
        rows = examples.orders(reading.query, list(reading.types("transactions")), number, seed)
    return rows.to_csv(index=False).encode()


def _result(scored: Scored, champion: Predictor, name: str, *, by_order: bool) -> None:
    _counts(scored, champion)
    if scored.repeated:
        st.info(f"In the file more than once, and scored each time: {scored.repeated:,} customers.")
    if scored.unused:
        unused = looks.plain(", ".join(scored.unused))
        st.info(f"Kept, but not used for the scores: {unused}.")
    _refused(scored)
    if len(scored.customers):
        _charts(scored, champion)
    first_name = name.rsplit(".", 1)[0]
    if by_order and len(scored.customers):
        likeliest = scored.customers.sort_values("probability", ascending=False)
        _rows("Customers, the likeliest first", likeliest)
        _download("Download the customers (CSV)", likeliest, f"{first_name}_customers.csv")
    _rows("Rows of the file", scored.rows)
    if not scored.with_reasons:
        st.caption(f"Reasons are told for up to {uploads.MOST_REASONS:,} customers.")
    _download("Download the scored CSV", scored.rows, f"{first_name}_scored.csv")


def _rows(title: str, rows: pd.DataFrame) -> None:
    st.subheader(title, anchor=False)
    if len(rows) > SHOWN_ROWS:
        st.caption(f"The first {SHOWN_ROWS:,} of {len(rows):,}; the file has all of them.")
    _table(rows.head(SHOWN_ROWS))


def _download(label: str, rows: pd.DataFrame, name: str) -> None:
    st.download_button(
        label,
        rows.to_csv(index=False).encode(),
        name,
        "text/csv",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )


def _counts(scored: Scored, champion: Predictor) -> None:
    likely = int((scored.customers["probability"] >= champion.threshold).sum())
    cells = {
        "Rows in the file": f"{len(scored.rows):,}",
        "Rows with an error": f"{len(scored.refused):,}",
        "Customers scored": f"{len(scored.customers):,}",
    }
    if len(scored.customers):
        cells["Mean probability"] = looks.percent(scored.customers["probability"].mean())
        cells["Predicted to order"] = f"{likely:,}"
    looks.figures(cells)


def _refused(scored: Scored) -> None:
    if scored.refused.empty:
        return
    st.warning(
        f"{len(scored.refused):,} of {len(scored.rows):,} rows could not be scored. They are below "
        "and in the scored CSV, each with what to mend."
    )
    first = ["line", uploads.ERROR]
    others = [name for name in scored.rows.columns if name not in (*first, *uploads.SAID)]
    st.dataframe(scored.refused[[*first, *others]], width="stretch", hide_index=True)


def _charts(scored: Scored, champion: Predictor) -> None:
    left, right = st.columns(2)
    tenths = upload_charts.tenths(scored.customers)
    with left:
        rows = upload_charts.binned(scored.customers)
        looks.show(upload_charts.histogram_chart(scored.customers, champion.threshold), rows)
    with right:
        looks.show(upload_charts.tenths_chart(tenths), tenths)
    with st.expander("Top against bottom 10 %, column by column"):
        st.dataframe(tenths, width="stretch", hide_index=True)


def _table(rows: Any) -> None:
    wanted = ("line", "customer_id", *uploads.SAID[:-1], uploads.ERROR, uploads.SAID[-1])
    first = [name for name in wanted if name in rows.columns]
    st.dataframe(
        rows,
        width="stretch",
        hide_index=True,
        column_order=[*first, *(n for n in rows.columns if n not in first)],
        column_config={
            "probability": st.column_config.NumberColumn("probability", format="percent"),
            "error": st.column_config.TextColumn("error", width="medium"),
            "reasons": st.column_config.TextColumn("reasons", width="large"),
        },
    )
