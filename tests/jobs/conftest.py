"""What tests of whole commands share: the wheel."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.commands import ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built of a copy, so that no earlier build's leavings get in."""
    copy = tmp_path_factory.mktemp("wheel") / "source"
    unwanted = shutil.ignore_patterns(
        *(".*", "build", "dist", "*.egg-info", "__pycache__", "lakehouse", "spark-warehouse")
    )
    shutil.copytree(ROOT, copy, ignore=unwanted)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", "dist", "."], cwd=copy, check=True
    )
    (built,) = (copy / "dist").glob("repurchase-*.whl")
    return built
