"""Every feature: its name, what it says, and the formula that makes it of the window aggregates.

A formula is arithmetic, with a few functions (`features.fold.FUNCTIONS`), over the aggregates of
one snapshot: `<measure>_<window>`, such as `orders_30d` or `revenue_cents_lifetime`,
`<measure>_last` of the last day with an order, and days counted from 1970-01-01: `as_of`,
`first_day`, `last_day`, `horizon_middle`. What has no finite value, such as anything divided by 0,
is null. In a windowed feature `{w}` stands for the window: 7d, 30d, ... or lifetime. A feature that
`needs` the table `events` or `customers` exists only in a lake that has it. To add a feature, add
an entry here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from features.event_days import Vocabulary
from features.popularity import LOG_UNIT
from lake.contracts import Column

LIFETIME = "lifetime"


@dataclass(frozen=True)
class Feature:
    """A column of the table `features`; `formula` over the aggregates of one snapshot.

    `over` is the window, or the two that a trend compares: 30d, lifetime, 7d/30d; empty where
    the feature looks at no window of the configuration. `needs` is the table that a lake must have
    beside `transactions`: events, customers or none.
    """

    name: str
    type: str
    description: str
    formula: str
    over: str = ""
    needs: str = ""

    def column(self) -> Column:
        """The feature as a column of the contract of `features`."""
        return Column(self.name, self.type, self.description)


def _spread(count: str, total: str, squares: str) -> str:
    # Every product is a whole number, exact up to 2^53; a division before the difference is not.
    squared = f"maximum({count} * {squares} - {total} * {total}, 0)"
    return f"sqrt({squared} / ({count} * ({count} - 1)))"


# One entry each; {w} becomes every window and lifetime, {period} the window in words.
WINDOWED = (
    Feature("orders_{w}", "int", "Orders {period}", "orders_{w}"),
    Feature("lines_{w}", "int", "Purchase lines {period}", "lines_{w}"),
    Feature("units_{w}", "double", "Units purchased {period}", "units_thousandths_{w} / 1000"),
    Feature(
        "revenue_{w}",
        "double",
        "Money spent {period}, in the log's currency, before returns",
        "revenue_cents_{w} / 100",
    ),
    Feature(
        "average_order_value_{w}",
        "double",
        "Money per order {period}; null without an order",
        "revenue_cents_{w} / 100 / orders_{w}",
    ),
    Feature(
        "max_order_value_{w}",
        "double",
        "Money of the largest order {period}; null without an order",
        "max_order_cents_{w} / 100",
    ),
    Feature(
        "std_order_value_{w}",
        "double",
        "How much the order values {period} differ (sample standard deviation); "
        "null below two orders",
        _spread("orders_{w}", "revenue_cents_{w}", "order_cents_squared_{w}") + " / 100",
    ),
    Feature("active_days_{w}", "int", "Days with an order {period}", "active_days_{w}"),
    Feature(
        "orders_per_active_month_{w}",
        "double",
        "Orders per calendar month with an order {period}; null without an order",
        "orders_{w} / active_months_{w}",
    ),
    Feature(
        "weekend_share_{w}",
        "double",
        "Share of the orders {period} placed on a Saturday or Sunday; null without an order",
        "weekend_orders_{w} / orders_{w}",
    ),
    Feature(
        "weekend_lift_{w}",
        "double",
        "How many times as often as by chance orders {period} were placed on a weekend "
        "(weekend_share over the share of weekend days, lifetime: since the customer's first "
        "order); null without an order or a weekend day",
        "weekend_orders_{w} * days_{w} / (orders_{w} * weekend_days_{w})",
    ),
    Feature(
        "holiday_share_{w}",
        "double",
        "Share of the orders {period} placed on a public holiday; null without an order",
        "holiday_orders_{w} / orders_{w}",
    ),
    Feature(
        "holiday_lift_{w}",
        "double",
        "How many times as often as by chance orders {period} were placed on a public holiday "
        "(holiday_share over the share of holidays, lifetime: since the customer's first order); "
        "null without an order or a holiday",
        "holiday_orders_{w} * days_{w} / (orders_{w} * holiday_days_{w})",
    ),
    Feature(
        "category_diversity_{w}",
        "int",
        "Distinct product categories bought {period}; 0 where the log names none",
        "category_diversity_{w}",
    ),
    Feature(
        "discount_share_{w}",
        "double",
        "Discount over money before discount {period}; null if nothing was charged",
        "discount_cents_{w} / (discount_cents_{w} + revenue_cents_{w})",
    ),
    Feature(
        "return_rate_{w}",
        "double",
        "Returns booked per order {period}; null without an order",
        "returns_{w} / orders_{w}",
    ),
    Feature(
        "returned_share_{w}",
        "double",
        "Money of the returns booked over money spent {period}; null if nothing was spent",
        "returned_cents_{w} / revenue_cents_{w}",
    ),
    Feature(
        "cancellation_rate_{w}",
        "double",
        "Cancellations booked per order {period}; null without an order",
        "cancellations_{w} / orders_{w}",
    ),
)

# For each pair of neighbouring windows: {s} the shorter, {l} the longer, {sd} and {ld} their days.
TRENDS = (
    Feature(
        "orders_trend_{s}_{l}",
        "double",
        "Orders per day in the last {sd} days over orders per day in the last {ld}; "
        "null without an order in the longer",
        "orders_{s} * {ld} / (orders_{l} * {sd})",
    ),
    Feature(
        "revenue_trend_{s}_{l}",
        "double",
        "Money per day in the last {sd} days over money per day in the last {ld}; "
        "null if nothing was spent in the longer",
        "revenue_cents_{s} * {ld} / (revenue_cents_{l} * {sd})",
    ),
)

SNAPSHOT = (
    Feature(
        "recency_days",
        "int",
        "Days from the last day with an order to as_of, at least 1",
        "as_of - last_day",
    ),
    Feature(
        "tenure_days",
        "int",
        "Days from the first order to as_of, at least 1",
        "as_of - first_day",
    ),
    Feature(
        "first_to_last_order_days",
        "int",
        "Days from the first day with an order to the last; 0 with one such day",
        "last_day - first_day",
    ),
    Feature(
        "days_since_2nd_last_order",
        "int",
        "Days from the second last day with an order to as_of; null below two such days",
        "as_of - day_2nd_last",
    ),
    Feature(
        "days_since_3rd_last_order",
        "int",
        "Days from the third last day with an order to as_of; null below three such days",
        "as_of - day_3rd_last",
    ),
    Feature(
        "days_since_5th_last_order",
        "int",
        "Days from the fifth last day with an order to as_of; null below five such days",
        "as_of - day_5th_last",
    ),
    Feature(
        "last_order_value",
        "double",
        "Money spent per order on the last day with an order, before returns",
        "revenue_cents_last / (100 * orders_last)",
    ),
    Feature(
        "last_order_lines",
        "double",
        "Purchase lines per order on the last day with an order",
        "lines_last / orders_last",
    ),
    Feature(
        "last_order_units",
        "double",
        "Units purchased per order on the last day with an order",
        "units_thousandths_last / (1000 * orders_last)",
    ),
    Feature(
        "gap_mean_days",
        "double",
        "Mean days between consecutive days with an order; null below two such days",
        "gap_days_lifetime / gaps_lifetime",
    ),
    Feature(
        "gap_std_days",
        "double",
        "How much the days between consecutive days with an order differ (sample standard "
        "deviation); null below three such days",
        _spread("gaps_lifetime", "gap_days_lifetime", "gap_days_squared_lifetime"),
    ),
    Feature(
        "gap_last_days",
        "int",
        "Days between the last two days with an order; null below two such days",
        "last_day - day_2nd_last",
    ),
    Feature(
        "recency_over_gap_mean",
        "double",
        "Days since the last order over the mean days between orders (recency_days over "
        "gap_mean_days); null below two days with an order",
        "(as_of - last_day) * gaps_lifetime / gap_days_lifetime",
    ),
    Feature(
        "orders_decayed_30d",
        "double",
        "Recent orders, each counting half as much for every 30 days since (in the longest window)",
        "orders_decayed_30 / 1048576",
    ),
    Feature(
        "orders_decayed_90d",
        "double",
        "Recent orders, each counting half as much for every 90 days since (in the longest window)",
        "orders_decayed_90 / 1048576",
    ),
    Feature(
        "lifetime_value",
        "double",
        "Money spent less money returned and cancelled, over all days before as_of",
        "(revenue_cents_lifetime - returned_cents_lifetime - cancelled_cents_lifetime) / 100",
    ),
    Feature(
        "spending_rate",
        "double",
        "Money spent per day of tenure",
        "revenue_cents_lifetime / 100 / (as_of - first_day)",
    ),
    Feature(
        "favourite_category",
        "string",
        "The category in most orders before as_of (of equals the first by name); "
        "null where the log names none",
        "favourite_category",
    ),
    Feature(
        "favourite_category_share",
        "double",
        "Share of favourite_category among the categories of all orders; null without one",
        "favourite_category_orders / category_orders_lifetime",
    ),
    Feature(
        "favourite_payment_method",
        "string",
        "The payment method of most orders before as_of (of equals the first by name); "
        "null where the log names none",
        "favourite_payment_method",
    ),
    Feature(
        "horizon_weekend_days",
        "int",
        "Saturdays and Sundays in the label window",
        "horizon_weekend_days",
    ),
    Feature(
        "horizon_holiday_days",
        "int",
        "Public holidays in the label window",
        "horizon_holiday_days",
    ),
    Feature(
        "horizon_month",
        "int",
        "The month in which the middle of the label window lies, 1 to 12",
        "month(horizon_middle)",
    ),
    Feature(
        "horizon_season_sine",
        "double",
        "Season of the label window: the sine of its middle as an angle of the year",
        "sin(angle_of_year(horizon_middle))",
    ),
    Feature(
        "horizon_season_cosine",
        "double",
        "Season of the label window: the cosine of its middle as an angle of the year",
        "cos(angle_of_year(horizon_middle))",
    ),
)

# The same for everybody at an as-of date: the calendar of the label window.
OF_DATE = tuple(f.name for f in SNAPSHOT if f.name.startswith("horizon_"))

LAST_YEAR = (
    Feature(
        "orders_same_period_last_year",
        "int",
        "Orders in the {horizon} days from 365 days before as_of",
        "orders_last_year",
    ),
    Feature(
        "revenue_same_period_last_year",
        "double",
        "Money spent in the {horizon} days from 365 days before as_of",
        "revenue_cents_last_year / 100",
    ),
)

# Of what all customers have bought before as_of.
POPULARITY = (
    Feature(
        "last_order_popularity",
        "double",
        "Popularity of what was ordered last with all customers, where -3 is one in a thousand of "
        "all products ordered; the mean over the products of the last day with an order of the "
        "logarithm, base 10, of the share that each has of all products of all orders before "
        "as_of; null where the log names none",
        f"popularity_last / ({LOG_UNIT} * products_last)",
    ),
)

# Of models fitted to all customers before as_of; null where they cannot be.
PREDICTIONS = (
    Feature(
        "alive_probability",
        "double",
        "Probability that the customer has not dropped out by as_of (MBG/NBD)",
        "alive_probability",
    ),
    Feature(
        "order_probability",
        "double",
        "Probability of an order in the {horizon} days from as_of by the rhythm of past orders "
        "alone (MBG/NBD: they come at random)",
        "order_probability",
    ),
    Feature(
        "order_probability_regular",
        "double",
        "Probability of an order in the {horizon} days from as_of by the rhythm of past orders "
        "alone, taken as regular (MBG/CNBD-2: they come at regular gaps)",
        "order_probability_regular",
    ),
    Feature(
        "expected_orders",
        "double",
        "Orders expected in the {horizon} days from as_of by the rhythm of past orders (MBG/NBD: "
        "days with an order)",
        "expected_orders",
    ),
    Feature(
        "expected_order_value",
        "double",
        "Money expected to be spent on a day with an order (Gamma-Gamma); null if nothing was "
        "spent",
        "expected_order_value",
    ),
    Feature(
        "expected_value_12m",
        "double",
        "Money expected to be spent in the 12 months from as_of, discounted by 1% a month "
        "(MBG/NBD and Gamma-Gamma); null if nothing was spent",
        "expected_value_12m",
    ),
)

# Of the events: one column per window.
EVENTS_WINDOWED = (
    Feature("events_{w}", "int", "Events of any kind {period}", "events_{w}"),
    Feature(
        "sessions_{w}",
        "int",
        "Sessions with an event {period}; one that goes on after midnight counts on both days",
        "sessions_{w}",
    ),
)
# The same for each counted {kind} of event.
EVENTS_BY_KIND = (
    Feature("{kind}_events_{w}", "int", "Events of the kind {kind} {period}", "kind_{kind}_{w}"),
)
# The same if carts are counted.
CARTS = (
    Feature(
        "cart_days_without_order_{w}",
        "int",
        "Days with an event of the kind cart and no order on the same day {period}",
        "cart_days_without_order_{w}",
    ),
)
# One column for each counted {source} of traffic.
TRAFFIC = Feature(
    "traffic_{source}_share",
    "double",
    "Share of all events before as_of with the traffic source {source}; null without an event",
    "source_{source}_lifetime / events_lifetime",
)
LAST_EVENT = Feature(
    "hours_since_last_event",
    "double",
    "Hours from the last event before as_of to the start of as_of; null without an event",
    "(as_of_micros - last_event_micros) / 3600000000",
)

# Of the row of `customers` that holds on the day before as_of; null where there is none.
ATTRIBUTES = (
    Feature(
        "age_years",
        "int",
        "The age that the customer reaches in the year of as_of, as known the day before as_of",
        "year(as_of) - birth_year",
    ),
    Feature("gender", "string", "The gender, as known the day before as_of", "gender"),
    Feature("location", "string", "The location, as known the day before as_of", "location"),
    Feature(
        "days_since_sign_up",
        "int",
        "Days from the sign-up to as_of, as known the day before as_of; null if it comes later",
        "as_of - signed_up_on",
    ),
)

WEEKDAY_NAMES = (
    "Mondays",
    "Tuesdays",
    "Wednesdays",
    "Thursdays",
    "Fridays",
    "Saturdays",
    "Sundays",
)
MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def catalogue(
    windows: Sequence[int],
    horizon_days: int,
    events: Vocabulary | None = None,
    *,
    customers: bool = False,
    popularity: bool = False,
    predictions: bool = False,
) -> list[Feature]:
    """Every feature for windows of these days and a label window of `horizon_days`.

    Those of events are there if it is said what of them is counted, those of customers, of the
    popularity of products and of models if asked.
    """
    windowed = _windowed(WINDOWED, windows)
    pairs = list(pairwise(windows))
    trends = [
        replace(
            _filled(feature, s=_token(short), l=_token(long), sd=str(short), ld=str(long)),
            over=f"{_token(short)}/{_token(long)}",
        )
        for feature in TRENDS
        for short, long in pairs
    ]
    profile = [
        Feature(
            f"{part}_{number}_share",
            "double",
            f"Share of all orders before as_of placed {words}",
            f"{part}_{number}_lifetime / orders_lifetime",
        )
        for part, names in (("weekday", WEEKDAY_NAMES), ("month", MONTH_NAMES))
        for number, words in enumerate(
            [("on " if part == "weekday" else "in ") + n for n in names], 1
        )
    ]
    history = [
        Feature(
            f"history_shorter_than_{_token(days)}",
            "int",
            f"1 if the log begins less than {days} days before as_of, else 0",
            f"log_days < {days}",
        )
        for days in windows
    ]
    seasonal = [_filled(feature, horizon=str(horizon_days)) for feature in LAST_YEAR]
    season = seasonal if horizon_days <= 365 <= windows[-1] else []
    of_products = POPULARITY if popularity else ()
    of_log = [*windowed, *trends, *SNAPSHOT, *of_products, *season, *profile, *history]
    of_events = _of_events(windows, events) if events else []
    of_customers = [replace(f, needs="customers") for f in ATTRIBUTES] if customers else []
    of_models = [_filled(f, horizon=str(horizon_days)) for f in PREDICTIONS] if predictions else []
    return [*of_log, *of_models, *of_events, *of_customers]


def event_families(counted: Vocabulary) -> list[Feature]:
    """The features of events that have windows, with {w} and {period} still to be filled in."""
    by_kind = [
        _filled(f, kind=kind, w="{w}", period="{period}")
        for f in EVENTS_BY_KIND
        for kind in counted.kinds
    ]
    families = [*EVENTS_WINDOWED, *by_kind, *(CARTS if "cart" in counted.kinds else ())]
    return [replace(feature, needs="events") for feature in families]


def _of_events(windows: Sequence[int], counted: Vocabulary) -> list[Feature]:
    traffic = [_filled(TRAFFIC, source=source) for source in counted.traffic_sources]
    made = [*_windowed(event_families(counted), windows), LAST_EVENT, *traffic]
    return [replace(feature, needs="events") for feature in made]


def _windowed(families: Sequence[Feature], windows: Sequence[int]) -> list[Feature]:
    return [
        replace(_filled(feature, w=_token(days), period=_period(days)), over=_token(days))
        for feature in families
        for days in [*windows, None]
    ]


def _token(days: int | None) -> str:
    return LIFETIME if days is None else f"{days}d"


def _period(days: int | None) -> str:
    return "over all days before as_of" if days is None else f"in the {days} days before as_of"


def _filled(feature: Feature, **words: str) -> Feature:
    return replace(
        feature,
        name=feature.name.format(**words),
        description=feature.description.format(**words),
        formula=feature.formula.format(**words),
    )
