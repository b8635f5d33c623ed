"""The data dictionary: the catalogue as Markdown, for `docs/features.md`."""

from collections.abc import Sequence

from conf.settings import load_settings
from features.catalogue import Feature, catalogue
from features.event_days import Vocabulary


def dictionary(features: Sequence[Feature]) -> str:
    """A Markdown table with a row per feature."""
    of_log = sum(not feature.needs for feature in features)
    lines = [
        "# The features",
        "",
        f"The {of_log} columns of the table `features` beside `customer_id` and `as_of`, and the "
        f"{len(features) - of_log} more that need the table `events` or `customers`, "
        "with the shipped windows and a horizon of 30 days. Made from `features/catalogue.py` by "
        "`make dictionary`; the descriptions are also the columns' comments in Delta. "
        "A window of W days is the days `[as_of - W, as_of)`.",
        "",
        "| feature | type | needs | what it is |",
        "|---|---|---|---|",
        *[f"| `{f.name}` | {f.type} | {f.needs} | {f.description} |" for f in features],
    ]
    return "\n".join(lines)


def shipped() -> list[Feature]:
    """The catalogue with the shipped settings, of a lake that has everything."""
    settings = load_settings("base")
    wanted = settings.features
    counted = Vocabulary(wanted.event_kinds, wanted.traffic_sources)
    return catalogue(
        wanted.windows, settings.snapshots.horizon_days, counted, customers=True, predictions=True
    )


if __name__ == "__main__":
    print(dictionary(shipped()))
