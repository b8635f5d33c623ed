"""What commands say of their options."""

import datetime as dt
import shlex
import subprocess
import sys
from importlib import metadata

import pytest
import typer
from typer.testing import CliRunner

from conf.errors import ConfigurationError, InputError
from conf.settings import load_settings
from features.calendar import Clock
from jobs.cli import app
from jobs.listening import listen
from jobs.options import Job, _check_time, _day_or_moment, open_job, show_next
from lake.store import Lake


@pytest.mark.parametrize(
    ("env", "overrides", "as_of", "expected"),
    [
        ("local", None, None, []),
        ("demo", [], None, ["--env", "demo"]),
        (
            "my env.yml",
            ["training.folds=2", "tracking.enabled=false"],
            dt.date(2024, 3, 1),
            [
                *("--as-of", "2024-03-01", "--env", "my env.yml"),
                *("--set", "training.folds=2", "--set", "tracking.enabled=false"),
            ],
        ),
        ("local", None, dt.datetime(2024, 3, 1, 14), ["--as-of", "2024-03-01T14:00"]),
        ("local", None, dt.datetime(2024, 3, 1), ["--as-of", "2024-03-01T00:00"]),
    ],
)
def test_the_next_command_has_the_options_of_this_one(
    env, overrides, as_of, expected, tmp_path, capsys
):
    folder = str(tmp_path / "a [lake]")
    job = Job(None, Lake(None, folder), load_settings("local"))
    show_next("score", job, env, overrides, as_of)
    said = capsys.readouterr().out.removeprefix("Next: ")
    assert shlex.split(said) == ["repurchase", "score", "--lake", folder, *expected]


def test_tables_of_a_catalog_are_named_by_the_settings(capsys):
    wanted = ["lake.catalog_schema=shop"]
    settings = load_settings("local", wanted)
    show_next("train", Job(None, Lake(None, "", "shop"), settings), "local", wanted)
    assert shlex.split(capsys.readouterr().out.removeprefix("Next: ")) == [
        *("repurchase", "train", "--set", "lake.catalog_schema=shop")
    ]


def test_a_folder_beside_a_catalog_is_refused():
    with pytest.raises(ConfigurationError, match=r"--lake trial: lake\.catalog_schema is shop"):
        open_job("local", ["lake.catalog_schema=shop"], "trial")


def test_midnight_is_a_time_and_a_day_is_none():
    assert _day_or_moment("2024-03-01") == dt.date(2024, 3, 1)
    assert type(_day_or_moment("2024-03-01")) is dt.date
    midnight = _day_or_moment("2024-03-01T00:00")
    assert midnight == dt.datetime(2024, 3, 1)
    _check_time(dt.date(2024, 3, 1), Clock(day_starts_at="14:00"))
    _check_time(midnight, Clock())
    with pytest.raises(InputError, match=r"T00:00: the days of this log begin at 14:00"):
        _check_time(midnight, Clock(day_starts_at="14:00"))
    with pytest.raises(typer.BadParameter, match="'soon' is no day"):
        _day_or_moment("soon")


def test_a_secret_is_not_told_again(capsys):
    job = Job(None, Lake(None, "lake"), load_settings("local"))
    show_next("score", job, "local", ["spark.config.spark.hadoop.fs.s3a.secret.key=hidden"])
    assert "hidden" not in capsys.readouterr().out


def test_the_release_is_told():
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.output.strip()) == (0, metadata.version("repurchase"))


def test_a_port_that_is_taken_is_told():
    with listen("127.0.0.1", 0) as taken, pytest.raises(InputError, match="Choose another --port"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("command", ["report", "views"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(command, tmp_path):
    no_folder, folder = tmp_path / "none" / "page", tmp_path
    for output, said in ((no_folder, "there is no folder"), (folder, "a folder; name the file")):
        given = [command, "--lake", str(tmp_path / "no lake"), "--output", str(output)]
        result = CliRunner().invoke(app, given, terminal_width=400)
        assert result.exit_code == 2
        assert said in result.stderr


def test_what_draws_and_what_fits_is_loaded_when_it_is_used():
    """Half of what `repurchase --help` would take."""
    heavy = "{'matplotlib', 'scipy.optimize', 'scipy.special'} & {*sys.modules}"
    asked = [sys.executable, "-c", f"import sys, jobs.cli; print({heavy} or 'none')"]
    assert subprocess.run(asked, capture_output=True, check=True, text=True).stdout == "none\n"


def test_help_says_what_is_taken_where_nothing_is_said():
    for command, usual in {
        "build-features": ["lakehouse", "the day after the log", "as-of"],
        "report": ["the champion", "of training.threshold.profit"],
        "rollback": ["the one before the last"],
        "generate": ["2023-01-01"],
    }.items():
        shown = CliRunner().invoke(app, [command, "--help"]).output
        said = " ".join(shown.replace("│", " ").split())
        assert [words for words in usual if f"[default: ({words}" not in said] == []
