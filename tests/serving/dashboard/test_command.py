"""`repurchase dashboard` starts Streamlit on what it was told, or says what is wrong."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner

from jobs import dashboard
from jobs.cli import app
from serving.api.app import make_app
from serving.api.keys import Gate, keys_of
from serving.dashboard.api import KEY, Response, ask, times_by_path
from serving.dashboard.options import Options, options
from serving.hosts import is_local
from serving.tables import Tables


@contextmanager
def served(api: FastAPI) -> Iterator[str]:
    """The API in a thread of its own: where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(api, log_config=None, access_log=False))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found: list[list[str]] = []
    monkeypatch.setattr(dashboard.os, "execv", lambda _, arguments: found.append(arguments))
    return found


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["dashboard", *map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


def test_it_starts_streamlit_on_the_lake(started, small_lake):
    code, said = _run("--lake", small_lake, "--port", 8599, "--api", "http://127.0.0.1:8000")
    assert code == 0
    assert "on http://127.0.0.1:8599" in said
    (command,) = started
    assert command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert Path(command[4]).name == "app.py"
    assert "--server.address=127.0.0.1" in command
    assert options(command[command.index("--") + 1 :]) == Options(
        str(small_lake), "http://127.0.0.1:8000"
    )


def test_a_lake_without_scores_is_told(started, tmp_path):
    code, said = _run("--lake", tmp_path)
    assert code == 2
    assert "no table current_scores" in said
    assert "repurchase run" in said
    assert not started


def test_what_is_not_installed_is_named(started, small_lake, monkeypatch):
    real = util.find_spec
    monkeypatch.setattr(
        dashboard, "find_spec", lambda name: None if name == "streamlit" else real(name)
    )
    code, said = _run("--lake", small_lake)
    assert code == 2
    assert "streamlit not installed: pip install 'repurchase[dashboard]'" in said


def test_a_port_that_is_taken_and_an_api_that_is_none(started, small_lake):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        code, said = _run("--lake", small_lake, "--port", listening.getsockname()[1])
    assert code == 2
    assert "Choose another --port" in said
    code, said = _run("--lake", small_lake, "--api", "here")
    assert code == 2
    assert "give an address" in said


@pytest.mark.parametrize(
    ("host", "private"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)]
)
def test_only_a_loopback_is_private(host, private):
    assert Options("lake", None, host).private is private


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((name, True) for name in ("127.0.0.1:8501", "localhost:8501", "LOCALHOST", "[::1]:8501")),
        *((name, False) for name in ("evil.example:8501", "127.0.0.1.evil.example", "", None)),
    ],
)
def test_only_a_name_of_this_machine_is_local(host, local):
    assert is_local(host) is local


def test_an_api_that_does_not_answer_is_told():
    said = ask("http://127.0.0.1:9")
    assert isinstance(said, str)
    assert "repurchase serve" in said


def test_of_an_api_with_keys_the_times_take_one(small_lake, monkeypatch):
    gate = Gate(keys_of("us:metrics-key-0123456789:metrics"), "1000/second")
    with served(make_app(Tables(str(small_lake)), gate)) as address:
        refused = ask(address)
        assert isinstance(refused, Response)
        assert refused.table is None
        assert "answers 401; set REPURCHASE_API_KEY" in refused.why_not
        monkeypatch.setenv(KEY, "metrics-key-0123456789")
        told = ask(address)
    assert isinstance(told, Response)
    assert told.table is not None
    assert "/health" in told.table["answers"].tolist()


def test_response_times_are_read_from_the_metrics():
    text = (
        'repurchase_request_seconds_bucket{le="0.1",route="/predict"} 3\n'
        'repurchase_request_seconds_count{route="/predict"} 4.0\n'
        'repurchase_request_seconds_sum{route="/predict"} 0.02\n'
        'repurchase_request_seconds_count{route="/scores/{customer_id}"} 2.0\n'
        'repurchase_request_seconds_sum{route="/scores/{customer_id}"} 0.1\n'
        'repurchase_request_seconds_count{route="/idle"} 0.0\n'
        'repurchase_request_seconds_sum{route="/idle"} 0.0\n'
    )
    rows = times_by_path(text)
    assert rows is not None
    assert rows.to_dict("records") == [
        {"answers": "/predict", "requests": 4, "mean, ms": 5.0},
        {"answers": "/scores/{customer_id}", "requests": 2, "mean, ms": 50.0},
    ]
    assert times_by_path("nothing 1\n") is None
