"""`repurchase build-features`: `transactions` into `customer_days`, `features` and `labels`."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Annotated

import typer
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import InputError, TryAgainError
from features.catalogue import POPULARITY, Feature, catalogue
from features.custom import check_types, check_values, custom_columns, custom_features
from features.customer_base import (
    CUSTOMER_BASE,
    PURCHASES,
    SPEND,
    fitted_customer_base,
    predictions,
)
from features.event_days import Vocabulary
from features.increments import (
    ORDERS,
    Derived,
    Due,
    are_alone,
    are_customers_the_same,
    customers_due,
    due,
    of_events,
    remember_customers,
    update_customer_days,
)
from features.labels import labels, labels_in_hours, matured
from features.products import popularity
from features.snapshots import training_dates
from features.stale_labels import note_made, note_stale, stale_dates
from features.windows import Snapshots, made_features, stored_bytes, stored_ranges
from jobs.console import handled, mebibytes, say, show, step
from jobs.inputs import meant_for
from jobs.options import AsOf, Env, Job, LakeDir, LogSpan, Set, clock, log_span, open_job, show_next
from lake.contracts import FEATURE_DATES, FEATURES, LABELS, TRANSACTIONS, Column
from lake.key_ranges import KeyRanges
from lake.store import Made, dated

# Of a customer-day in the exchange, compressed, with all features, on the log of `make demo`.
BYTES_PER_DAY = 58
# Of one in customer_days, and of a feature of a snapshot in features, compressed.
STORED_BYTES_PER_DAY, BYTES_PER_VALUE = 40, 2
OF_PRODUCTS = {feature.name for feature in POPULARITY}


@dataclass(frozen=True)
class Known:
    """What features are made of, of all customers or of some: the lines of the log, their
    customer-days, and where there are any the days with events and the customers' rows; where
    workers find these themselves, if they can and all is wanted; and the customer-days of
    everybody, where those are of some.
    """

    lines: DataFrame
    customer_days: DataFrame
    event_days: DataFrame | None = None
    customers: DataFrame | None = None
    ranges: KeyRanges | None = None
    of_everybody: DataFrame | None = None


@dataclass(frozen=True)
class Built:
    """How many snapshots, on which dates, with how many features; which dates were made now."""

    snapshots: int
    dates: list[date]
    features: int
    made: list[date]


@dataclass(frozen=True)
class _Work:
    """What has changed since the daily aggregates and the features were made."""

    of_logs: list[tuple[Derived, Due]]
    customers: Due | None

    @property
    def of_orders(self) -> Due:
        """That of the customer-days."""
        return next(work for log, work in self.of_logs if log is ORDERS)

    def first(self, span: LogSpan) -> date | None:
        """The day after which no date has features that are up to date; None: all have."""
        works = [days for _, days in self.of_logs] + ([self.customers] if self.customers else [])
        firsts = [work.first(otherwise=span.first) for work in works]
        return min((day for day in firsts if day is not None), default=None)


def dates_to_train(job: Job, span: LogSpan) -> list[date]:
    """The training dates that the settings ask for, as seen on `as_of`."""
    wanted = job.settings.snapshots
    dates = training_dates(
        span.end,
        span.first,
        horizon_days=wanted.horizon_days,
        step_days=wanted.step_days,
        count=wanted.count,
        min_history_days=wanted.min_history_days,
    )
    return matured(dates, wanted.horizon_days, span.end)


def build_features(
    job: Job, span: LogSpan, dates: Sequence[date] | None = None, *, again: bool = False
) -> Built:
    """Features of the dates, by default the training dates and `as_of`; labels of those that have
    matured.

    Dates whose features are there and up to date are left as they are, unless `again`. The others
    are made in chunks of `features.dates_per_chunk`, each of them kept once it is made.
    """
    columns = feature_columns(job)  # what is wrong with the user's own is said before the work
    followed = _follow_logs(job, span)
    days = job.lake.read("customer_days")
    if days.where("orders > 0").isEmpty():
        raise InputError(f"nobody ordered before {span.as_of}: there is nobody to look at")
    dates = sorted(dates or {*dates_to_train(job, span), span.as_of})
    there = set() if again else up_to_date(job)
    missing = [d for d in dates if d not in there]
    # What is made from here on counts as missing until it is whole.
    _forget_dates(job, missing.__contains__)
    known = known_before(job, span)
    for part in _chunks(job, missing):
        _build(job, span, known, columns, list(part))
        settings = _made_with(job)
        job.lake.put(FEATURE_DATES, [(d, settings) for d in part], dated("as_of", part))
        _check_alone(job, span, followed, part)
        if len(missing) > len(part):
            say(f"{missing.index(part[-1]) + 1} of {len(missing)} dates: {part[0]} .. {part[-1]}")
    _label(job, span, known, dates)
    _check_alone(job, span, followed, [])
    note_made(job.lake, job.settings.snapshots.horizon, span.end)
    count = job.lake.read("features").where(F.col("as_of").isin(dates)).count()
    return Built(count, dates, len(columns), missing)


def _chunks(job: Job, dates: Sequence[date]) -> Iterator[Sequence[date]]:
    size = job.settings.features.dates_per_chunk
    return (dates[start : start + size] for start in range(0, len(dates), size))


def _label(job: Job, span: LogSpan, known: Known, dates: Sequence[date]) -> None:
    """Label those of the dates that have matured, and those whose labels the log has changed."""
    job.lake.complete(LABELS)
    wanted = job.settings.snapshots
    stale = stale_dates(job.lake, wanted.horizon, span.end)
    every = sorted({*matured(dates, wanted.horizon_days, span.end), *stale})
    for part in _chunks(job, every):
        where = f"{dated('as_of', part)} AND {wanted.horizon.where}"
        job.lake.replace(LABELS, labels_at(job, known, part), where)


def labels_at(job: Job, known: Known, dates: Sequence[date]) -> DataFrame:
    """The labels of the horizon in the settings at the dates: one row per snapshot."""
    wanted, days = job.settings.snapshots, known.customer_days
    if wanted.horizon_hours is None:
        return labels(days, dates, wanted.horizon_days)
    starts = {day: clock(job).start(day) for day in dates}
    return labels_in_hours(days, known.lines, starts, wanted.horizon_hours)


def _follow_logs(job: Job, span: LogSpan) -> _Work:
    """Bring the daily aggregates to what the logs are now, and forget the dates of which features
    have changed with them, and which labels are good.

    Raises InputError where the days of two logs do not begin together.
    """
    work = _work(job, span)
    since = work.first(span)

    def forget() -> None:
        if since is not None:
            _forget_dates(job, lambda day: day > since)

    forget()
    note_stale(job.lake, _first_of_labels(job, work.of_orders, span))
    for derived, days in work.of_logs:
        update_customer_days(job.lake, days, span.as_of, derived)
    if work.customers:
        remember_customers(job.lake, work.customers)
    # Another command may have called some whole meanwhile, of what was there before.
    forget()
    return work


def _first_of_labels(job: Job, orders: Due, span: LogSpan) -> date | None:
    """The day from which on labels may be others now. Where nothing tells what has changed, it is
    the first, unless the log is read whole each time: nothing would ever be old enough to stay.
    """
    all_is_new = orders.days is None and orders.changed is None
    if all_is_new and job.lake.exists("ingested_files"):
        of_log = job.lake.read("ingested_files").where(meant_for(TRANSACTIONS))
        return None if of_log.isEmpty() else span.first
    return orders.changed


def _check_alone(job: Job, span: LogSpan, followed: _Work, made: Sequence[date]) -> None:
    """Raises TryAgainError where another command has followed the logs meanwhile; the dates that
    were made then count as missing.
    """
    is_alone = all(are_alone(job.lake, work, span.as_of, log) for log, work in followed.of_logs)
    if followed.customers:
        is_alone = is_alone and are_customers_the_same(job.lake, followed.customers)
    if not is_alone:
        _forget_dates(job, made.__contains__)
        raise TryAgainError(
            "another command has changed what features are made of since this one began: run it "
            "again; the dates that were whole before stay"
        )


def _work(job: Job, span: LogSpan) -> _Work:
    """Raises InputError where the days of two logs do not begin together."""
    for other in ("events", "customers"):
        if job.lake.exists(other) and clock(job, other) != clock(job):
            raise InputError(
                f"the days of the table {other} begin elsewhere or at another time than those of "
                "transactions: ingest both with the same source file"
            )
    counted = counted_events(job)
    logs = [ORDERS, *([of_events(counted)] if counted else [])]
    return _Work(
        [(derived, due(job.lake, span.first, span.as_of, derived)) for derived in logs],
        customers_due(job.lake) if job.lake.exists("customers") else None,
    )


def _build(
    job: Job, span: LogSpan, known: Known, columns: Sequence[Column], dates: list[date]
) -> None:
    share = job.settings.features.fitted_share
    snapshots = _snapshots(job, span, dates)
    base = fitted_customer_base(known.customer_days, snapshots, share, known.ranges)
    rows = base.collect()
    job.lake.put(CUSTOMER_BASE, rows, dated("as_of", dates))
    _say_unfitted({(row["model"], row["as_of"]) for row in rows}, dates)
    table = FEATURES.with_columns(columns)
    if job.settings.features.custom:
        frame = features_at(job, span, known, dates)
        try:
            job.lake.replace(table, frame, dated("as_of", dates))
        except PySparkException:
            check_values(known.lines, dates, job.settings.features.custom)
            raise
    else:
        job.lake.replace_dates(table, _made(job, span, known, dates, base), dates)
    holidays = {"country": country(job) or ""}
    job.lake.set_properties("features", made_with(job) | holidays)


def _say_unfitted(fitted: Collection[tuple[str, date]], dates: Sequence[date]) -> None:
    for model in (*PURCHASES, SPEND):
        if lacking := [day for day in dates if (model, day) not in fitted]:
            when = f"{len(lacking)} of {len(dates)} dates, the last {lacking[-1]}"
            say(
                f"{model} could not be fitted as of {when}: too few have ordered twice, or all "
                "alike; what it says of customers is null there"
            )


def known_lines(job: Job, span: LogSpan) -> DataFrame:
    """The lines of the log before `as_of`."""
    return job.lake.read("transactions").where(F.col("ordered_on") < F.lit(span.as_of))


def known_before(job: Job, span: LogSpan) -> Known:
    """All that the lake holds of the days before `as_of`; its daily aggregates are up to date."""
    events, customers = job.lake.exists("events"), job.lake.exists("customers")
    return Known(
        known_lines(job, span),
        job.lake.read("customer_days"),
        job.lake.read("event_days") if events else None,
        job.lake.read("customers") if customers else None,
        stored_ranges(job.lake),
    )


def counted_events(job: Job) -> Vocabulary | None:
    """What is counted of the events by name; None in a lake without events."""
    wanted = job.settings.features
    there = job.lake.exists("events")
    return Vocabulary(wanted.event_kinds, wanted.traffic_sources) if there else None


def features_at(
    job: Job,
    span: LogSpan,
    known: Known,
    dates: Sequence[date],
    names: Collection[str] | None = None,
) -> DataFrame:
    """Every feature of the catalogue at the dates, or those of these names, and the user's own: one
    row per snapshot.
    """
    base = None
    if job.lake.exists("customer_base"):
        base = job.lake.read("customer_base").where(F.col("as_of").isin(list(dates)))
    return _with_own(job, known, dates, _made(job, span, known, dates, base, names).frame())


def features_at_anew(job: Job, span: LogSpan, known: Known) -> DataFrame:
    """Every feature at `as_of`, with the models of the customer base fitted anew to what is known;
    nothing is written.
    """
    dates = [span.as_of]
    share = job.settings.features.fitted_share
    snapshots = _snapshots(job, span, dates)
    base = fitted_customer_base(known.customer_days, snapshots, share, known.ranges)
    return _with_own(job, known, dates, _made(job, span, known, dates, base).frame())


def _with_own(job: Job, known: Known, dates: Sequence[date], frame: DataFrame) -> DataFrame:
    if not job.settings.features.custom:
        return frame
    own = custom_features(known.lines, dates, job.settings.features.custom)
    return frame.join(own, ["customer_id", "as_of"], "left")


def _made(
    job: Job,
    span: LogSpan,
    known: Known,
    dates: Sequence[date],
    base: DataFrame | None,
    names: Collection[str] | None = None,
) -> Made:
    """The features of the catalogue; those of models by `base`, what is fitted for the dates."""
    everybody = known.customer_days if known.of_everybody is None else known.of_everybody
    is_counted = names is None or not OF_PRODUCTS.isdisjoint(names)
    fitted = None
    if base is not None:
        fitted = predictions(base, dates, job.settings.snapshots.horizon_days)
    return made_features(
        known.customer_days,
        _snapshots(job, span, dates),
        names,
        event_days=known.event_days,
        customers=known.customers,
        predicted=fitted,
        popular=popularity(everybody, dates) if is_counted else None,
        stored_bytes=stored_bytes(job.lake) if known.ranges is None else None,
        ranges=known.ranges,
    )


def _snapshots(job: Job, span: LogSpan, dates: Sequence[date]) -> Snapshots:
    return Snapshots(
        tuple(dates),
        job.settings.features.windows,
        job.settings.snapshots.horizon_days,
        span.first,
        country(job),
        counted_events(job) or Vocabulary(),
        clock(job),
    )


def known_features(job: Job) -> list[Feature]:
    """The catalogue for the settings and the tables of the lake."""
    return catalogue(
        job.settings.features.windows,
        job.settings.snapshots.horizon_days,
        counted_events(job),
        customers=job.lake.exists("customers"),
        popularity=True,
        predictions=True,
    )


def feature_columns(job: Job) -> list[Column]:
    """The columns of every feature, the user's own at the end.

    Raises ConfigurationError where one of those is wrong.
    """
    wanted = job.settings.features
    known = [f.column() for f in known_features(job)]
    if not wanted.custom:
        return known
    transactions = job.lake.read("transactions")
    own = custom_columns(transactions, wanted.custom, [c.name for c in known])
    if job.lake.exists("features"):
        schema = job.lake.read("features").schema
        check_types(own, {field.name: field.dataType.simpleString() for field in schema})
    return [*known, *own]


def _forget_dates(job: Job, is_stale: Callable[[date], bool]) -> None:
    """Let dates that count as whole count as missing."""
    if not job.lake.exists("feature_dates"):
        return
    # Without the table, which somebody may have taken away, none is whole.
    is_there = job.lake.exists("features")
    whole = [row["as_of"] for row in job.lake.read("feature_dates").collect()]
    stale = [day for day in whole if not is_there or is_stale(day)]
    if stale:
        job.lake.put(FEATURE_DATES, [], dated("as_of", stale))


def up_to_date(job: Job) -> set[date]:
    """The dates whose features are complete and up to date, as far as the tables know."""
    if not (job.lake.exists("feature_dates") and job.lake.exists("features")):
        return set()
    rows = job.lake.read("feature_dates").where(F.col("made_with") == _made_with(job))
    return {row["as_of"] for row in rows.collect()}


def made_with(job: Job) -> dict[str, str]:
    """What the feature columns depend on: the settings, and the catalogue of this release."""
    counted = counted_events(job)
    catalogued = json.dumps([(f.name, f.type, f.formula) for f in known_features(job)])
    return {
        "catalogue": sha256(catalogued.encode()).hexdigest()[:16],
        "windows": " ".join(str(days) for days in job.settings.features.windows),
        "horizon_days": str(job.settings.snapshots.horizon_days),
        "custom": json.dumps([feature.model_dump() for feature in job.settings.features.custom]),
        "fitted_share": str(job.settings.features.fitted_share),
        **({"events": " ".join(counted.measures)} if counted else {}),
        **({"customers": "true"} if job.lake.exists("customers") else {}),
    }


def _made_with(job: Job) -> str:
    return json.dumps({**made_with(job), "country": country(job)}, sort_keys=True)


def country(job: Job) -> str | None:
    """Whose public holidays the features count."""
    return (
        job.settings.features.country or job.lake.properties("transactions").get("country") or None
    )


def show_built(built: Built) -> None:
    """One line on the snapshots."""
    there = len(built.dates) - len(built.made)
    say(
        f"{built.snapshots:,} snapshots on {len(built.dates)} dates "
        f"({built.dates[0]} .. {built.dates[-1]}), {built.features} features"
        + (f"; {there} of the dates were there already" if there else "")
    )


def plan_of(
    job: Job, span: LogSpan, dates: Sequence[date], *, again: bool = False
) -> list[tuple[str, object]]:
    """What `build_features` would do, each fact with its name, from one pass over two columns of
    `transactions`; nothing is written.
    """
    changes = _work(job, span)
    since = changes.first(span)
    known = set() if again else {d for d in up_to_date(job) if since is None or d <= since}
    missing = [d for d in dates if d not in known]
    bought = F.when(F.col("kind") == "purchase", F.col("customer_id"))
    before = [
        F.approx_count_distinct(F.when(F.col("ordered_on") < F.lit(d), bought)).alias(str(d))
        for d in dates
    ]
    day = F.struct("customer_id", "ordered_on")
    counted = (
        known_lines(job, span)
        .agg(F.count(F.lit(1)).alias("lines"), F.approx_count_distinct(day).alias("days"), *before)
        .collect()[0]
    )
    snapshots = sum(counted[str(d)] for d in missing)
    columns, own = feature_columns(job), job.settings.features.custom
    windows = job.settings.features.windows
    stored = stored_bytes(job.lake) or counted["days"] * STORED_BYTES_PER_DAY
    days = changes.of_orders.days
    own_exchange = [("exchanged for features of your own", "the lines, once for each window")]
    is_in_ranges = stored_ranges(job.lake) is not None
    exchanged = mebibytes(counted["days"] * BYTES_PER_DAY)
    is_all = job.settings.features.fitted_share >= 1
    together = "workers read ranges of customers" if is_in_ranges else "one exchange by customer"
    return [
        ("lines of the log before as_of", counted["lines"]),
        ("customer-days, about", counted["days"]),
        ("of these, days to make again first", "all" if days is None else len(days)),
        ("as-of dates", f"{len(dates)}: {dates[0]} .. {dates[-1]}"),
        ("of these, there already", len(dates) - len(missing)),
        ("windows", ", ".join([*[f"{length} d" for length in windows], "lifetime"])),
        ("features", len(columns)),
        ("snapshots to come, about", snapshots),
        ("passes over customer_days", -(-len(missing) // job.settings.features.dates_per_chunk)),
        ("read a pass, about", mebibytes(stored)),
        (
            "exchanged a pass, at most",
            "sums by product" if is_in_ranges and is_all else exchanged,
        ),
        *(own_exchange if own else []),
        ("written, about", mebibytes(snapshots * len(columns) * BYTES_PER_VALUE)),
        ("plan", f"{together}, numpy fold of all dates (features/fold.py)"),
    ]


@handled
def main(
    lake: LakeDir = None,
    as_of: AsOf = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First date to fill."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Last date to fill.",
            show_default="as-of",
        ),
    ] = None,
    step_days: Annotated[
        int, typer.Option("--step", min=1, help="Days between the dates to fill.")
    ] = 1,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be built; write nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Build also the dates that are there already.")
    ] = False,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Aggregate transactions into customer_days, features and labels.

    Without --from: the training dates and as-of. What is there and up to date is not built again.
    """
    job = open_job(env, set_, lake)
    span = log_span(job, as_of)
    dates = _filled(span, first, last, step_days)
    if plan:
        wanted = dates or [*dates_to_train(job, span), span.as_of]
        show("Plan", ["", "figure"], plan_of(job, span, wanted, again=again))
        return
    with step(f"Build features as of {span.as_of}"):
        built = build_features(job, span, dates, again=again)
    show_built(built)
    if dates is None:
        show_next("train", job, env, set_, as_of)


def _filled(
    span: LogSpan, first: datetime | None, last: datetime | None, step_days: int
) -> list[date] | None:
    if first is None:
        if last is not None:
            raise InputError("--to: give --from too")
        return None
    begin, end = first.date(), last.date() if last else span.as_of
    if not span.first < begin <= end <= span.as_of:
        raise InputError(
            f"--from {begin} --to {end}: choose days from {span.first + timedelta(1)} to "
            f"{span.as_of}, the first no later than the last"
        )
    return [begin + timedelta(days) for days in range(0, (end - begin).days + 1, step_days)]


if __name__ == "__main__":
    typer.run(main)
