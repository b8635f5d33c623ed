"""A long command outlives the page, is alone, and is told of until it ends."""

import fcntl
import json
import time

import pytest

from conf.errors import InputError
from serving.dashboard import work


def _ended(lake) -> work.Work:
    deadline = time.monotonic() + 60
    while (found := work.last(lake)) is None or found.running or found.code is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_before_the_first_there_is_none(tmp_path):
    assert work.last(str(tmp_path)) is None


@pytest.mark.slow
def test_commands_run_one_after_the_other_until_one_fails(tmp_path):
    commands = [["models", "--help"], ["no-such-command"], ["features", "--help"]]
    work.start(str(tmp_path), "Three commands", commands)
    found = _ended(str(tmp_path))
    assert (found.title, found.code) == ("Three commands", 2)
    assert "$ repurchase models --help" in found.output
    assert "No such command" in found.output
    assert "features --help" not in found.output


def test_only_one_at_a_time(tmp_path):
    folder = tmp_path / work.FOLDER
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="still running"):
            work.start(str(tmp_path), "Another", [["--help"]])


def test_a_command_has_the_lock_before_it_has_begun(tmp_path):
    work.start(str(tmp_path), "First", [["features", "--help"]])
    with pytest.raises(InputError, match="still running"):
        work.start(str(tmp_path), "Second", [["models", "--help"]])
    found = _ended(str(tmp_path))
    assert (found.title, found.code) == ("First", 0)


def test_what_a_killed_command_left_does_not_run(tmp_path):
    folder = tmp_path / work.FOLDER
    folder.mkdir()
    told = {"title": "Retraining", "started": "2024-06-01T00:00:00+00:00", "commands": []}
    (folder / "work.json").write_text(json.dumps(told))
    (folder / "output.log").write_bytes(b"half a letter \xc3")
    (folder / "lock").touch()
    found = work.last(str(tmp_path))
    assert (found.running, found.code) == (False, None)
    assert found.output.startswith("half a letter")
