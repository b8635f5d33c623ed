"""The same 53 features at the same dates by this engine and by what a user would pick instead.

Each engine is a function from the log's Parquet files to a committed result: Delta for this
project, Parquet for the others. `python -m benchmarks.peers ENGINE ...` runs one, warm, and prints
its times as JSON.
"""

import argparse
import functools
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil

WINDOWS = (7, 30, 90, 180, 365)
SPANS = (*[(f"{days}d", days) for days in WINDOWS], ("lifetime", 100_000))
MEASURES = (
    *("orders", "lines", "revenue", "average_order_value", "max_order_value"),
    *("active_days", "weekend_share", "return_rate"),
)
SINGLE = (
    *("recency_days", "tenure_days", "first_to_last_order_days"),
    *("gap_mean_days", "spending_rate"),
)
FEATURES = (*[f"{m}_{w}" for w, _ in SPANS for m in MEASURES], *SINGLE)
# How often an engine is timed; and how often it runs before that, at most, and by how much a run
# must be faster than the one before to be followed by another, for the JVM compiles for some time.
REPEATS, WARM_UPS, FASTER = 3, 6, 0.95
Engine = Callable[[Path, Sequence[date], Path], None]


def as_of_dates(last: date, count: int) -> list[date]:
    """So many dates, the last of them the day after the log: monthly up to 12, weekly beyond."""
    step = 30 if count <= 12 else 7
    return sorted(last + timedelta(1 - step * k) for k in range(count))


@functools.cache
def spark_session(master: str | None = None) -> Any:
    """The session that `--env local` makes, here or with its executors elsewhere."""
    from conf.settings import load_settings
    from jobs import session

    elsewhere = [f"spark.master='{master}'", "spark.config={spark.executor.memory: 2g}"]
    return session.spark_session(load_settings("local", elsewhere if master else []).spark)


def repurchase(log: Path, dates: Sequence[date], output: Path) -> None:
    """This project, from the log to Delta."""
    from features.customer_days import customer_days

    _features_of(customer_days(spark_session().read.parquet(str(log))), dates, output)


def repurchase_nightly(log: Path, dates: Sequence[date], output: Path) -> None:
    """This project, from stored customer-days to Delta."""
    lake = _stored(log)
    if _until(lake) != dates[-1]:
        _make_anew(lake, log, dates)
    _features_of_stored(lake, dates, output)


def repurchase_rebuild(log: Path, dates: Sequence[date], output: Path) -> None:
    """This project, from the log to stored transactions, stored customer-days and then to Delta."""
    lake = _stored(log)
    _make_anew(lake, log, dates)
    _features_of_stored(lake, dates, output)


def repurchase_daily(log: Path, dates: Sequence[date], output: Path) -> None:
    """This project: a day's file into stored transactions and customer-days, and then the features
    of the day after it to Delta. Each call takes the next of the days that `repurchase_cut` has cut
    off, warm-ups included.
    """
    from pyspark.sql import functions as F

    from features.increments import due, update_customer_days
    from lake.contracts import TRANSACTIONS
    from lake.store import dated

    lake = _stored(log)
    day = _until(lake)
    assert day is not None
    files = spark_session().read.parquet(str(log.with_name("days")))
    lake.replace(TRANSACTIONS, files.where(F.col("day") == day), dated("ordered_on", [day]))
    as_of = day + timedelta(1)
    update_customer_days(lake, due(lake, _log_start(dates), as_of), as_of)
    _features_of_stored(lake, [as_of], output)


def repurchase_cut(log: Path, dates: Sequence[date], output: Path) -> None:
    """What comes before `repurchase_daily`, in a process of its own that nobody measures: the last
    days of the log become files, a day in each, and go from what is stored.
    """
    from pyspark.sql import functions as F

    from features.increments import due, update_customer_days
    from lake.contracts import TRANSACTIONS

    lake, begin = _stored(log), dates[-1] - timedelta(REPEATS + WARM_UPS)
    if _until(lake) == begin:
        return
    if _until(lake) != dates[-1]:
        _make_anew(lake, log, dates)
    last = _lines(log).where(f"ordered_on >= DATE'{begin}'").withColumn("day", F.col("ordered_on"))
    files = log.with_name("days")
    last.repartition("day").write.partitionBy("day").mode("overwrite").parquet(str(files))
    lake.replace(TRANSACTIONS, last.limit(0), f"ordered_on >= DATE'{begin}'")
    update_customer_days(lake, due(lake, _log_start(dates), begin), begin)


def _log_start(dates: Sequence[date]) -> date:
    return dates[-1] - timedelta(730)


def _until(lake: Any) -> date | None:
    """The first day of which the stored customer-days know nothing; None if there are none."""
    if not lake.exists("customer_days"):
        return None
    until = lake.facts("customer_days").get("until")
    return date.fromisoformat(until) if until else None


def _make_anew(lake: Any, log: Path, dates: Sequence[date]) -> None:
    """All transactions and customer-days, as `repurchase build-features` stores them."""
    from features.increments import Due, update_customer_days
    from lake.contracts import TRANSACTIONS

    lake.replace(TRANSACTIONS, _lines(log))
    whole = Due(None, lake.version("transactions"), lake.identity("transactions"))
    update_customer_days(lake, whole, dates[-1])


def _stored(log: Path) -> Any:
    """A lake with the lines of the log as transactions."""
    from lake.contracts import TRANSACTIONS
    from lake.store import Lake

    lake = Lake(spark_session(), str(log.with_name("lake")))
    if not lake.exists("transactions"):
        lake.replace(TRANSACTIONS, _lines(log))
    return lake


def _lines(log: Path) -> Any:
    from pyspark.sql import functions as F

    lines = spark_session().read.parquet(str(log))
    return lines.withColumns({"ordered_at": F.to_timestamp("ordered_on"), "file": F.lit("log")})


def _features_of_stored(lake: Any, dates: Sequence[date], output: Path) -> None:
    from features.windows import stored_ranges

    _features_of(lake.read("customer_days"), dates, output, stored_ranges(lake))


def _features_of(days: Any, dates: Sequence[date], output: Path, ranges: Any = None) -> None:
    from features.catalogue import catalogue
    from features.windows import Snapshots, made_features
    from lake.contracts import FEATURES as TABLE
    from lake.store import Lake

    snapshots = Snapshots(tuple(dates), WINDOWS, 30, min(dates) - timedelta(730), None)
    columns = [f.column() for f in catalogue(WINDOWS, 30) if f.name in FEATURES]
    Lake(spark_session(), str(output)).replace_dates(
        TABLE.with_columns(columns), made_features(days, snapshots, FEATURES, ranges=ranges), dates
    )


def _duckdb_features(span: str, days: int, as_of: str) -> list[str]:
    """The windowed features over one row per customer and day before as_of."""
    inside = "true" if span == "lifetime" else f"day >= {as_of} - INTERVAL {days} DAY"
    only = "" if span == "lifetime" else f"FILTER ({inside})"
    return [
        f"coalesce(sum(orders) {only}, 0) AS orders_{span}",
        f"coalesce(sum(lines) {only}, 0) AS lines_{span}",
        f"coalesce(sum(cents) {only}, 0) / 100e0 AS revenue_{span}",
        f"revenue_{span} / nullif(orders_{span}, 0) AS average_order_value_{span}",
        f"max(largest) {only} / 100e0 AS max_order_value_{span}",
        f"count(*) FILTER ({inside} AND orders > 0) AS active_days_{span}",
        f"coalesce(sum(orders) FILTER ({inside} AND weekend), 0)::DOUBLE / nullif(orders_{span}, 0)"
        f" AS weekend_share_{span}",
        f"coalesce(sum(returns) {only}, 0)::DOUBLE / nullif(orders_{span}, 0)"
        f" AS return_rate_{span}",
    ]


def duckdb(log: Path, dates: Sequence[date], output: Path) -> None:
    """DuckDB: customer-days first, then one grouping with filters for each date."""
    import duckdb as engine

    output.mkdir(parents=True)
    database = engine.connect()
    database.execute("SET threads = 2; SET preserve_insertion_order = false")
    database.execute(
        f"""
        CREATE TABLE days AS
        SELECT customer_id, day, isodow(day) >= 6 AS weekend,
            count(*) FILTER (lines > 0)::INT AS orders, sum(lines)::INT AS lines,
            sum(cents)::BIGINT AS cents, max(cents) FILTER (lines > 0) AS largest,
            count(*) FILTER (returned > 0)::INT AS returns
        FROM (
            SELECT customer_id, ordered_on AS day, order_id,
                count(*) FILTER (kind = 'purchase') AS lines,
                coalesce(sum((amount * 100)::BIGINT) FILTER (kind = 'purchase'), 0)::BIGINT
                    AS cents,
                count(*) FILTER (kind = 'return') AS returned
            FROM read_parquet('{log}/*.parquet') GROUP BY ALL
        ) GROUP BY ALL
        """
    )
    for as_of in dates:
        today = f"DATE '{as_of}'"
        windowed = [sql for span, days in SPANS for sql in _duckdb_features(span, days, today)]
        database.execute(
            f"""
            COPY (
                SELECT customer_id, {today} AS as_of, {", ".join(windowed)},
                    {today} - max(day) FILTER (orders > 0) AS recency_days,
                    {today} - min(day) FILTER (orders > 0) AS tenure_days,
                    tenure_days - recency_days AS first_to_last_order_days,
                    first_to_last_order_days::DOUBLE / nullif(active_days_lifetime - 1, 0)
                        AS gap_mean_days,
                    revenue_lifetime / tenure_days AS spending_rate
                FROM days WHERE day < {today} GROUP BY customer_id HAVING sum(orders) > 0
            ) TO '{output}/{as_of}.parquet' (FORMAT parquet)
            """
        )
    database.close()


def polars(log: Path, dates: Sequence[date], output: Path) -> None:
    """Polars: customer-days first, then one lazy grouping for each date.

    What a window leaves out is made 0 before the grouping, which then only sums; to filter within
    it takes three times as long.
    """
    import polars as pl

    output.mkdir(parents=True)
    bought, cents = pl.col("kind") == "purchase", (pl.col("amount") * 100).cast(pl.Int64)
    orders = (
        pl.scan_parquet(f"{log}/*.parquet")
        .group_by("customer_id", pl.col("ordered_on").alias("day"), "order_id")
        .agg(
            bought.sum().alias("lines"),
            (cents * bought).sum().alias("cents"),
            (pl.col("kind") == "return").sum().alias("returned"),
        )
    )
    is_order = pl.col("lines") > 0
    days = (
        orders.select(
            *("customer_id", "day", "lines", "cents", is_order.alias("orders")),
            pl.when(is_order).then(pl.col("cents")).alias("largest"),
            (pl.col("returned") > 0).alias("returns"),
        )
        .group_by("customer_id", "day")
        .agg(
            *[pl.col(name).sum().cast(pl.Int32) for name in ("orders", "lines", "returns")],
            pl.col("cents").sum(),
            pl.col("largest").max(),
        )
        .with_columns((pl.col("day").dt.weekday() >= 6).alias("weekend"))
        .collect()
    )
    for as_of in dates:
        inside, sums = _polars_sums(as_of)
        frame = days.lazy().filter(pl.col("day") < as_of).select("customer_id", *inside)
        frame.group_by("customer_id").agg(*sums).filter(pl.col("orders_lifetime") > 0).select(
            "customer_id", pl.lit(as_of).alias("as_of"), *_polars_features()
        ).sink_parquet(output / f"{as_of}.parquet")


def _polars_sums(as_of: date) -> tuple[list[Any], list[Any]]:
    """What of each day counts for each window, and what is summed of it."""
    import polars as pl

    has_order = pl.col("orders") > 0
    counted = {
        "orders": pl.col("orders"),
        "lines": pl.col("lines"),
        "cents": pl.col("cents"),
        "active_days": has_order.cast(pl.Int32),
        "weekend": pl.col("orders") * pl.col("weekend"),
        "returns": pl.col("returns"),
    }
    made, sums = [pl.when(has_order).then(pl.col("day")).alias("ordered_on")], []
    for span, days in SPANS:
        inside = pl.col("day") >= as_of - timedelta(min(days, 20_000))
        made += [(numbers * inside).alias(f"{name}_{span}") for name, numbers in counted.items()]
        made.append(pl.when(inside).then(pl.col("largest")).alias(f"largest_{span}"))
        sums += [pl.col(f"{name}_{span}").sum() for name in counted]
        sums.append(pl.col(f"largest_{span}").max())
    age = pl.lit(as_of) - pl.col("ordered_on")
    recency, tenure = age.min().dt.total_days(), age.max().dt.total_days()
    return made, [*sums, recency.alias("recency_days"), tenure.alias("tenure_days")]


def _polars_features() -> list[Any]:
    import polars as pl

    def over(total: str, count: str) -> Any:
        return pl.when(pl.col(count) > 0).then(pl.col(total) / pl.col(count))

    made = []
    for span, _ in SPANS:
        orders = f"orders_{span}"
        made += [
            *(pl.col(orders), pl.col(f"lines_{span}")),
            (pl.col(f"cents_{span}") / 100).alias(f"revenue_{span}"),
            (over(f"cents_{span}", orders) / 100).alias(f"average_order_value_{span}"),
            (pl.col(f"largest_{span}") / 100).alias(f"max_order_value_{span}"),
            pl.col(f"active_days_{span}"),
            over(f"weekend_{span}", orders).alias(f"weekend_share_{span}"),
            over(f"returns_{span}", orders).alias(f"return_rate_{span}"),
        ]
    span_days = pl.col("tenure_days") - pl.col("recency_days")
    gaps = pl.col("active_days_lifetime") - 1
    return [
        *made,
        *(pl.col("recency_days"), pl.col("tenure_days")),
        span_days.alias("first_to_last_order_days"),
        pl.when(gaps > 0).then(span_days / gaps).alias("gap_mean_days"),
        (pl.col("cents_lifetime") / 100 / pl.col("tenure_days")).alias("spending_rate"),
    ]


def _pandas_days(log: Path) -> Any:
    """One row per customer and day."""
    import pandas as pd

    lines = pd.read_parquet(
        log, columns=["customer_id", "order_id", "ordered_on", "kind", "amount"]
    )
    cents = (lines.pop("amount") * 100).astype("int64")
    bought = lines["kind"] == "purchase"
    lines = lines.assign(
        day=pd.to_datetime(lines.pop("ordered_on")),
        cents=cents.where(bought, 0),
        lines=bought.astype(int),
        returned=(lines.pop("kind") == "return").astype(int),
    )
    orders = lines.groupby(["customer_id", "day", "order_id"], sort=False).sum()
    orders["orders"] = (orders["lines"] > 0).astype(int)
    orders["returns"] = (orders.pop("returned") > 0).astype(int)
    orders["largest"] = orders["cents"].where(orders["orders"] > 0)
    sums = dict.fromkeys(("orders", "lines", "cents", "returns"), "sum")
    days = orders.groupby(["customer_id", "day"], sort=False).agg({**sums, "largest": "max"})
    days = days.reset_index()
    days["active_days"] = (days["orders"] > 0).astype(int)
    days["weekend"] = days["orders"].where(days["day"].dt.weekday >= 5, 0)
    return days


def _pandas_features(found: dict[str, Any], ordered: Any, as_of: Any) -> Any:
    """The features at a date, of the sums of each span and the first and last day of orders."""
    import pandas as pd

    result = pd.DataFrame(index=ordered.index)
    for span, sums in found.items():
        counts = sums.drop(columns="largest").fillna(0).astype("int64")
        some = counts["orders"].where(counts["orders"] > 0)
        result[f"orders_{span}"] = counts["orders"]
        result[f"lines_{span}"] = counts["lines"]
        result[f"revenue_{span}"] = counts["cents"] / 100
        result[f"average_order_value_{span}"] = counts["cents"] / 100 / some
        result[f"max_order_value_{span}"] = sums["largest"] / 100
        result[f"active_days_{span}"] = counts["active_days"]
        result[f"weekend_share_{span}"] = counts["weekend"] / some
        result[f"return_rate_{span}"] = counts["returns"] / some
    result["recency_days"] = (as_of - ordered["max"]).dt.days
    result["tenure_days"] = (as_of - ordered["min"]).dt.days
    apart = result["tenure_days"] - result["recency_days"]
    result["first_to_last_order_days"] = apart
    gaps = result["active_days_lifetime"] - 1
    result["gap_mean_days"] = apart / gaps.where(gaps > 0)
    result["spending_rate"] = result["revenue_lifetime"] / result["tenure_days"]
    result.insert(0, "as_of", as_of.date())
    return result.rename_axis("customer_id").reset_index()


SUMMED = ("orders", "lines", "cents", "returns", "active_days", "weekend")


def pandas(log: Path, dates: Sequence[date], output: Path) -> None:
    """Pandas: customer-days first, then a grouping for each date and window."""
    import pandas as pd

    output.mkdir(parents=True)
    days = _pandas_days(log)
    for as_of in map(pd.Timestamp, dates):
        known = days[days["day"] < as_of]
        ordered = known[known["orders"] > 0].groupby("customer_id")["day"].agg(["min", "max"])
        found = {}
        for span, length in SPANS:
            inside = known[known["day"] >= as_of - pd.Timedelta(days=min(length, 20_000))]
            sums = inside.groupby("customer_id").agg(
                {**dict.fromkeys(SUMMED, "sum"), "largest": "max"}
            )
            found[span] = sums.reindex(ordered.index)
        made = _pandas_features(found, ordered, as_of)
        made.to_parquet(output / f"{as_of.date()}.parquet")


def featuretools(log: Path, dates: Sequence[date], output: Path) -> None:
    """Featuretools: an entity set of customers and customer-days, a training window a span."""
    import warnings

    import featuretools as engine
    import pandas as pd

    warnings.simplefilter("ignore")
    output.mkdir(parents=True)
    days = _pandas_days(log)
    entities = engine.EntitySet("log")
    entities.add_dataframe(
        days.rename_axis("row").reset_index(), "days", index="row", time_index="day"
    )
    entities.normalize_dataframe("days", "customers", "customer_id", make_time_index=True)
    entities.add_last_time_indexes()
    history = {}
    for as_of in map(pd.Timestamp, dates):
        known = days[(days["day"] < as_of) & (days["orders"] > 0)]
        history[as_of] = known.groupby("customer_id")["day"].agg(["min", "max"])
    cutoffs = pd.concat(
        [pd.DataFrame({"customer_id": h.index, "time": as_of}) for as_of, h in history.items()]
    )
    names = {f"SUM(days.{name})": name for name in SUMMED} | {"MAX(days.largest)": "largest"}
    found = {}
    for span, length in SPANS:
        matrix, _ = engine.dfs(
            entityset=entities,
            target_dataframe_name="customers",
            agg_primitives=["sum", "max"],
            trans_primitives=[],
            max_depth=1,
            cutoff_time=cutoffs,
            cutoff_time_in_index=True,
            training_window=f"{length} days" if span != "lifetime" else None,
            include_cutoff_time=False,
        )
        found[span] = matrix.rename(columns=names)[list(names.values())]
    for as_of, ordered in history.items():
        sums = {s: m.xs(as_of, level="time").reindex(ordered.index) for s, m in found.items()}
        made = _pandas_features(sums, ordered, as_of)
        made.to_parquet(output / f"{as_of.date()}.parquet")


def _spark_orders(log: Path) -> Any:
    from pyspark.sql import functions as F

    # Columns are made of a session.
    lines = spark_session().read.parquet(str(log))
    bought = F.col("kind") == "purchase"
    cents = (F.col("amount") * 100).cast("bigint")
    return lines.groupBy("customer_id", F.col("ordered_on").alias("day"), "order_id").agg(
        F.count_if(bought).alias("lines"),
        F.coalesce(F.sum(F.when(bought, cents)), F.lit(0)).alias("cents"),
        F.max((F.col("kind") == "return").cast("int")).alias("returned"),
    )


def _spark_features(inside: Callable[[int], Any], span: str, days: int) -> list[Any]:
    from pyspark.sql import functions as F

    here = inside(days)
    order = here & (F.col("lines") > 0)
    orders = F.count_if(order)
    some = F.nullif(orders, F.lit(0))
    cents = F.coalesce(F.sum(F.when(order, F.col("cents"))), F.lit(0))
    weekend = F.weekday("day") >= 5
    return [
        orders.alias(f"orders_{span}"),
        F.coalesce(F.sum(F.when(here, F.col("lines"))), F.lit(0)).alias(f"lines_{span}"),
        (cents / 100).alias(f"revenue_{span}"),
        (cents / 100 / some).alias(f"average_order_value_{span}"),
        (F.max(F.when(order, F.col("cents"))) / 100).alias(f"max_order_value_{span}"),
        F.count_distinct(F.when(order, F.col("day"))).alias(f"active_days_{span}"),
        (F.count_if(order & weekend) / some).alias(f"weekend_share_{span}"),
        (F.sum(F.when(here, F.col("returned")).otherwise(0)) / some).alias(f"return_rate_{span}"),
    ]


def _spark_single(frame: Any) -> Any:
    from pyspark.sql import functions as F

    apart = F.col("tenure_days") - F.col("recency_days")
    return frame.withColumns(
        {
            "first_to_last_order_days": apart,
            "gap_mean_days": apart / F.nullif(F.col("active_days_lifetime") - 1, F.lit(0)),
            "spending_rate": F.col("revenue_lifetime") / F.col("tenure_days"),
        }
    ).where("orders_lifetime > 0")


def _spark_ages() -> list[Any]:
    from pyspark.sql import functions as F

    ordered = F.when(F.col("lines") > 0, F.col("day"))
    return [
        F.date_diff("as_of", F.max(ordered)).alias("recency_days"),
        F.date_diff("as_of", F.min(ordered)).alias("tenure_days"),
    ]


def spark_cross_join(log: Path, dates: Sequence[date], output: Path) -> None:
    """Spark: orders cross joined with the dates, and one grouping with conditions."""
    from pyspark.sql import functions as F

    looks = spark_session().createDataFrame([(d,) for d in dates], "as_of date")
    joined = _spark_orders(log).crossJoin(looks).where(F.col("day") < F.col("as_of"))

    def inside(days: int) -> Any:
        return F.date_diff("as_of", "day") <= days

    made = [f for span, days in SPANS for f in _spark_features(inside, span, days)]
    grouped = joined.groupBy("customer_id", "as_of").agg(*made, *_spark_ages())
    _spark_single(grouped).write.parquet(str(output))


def spark_window_joins(log: Path, dates: Sequence[date], output: Path) -> None:
    """Spark: a grouping for each date and window, joined by customer."""
    from pyspark.sql import functions as F

    orders = _spark_orders(log).persist()
    for as_of in dates:
        known = orders.where(F.col("day") < F.lit(as_of)).withColumn("as_of", F.lit(as_of))
        frame = known.groupBy("customer_id", "as_of").agg(
            *_spark_features(lambda _: F.lit(True), *SPANS[-1]), *_spark_ages()
        )
        for span, days in SPANS[:-1]:
            part = known.where(F.date_diff("as_of", "day") <= days)
            made = part.groupBy("customer_id").agg(
                *_spark_features(lambda _: F.lit(True), span, days)
            )
            frame = frame.join(made, "customer_id", "left")
        counts = [f"{m}_{s}" for s, _ in SPANS for m in ("orders", "lines", "revenue")]
        frame = frame.fillna(0, [*counts, *[f"active_days_{s}" for s, _ in SPANS]])
        _spark_single(frame).write.mode("append").parquet(str(output))
    orders.unpersist()


ENGINES: dict[str, Engine] = {
    engine.__name__: engine
    for engine in (
        *(repurchase, repurchase_nightly, repurchase_rebuild, repurchase_cut, repurchase_daily),
        *(spark_cross_join, spark_window_joins),
        *(duckdb, polars, pandas, featuretools),
    )
}


def main() -> None:
    """Run one engine until it is warm, and then as often as asked; print the seconds of each."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("engine", choices=ENGINES)
    arguments.add_argument("--log", type=Path, required=True)
    arguments.add_argument("--last", type=date.fromisoformat, required=True)
    arguments.add_argument("--dates", type=int, required=True)
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--warm-ups", type=int, default=WARM_UPS, help="at most")
    arguments.add_argument("--repeats", type=int, default=REPEATS)
    arguments.add_argument("--master", help="of a standalone cluster, for this project's engine")
    given = arguments.parse_args()
    if given.master:
        spark_session(given.master)  # is active from here on
    dates = as_of_dates(given.last, given.dates)

    def run() -> tuple[float, float]:
        shutil.rmtree(given.output, ignore_errors=True)
        started, before = time.monotonic(), _read()
        ENGINES[given.engine](given.log, dates, given.output)
        return time.monotonic() - started, (_read() - before) / 2**20

    warm = [run()[0]]
    # The daily path has a day for each run, and ends on the last date.
    every = ENGINES[given.engine] is repurchase_daily
    while len(warm) < given.warm_ups and (every or len(warm) == 1 or warm[-1] < FASTER * warm[-2]):
        warm.append(run()[0])
    seconds, read = zip(*[run() for _ in range(given.repeats)], strict=True)
    said = {"warm_ups": warm, "seconds": seconds, "read_mb": read}
    sys.stdout.write(json.dumps(said) + "\n")


def _read() -> int:
    """Bytes that this process and those that it has started have read, of files and pipes."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(int(member.io_counters().read_chars) for member in family)


if __name__ == "__main__":
    main()
