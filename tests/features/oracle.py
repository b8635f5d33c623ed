"""A second, deliberately naive implementation of every feature and of the label.

Written from the descriptions in the catalogue, in plain Python over lines of a log, each a
dict made by `line`; nothing here knows how the engine works.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random
from statistics import mean, stdev
from typing import Any

Line = dict[str, Any]
Row = dict[str, Any]

SCHEMA = (
    "customer_id string, order_id string, ordered_on date, kind string, amount decimal(18,2), "
    "quantity decimal(18,3), discount decimal(18,2), category string, payment_method string, "
    "product_id string"
)


def line(customer: str, day: str | dt.date, order: str = "o1", **values: Any) -> Line:
    """One line of a log: a purchase of 10.00, if nothing else is said."""
    given = {"kind": "purchase", "amount": "10.00", "quantity": "1", "discount": None, **values}
    return {
        "customer_id": customer,
        "order_id": order,
        "ordered_on": dt.date.fromisoformat(str(day)),
        "kind": given["kind"],
        **{
            name: None if given[name] is None else Decimal(given[name])
            for name in ("amount", "quantity", "discount")
        },
        **{name: given.get(name) for name in ("category", "payment_method", "product_id")},
    }


def transactions(spark: Any, lines: Sequence[Line]) -> Any:
    """The lines as the engine gets them."""
    return spark.createDataFrame([tuple(entry.values()) for entry in lines], SCHEMA)


def random_log(
    random: Random, customers: int, as_ofs: Sequence[dt.date], windows: Sequence[int], horizon: int
) -> list[Line]:
    """Few lines per customer, many of them on the edges of a window or on the same day."""
    edges = [
        -1,
        0,
        1,
        2,
        *(w + d for w in (*windows, 365, 365 - horizon, horizon) for d in (-1, 0, 1)),
    ]
    money = ["0", "0.01", "0.10", "9.99", "9.99", "19999.99", "20000.00"]

    def day() -> dt.date:
        age = random.choice(edges) if random.random() < 0.6 else random.randint(-40, 900)
        return random.choice(as_ofs) - dt.timedelta(age)

    def some_line(customer: str, on: dt.date) -> Line:
        kind = random.choices(["purchase", "return", "cancelled"], [7, 2, 1])[0]
        sign = 1 if kind == "purchase" else -1
        amount = Decimal(random.choice([*money, f"{random.uniform(0, 300):.2f}"]))
        return line(
            customer,
            on,
            random.choice(["o1", "o2", "o3"]),
            kind=kind,
            amount=sign * amount,
            quantity=random.choice([None, sign * 1, sign * 12, sign * Decimal("0.125")]),
            discount=random.choice([None, 0, "0.01", "5.50"]),
            category=random.choice([None, "", "Tea", "tea", "Äpfel", "😀", "b", "a"]),
            payment_method=random.choice([None, "card", "cash", "Ünion"]),
            product_id=random.choice([None, "", "p", "p", "p", "P", f"p{random.randint(1, 40)}"]),
        )

    log = []
    for number in range(customers):
        days = [day() for _ in range(random.choice([1, 1, 2, 3, 5, 8, 13]))]
        log += [
            some_line(f"customer {number}", on)
            for on in days
            for _ in range(random.choice([1, 1, 2, 4]))
        ]
    random.shuffle(log)
    return log


def features(
    lines: Iterable[Line],
    as_ofs: Iterable[dt.date],
    windows: Sequence[int],
    horizon: int,
    log_start: dt.date,
    holidays: Iterable[dt.date] = (),
) -> dict[tuple[str, dt.date], Row]:
    """Every feature of every customer with an order before the as-of date, by both."""
    by_customer = _by_customer(lines)
    snapshots = {}
    for as_of in as_ofs:
        ordered = Counter(
            product
            for own in by_customer.values()
            for _, product in _products([e for e in own if e["ordered_on"] < as_of])
        )
        for customer, own in by_customer.items():
            history = [entry for entry in own if entry["ordered_on"] < as_of]
            if any(entry["kind"] == "purchase" for entry in history):
                snapshots[customer, as_of] = {
                    **_snapshot(history, as_of, windows, horizon, log_start, set(holidays)),
                    "last_order_popularity": _popularity(history, ordered),
                }
    return snapshots


def labels(
    lines: Iterable[Line], as_ofs: Iterable[dt.date], horizon: int
) -> dict[tuple[str, dt.date], bool]:
    """Whether each customer with an order before the as-of date orders in the days from it."""
    by_customer = _by_customer(lines)
    answers = {}
    for as_of in as_ofs:
        end = as_of + dt.timedelta(horizon)
        for customer, own in by_customer.items():
            order_days = [entry["ordered_on"] for entry in own if entry["kind"] == "purchase"]
            if any(day < as_of for day in order_days):
                answers[customer, as_of] = any(as_of <= day < end for day in order_days)
    return answers


def differences(found: Row, expected: Row) -> list[str]:
    """What differs, for people to read; doubles may differ by 1e-9 of their size."""
    assert set(found) == set(expected)
    # Every order's weight is rounded to 2^-20, so that sums of them are exact.
    slack = {f"orders_decayed_{n}d": expected["orders_lifetime"] * 2.0**-21 for n in (30, 90)}
    # So is every product's logarithm.
    slack["last_order_popularity"] = 2.0**-21
    return [
        f"{name}: {found[name]!r}, not {value!r}"
        for name, value in expected.items()
        if not _same(found[name], value, slack.get(name, 0.0))
    ]


def _same(found: Any, expected: Any, slack: float) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=slack)
    return type(found) is type(expected) and found == expected


def _by_customer(lines: Iterable[Line]) -> dict[str, list[Line]]:
    by_customer: dict[str, list[Line]] = {}
    for entry in lines:
        by_customer.setdefault(entry["customer_id"], []).append(entry)
    return by_customer


def _snapshot(
    history: list[Line],
    as_of: dt.date,
    windows: Sequence[int],
    horizon: int,
    log_start: dt.date,
    holidays: set[dt.date],
) -> Row:
    orders = _documents(history, "purchase")
    days = sorted({day for day, _ in orders})
    row: Row = {}
    for w in windows:
        first = as_of - dt.timedelta(w)
        recent = [entry for entry in history if entry["ordered_on"] >= first]
        row |= {
            f"{name}_{w}d": value for name, value in _window(recent, first, as_of, holidays).items()
        }
    whole = _window(history, days[0], as_of, holidays)
    row |= {f"{name}_lifetime": value for name, value in whole.items()}
    for s, l in pairwise(windows):  # noqa: E741
        for measure in ("orders", "revenue"):
            a_day_lately = row[f"{measure}_{s}d"] / s
            row[f"{measure}_trend_{s}d_{l}d"] = _over(a_day_lately, row[f"{measure}_{l}d"] / l)
    row |= _days(days, as_of) | _profile(orders) | _favourites(orders)
    row |= _last_orders(history, orders, days[-1])
    within = [day for day, _ in orders if (as_of - day).days <= windows[-1]]
    for half_life in (30, 90):
        row[f"orders_decayed_{half_life}d"] = sum(
            (0.5 ** ((as_of - day).days / half_life) for day in within), 0.0
        )
    money = {kind: _money(history, kind) for kind in ("purchase", "return", "cancelled")}
    row["lifetime_value"] = float(sum(money.values()))
    row["spending_rate"] = float(money["purchase"]) / (as_of - days[0]).days
    ahead = [as_of + dt.timedelta(n) for n in range(horizon)]
    row["horizon_weekend_days"] = sum(day.weekday() in (5, 6) for day in ahead)
    row["horizon_holiday_days"] = sum(day in holidays for day in ahead)
    middle = as_of + dt.timedelta(horizon // 2)
    angle = 2 * math.pi * (middle.timetuple().tm_yday - 1) / 365.25
    row["horizon_month"] = middle.month
    row["horizon_season_sine"], row["horizon_season_cosine"] = math.sin(angle), math.cos(angle)
    if horizon <= 365 <= windows[-1]:
        a_year_ago = [day - dt.timedelta(365) for day in ahead]
        row["orders_same_period_last_year"] = sum(day in a_year_ago for day, _ in orders)
        row["revenue_same_period_last_year"] = float(
            _money([entry for entry in history if entry["ordered_on"] in a_year_ago], "purchase")
        )
    for w in windows:
        row[f"history_shorter_than_{w}d"] = int((as_of - log_start).days < w)
    return row


def _window(lines: list[Line], first: dt.date, as_of: dt.date, holidays: set[dt.date]) -> Row:
    """The windowed features of the lines of the days [first, as_of)."""
    calendar = [first + dt.timedelta(n) for n in range((as_of - first).days)]
    purchases = [entry for entry in lines if entry["kind"] == "purchase"]
    orders = _documents(lines, "purchase")
    values = [float(_money(order, "purchase")) for order in orders.values()]
    exact_values = [_money(order, "purchase") for order in orders.values()]
    revenue = sum(exact_values, Decimal(0))
    discount = sum((entry["discount"] or Decimal(0) for entry in purchases), Decimal(0))
    weekend = _over(sum(day.weekday() in (5, 6) for day, _ in orders), len(orders))
    holiday = _over(sum(day in holidays for day, _ in orders), len(orders))
    weekend_days = _over(sum(day.weekday() in (5, 6) for day in calendar), len(calendar))
    holiday_days = _over(sum(day in holidays for day in calendar), len(calendar))
    returned, cancelled = _documents(lines, "return"), _documents(lines, "cancelled")
    return {
        "orders": len(orders),
        "lines": len(purchases),
        "units": float(sum((entry["quantity"] or Decimal(0) for entry in purchases), Decimal(0))),
        "revenue": float(revenue),
        "average_order_value": mean(values) if values else None,
        "max_order_value": max(values) if values else None,
        "std_order_value": float(stdev(exact_values)) if len(values) > 1 else None,
        "active_days": len({day for day, _ in orders}),
        "orders_per_active_month": _over(
            len(orders), len({(day.year, day.month) for day, _ in orders})
        ),
        "weekend_share": weekend,
        "weekend_lift": _over(weekend, weekend_days),
        "holiday_share": holiday,
        "holiday_lift": _over(holiday, holiday_days),
        "category_diversity": len(
            {entry["category"] for entry in purchases if entry["category"] is not None}
        ),
        "discount_share": _over(discount, discount + revenue),
        "return_rate": _over(len(returned), len(orders)),
        "returned_share": _over(-_money(lines, "return"), revenue),
        "cancellation_rate": _over(len(cancelled), len(orders)),
    }


def _days(days: list[dt.date], as_of: dt.date) -> Row:
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]

    def since(nth: int) -> int | None:
        return (as_of - days[-nth]).days if len(days) >= nth else None

    return {
        "recency_days": since(1),
        "tenure_days": (as_of - days[0]).days,
        "first_to_last_order_days": (days[-1] - days[0]).days,
        "days_since_2nd_last_order": since(2),
        "days_since_3rd_last_order": since(3),
        "days_since_5th_last_order": since(5),
        "gap_mean_days": float(mean(gaps)) if gaps else None,
        "gap_std_days": float(stdev(gaps)) if len(gaps) > 1 else None,
        "gap_last_days": gaps[-1] if gaps else None,
        "recency_over_gap_mean": (as_of - days[-1]).days / mean(gaps) if gaps else None,
    }


def _last_orders(
    history: list[Line], orders: dict[tuple[dt.date, str], list[Line]], last: dt.date
) -> Row:
    lines = [e for e in history if e["ordered_on"] == last and e["kind"] == "purchase"]
    count = sum(day == last for day, _ in orders)
    units = sum((entry["quantity"] or Decimal(0) for entry in lines), Decimal(0))
    return {
        "last_order_value": float(_money(lines, "purchase")) / count,
        "last_order_lines": len(lines) / count,
        "last_order_units": float(units) / count,
    }


def _popularity(history: list[Line], ordered: Counter[str]) -> float | None:
    last = max(entry["ordered_on"] for entry in history if entry["kind"] == "purchase")
    shares = [
        math.log10(ordered[product] / ordered.total())
        for day, product in _products(history)
        if day == last
    ]
    return mean(shares) if shares else None


def _products(lines: Iterable[Line]) -> list[tuple[dt.date, str]]:
    """One entry per order and product in it, with its day."""
    return [
        (day, product)
        for (day, _), order in _documents(lines, "purchase").items()
        for product in {entry["product_id"] for entry in order} - {None}
    ]


def _profile(orders: dict[tuple[dt.date, str], list[Line]]) -> Row:
    weekdays = Counter(day.isoweekday() for day, _ in orders)
    months = Counter(day.month for day, _ in orders)
    return {
        **{f"weekday_{n}_share": weekdays[n] / len(orders) for n in range(1, 8)},
        **{f"month_{n}_share": months[n] / len(orders) for n in range(1, 13)},
    }


def _favourites(orders: dict[tuple[dt.date, str], list[Line]]) -> Row:
    categories, methods = Counter[str](), Counter[str]()
    for order in orders.values():
        categories.update({entry["category"] for entry in order} - {None})
        methods.update({entry["payment_method"] for entry in order} - {None})
    category = _most_common(categories)
    return {
        "favourite_category": category,
        "favourite_category_share": _over(categories[category or ""], sum(categories.values())),
        "favourite_payment_method": _most_common(methods),
    }


def _most_common(counts: Counter[str]) -> str | None:
    best = max(counts.values(), default=0)
    return min((name for name, count in counts.items() if count == best), default=None)


def _documents(lines: Iterable[Line], kind: str) -> dict[tuple[dt.date, str], list[Line]]:
    """The lines of that kind by day and order id: an order, or what was returned of one."""
    documents: dict[tuple[dt.date, str], list[Line]] = {}
    for entry in lines:
        if entry["kind"] == kind:
            documents.setdefault((entry["ordered_on"], entry["order_id"]), []).append(entry)
    return documents


def _money(lines: Iterable[Line], kind: str) -> Decimal:
    return sum((entry["amount"] for entry in lines if entry["kind"] == kind), Decimal(0))


def _over(a: Any, b: Any) -> float | None:
    if a is None or b is None or b == 0:
        return None
    return float(a) / float(b)
