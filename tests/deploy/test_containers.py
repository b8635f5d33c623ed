"""The container files are clean, hold every package, and start commands that there are.

No image is built here, for want of a daemon and of a registry.
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.jobs.commands import BIN, ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (DEPLOY / "Procfile").read_text().splitlines())


def test_the_dockerfile_is_clean() -> None:
    said = subprocess.run(
        [BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (0, "")


def test_every_package_is_in_the_image_and_its_context() -> None:
    packages = re.search(r"packages=\[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL)
    assert packages
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for name in re.findall(r'"(\w+)"', packages[1]):
        assert name in copied
        assert f"!{name}" in kept


def test_what_an_image_installs_is_pinned_above_the_tests() -> None:
    run, tests = (ROOT / "requirements.txt").read_text().split("# Tests")
    for name in ("pyspark", "fastapi", "onnxruntime", "streamlit", "mlflow"):
        assert re.search(rf"^{name}(\[\w+\])?==", run, re.MULTILINE), name
    assert "pytest==" in tests


def _commands() -> dict[str, list[str]]:
    started = re.findall(r'^CMD \["repurchase", (.*)\]$', DOCKERFILE, re.MULTILINE)
    found = {f"image {n}": re.findall(r'"(.*?)"', words) for n, words in enumerate(started)}
    for name, service in COMPOSE["services"].items():
        if service.get("command", [""])[0] == "repurchase":
            found[f"compose {name}"] = service["command"][1:]
    for name, line in PROCFILE.items():
        if line.startswith("repurchase "):
            found[f"Procfile {name}"] = shlex.split(line)[1:]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("where", _commands())
def test_what_is_started_is_a_command_with_these_options(where: str) -> None:
    command, *words = _commands()[where]
    told = subprocess.run(
        [BIN / "repurchase", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": str(Path("/usr/bin"))},
    ).stdout
    for word in words:
        assert not word.startswith("--") or word in told, word


def test_only_this_machine_reaches_the_services_and_the_api_asks_for_keys() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    keys = COMPOSE["services"]["api"]["environment"]["REPURCHASE_API_KEYS"]
    assert keys.startswith("${REPURCHASE_API_KEYS:?")
