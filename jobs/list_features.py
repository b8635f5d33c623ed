"""`repurchase features list`: the catalogue, with its windows and descriptions."""

import typer

from conf.settings import load_settings
from features.catalogue import TRENDS, WINDOWED, event_families
from features.custom import custom_columns
from features.dictionary import everything
from features.event_days import Vocabulary
from jobs.console import console, handled, show
from jobs.options import Env, Set
from jobs.session import spark_session
from lake.contracts import TRANSACTIONS

# What a family's windows are called, in its name and in its description.
NAMES = {"w": "W", "s": "S", "l": "L"}
WORDS = {"period": "in the window W", "sd": "S", "ld": "L"}


@handled
def main(env: Env = "local", set_: Set = None) -> None:
    """List every feature with its windows and what it is; yours too, once they are checked."""
    settings = load_settings(env, set_ or [])
    custom = settings.features.custom
    counted = Vocabulary(settings.features.event_kinds, settings.features.traffic_sources)
    known = everything(settings)
    if custom:
        spark = spark_session(settings.spark)
        lines = spark.createDataFrame([], TRANSACTIONS.schema)
        custom_columns(lines, custom, [f.name for f in known])
    windowed = " ".join(dict.fromkeys(f.over for f in known if f.over and "/" not in f.over))
    compared = " ".join(dict.fromkeys(f.over for f in known if "/" in f.over))
    families = ((WINDOWED, windowed), (TRENDS, compared), (event_families(counted), windowed))
    rows = [
        (f.name.format(**NAMES), f.type, over, f.needs, f.description.format(**WORDS))
        for family, over in families
        for f in family
    ]
    rows += [(f.name, f.type, "", f.needs, f.description) for f in known if not f.over]
    rows += [(f"{f.name}_W", "yours", " ".join(f.windows), "", f.description) for f in custom]
    show("Features", ["feature", "type", "windows", "needs", "what it is"], rows)
    of_log = sum(not f.needs for f in known)
    total = of_log + sum(len(f.windows) for f in custom)
    console.print(
        f"{total} columns, and {len(known) - of_log} more where the lake has events and "
        "customers; each has its description as comment in the table features"
    )


if __name__ == "__main__":
    typer.run(main)
