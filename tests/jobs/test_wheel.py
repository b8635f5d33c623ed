"""The wheel carries the packages, their YAML files and the command, and nothing else."""

import configparser
import zipfile
from pathlib import Path

from tests.jobs.commands import ROOT

PACKAGES = {"conf", "lake", "features", "models", "serving", "jobs"}


def test_its_top_level_names_are_the_packages(wheel: Path) -> None:
    top_level = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    metadata = {name for name in top_level if name.endswith(".dist-info")}
    assert top_level - metadata == PACKAGES
    assert len(metadata) == 1


def test_it_has_every_module_and_every_settings_file(wheel: Path) -> None:
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if n.split("/")[0] in PACKAGES}
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*") if file.is_file()]
    wanted = {f.relative_to(ROOT).as_posix() for f in files if "__pycache__" not in f.parts}
    assert inside == wanted
    assert {"conf/base.yml", "conf/sources/cdnow.yml", "conf/log4j2.properties"} <= inside


def test_it_installs_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(name).decode())
    assert dict(entry_points["console_scripts"]) == {"repurchase": "jobs.cli:app"}
