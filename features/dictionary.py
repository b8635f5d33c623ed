"""The data dictionary: the catalogue as Markdown, for `docs/features.md`."""

from collections.abc import Sequence

from conf.settings import Settings, load_settings
from features.catalogue import Feature, catalogue
from features.event_days import Vocabulary

HOW = """Days and orders are counted as [customer_days](../features/customer_days.py) has them, of
each customer and business day:

- Money is rounded to cents and units to thousandths, each line by itself, halves away from zero.
- An order is a distinct order id with a purchase line. A return is a distinct order id with a
  return line, and a cancellation one with a cancelled line, on the day that it is booked.
- Of names, the first is the one whose UTF-8 bytes come first: `Tea` before `tea`.
- The weights of decayed orders are rounded to a millionth (2^-20).
- The popularity of a product is the share that it has of all products of all orders, in which it
  counts once an order; its logarithm is rounded to a millionth (2^-20).
- The log begins with its first line that is kept, whatever its kind.
- The angle of a day of the year is 2 pi (n - 1) / 365.25, of its n-th day.
- Buy-till-you-die models are fitted to the days with an order, of which several orders are one.
  Gamma-Gamma is fitted to what customers spend on such a day on average, rounded to steps of 1 %;
  who has spent nothing is left out.
- The 12 months of `expected_value_12m` are of 365/12 days, and what falls into the n-th is worth
  1.01^-n.
- With `snapshots.horizon_hours`, features of the label window look at all days that it can reach
  into: at two for 24 hours, for a day on which clocks change is shorter than that.
"""


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
        HOW,
        "| feature | type | needs | what it is |",
        "|---|---|---|---|",
        *[f"| `{f.name}` | {f.type} | {f.needs} | {f.description} |" for f in features],
    ]
    return "\n".join(lines)


def everything(settings: Settings) -> list[Feature]:
    """The catalogue with these settings, of a lake that has everything."""
    wanted = settings.features
    counted = Vocabulary(wanted.event_kinds, wanted.traffic_sources)
    return catalogue(
        wanted.windows,
        settings.snapshots.horizon_days,
        counted,
        customers=True,
        popularity=True,
        predictions=True,
    )


if __name__ == "__main__":
    print(dictionary(everything(load_settings("base"))))
