"""The small lake, and the dashboard on it in a browser."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.tables import Tables
from tests.jobs.commands import BIN, Starter
from tests.serving.dashboard.lake import write_lake


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
    folder = tmp_path_factory.mktemp("server")
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
