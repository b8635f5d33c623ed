"""The pictures of the dashboard in the README: `python -m benchmarks.screenshots --lake DIR`.

It starts the dashboard on the tables, opens its pages in Chromium and writes docs/images/*.png.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page, expect, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# By picture: the page, and how wide and high the window is.
PICTURES = {
    "overview": ("", 1400, 980),
    "customers": ("customers", 1400, 1500),
    "model": ("model", 1400, 1240),
    "segments": ("segments", 1400, 1300),
    "overview_narrow": ("", 390, 1100),
}
_SECONDS = 60


@contextmanager
def dashboard(lake: Path) -> Iterator[str]:
    """The address of a dashboard of the tables, which ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "jobs.cli", "dashboard", "--lake", str(lake)]
    process = subprocess.Popen([*command, "--port", str(port)])
    try:
        address = f"http://127.0.0.1:{port}"
        _await(f"{address}/_stcore/health", process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(_SECONDS * 2):
        try:
            urlopen(url, timeout=1).close()
        except (URLError, OSError):
            if process.poll() is not None:
                sys.exit("the dashboard has ended")
            time.sleep(0.5)
        else:
            return
    sys.exit(f"the dashboard does not answer on {url}")


def take(page: Page, address: str, file: Path) -> None:
    """A picture of the page at the address, once nothing is being computed any more."""
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=30_000)
    page.wait_for_timeout(500)
    ready = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(ready).to_be_attached(timeout=30_000)
    # Charts are drawn in steps.
    page.wait_for_timeout(1500)
    page.screenshot(path=file)


def main() -> None:
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, default=Path("lakehouse"), help="Folder of the tables")
    parser.add_argument("--output", type=Path, default=IMAGES, help="Folder of the pictures")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with dashboard(arguments.lake) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, (path, width, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            take(page, f"{address}/{path}", arguments.output / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
