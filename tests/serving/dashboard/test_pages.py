"""The dashboard in a real browser: what a person sees, does and hears, wide and narrow."""

import csv
import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from deltalake import DeltaTable
from playwright.sync_api import Browser, Page, expect

from serving.dashboard import work
from tests.serving.dashboard.conftest import expand
from tests.serving.dashboard.lake import SENTENCE, VERSION, scores, write

pytestmark = pytest.mark.slow

WIDTHS = {"wide": 1400, "narrow": 390}
WITH_CHARTS = ("", "customers", "model", "quality", "segments", "operations")
# By path: the heading, and what must be there to read.
PAGES = {
    "": ("Overview", ["Customers scored", "Distribution of scores", "Mean probability by decile"]),
    "customers": ("Customers", ["Customer C01", "Reasons", "Orders over time"]),
    "upload": ("Upload", ["What the file holds", "CSV file"]),
    "single": ("Single prediction", ["Recency: days since the last order", "Answer"]),
    "model": ("Model", ["ROC-AUC", "ROC curve", "Precision-recall curve", "Cumulative gain"]),
    "quality": ("Data quality and drift", ["Rows in quarantine", "Drift of the most important"]),
    "segments": ("Segments and action plans", ["Customers by segment", "Plan:"]),
    "operations": ("Operations", ["Retrain", "Roll back", "Commits by table"]),
}


@pytest.fixture(params=WIDTHS)
def sized(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": WIDTHS[request.param], "height": 900})
    yield page
    page.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": WIDTHS["wide"], "height": 1000})
    page.set_default_timeout(20_000)
    yield page
    page.close()


def _open(page: Page, address: str, path: str = "", name: str | None = None) -> None:
    """The page of the name, by default that of the path."""
    page.goto(f"{address}/{path}")
    title = PAGES[path if name is None else name][0]
    expect(page.get_by_role("heading", level=1)).to_have_text(title, timeout=30_000)
    _rest(page)


def _rest(page: Page) -> None:
    """Until nothing is being computed any more."""
    page.wait_for_timeout(200)
    ready = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(ready).to_be_attached(timeout=60_000)


def _metric(page: Page, name: str) -> str:
    found = page.get_by_test_id("stMetric").filter(has_text=name).first
    return found.get_by_test_id("stMetricValue").inner_text()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_what_it_is_for(sized, address, path):
    failed, asked = [], set()
    sized.on("pageerror", lambda error: failed.append(str(error)))
    sized.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    _open(sized, address, path)
    for text in PAGES[path][1]:
        expect(sized.get_by_text(text).first).to_be_attached()
    expect(sized.get_by_text("could not be made")).to_have_count(0)
    expect(sized.get_by_test_id("stException")).to_have_count(0)
    assert not failed
    main = sized.get_by_test_id("stMain")
    assert main.evaluate("main => main.scrollWidth <= main.clientWidth + 1")
    if path in WITH_CHARTS:
        _every_chart_has_a_text_in_its_place_and_fits(sized)
    # Nothing is asked of another machine.
    assert asked - {None} == {"127.0.0.1"}


def _every_chart_has_a_text_in_its_place_and_fits(page: Page) -> None:
    charts = page.get_by_test_id("stVegaLiteChart").locator("visible=true")
    expect(charts.first).to_be_attached()
    page.wait_for_timeout(500)
    for place in range(charts.count()):
        assert len(charts.nth(place).get_attribute("aria-label") or "") > 20
        assert charts.nth(place).get_attribute("role") == "graphics-document"
        box = charts.nth(place).bounding_box()
        assert box is None or box["x"] + box["width"] <= WIDTHS["wide"]


def test_what_is_searched_for_is_text(page, address):
    wanted = "![a](http://127.0.0.1:9/p.png) [log in](http://127.0.0.1:9/) :red[now]"
    _open(page, address, f"customers?customer={quote(wanted)}", name="customers")
    expect(page.get_by_test_id("stAlert")).to_contain_text(wanted)
    alert = page.get_by_test_id("stAlert")
    assert alert.locator("img").count() == 0
    # An address stays one that says where it leads.
    for link in alert.locator("a").all():
        assert link.get_attribute("href") == link.inner_text()


def test_a_site_whose_name_leads_here_is_shown_nothing(browser_of, address):
    port = urlsplit(address).port
    page = browser_of("evil.example").new_page()
    page.goto(f"http://evil.example:{port}/operations")
    expect(page.get_by_text("for this machine alone")).to_be_visible(timeout=30_000)
    assert page.get_by_role("button", name="Retrain").count() == 0


def test_the_overview_has_the_numbers_of_the_tables(page, address):
    _open(page, address)
    assert _metric(page, "Customers scored") == "40"
    assert _metric(page, "Mean probability") == "49.0%"
    assert _metric(page, "Predicted to order") == "20"
    assert _metric(page, "Expected revenue") == "400 EUR"
    page.get_by_text("Tables under charts").click()
    _rest(page)
    expect(page.get_by_test_id("stDataFrame")).to_have_count(4)


def test_a_customer_is_found_and_explained(page, address):
    _open(page, address, "customers")
    page.get_by_label("Search by customer id").fill("c07")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Customer C07")).to_be_visible()
    expect(page.get_by_text(SENTENCE.format(21))).to_be_visible()
    assert _metric(page, "Probability") == "76.0%"
    expect(page).to_have_url(re.compile("customer=C07"))
    page.get_by_label("Search by customer id").fill("nobody%")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No customer scored for 30 days has “nobody%”")).to_be_visible()


def test_the_pages_can_be_reached_and_used_by_keyboard(page, address):
    _open(page, address)
    page.get_by_role("link", name="Model").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Model")
    _rest(page)
    page.get_by_role("tab", name="Curves").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    slider = page.get_by_role("slider").first
    expect(slider).to_be_visible()
    before = _metric(page, "Recall")
    slider.focus()
    for _ in range(8):
        page.keyboard.press("PageUp")
    _rest(page)
    assert float(slider.input_value()) > 50
    page.wait_for_timeout(1000)
    assert _metric(page, "Recall") < before


def test_profit_is_told_with_its_currency(page, address):
    _open(page, address, "model")
    page.get_by_role("tab", name="Profit").click()
    expect(page.get_by_text("Margin of an order, EUR")).to_be_visible()
    assert _metric(page, "Highest profit") == "361 EUR"
    assert _metric(page, "Contact the likeliest") == "95%"


def test_the_model_tabs_have_what_they_promise(page, address):
    _open(page, address, "model")
    seen = {
        "Threshold and calibration": ["Confusion matrix, customers", "Calibration;"],
        "Importance": ["Importance by gain", "Importance by permutation"],
        "Challengers": ["95 % interval", "All figures on the held-out date"],
        "Dates": ["ROC-AUC over dates"],
    }
    for tab, texts in seen.items():
        page.get_by_role("tab", name=tab).click()
        for text in texts:
            expect(page.get_by_text(text).locator("visible=true").first).to_be_visible()


def test_an_upload_comes_back_whole(page, address, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(
        "customer_id,recency,orders,monetary,note\n"
        "A,60,20,200,first\nB,sixty,20,200,second\nC,30,20,200,third\nD,60\n"
    )
    _open(page, address, "upload")
    page.locator('input[type="file"]').set_input_files(file)
    expect(page.get_by_text("2 of 4 rows could not be scored")).to_be_visible()
    assert _metric(page, "Rows in the file") == "4"
    assert _metric(page, "Customers scored") == "2"
    expect(page.get_by_text("Kept, but not used for the scores: note")).to_be_visible()
    expect(page.get_by_text("Top against bottom 10 %: mean probability")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the scored CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as scored:
        rows = list(csv.DictReader(scored))
    assert [row["customer_id"] for row in rows] == ["A", "B", "C", "D"]
    assert [row["note"] for row in rows] == ["first", "second", "third", ""]
    assert [bool(row["probability"]) for row in rows] == [True, False, True, False]
    assert "sixty" in rows[1]["error"]
    assert float(rows[0]["probability"]) == pytest.approx(0.5)


def test_an_example_can_be_downloaded_and_uploaded(page, address, tmp_path):
    _open(page, address, "upload")
    expand(page, "Template and example files")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the example").click()
    example = tmp_path / "example.csv"
    download.value.save_as(example)
    page.locator('input[type="file"]').set_input_files(example)
    expect(page.get_by_text("Rows with an error")).to_be_visible()
    assert _metric(page, "Rows with an error") == "0"
    assert _metric(page, "Customers scored") == "40"


def test_a_file_that_is_no_table_is_told(page, address, tmp_path):
    file = tmp_path / "picture.csv"
    file.write_bytes(bytes(range(256)) * 20)
    _open(page, address, "upload")
    page.locator('input[type="file"]').set_input_files(file)
    expect(page.get_by_text("picture.csv:")).to_be_visible()
    expect(page.get_by_text("could not be made")).to_have_count(0)


def test_a_described_customer_is_predicted(page, address):
    _open(page, address, "single")
    before = _metric(page, "Probability of an order")
    page.get_by_role("spinbutton", name="Recency").fill("1")
    page.get_by_role("button", name="Predict").click()
    _rest(page)
    expect(page.get_by_text("Days from the last day with an order").first).to_be_visible()
    after = _metric(page, "Probability of an order")
    assert float(after.rstrip("%")) > float(before.rstrip("%"))
    page.get_by_role("spinbutton", name="Recency").fill("5000")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("lower recency or raise tenure")).to_be_visible()


def test_refused_rows_and_drift_have_their_reasons(page, address):
    _open(page, address, "quality")
    assert _metric(page, "Rows in quarantine") == "2"
    expect(page.get_by_text("amount is not a number").first).to_be_visible()
    expect(page.get_by_text("1 of 3 features have moved")).to_be_visible()


def test_the_list_of_a_segment_can_be_taken_away(page, address):
    _open(page, address, "segments")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download champions (CSV)").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "customer_id,segment,probability,decile,band,reasons"
    assert lines[1].startswith("C01,champions,0.88,1,high")


def test_a_running_command_is_told_and_no_other_begins(page, address, lake):
    folder = lake / work.FOLDER
    folder.mkdir(exist_ok=True)
    told = {"title": "Retraining", "started": "2024-06-01T00:00:00+00:00", "commands": []}
    (folder / "work.json").write_text(json.dumps(told))
    (folder / "output.log").write_text("3/4 Train\n  8 dates tune")
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _open(page, address, "operations")
        expect(page.get_by_text("Retraining is running")).to_be_visible()
        expect(page.get_by_text("8 dates tune")).to_be_visible()
        page.get_by_role("button", name="Retrain").click()
        expect(page.get_by_text("another command is still running")).to_be_visible()
    (folder / "work.json").write_text(json.dumps({**told, "code": 0}))
    expect(page.get_by_text("Retraining has finished")).to_be_visible()


def test_a_rollback_asks_before(page, address):
    _open(page, address, "operations")
    expect(page.get_by_text(f"Withdraw the champion {VERSION}")).to_be_visible()
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("Tick “Yes, withdraw it” first")).to_be_visible()


def test_a_new_scoring_shows_without_a_restart(page, address, lake):
    version = DeltaTable(str(lake / "current_scores")).version()
    write(lake, "current_scores", scores(customers=range(1, 31)))
    assert DeltaTable(str(lake / "current_scores")).version() == version + 1
    page.wait_for_timeout(2500)
    _open(page, address)
    assert _metric(page, "Customers scored") == "30"
