"""Customer-days to the features of every window and as-of date, many customers at once.

Days are numbered from 1970-01-01. A *history* is the rows of one kind (orders, returns, one
category of one customer) in the order of their days. A binary search finds where a window begins
and ends in a history; every sum is then a difference of two prefix sums. All sums are of whole
numbers, so that they are exact and do not depend on which customers share a batch.

This module knows numpy and Arrow only: Spark sends it to the workers as it is.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.popularity import Popularity
from lake.key_ranges import ranked

Ints = npt.NDArray[np.int64]

# Columns of customer_days, and what is counted from them and the calendar.
ORDER_COUNTS = ("orders", "lines")
DERIVED_COUNTS = ("active_days", "weekend_orders", "holiday_orders")
ORDER_AMOUNTS = ("units_thousandths", "revenue_cents", "discount_cents")
RETURN_COUNTS = ("returns", "cancellations")
RETURN_AMOUNTS = ("returned_cents", "cancelled_cents")
LAST_YEAR = ("orders", "revenue_cents")
# Of the days with events: what counts the carts, and what is made of them and the orders.
CART, ABANDONED = "kind_cart", "cart_days_without_order"
# Of the rows of customers: numbers and days, and texts.
NUMBERS, TEXTS = ("birth_year", "signed_up_on"), ("gender", "location")
# Lists in customer_days, and what one of their entries is.
FACETS = (("categories", "category"), ("payment_methods", "payment_method"))
PRODUCTS = "products"
HALF_LIVES = (30, 90)
DECAY_UNIT = 2**20
SQUARES_UNIT = 2**32
DAYS_OF_YEAR = 365
# Snapshots that a batch of the result holds, about, and customer-days that make it.
BATCH_ROWS = 40_000
INPUT_ROWS = 200_000
ARROW = {
    "int": pa.int32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "string": pa.string(),
}
_BEFORE_ALL, _AFTER_ALL = -(2**30), 2**30


def _days_into_year(day: Ints) -> Ints:
    of_year = day.astype("datetime64[D]").astype("datetime64[Y]")
    return day - of_year.astype("datetime64[D]").astype(np.int64)


# What a formula can call.
FUNCTIONS = {
    "__builtins__": {},
    "sqrt": np.sqrt,
    "maximum": np.maximum,
    "sin": np.sin,
    "cos": np.cos,
    "year": lambda day: day.astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970,
    "month": lambda day: day.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12 + 1,
    "angle_of_year": lambda day: 2 * np.pi / 365.25 * _days_into_year(day),
}


@dataclass(frozen=True)
class Formula:
    """A column of the result, its Spark SQL type, and how it is made of the aggregates."""

    name: str
    type: str
    formula: str

    def reads(self) -> set[str]:
        """The names in the formula."""
        return set(re.findall(r"[a-z_]\w*", self.formula))

    def column(self, aggregates: dict[str, Any], as_numbers: "_AsNumbers") -> pa.Array:
        """The column; null where the formula has no finite value."""
        if self.formula in aggregates:
            values = aggregates[self.formula]
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = eval(self.formula, FUNCTIONS, as_numbers)
        if isinstance(values, pa.Array):
            return values
        missing = None if values.dtype.kind in "ib" else ~np.isfinite(values)
        return pa.array(values, mask=missing).cast(ARROW[self.type], safe=False)


class _AsNumbers(dict[str, Any]):
    """The aggregates of a batch of snapshots as floats, so that no product of them overflows."""

    def __init__(self, aggregates: dict[str, Any]) -> None:
        super().__init__()
        self._aggregates = aggregates

    def __missing__(self, name: str) -> Any:
        made = self[name] = self._aggregates[name].astype(np.float64)
        return made


@dataclass(frozen=True)
class Fold:
    """The dates, windows and calendar of a set of snapshots, as numbers, and what to make."""

    as_ofs: Ints
    windows: tuple[int, ...]
    horizon_days: int
    log_start: int
    calendar_start: int
    # By day from calendar_start on: how many weekend days and holidays lie before it.
    weekends_before: Ints
    holidays_before: Ints
    formulas: tuple[Formula, ...]
    # The columns of event_days that windows sum; none: there are no events.
    event_measures: tuple[str, ...] = ()
    # By as-of date: when it starts, in microseconds since 1970.
    starts: Ints | None = None
    # Whether there are rows of customers.
    has_attributes: bool = False
    # What models predict of the aggregates (see features.predictions).
    predictions: Callable[[Mapping[str, Any], Ints], dict[str, Any]] | None = None
    predicted_from: frozenset[str] = frozenset()
    # How popular products are at the as-of dates (see features.popularity).
    popularity: Popularity | None = None
    _wanted: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Remember which aggregates the formulas are made of."""
        wanted = self.predicted_from.union(*[formula.reads() for formula in self.formulas])
        object.__setattr__(self, "_wanted", wanted)

    def schema(self) -> dict[str, str]:
        """The columns of the result and their Spark SQL types: one row per snapshot."""
        made = {formula.name: formula.type for formula in self.formulas}
        return {"customer_id": "string", "as_of": "date", **made}

    def reads(self) -> list[str]:
        """The columns of customer_days that the formulas need."""
        measures = (
            *(*ORDER_COUNTS, *ORDER_AMOUNTS, *RETURN_COUNTS, *RETURN_AMOUNTS),
            *("max_order_cents", "order_cents_squared"),
        )
        read = [m for m in measures if self._wants_any(m)]
        for column, name in FACETS:
            if any(name in aggregate for aggregate in self._wanted):
                read.append(column)
        if self.popularity and self._wants("popularity_last"):
            read.append(PRODUCTS)
        return [
            *("customer_id", "day"),
            *dict.fromkeys(["orders", *read, *self._reads_events(), *self._reads_attributes()]),
        ]

    def _reads_events(self) -> list[str]:
        if not self.event_measures:
            return []
        wanted = [m for m in self.event_measures if self._wants_any(m)]
        carts = [CART] if self._wants_any(ABANDONED) else []
        last = ["last_event_micros"] if self._wants("last_event_micros") else []
        return ["events", *wanted, *carts, *last]

    def _reads_attributes(self) -> list[str]:
        wanted = [name for name in (*NUMBERS, *TEXTS) if self._wants(name)]
        return ["valid_until_day", *wanted] if self.has_attributes else []

    def _wants_any(self, measure: str) -> bool:
        return any(name.startswith(f"{measure}_") for name in self._wanted)

    def _wants(self, name: str) -> bool:
        return name in self._wanted

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The features of a partition of customer-days, sorted by customer and day.

        The rows of a batch are sorted by `as_of`, then customer.
        """
        schema = pa.schema([(name, ARROW[type_]) for name, type_ in self.schema().items()])
        customers = max(1, BATCH_ROWS // len(self.as_ofs))
        for days in _whole_customers(batches, customers):
            made = self._aggregates(days)
            as_numbers = _AsNumbers(made)
            if self.predictions:
                when = np.searchsorted(self.as_ofs, made["as_of"])
                with np.errstate(all="ignore"):
                    made |= self.predictions(as_numbers, when)
            as_of = pa.array(made["as_of"].astype(np.int32)).cast(pa.date32())
            features = [formula.column(made, as_numbers) for formula in self.formulas]
            yield pa.RecordBatch.from_arrays([made["customer_id"], as_of, *features], schema=schema)

    def _aggregates(self, days: pa.Table) -> dict[str, Any]:
        first_rows = _first_rows(days["customer_id"])
        lengths = np.diff(np.append(first_rows, days.num_rows))
        of_customer = np.repeat(np.arange(len(first_rows)), lengths)
        day = _numbers(days, "day")

        orders = _numbers(days, "orders")
        bought = np.flatnonzero(orders > 0)
        history = _Histories(of_customer[bought], day[bought], len(first_rows))
        ends = history.before(self.as_ofs)
        when, who = np.nonzero(ends > history.starts)
        snapshots = _Snapshots(who, when, self.as_ofs[when])
        result = {
            "customer_id": days["customer_id"].combine_chunks().take(pa.array(first_rows[who])),
            "as_of": snapshots.as_of,
            **self._order_aggregates(days, bought, history, snapshots),
            **self._return_aggregates(days, of_customer, day, len(first_rows), snapshots),
            **self._event_aggregates(days, of_customer, day, history, snapshots),
            **self._attributes(days, of_customer, day, len(first_rows), snapshots),
            **self._popularity(days, bought[ends[snapshots.at] - 1], when),
            **self._constants(when),
        }
        for column, name in FACETS:
            if column not in days.column_names:
                continue
            facets = _Facets(days[column], of_customer, day)
            result |= facets.favourites(name, self.as_ofs, snapshots)
            if name == "category":
                result |= facets.diversity(self.as_ofs, self.windows, snapshots)
        first_day, as_of = result["first_day"], snapshots.as_of
        return result | {
            "days_lifetime": as_of - first_day,
            "weekend_days_lifetime": self._days_between(self.weekends_before, first_day, as_of),
            "holiday_days_lifetime": self._days_between(self.holidays_before, first_day, as_of),
        }

    def _order_aggregates(
        self, days: pa.Table, bought: Ints, history: "_Histories", snapshots: "_Snapshots"
    ) -> dict[str, Any]:
        values = {
            name: _numbers(days, name)[bought]
            for name in (*ORDER_COUNTS, *ORDER_AMOUNTS, "max_order_cents")
            if name in days.column_names
        }
        offset = history.day - self.calendar_start
        for name, before in (
            ("weekend_orders", self.weekends_before),
            ("holiday_orders", self.holidays_before),
        ):
            values[name] = values["orders"] * (before[offset + 1] - before[offset])
        values["active_days"] = np.ones_like(history.day)
        if "order_cents_squared" in days.column_names:
            # In two halves of whole numbers: a difference of prefix sums of doubles is not exact.
            squares = days["order_cents_squared"].to_numpy()[bought]
            high = np.floor(squares / SQUARES_UNIT)
            values["squares_high"] = high.astype(np.int64)
            values["squares_low"] = (squares - high * SQUARES_UNIT).astype(np.int64)
        if self._wants_any("active_months"):
            another = history.month != np.roll(history.month, 1)
            values["new_months"] = (history.is_first | another).astype(np.int64)

        end, start = history.before(self.as_ofs)[snapshots.at], history.starts[snapshots.who]
        sums = _Sums(values)
        longest = int((end - start).max(initial=1))
        if "max_order_cents" in values:
            maximum = _RangeMaximum(values["max_order_cents"], longest)
        result: dict[str, Any] = {}
        begins = self._begins(history, snapshots)
        for name, begin in [*begins, ("lifetime", start), ("last", end - 1)]:
            for measure in (*ORDER_COUNTS, *DERIVED_COUNTS, *ORDER_AMOUNTS):
                if self._wants(f"{measure}_{name}"):
                    result[f"{measure}_{name}"] = sums[measure](begin, end)
            if self._wants(f"order_cents_squared_{name}"):
                high, low = sums["squares_high"](begin, end), sums["squares_low"](begin, end)
                result[f"order_cents_squared_{name}"] = high * float(SQUARES_UNIT) + low
            inside = begin < end
            if self._wants(f"active_months_{name}"):
                # The month in which a window begins is new to the window, if not to the history.
                entered = inside & (np.append(values["new_months"], 1)[begin] == 0)
                result[f"active_months_{name}"] = sums["new_months"](begin, end) + entered
            if self._wants(f"max_order_cents_{name}"):
                result[f"max_order_cents_{name}"] = np.where(inside, maximum(begin, end), np.nan)

        return result | self._lifetime_aggregates(values["orders"], sums, history, snapshots)

    def _lifetime_aggregates(
        self, orders: Ints, sums: "_Sums", history: "_Histories", snapshots: "_Snapshots"
    ) -> dict[str, Any]:
        end, start = history.before(self.as_ofs)[snapshots.at], history.starts[snapshots.who]
        result: dict[str, Any] = {}
        gap = np.where(history.is_first, 0, history.day - np.roll(history.day, 1))
        gaps = {"gaps": ~history.is_first, "gap_days": gap, "gap_days_squared": gap * gap}
        for name, numbers in gaps.items():
            if self._wants(f"{name}_lifetime"):
                result[f"{name}_lifetime"] = _PrefixSums(numbers)(start, end)
        weekday, month_of_year = (history.day + 3) % 7 + 1, history.month % 12 + 1
        for name, numbers, most in (("weekday", weekday, 7), ("month", month_of_year, 12)):
            for n in range(1, most + 1):
                if self._wants(f"{name}_{n}_lifetime"):
                    sums_of_n = _PrefixSums(orders * (numbers == n))
                    result[f"{name}_{n}_lifetime"] = sums_of_n(start, end)
        result |= {"first_day": history.day[start], "last_day": history.day[end - 1]}
        for name, back in (("2nd", 2), ("3rd", 3), ("5th", 5)):
            known = end - start >= back
            place = np.where(known, end - back, 0)
            result[f"day_{name}_last"] = np.where(known, history.day[place], np.nan)
        wanted = [measure for measure in LAST_YEAR if self._wants(f"{measure}_last_year")]
        if wanted:
            a_year_ago = snapshots.as_of - DAYS_OF_YEAR
            begin = history.position(snapshots.who, a_year_ago)
            until = history.position(
                snapshots.who, np.minimum(a_year_ago + self.horizon_days, snapshots.as_of)
            )
            for measure in wanted:
                result[f"{measure}_last_year"] = sums[measure](begin, until)
        if not any(self._wants(f"orders_decayed_{life}") for life in HALF_LIVES):
            return result
        return result | self._decayed(orders, history, snapshots, end)

    def _decayed(
        self, orders: Ints, history: "_Histories", snapshots: "_Snapshots", end: Ints
    ) -> dict[str, Ints]:
        """Orders of the longest window, weighed by half for every half-life of age."""
        longest = self.windows[-1]
        begin = history.position(snapshots.who, snapshots.as_of - longest)
        row, bounds = _one_after_another(begin, end - begin)
        age = np.repeat(snapshots.as_of, end - begin) - history.day[row]
        ages = np.arange(longest + 1)
        return {
            f"orders_decayed_{life}": _PrefixSums(
                orders[row] * np.rint(DECAY_UNIT * 0.5 ** (ages / life)).astype(np.int64)[age]
            )(bounds[:-1], bounds[1:])
            for life in HALF_LIVES
        }

    def _return_aggregates(
        self,
        days: pa.Table,
        of_customer: Ints,
        day: Ints,
        customers: int,
        snapshots: "_Snapshots",
    ) -> dict[str, Ints]:
        measures = (*RETURN_COUNTS, *RETURN_AMOUNTS)
        values = {name: _numbers(days, name) for name in measures if name in days.column_names}
        if not values:
            return {}
        booked = np.flatnonzero(np.any([numbers != 0 for numbers in values.values()], axis=0))
        history = _Histories(of_customer[booked], day[booked], customers)
        end, start = history.before(self.as_ofs)[snapshots.at], history.starts[snapshots.who]
        sums = {name: _PrefixSums(numbers[booked]) for name, numbers in values.items()}
        return {
            f"{measure}_{name}": total(begin, end)
            for name, begin in [*self._begins(history, snapshots), ("lifetime", start)]
            for measure, total in sums.items()
            if self._wants(f"{measure}_{name}")
        }

    def _event_aggregates(
        self,
        days: pa.Table,
        of_customer: Ints,
        day: Ints,
        orders: "_Histories",
        snapshots: "_Snapshots",
    ) -> dict[str, Any]:
        if "events" not in days.column_names:
            return {}
        seen = np.flatnonzero(_numbers(days, "events") > 0)
        owner, seen_on = of_customer[seen], day[seen]
        history = _Histories(owner, seen_on, len(orders.starts))
        measures = [name for name in self.event_measures if name in days.column_names]
        values = {name: _numbers(days, name)[seen] for name in measures}
        if CART in values:
            has_order = orders.position(owner, seen_on) < orders.position(owner, seen_on + 1)
            values[ABANDONED] = ((values[CART] > 0) & ~has_order).astype(np.int64)
        end, start = history.before(self.as_ofs)[snapshots.at], history.starts[snapshots.who]
        sums = _Sums(values)
        result: dict[str, Any] = {
            f"{measure}_{name}": sums[measure](begin, end)
            for name, begin in [*self._begins(history, snapshots), ("lifetime", start)]
            for measure in values
            if self._wants(f"{measure}_{name}")
        }
        if "last_event_micros" in days.column_names:
            micros = np.append(_numbers(days, "last_event_micros")[seen], 0)
            result["last_event_micros"] = np.where(start < end, micros[end - 1], np.nan)
        return result

    def _attributes(
        self,
        days: pa.Table,
        of_customer: Ints,
        day: Ints,
        customers: int,
        snapshots: "_Snapshots",
    ) -> dict[str, Any]:
        """Those of the last row that holds on the day before as_of: it begins before as_of, and
        does not end before it.
        """
        if "valid_until_day" not in days.column_names:
            return {}
        row = np.flatnonzero(days["valid_until_day"].is_valid().to_numpy())
        until = np.append(_numbers(days, "valid_until_day")[row], _AFTER_ALL)
        history = _Histories(of_customer[row], day[row], customers)
        start, place = history.starts[snapshots.who], history.before(self.as_ofs)[snapshots.at] - 1
        while (ended := (place >= start) & (until[place] < snapshots.as_of)).any():
            place = place - ended
        holds = pa.array(np.append(row, 0)[place], mask=place < start)
        found = {name: days[name].combine_chunks() for name in days.column_names}
        result: dict[str, Any] = {n: found[n].take(holds) for n in TEXTS if n in found}
        for name in NUMBERS:
            if name in found:
                numbers = found[name].cast(pa.int32()).take(holds).cast(pa.float64())
                result[name] = numbers.to_numpy(zero_copy_only=False)
        if "signed_up_on" in result:
            known = result["signed_up_on"] < snapshots.as_of
            result["signed_up_on"] = np.where(known, result["signed_up_on"], np.nan)
        return result

    def _popularity(self, days: pa.Table, last: Ints, when: Ints) -> dict[str, Ints]:
        """Of the products in the rows of the `last` day with an order: the sum of their logarithms
        at the date, and how many they are.
        """
        if self.popularity is None or PRODUCTS not in days.column_names:
            return {}
        lists = days[PRODUCTS].combine_chunks()
        product = self.popularity.places(lists.values)
        counts = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)[last]
        first = lists.offsets.to_numpy().astype(np.int64)[last]
        sums = np.zeros(len(last), np.int64)
        # Date by date, for a day can have very many products.
        for date in range(len(self.as_ofs)):
            rows = np.flatnonzero(when == date)
            entry, bounds = _one_after_another(first[rows], counts[rows])
            logs = _PrefixSums(self.popularity.logs[date, product[entry]])
            sums[rows] = logs(bounds[:-1], bounds[1:])
        return {"popularity_last": sums, "products_last": counts}

    def _begins(self, history: "_Histories", snapshots: "_Snapshots") -> list[tuple[str, Ints]]:
        """Where each window begins in a snapshot's history."""
        return [
            (f"{days}d", history.before(self.as_ofs - days)[snapshots.at]) for days in self.windows
        ]

    def _constants(self, when: Ints) -> dict[str, Ints]:
        """What the calendar says of the windows of an as-of date and of its horizon."""
        weekends, holidays = self.weekends_before, self.holidays_before
        horizon_end = self.as_ofs + self.horizon_days
        by_date = {
            "log_days": self.as_ofs - self.log_start,
            "horizon_middle": self.as_ofs + self.horizon_days // 2,
            "horizon_weekend_days": self._days_between(weekends, self.as_ofs, horizon_end),
            "horizon_holiday_days": self._days_between(holidays, self.as_ofs, horizon_end),
        }
        if self.starts is not None:
            by_date["as_of_micros"] = self.starts
        for days in self.windows:
            begin = self.as_ofs - days
            by_date |= {
                f"days_{days}d": np.full_like(self.as_ofs, days),
                f"weekend_days_{days}d": self._days_between(weekends, begin, self.as_ofs),
                f"holiday_days_{days}d": self._days_between(holidays, begin, self.as_ofs),
            }
        return {name: numbers[when] for name, numbers in by_date.items() if self._wants(name)}

    def _days_between(self, before: Ints, first: Ints, end: Ints) -> Ints:
        return before[end - self.calendar_start] - before[first - self.calendar_start]


@dataclass(frozen=True)
class _Snapshots:
    """The rows of the result: which customer of the batch, which date, and that date's day."""

    who: Ints
    when: Ints
    as_of: Ints

    @property
    def at(self) -> tuple[Ints, Ints]:
        """To pick a snapshot's value of an array by date and customer."""
        return self.when, self.who


class _Histories:
    """The rows of owners (customers, or a category of one), sorted by owner and day."""

    def __init__(self, owner: Ints, day: Ints, owners: int) -> None:
        self.day = day
        self._low = int(day.min(initial=0)) - 1
        self._span = int(day.max(initial=0)) - self._low + 2
        self._keys = owner * self._span + (day - self._low)
        self.starts = self.position(np.arange(owners), np.full(owners, _BEFORE_ALL))
        self.ends = self.position(np.arange(owners), np.full(owners, _AFTER_ALL))
        self.is_first = np.zeros(len(day), dtype=bool)
        self.is_first[self.starts[self.starts < self.ends]] = True
        self._owners = np.arange(owners)
        self._before: dict[bytes, Ints] = {}

    @property
    def month(self) -> Ints:
        """The month of each row, counted from 1970-01."""
        return self.day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)

    def position(self, owner: Ints, day: Ints) -> Ints:
        """The place of the owner's first row on that day or later."""
        offset = np.clip(day - self._low, 0, self._span - 1)
        return np.asarray(np.searchsorted(self._keys, owner * self._span + offset), np.int64)

    def before(self, days: Ints) -> Ints:
        """By day and owner, the place of the owner's first row on that day or later."""
        key = days.tobytes()
        if key not in self._before:
            self._before[key] = self.position(self._owners[None, :], days[:, None])
        return self._before[key]


class _PrefixSums:
    """Sums of any range of rows."""

    def __init__(self, numbers: Ints) -> None:
        self._sums = np.append(0, np.cumsum(numbers, dtype=np.int64))

    def __call__(self, begin: Ints, end: Ints) -> Ints:
        total: Ints = self._sums[end] - self._sums[begin]
        return total


class _Sums(dict[str, _PrefixSums]):
    """The sums of each of the values, made when they are first asked for."""

    def __init__(self, values: dict[str, Ints]) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, name: str) -> _PrefixSums:
        made = self[name] = _PrefixSums(self._values[name])
        return made


class _RangeMaximum:
    """The maximum of any range of at most `longest` rows, by a sparse table: the maximum of every
    power of two of rows, of which two that overlap cover a range.
    """

    def __init__(self, numbers: Ints, longest: int) -> None:
        levels = [np.append(numbers, 0)]
        for level in range(int(longest).bit_length() - 1):
            half, previous = 2**level, levels[-1]
            later = np.append(previous[half:], np.zeros(min(half, len(previous)), np.int64))
            levels.append(np.maximum(previous, later))
        self._levels = np.stack(levels)

    def __call__(self, begin: Ints, end: Ints) -> Ints:
        level = np.log2(np.maximum(end - begin, 1)).astype(np.int64)
        last = np.maximum(end - (1 << level), 0)
        maximum: Ints = np.maximum(self._levels[level, begin], self._levels[level, last])
        return maximum


class _Facets:
    """The histories of each customer's categories, or of its payment methods."""

    def __init__(self, lists: pa.ChunkedArray, of_customer: Ints, day: Ints) -> None:
        listed = lists.combine_chunks()
        row = np.repeat(
            np.arange(len(listed)), pc.list_value_length(listed).fill_null(0).to_numpy()
        )
        entries = listed.flatten().dictionary_encode()
        self._names, code = ranked(pa.chunked_array([entries]))
        width = max(1, len(self._names))
        facet = of_customer[row] * width + code
        by_facet = np.argsort(facet, kind="stable")
        distinct, owner = np.unique(facet[by_facet], return_inverse=True)
        self._code = distinct % width
        customer = distinct // width
        self._customers, self._first_facets = np.unique(customer, return_index=True)
        self._histories = _Histories(owner, day[row[by_facet]], len(distinct))

    def favourites(self, name: str, as_ofs: Ints, snapshots: _Snapshots) -> dict[str, Any]:
        """The name in most entries before each as-of date (of equals the first by name), in how
        many it is, and how many entries there are.
        """
        entries = self._histories.before(as_ofs) - self._histories.starts
        packed = self._over_facets(np.maximum, (entries << 32) - self._code, snapshots)
        most = (packed + (1 << 32) - 1) >> 32
        code = (most << 32) - packed
        names = self._names.take(pa.array(np.where(most > 0, code, 0), mask=most == 0))
        favourite = {f"favourite_{name}": names}
        if name != "category":
            return favourite
        total = self._over_facets(np.add, entries, snapshots)
        return favourite | {"favourite_category_orders": most, "category_orders_lifetime": total}

    def diversity(
        self, as_ofs: Ints, windows: Sequence[int], snapshots: _Snapshots
    ) -> dict[str, Ints]:
        """How many distinct names each window has."""
        ends, starts = self._histories.before(as_ofs), self._histories.starts
        found = {f"category_diversity_{d}d": self._histories.before(as_ofs - d) for d in windows}
        return {
            name: self._over_facets(np.add, (begins < ends).astype(np.int64), snapshots)
            for name, begins in [*found.items(), ("category_diversity_lifetime", starts)]
        }

    def _over_facets(self, ufunc: np.ufunc, by_facet: Ints, snapshots: _Snapshots) -> Ints:
        """An array by date and facet to one by snapshot; 0 for customers without any facet."""
        if not len(self._customers):
            return np.zeros(len(snapshots.who), np.int64)
        by_customer = ufunc.reduceat(by_facet, self._first_facets, axis=1)
        place = np.searchsorted(self._customers, snapshots.who)
        place = np.minimum(place, len(self._customers) - 1)
        found = self._customers[place] == snapshots.who
        return np.where(found, by_customer[snapshots.when, place], 0)


def _one_after_another(begin: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """The places of ranges of so many rows each, one range after another, and where among them each
    range begins, with the end of the last.
    """
    bounds = np.append(0, np.cumsum(counts))
    return np.arange(bounds[-1]) + np.repeat(begin - bounds[:-1], counts), bounds


def _whole_customers(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.Table]:
    """The rows again, in tables of whole customers, at most so many each."""
    held: list[pa.RecordBatch] = []
    customers = rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        names = batch.column("customer_id")
        firsts = _first_rows(names)
        if held and held[-1].column("customer_id")[-1] == names[0]:
            firsts = firsts[1:]
        if len(firsts) and (customers >= most or rows >= INPUT_ROWS):
            complete = int(firsts[-1])
            yield from _cut(pa.Table.from_batches([*held, batch.slice(0, complete)]), most)
            held, customers, rows = [batch.slice(complete)], 1, batch.num_rows - complete
        else:
            held, customers, rows = [*held, batch], customers + len(firsts), rows + batch.num_rows
    if held:
        yield from _cut(pa.Table.from_batches(held), most)


def _cut(rows: pa.Table, most: int) -> Iterator[pa.Table]:
    firsts = _first_rows(rows["customer_id"])
    for begin, end in pairwise([*firsts[::most].tolist(), rows.num_rows]):
        yield rows.slice(begin, end - begin)


def _first_rows(customers: pa.Array | pa.ChunkedArray) -> Ints:
    """Where the rows of another customer begin."""
    rows = len(customers)
    differs = pc.not_equal(customers.slice(1), customers.slice(0, rows - 1))
    return np.flatnonzero(np.append(True, differs.to_numpy(zero_copy_only=False)))


def _numbers(rows: pa.Table, name: str) -> Ints:
    column = rows[name]
    if pa.types.is_date(column.type):
        column = column.cast(pa.int32())
    return np.asarray(column.fill_null(0).to_numpy(), np.int64)
