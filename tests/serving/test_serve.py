"""`repurchase serve` as a process: it answers, survives hostile input, and ends when told to."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.jobs.commands import BIN, Process, Starter

pytestmark = pytest.mark.slow

COMMAND = (BIN / "repurchase", "serve")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def server(
    undisturbed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, str]]:
    """A server of the small lake, and its address."""
    folder = tmp_path_factory.mktemp("serve")
    process = Starter(folder)(*COMMAND, "--lake", undisturbed, "--port", "0", cwd=folder)
    try:
        process.until('"champion"', 120)
        yield process, ADDRESS.findall(process.said())[0]
    finally:
        process.kill()


@pytest.fixture(scope="module")
def document(server: tuple[Process, str]) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{server[1]}/openapi.json")


def _asked(operation: schemathesis.APIOperation, mode: GenerationMode) -> list[int]:
    """The statuses of what is answered, after each was checked."""
    statuses = []

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: schemathesis.Case) -> None:
        statuses.append(case.call_and_validate(checks=CHECKS).status_code)

    answered()
    return statuses


def test_whatever_comes_is_answered_as_the_document_says(
    document: schemathesis.BaseSchema,
) -> None:
    for found in document.get_all_operations():
        operation = found.ok()
        right = _asked(operation, GenerationMode.POSITIVE)
        assert set(right) <= {200, 404, 422}, operation.label
        # What takes nothing cannot be asked wrongly.
        if operation.method == "post" or operation.path.startswith("/scores"):
            wrong = _asked(operation, GenerationMode.NEGATIVE)
            assert {400, 422} & set(wrong), operation.label


def test_it_never_told_a_traceback(server: tuple[Process, str]) -> None:
    process, address = server
    assert httpx.get(f"{address}/health").status_code == 200
    assert "Traceback" not in process.said()


def test_it_ends_when_told_to(start: Starter, undisturbed: Path, tmp_path: Path) -> None:
    process = start(*COMMAND, "--lake", undisturbed, "--port", "0", cwd=tmp_path)
    process.until('"champion"', 120)
    address = ADDRESS.findall(process.said())[0]
    assert httpx.get(f"{address}/ready").status_code == 200
    os.kill(process.popen.pid, signal.SIGTERM)
    assert process.ends(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in process.said()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--host", "0.0.0.0"],
            "without API keys only 127.0.0.1 may be served; set REPURCHASE_API_KEYS to "
            "owner:key:read+predict+metrics",
        ),
        (["--rate", "often"], "--rate"),
        (["--lake", "nowhere"], "no table models"),
    ],
)
def test_what_it_cannot_do_it_says_in_one_line(
    undisturbed: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    lake = [] if "--lake" in words else ["--lake", str(undisturbed)]
    ended = subprocess.run(
        [*COMMAND, *lake, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_java_is_needed(server: tuple[Process, str]) -> None:
    group = os.getpgid(server[0].popen.pid)
    running = subprocess.run(
        ["ps", "-eo", "pgid=,comm="], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    own = [line.split()[1] for line in running if line.split()[:1] == [str(group)]]
    assert own
    assert not [name for name in own if "java" in name]
