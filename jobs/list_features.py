"""`repurchase features list`: the catalogue, with its windows and descriptions."""

import typer

from conf.settings import load_settings
from features.catalogue import TRENDS, WINDOWED, catalogue
from jobs.console import console, handled, show
from jobs.options import Env, Set

# What a family's windows are called, in its name and in its description.
NAMES = {"w": "W", "s": "S", "l": "L"}
WORDS = {"period": "in the window W", "sd": "S", "ld": "L"}


@handled
def main(env: Env = "local", set_: Set = None) -> None:
    """List every feature with its windows and what it is; yours too."""
    settings = load_settings(env, set_ or [])
    windows, custom = settings.features.windows, settings.features.custom
    everything = catalogue(windows, settings.snapshots.horizon_days)
    windowed = " ".join(dict.fromkeys(f.over for f in everything if f.over and "/" not in f.over))
    compared = " ".join(dict.fromkeys(f.over for f in everything if "/" in f.over))
    rows = [
        (f.name.format(**NAMES), f.type, over, f.description.format(**WORDS))
        for families, over in ((WINDOWED, windowed), (TRENDS, compared))
        for f in families
    ]
    rows += [(f.name, f.type, "", f.description) for f in everything if not f.over]
    rows += [(f"{f.name}_W", "yours", " ".join(f.windows), f.description) for f in custom]
    show("Features", ["feature", "type", "windows", "what it is"], rows)
    total = len(everything) + sum(len(f.windows) for f in custom)
    console.print(f"{total} columns; each has its description as comment in the table features")


if __name__ == "__main__":
    typer.run(main)
