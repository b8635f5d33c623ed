"""What commands say of their options."""

import datetime as dt
import shlex

import pytest

from conf.settings import load_settings
from jobs.options import Job, show_next
from lake.store import Lake


@pytest.mark.parametrize(
    ("env", "overrides", "as_of", "expected"),
    [
        ("local", None, None, []),
        ("demo", [], None, ["--env", "demo"]),
        (
            "my env.yml",
            ["training.folds=2", "tracking.enabled=false"],
            dt.datetime(2024, 3, 1),
            [
                *("--as-of", "2024-03-01", "--env", "my env.yml"),
                *("--set", "training.folds=2", "--set", "tracking.enabled=false"),
            ],
        ),
        ("local", None, dt.datetime(2024, 3, 1, 14), ["--as-of", "2024-03-01T14:00"]),
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
