"""Orders that a caller sends, as the features of that moment."""

import re
from collections.abc import Container, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from conf.errors import InputError
from features.calendar import Clock, numbered
from features.catalogue import OF_DATE, catalogue
from features.customer_base import predictions_by
from features.fold import PRODUCTS
from features.on_the_spot import features_of
from features.popularity import Popularity
from features.windows import Snapshots
from lake.rules import BLANKS, KINDS, TEXTS
from serving.requests import MAX_TEXT, InvalidRows, Problem, Told
from serving.tables import Tables

NEEDED = ("customer_id", "ordered_at", "amount")
OPTIONAL = (
    *("order_id", "kind", "quantity", "discount", "product_id"),
    *("category", "payment_method", "channel"),
)
# What says when a customer has ordered, as far as is known without the orders.
HISTORY = ("recency_days", "tenure_days", "orders_lifetime")
# As-of dates of which it is known how popular products were.
DAYS_KEPT = 8
# Features that only who tells a quantity has.
UNITS = re.compile(r"units_|last_order_units$")
OF_TEXT = ("customer_id", "order_id", *TEXTS)
# Days of orders must lie in these years, and a line's money and units be no more than this, so that
# those of a request can be summed.
YEARS = range(1970, 2201)
MOST = Decimal(10) ** 9


class Spot:
    """What orders mean in a lake: its calendar, its windows, and the models of its customers."""

    def __init__(self, tables: Tables, horizon_days: int) -> None:
        of_log = tables.properties("transactions")
        of_features = tables.properties("features")
        self._windows = tuple(int(days) for days in of_features["windows"].split())
        self._horizon_days = horizon_days
        known = catalogue(self._windows, horizon_days, popularity=True, predictions=True)
        # The features that orders tell.
        self.tells = frozenset(feature.name for feature in known)
        self._clock = Clock(of_log.get("time_zone", "UTC"), of_log.get("day_starts_at", "00:00"))
        self._country = of_features.get("country", of_log.get("country")) or None
        first = tables.query("SELECT min(ordered_on) AS day FROM transactions")
        self._log_start = pd.Timestamp(first["day"][0]).date()
        latest = tables.query("SELECT max(as_of) AS day FROM features")
        self.as_of = pd.Timestamp(latest["day"][0]).date()
        self._base = tables.query("SELECT as_of, model, parameter, estimate FROM customer_base")
        self._base["as_of"] = pd.to_datetime(self._base["as_of"]).dt.date
        self._of_today = self._predictions(self.as_of)
        self._popular = lru_cache(DAYS_KEPT)(partial(_popularity, tables))
        self._calendar = self._of_date(tables)

    def features(self, orders: Sequence[Mapping[str, Any]], as_of: date | None) -> pd.DataFrame:
        """The features of the customers at `as_of`, by default the latest of the tables: one row
        per customer with an order before it. Units are missing where no order of a customer has a
        `quantity`.

        Raises InvalidRows, and InputError where nobody has ordered before it.
        """
        day = as_of or self.as_of
        lines = self.lines(orders)
        first = min(self._log_start, lines["day"].min().date())
        if first >= day:
            raise InputError(f"no order is before as_of {day}")
        snapshots = Snapshots(
            (day,),
            self._windows,
            self._horizon_days,
            first,
            self._country,
            clock=self._clock,
        )
        popular = self._popular(min(day, self.as_of))
        found = features_of(lines, snapshots, self._predictions(day), popular)
        if found.empty:
            raise InputError(f"nobody has an order before as_of {day}")
        with_units = (o for o in orders if not _blank(o.get("quantity")))
        told = {str(order["customer_id"]) for order in with_units}
        units = [str(name) for name in found if UNITS.match(str(name))]
        found.loc[~found["customer_id"].isin(told), units] = np.nan
        return found

    def implied(self, told: Told, wanted: Container[str]) -> dict[str, Any]:
        """Columns of the wanted features with what follows from the day and from recency, tenure,
        orders and revenue, in rows that do not name it: the calendar of the label window, windows
        without an order, the time between orders, and what the models of the customer base expect,
        if no two orders were on one day.
        """
        rows, known, named = len(told.given), told.known, told.named
        of_day = {name: np.full(rows, value) for name, value in self._calendar.items()}
        found = of_day | self._of_history(known)
        return {
            name: np.where(named[name], known[name], values) if name in named else values
            for name, values in found.items()
            if name in wanted
        }

    def _of_history(self, known: Mapping[str, Any]) -> dict[str, Any]:
        if not all(name in known for name in HISTORY):
            return {}
        recency, tenure, orders = (known[name] for name in HISTORY)
        revenue = known.get("revenue_lifetime", np.full(len(recency), np.nan))
        empty = {days: np.where(recency > days, 0.0, np.nan) for days in self._windows}
        found = {
            f"{name}_{days}d": values
            for name in ("orders", "lines", "revenue", "active_days")
            for days, values in empty.items()
        }
        with np.errstate(all="ignore"):
            gap = np.where(orders > 1, (tenure - recency) / (orders - 1), np.nan)
            found |= {
                "active_days_lifetime": orders,
                "first_to_last_order_days": tenure - recency,
                "average_order_value_lifetime": revenue / orders,
                "last_order_value": np.where(orders == 1, revenue, np.nan),
                "spending_rate": revenue / tenure,
                "gap_mean_days": gap,
                "recency_over_gap_mean": np.where(gap > 0, recency / gap, np.nan),
                **self._expected(recency, tenure, orders, revenue),
            }
        # What is not finite is missing, as in the table.
        return {name: np.where(np.isfinite(known), known, np.nan) for name, known in found.items()}

    def _expected(self, recency: Any, tenure: Any, orders: Any, revenue: Any) -> dict[str, Any]:
        today = float(numbered(self.as_of))
        sound = (recency >= 1) & (tenure >= recency) & (orders >= 1)
        history = {
            "active_days_lifetime": np.where(sound, orders, np.nan),
            "revenue_cents_lifetime": revenue * 100,
            "first_day": today - tenure,
            "last_day": today - recency,
            "as_of": np.full(len(recency), today),
        }
        found: dict[str, Any] = self._of_today(history, np.zeros(len(recency), np.int64))
        return found

    def _of_date(self, tables: Tables) -> dict[str, float]:
        """What the calendar says of the label window, the same for everybody."""
        names = [name for name in tables.types("features") if name in OF_DATE]
        if not names:
            return {}
        latest = tables.query(
            f"SELECT {', '.join(names)} FROM features WHERE as_of = $day LIMIT 1",
            {"day": self.as_of},
        )
        return {str(name): float(values.iloc[0]) for name, values in latest.items()}

    def _predictions(self, day: date) -> Any:
        known = self._base[self._base["as_of"] <= day]
        if known.empty:
            raise InputError(
                f"as_of {day}: the first day that can be looked from is {self._base['as_of'].min()}"
            )
        nearest = known[known["as_of"] == known["as_of"].max()]
        return predictions_by(nearest.assign(as_of=day), [day], self._horizon_days)

    def lines(self, orders: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """The orders as `features.on_the_spot` takes them, a row each, with their business day and
        their money in cents, negative of what is no purchase.

        Raises InvalidRows, and InputError where there is none.
        """
        rows, problems = [], []
        for number, order in enumerate(orders):
            row, wrong = self._line(order)
            rows.append(row)
            problems += [Problem(number, field, message) for field, message in wrong]
        if problems:
            raise InvalidRows(problems)
        if not rows:
            raise InputError("there is no order")
        return pd.DataFrame(rows)

    def _line(self, order: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        wrong = [(name, "is missing") for name in NEEDED if _blank(order.get(name))]
        wrong += [
            (str(name)[:MAX_TEXT], f"no such column; known are {', '.join((*NEEDED, *OPTIONAL))}")
            for name in order
            if name not in NEEDED and name not in OPTIONAL
        ]
        texts = {}
        for name in OF_TEXT:
            value = order.get(name)
            texts[name] = None if _blank(value) else str(value)
            is_text = isinstance(value, (str, int, type(None))) and not isinstance(value, bool)
            if not is_text or len(str(value)) > MAX_TEXT:
                wrong.append((name, f"must be a text of at most {MAX_TEXT} characters"))
        kind = order.get("kind")
        kind = "purchase" if _blank(kind) else str(kind).strip().lower()
        if kind not in KINDS:
            wrong.append(("kind", f"must be one of {', '.join(KINDS)}"))
        day = _or_problem("ordered_at", self._day, order.get("ordered_at"), wrong)
        cents = _or_problem("amount", _hundredths, order.get("amount"), wrong)
        if kind == "purchase" and (cents or 0) < 0:
            wrong.append(("amount", "of a purchase must not be negative; is it a return?"))
        discount = _or_problem("discount", _hundredths, order.get("discount") or 0, wrong)
        quantity = _or_problem("quantity", _thousandths, order.get("quantity") or 0, wrong)
        return {
            **texts,
            "order_id": texts["order_id"] or f"{texts['customer_id']} {day}",
            "day": pd.Timestamp(day) if day else None,
            "kind": kind,
            # Whatever sign it came with, as `lake.rules` has it.
            "cents": cents if cents is None or kind == "purchase" else -abs(cents),
            "discount_cents": abs(discount or 0),
            "thousandths": abs(quantity or 0),
        }, wrong

    def _day(self, value: Any) -> date:
        """The business day of a moment, of which one without a time zone is local."""
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime.combine(moment, time.fromisoformat(self._clock.day_starts_at))
        if not isinstance(moment, datetime) or moment.year not in YEARS:
            raise ValueError(value)
        if isinstance(value, str) and _is_day(value):
            return moment.date()
        if moment.tzinfo:
            moment = moment.astimezone(ZoneInfo(self._clock.time_zone))
        starts = time.fromisoformat(self._clock.day_starts_at)
        shifted: datetime = moment - timedelta(hours=starts.hour, minutes=starts.minute)
        return shifted.date()


def _popularity(tables: Tables, as_of: date) -> Popularity | None:
    """That of products before the day; None where no customer-days tell what was ordered."""
    if not tables.exists("customer_days") or PRODUCTS not in tables.types("customer_days"):
        return None
    ordered = tables.query(
        "SELECT CASE WHEN orders > 1 THEN product END AS product, sum(orders) AS orders FROM "
        f"(SELECT product, count(*) AS orders FROM (SELECT unnest({PRODUCTS}) AS product "
        "FROM customer_days WHERE day < $day) GROUP BY product) GROUP BY 1",
        {"day": as_of},
    )
    orders, is_told = ordered["orders"].to_numpy(np.int64), ordered["product"].notna()
    told = ordered["product"][is_told].tolist()
    return Popularity.of(told, orders[None, is_told], orders.sum(keepdims=True))


def _hundredths(value: Any) -> int:
    return _parts(value, 100)


def _thousandths(value: Any) -> int:
    return _parts(value, 1000)


def _parts(value: Any, of_one: int) -> int:
    """The value in whole parts of one, halves away from zero as in the tables."""
    number = Decimal(str(value))
    is_none = isinstance(value, bool) or "_" in str(value)
    if is_none or not number.is_finite() or abs(number) > MOST:
        raise ValueError(value)
    return int((number * of_one).to_integral_value(ROUND_HALF_UP))


EXPECTED = {
    "ordered_at": "must be a day or a moment such as 2024-01-31T18:30, in the years "
    f"{YEARS[0]} to {YEARS[-1]}",
    **dict.fromkeys(
        ("amount", "discount", "quantity"),
        f"must be a number, such as 19.90, of at most {MOST:,} either way",
    ),
}


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip(BLANKS))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _or_problem(field: str, read: Any, value: Any, wrong: list[tuple[str, str]]) -> Any:
    """What is read of the value, or None with the problem added."""
    try:
        return None if _blank(value) else read(value)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        wrong.append((field, EXPECTED[field]))
        return None
