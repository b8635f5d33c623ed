"""What `streamlit run` is given: the pages, and what stands at the side of each."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import streamlit as st

from conf.errors import RepurchaseError
from serving.dashboard import looks, reading
from serving.dashboard.figures import scores
from serving.hosts import is_local

# Of our own: Streamlit fetches its own ones from elsewhere.
ICON = Path(__file__).with_name("icon.png")
PAGES = (
    ("overview", "Overview", ":material/monitoring:", ""),
    ("customers", "Customers", ":material/person_search:", "customers"),
    ("upload", "Upload", ":material/upload_file:", "upload"),
    ("single", "Single prediction", ":material/calculate:", "single"),
    ("model", "Model", ":material/model_training:", "model"),
    ("quality", "Data quality and drift", ":material/fact_check:", "quality"),
    ("segments", "Segments and action plans", ":material/group_work:", "segments"),
    ("operations", "Operations", ":material/settings:", "operations"),
)


def drawer(name: str) -> Callable[[], None]:
    """What draws the page of a module, which is imported when the page is opened first."""

    @looks.guarded
    def draw() -> None:
        import_module(f"serving.dashboard.views.{name}").page()

    return draw


def side() -> None:
    """The horizon, where there is more than one, and what holds for every page."""
    with st.sidebar:
        try:
            known = [str(one) for one in scores.horizons(reading.query)]
        except RepurchaseError:
            known = []
        if len(known) > 1:
            st.selectbox("Horizon", known, key="horizon")
        st.toggle(
            "Tables under charts",
            key=looks.TABLES,
            help="Every chart's figures as a table below it, for a screen reader or to copy.",
        )
        st.caption(f"Tables of {reading.chosen().lake.rstrip('/').rsplit('/', 1)[-1]}")


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="repurchase", page_icon=str(ICON), layout="wide")
    if reading.chosen().private and not is_local(st.context.headers.get("Host")):
        # A page of another site whose own name leads to this machine is not its user.
        st.error("This dashboard is for this machine alone: open it as http://127.0.0.1.")
        st.stop()
    pages = [
        st.Page(drawer(name), title=title, icon=icon, url_path=path, default=not path)
        for name, title, icon, path in PAGES
    ]
    current = st.navigation(pages)
    side()
    current.run()


main()
