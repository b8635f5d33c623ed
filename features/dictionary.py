"""The data dictionary: the catalogue as Markdown, for `docs/features.md`."""

from collections.abc import Sequence

from features.catalogue import Feature, catalogue

SHIPPED_WINDOWS, SHIPPED_HORIZON = (7, 30, 90, 180, 365), 30


def dictionary(features: Sequence[Feature]) -> str:
    """A Markdown table with a row per feature."""
    lines = [
        "# The features",
        "",
        f"The {len(features)} columns of the table `features` beside `customer_id` and `as_of`, "
        "with the shipped windows and a horizon of 30 days. Made from `features/catalogue.py` by "
        "`make dictionary`; the descriptions are also the columns' comments in Delta. "
        "A window of W days is the days `[as_of - W, as_of)`.",
        "",
        "| feature | type | what it is |",
        "|---|---|---|",
        *[f"| `{f.name}` | {f.type} | {f.description} |" for f in features],
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(dictionary(catalogue(SHIPPED_WINDOWS, SHIPPED_HORIZON)))
