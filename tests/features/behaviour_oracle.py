"""A second, deliberately naive implementation of the features of events and of customers' rows.

Written from the descriptions in the catalogue, in plain Python, with moments where the engine has
days; nothing here knows how the engine works.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from features.event_days import Vocabulary
from tests.features.oracle import Line, Row

Event = dict[str, Any]
Person = dict[str, Any]

EVENT_SCHEMA = (
    "customer_id string, happened_at timestamp, happened_on date, kind string, session_id string, "
    "traffic_source string"
)
CUSTOMER_SCHEMA = (
    "customer_id string, valid_from timestamp, valid_from_day date, valid_until timestamp, "
    "valid_until_day date, birth_year int, gender string, location string, signed_up_on date"
)
ZONE = ZoneInfo("America/New_York")


def moment(text: str | dt.datetime) -> dt.datetime:
    """The moment at which the clocks of the business show this."""
    local = dt.datetime.fromisoformat(text) if isinstance(text, str) else text
    return local.replace(tzinfo=ZONE).astimezone(dt.UTC)


def day_of(at: dt.datetime, starts_at: dt.time = dt.time()) -> dt.date:
    """The date on which the business day of a moment began."""
    local = at.astimezone(ZONE)
    return local.date() - dt.timedelta(local.time() < starts_at)


def event(
    customer: str,
    at: str | dt.datetime,
    kind: str = "view",
    session: str | None = None,
    source: str | None = None,
) -> Event:
    """One event, at a time of the business's clocks."""
    return {
        "customer_id": customer,
        "happened_at": moment(at),
        "happened_on": day_of(moment(at)),
        "kind": kind,
        "session_id": session,
        "traffic_source": source,
    }


def person(
    customer: str,
    since: str | dt.datetime,
    until: str | dt.datetime | None = None,
    *,
    born: int | None = None,
    gender: str | None = None,
    location: str | None = None,
    signed_up: str | dt.date | None = None,
) -> Person:
    """One row of customers."""
    ends = None if until is None else moment(until)
    return {
        "customer_id": customer,
        "valid_from": moment(since),
        "valid_from_day": day_of(moment(since)),
        "valid_until": ends,
        "valid_until_day": None if ends is None else day_of(ends),
        "birth_year": born,
        "gender": gender,
        "location": location,
        "signed_up_on": None if signed_up is None else dt.date.fromisoformat(str(signed_up)),
    }


def recut(rows: Sequence[Row], starts_at: dt.time) -> list[Row]:
    """The events or the people with the days of a business whose days begin at another time."""
    days = {"happened_at": "happened_on", "valid_from": "valid_from_day"} | {
        "valid_until": "valid_until_day"
    }
    return [
        row | {day: at and day_of(at, starts_at) for n, day in days.items() if (at := row.get(n))}
        for row in rows
    ]


def frame(spark: Any, rows: Sequence[Row], schema: str) -> Any:
    """The rows as the engine gets them."""
    return spark.createDataFrame([tuple(row.values()) for row in rows], schema)


def features(
    lines: Iterable[Line],
    events: Sequence[Event],
    people: Sequence[Person],
    as_ofs: Iterable[dt.date],
    windows: Sequence[int],
    counted: Vocabulary,
    starts_at: dt.time = dt.time(),
) -> dict[tuple[str, dt.date], Row]:
    """Every feature that needs events or customers, of everybody with an order before as_of."""
    purchases = [entry for entry in lines if entry["kind"] == "purchase"]
    snapshots = {}
    for as_of in as_ofs:
        for customer in {entry["customer_id"] for entry in purchases}:
            ordered_on = {e["ordered_on"] for e in purchases if e["customer_id"] == customer}
            if any(day < as_of for day in ordered_on):
                own = [e for e in events if e["customer_id"] == customer]
                rows = [p for p in people if p["customer_id"] == customer]
                snapshots[customer, as_of] = {
                    **_of_events(own, ordered_on, as_of, windows, counted, starts_at),
                    **_of_people(rows, as_of, starts_at),
                }
    return snapshots


def _of_events(
    own: list[Event],
    ordered_on: set[dt.date],
    as_of: dt.date,
    windows: Sequence[int],
    counted: Vocabulary,
    starts_at: dt.time,
) -> Row:
    start = moment(dt.datetime.combine(as_of, starts_at))
    past = [e for e in own if e["happened_at"] < start]
    row: Row = {}
    for name, days in [*[(f"{w}d", w) for w in windows], ("lifetime", 10**5)]:
        first = moment(dt.datetime.combine(as_of - dt.timedelta(days), starts_at))
        inside = [e for e in past if e["happened_at"] >= first]
        on = [(day_of(e["happened_at"], starts_at), e) for e in inside]
        cart_days = {day for day, e in on if e["kind"] == "cart"}
        row[f"events_{name}"] = len(inside)
        row[f"sessions_{name}"] = len({(d, e["session_id"]) for d, e in on if e["session_id"]})
        if "cart" in counted.kinds:
            row[f"cart_days_without_order_{name}"] = len(cart_days - ordered_on)
        for kind in counted.kinds:
            row[f"{kind}_events_{name}"] = sum(e["kind"] == kind for e in inside)
    for source in counted.traffic_sources:
        came = sum(e["traffic_source"] == source for e in past)
        row[f"traffic_{source}_share"] = came / len(past) if past else None
    last = max((e["happened_at"] for e in past), default=None)
    row["hours_since_last_event"] = last and (start - last) / dt.timedelta(hours=1)
    return row


def _of_people(rows: list[Person], as_of: dt.date, starts_at: dt.time) -> Row:
    start = moment(dt.datetime.combine(as_of, starts_at))
    holding = [
        p
        for p in rows
        if p["valid_from"] < start and (p["valid_until"] is None or p["valid_until"] >= start)
    ]
    names = ("birth_year", "gender", "location", "signed_up_on")
    if not holding:
        return dict.fromkeys(("age_years", "gender", "location", "days_since_sign_up"))

    # Of those that begin at the same moment, the last by what they say; nothing comes first.
    last = max(
        holding,
        key=lambda p: (p["valid_from"], [(p[n] is not None, p[n] or "") for n in names]),
    )
    born, signed_up = last["birth_year"], last["signed_up_on"]
    return {
        "age_years": None if born is None else as_of.year - born,
        "gender": last["gender"],
        "location": last["location"],
        "days_since_sign_up": (as_of - signed_up).days
        if signed_up is not None and signed_up < as_of
        else None,
    }


def random_events(
    random: Random, customers: Sequence[str], as_ofs: Sequence[dt.date], windows: Sequence[int]
) -> list[Event]:
    """Many of them at the first or the last moment of a day at the edge of a window."""
    times = ["00:00", "23:59:59.999999", "12:34:56.789", "01:30"]

    def some_event(customer: str) -> Event:
        edge = random.choice([-1, 0, 1, *(w + d for w in windows for d in (-1, 0, 1))])
        age = edge if random.random() < 0.6 else random.randint(-40, 900)
        day = random.choice(as_ofs) - dt.timedelta(age)
        return event(
            customer,
            f"{day} {random.choice(times)}",
            random.choice(["view", "view", "cart", "search"]),
            random.choice([None, "s1", "s2"]),
            random.choice([None, "email", "paid", "other"]),
        )

    return [some_event(c) for c in customers for _ in range(random.choice([0, 1, 3, 13]))]


def random_people(
    random: Random, customers: Sequence[str], as_ofs: Sequence[dt.date]
) -> list[Person]:
    """Rows that overlap, end, begin and end on as-of dates, or twice on one day."""

    def at() -> dt.datetime:
        age = random.choice([-1, 0, 0, 1, 2, random.randint(-40, 400)])
        day = random.choice(as_ofs) - dt.timedelta(age)
        return dt.datetime.combine(day, random.choice([dt.time(), dt.time(9), dt.time(17)]))

    def some_person(customer: str) -> Person | None:
        since, until = at(), random.choice([None, at()])
        if until is not None and until <= since:
            return None
        return person(
            customer,
            since,
            until,
            born=random.choice([None, 1950, 1999]),
            gender=random.choice([None, "f", "m"]),
            location=random.choice([None, "Ångström", "York", ""]),
            signed_up=random.choice([None, *as_ofs, as_ofs[0] - dt.timedelta(400)]),
        )

    drawn = [some_person(c) for c in customers for _ in range(random.choice([0, 1, 2, 5, 8]))]
    return [p for p in drawn if p is not None]
