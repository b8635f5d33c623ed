"""The dashboard in a browser on tables of the real job, and with the job behind its buttons."""

import csv
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from playwright.sync_api import Browser, expect

from jobs.options import Job
from tests.conftest import END
from tests.serving.dashboard.conftest import dashboard, expand

pytestmark = pytest.mark.nightly
LONG = 900_000  # milliseconds; two trainings on a machine that does other things too
EARLIER = END - timedelta(40)


@pytest.fixture(scope="module")
def two_models(
    run_in: Callable[..., Job],
    small_log: Path,
    undisturbed: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A lake with a champion, and one of 40 days before."""
    folder = Path(shutil.copytree(undisturbed, tmp_path_factory.mktemp("retrained") / "lake"))
    run_in(folder, small_log, EARLIER)
    return folder


def test_orders_are_scored_and_come_back_whole(
    two_models: Path, browser: Browser, tmp_path: Path
) -> None:
    with dashboard(two_models, tmp_path) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/upload")
        page.get_by_text("Orders: one row each").click(timeout=60_000)
        expand(page, "Template and example files")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the example").click()
        example = tmp_path / "orders.csv"
        download.value.save_as(example)
        header, first, *_ = example.read_text().splitlines()
        wrong = dict(zip(header.split(","), first.split(","), strict=True))
        with example.open("a") as file:
            file.write(",".join((wrong | {"ordered_at": "yesterday"}).values()) + "\n")
        page.locator('input[type="file"]').set_input_files(example)
        expect(page.get_by_text("rows could not be scored")).to_be_visible(timeout=60_000)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the scored CSV").click()
        with Path(download.value.path()).open(encoding="utf-8", newline="") as scored:
            rows = list(csv.DictReader(scored))
    assert len(rows) == len(example.read_text().splitlines()) - 1
    assert rows[-1]["error"].startswith("ordered_at must be a day")
    assert not any(row["error"] for row in rows[:-1])
    assert len({row["customer_id"] for row in rows}) == 100
    assert all(0 < float(row["probability"]) < 1 for row in rows[:-1])


def test_it_trains_scores_and_rolls_back(
    two_models: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before, latest = _published(two_models)
    version = DeltaTable(two_models / "scores").version()
    with dashboard(two_models, tmp_path_factory.mktemp("server")) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/operations")
        page.get_by_role("button", name="Retrain").click(timeout=60_000)
        expect(page.get_by_text("Retraining has finished")).to_be_visible(timeout=LONG)
        expect(page.get_by_text("Next: repurchase score")).to_be_visible()
        log = (two_models / "operations" / "output.log").read_text()
        assert "Score" in log
        # Of the same data the same scores, which nobody downstream has to read again.
        assert DeltaTable(two_models / "scores").version() == version
        assert _published(two_models) == [before, latest]  # of the same data, the same model
        page.reload()
        page.get_by_text("Yes, withdraw it").click(timeout=60_000)
        page.get_by_role("button", name="Roll back").click()
        expect(page.get_by_text("Rollback has finished")).to_be_visible(timeout=LONG)
    assert _published(two_models) == [before]


def _published(lake: Path) -> list[str]:
    rows = DeltaTable(lake / "models").to_pandas().query("published").sort_values("trained_for")
    return list(rows["model_version"])
