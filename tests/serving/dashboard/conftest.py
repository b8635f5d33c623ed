"""The small lake, and the dashboard on it in a browser."""

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from serving.tables import Tables
from tests.jobs.commands import BIN, Starter
from tests.serving.dashboard.lake import write_lake

CHROMIUM = Path("/usr/bin/chromium")
# Two frames for the opening to begin, then its end.
_STILL = """async panel => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    await Promise.all(panel.getAnimations({subtree: true}).map(moving => moving.finished));
}"""


@pytest.fixture(scope="session")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; copy it before writing."""
    folder = tmp_path_factory.mktemp("dashboard") / "lake"
    write_lake(folder)
    return folder


@pytest.fixture(scope="session")
def query(small_lake):
    return Tables(str(small_lake)).query


@pytest.fixture(scope="module")
def lake(small_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small lake that a module may write."""
    return Path(shutil.copytree(small_lake, tmp_path_factory.mktemp("copy") / "lake"))


@pytest.fixture(scope="module")
def address(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the dashboard of the copy listens."""
    with dashboard(lake, tmp_path_factory.mktemp("server")) as where:
        yield where


@pytest.fixture(scope="module")
def browser_of() -> Iterator[Callable[..., Browser]]:
    """A browser for which the name of another machine, if one is given, leads to this one."""
    with sync_playwright() as playwright, ExitStack() as closing:

        def launched(name: str = "") -> Browser:
            own = str(CHROMIUM) if CHROMIUM.exists() else None
            rules = [f"--host-resolver-rules=MAP {name} 127.0.0.1"] if name else []
            found = playwright.chromium.launch(executable_path=own, args=["--no-sandbox", *rules])
            closing.callback(found.close)
            return found

        yield launched


@pytest.fixture(scope="module")
def browser(browser_of: Callable[..., Browser]) -> Browser:
    return browser_of()


def expand(page: Page, title: str) -> None:
    """Open an expander and wait until it lies still: a button that moves under the pointer
    between press and release is not clicked.
    """
    page.get_by_text(title).click()
    page.locator("details").filter(has_text=title).evaluate(_STILL)


@contextmanager
def dashboard(lake: Path, folder: Path) -> Iterator[str]:
    """The dashboard of a lake, started in the folder: where it listens."""
    port = _free_port()
    command = (BIN / "repurchase", "dashboard", "--lake", lake, "--port", port)
    process = Starter(folder)(*command, cwd=folder)
    try:
        process.until("Uvicorn server started", 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
