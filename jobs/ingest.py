"""`repurchase ingest`: a log into `transactions` and `quarantine`."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer
from pyspark.sql import DataFrame, Observation, Row
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.source import Source, load_source
from jobs.console import console, handled, say, show, step
from jobs.options import Env, InputPath, Job, LakeDir, Set, SourceFile, open_job
from lake.contracts import INGESTED_FILES, QUARANTINE, TRANSACTIONS
from lake.ingestion import (
    AFTER_THE_END,
    Limits,
    business_session,
    log_files,
    mapped,
    read_log,
)
from lake.store import among

SAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class Ingested:
    """How many rows the log has, and how many of them are kept and refused."""

    rows: int
    kept: int
    refused: int


@dataclass(frozen=True)
class Files:
    """The files of the log: what they are now, and what of them is still to be done.

    `fresh` are new, changed, or read otherwise than the source file asks now; `gone` were
    taken and are no longer there. `whole`: nothing of the tables can stay.
    """

    known: dict[str, Row]
    now: dict[str, Row]
    fresh: set[str]
    gone: set[str]
    whole: bool

    @property
    def unfinished(self) -> list[Row]:
        """What is known while the work lasts: whatever is touched counts as not taken."""
        touched = {*self.known, *self.now} if self.whole else self.fresh | self.gone
        return [
            Row(**{**row.asDict(), "mapping": ""}) if file in touched else row
            for file, row in {**self.known, **self.now}.items()
        ]


def ingest(job: Job, source: Source, path: str | None) -> Ingested:
    """Bring `transactions` and `quarantine` to what the log is now.

    Of files, only those are read that are new or changed since the last time; the lines of files
    that are gone go too, unless `ingest.gone_files` is `keep`. Any other input is read whole.
    Raises InputError when more than `ingest.max_refused_share` is refused; `quarantine` then
    shows why and `transactions` stays as it was.
    """
    with business_session(job.spark, source.time_zone):
        rows = read_log(job.spark, source, path)
        files = _files(job, source, path)
        if files is None or files.whole:
            _remember(job, files.unfinished if files else [])
            _take(job, source, path, rows, None)
        else:
            _say_what_is_new(files)
            if files.fresh or files.gone:
                _remember(job, files.unfinished)
                fresh = rows.where(F.col("_file").isin(sorted(files.fresh)))
                _take(job, source, path, fresh, among("file", files.fresh | files.gone))
        if files is not None:
            _remember(job, list(files.now.values()))
    job.lake.set_properties(
        "transactions",
        {
            "source": source.name,
            "time_zone": source.time_zone,
            "currency": source.currency,
            "country": source.country or "",
        },
    )
    kept, refused = (job.lake.read(table).count() for table in ("transactions", "quarantine"))
    return Ingested(kept + refused, kept, refused)


def _take(job: Job, source: Source, path: str | None, rows: DataFrame, where: str | None) -> None:
    seen = Observation("ingest")
    is_refused = F.size("reasons") > 0
    # Observed rows are also a fence: the filters below are not evaluated line by line twice.
    lines = mapped(rows, source, _limits(job)).observe(
        seen, F.count(F.lit(1)).alias("rows"), F.count_if(is_refused).alias("refused")
    )
    job.lake.replace(QUARANTINE, lines.where(is_refused), where)
    total, refused = int(seen.get["rows"] or 0), int(seen.get["refused"] or 0)
    _check_share(job, source, path, total, refused, where)
    again = mapped(rows, source, _limits(job)).observe(
        Observation("kept"), F.count(F.lit(1)).alias("rows")
    )
    job.lake.replace(TRANSACTIONS, again.where(~is_refused), where)
    kept, quarantined = (
        job.lake.read(table).where(where or "true").count()
        for table in ("transactions", "quarantine")
    )
    if kept + quarantined != total:
        raise InputError(
            f"{path}: {total:,} rows came, but {kept:,} were kept and {quarantined:,} refused: "
            "did the log change while it was read? Run again"
        )


def _files(job: Job, source: Source, path: str | None) -> Files | None:
    listing = log_files(job.spark, source, path)
    if listing is None:
        return None
    limits = job.settings.ingest
    read_with = f"{source.model_dump_json()} {limits.model_dump_json(exclude={'gone_files'})}"
    mapping = hashlib.sha256(read_with.encode()).hexdigest()[:16]
    columns = ("file", "bytes", F.unix_micros("modified_at").alias("modified"), "mapping")
    listed = listing.withColumn("mapping", F.lit(mapping)).select(*columns).collect()
    now = {row["file"]: row for row in listed}
    known: dict[str, Row] = {}
    if job.lake.exists("ingested_files") and job.lake.exists("transactions"):
        taken = job.lake.read("ingested_files").select(*columns).collect()
        known = {row["file"]: row for row in taken}
    early = job.lake.read("quarantine") if known else None
    # What was dated after today may not be any more.
    too_early = (
        {r["file"] for r in early.where(F.array_contains("reasons", AFTER_THE_END)).collect()}
        if early is not None
        else set()
    )
    fresh = {file for file, row in now.items() if known.get(file) != row or file in too_early}
    gone = set(known) - set(now)
    if limits.gone_files == "keep":
        now, gone = {**known, **now}, set()
    # To know which of the same two lines repeats the other takes all of them.
    compared = source.exact_duplicates == "refuse" and bool(fresh | gone)
    return Files(known, now, fresh, gone, compared or set(known) <= fresh | gone)


def _say_what_is_new(files: Files) -> None:
    there = len(files.now) - len(files.fresh)
    say(
        f"{len(files.fresh):,} files are new or changed, {len(files.gone):,} are gone, "
        f"{there:,} are there already"
    )


def _remember(job: Job, files: list[Row]) -> None:
    schema = "file string, bytes bigint, modified bigint, mapping string"
    frame = job.spark.createDataFrame([tuple(row) for row in files], schema)
    job.lake.replace(
        INGESTED_FILES, frame.withColumn("modified_at", F.timestamp_micros("modified"))
    )


def show_ingested(job: Job, result: Ingested) -> None:
    """The account of rows, the refusals by reason, and what was kept."""
    say(f"{result.rows:,} rows in = {result.kept:,} kept + {result.refused:,} quarantined")
    if result.refused:
        _show_reasons(job.lake.read("quarantine"), "Quarantined, by reason")
    kinds = (
        job.lake.read("transactions")
        .groupBy("kind")
        .agg(
            F.count(F.lit(1)).alias("lines"),
            F.countDistinct("customer_id").alias("customers"),
            F.countDistinct("customer_id", "ordered_on", "order_id").alias("orders"),
            F.min("ordered_on").alias("first"),
            F.max("ordered_on").alias("last"),
            F.sum("amount").alias("amount"),
        )
        .orderBy(F.desc("lines"))
    )
    currency = job.lake.properties("transactions").get("currency", "")
    show(
        "Transactions",
        ["kind", "lines", "customers", "orders", "first day", "last day", f"amount, {currency}"],
        [[*row[:6], f"{row[6]:,}"] for row in kinds.collect()],
    )


def check(job: Job, source: Source, path: str | None) -> None:
    """Say what the first rows of the log would become, without writing."""
    with business_session(job.spark, source.time_zone):
        rows = read_log(job.spark, source, path).limit(SAMPLE_ROWS)
        lines = mapped(rows, source, _limits(job)).persist()
        refused = lines.where(F.size("reasons") > 0)
        total, bad = lines.count(), refused.count()
        if total == 0:
            raise InputError(f"{path}: no rows after the header")
        say(f"of the first {total:,} rows, {total - bad:,} would be kept and {bad:,} refused")
        if bad:
            _show_reasons(refused, "Would be refused, by reason")
        sample = TRANSACTIONS.select(lines.where(F.size("reasons") == 0)).limit(3).collect()
        columns = [c.name for c in TRANSACTIONS.columns]
        show(
            "Would be kept, for instance",
            ["column", *[f"row {n}" for n, _ in enumerate(sample, 1)]],
            [
                [name, *["" if row[name] is None else str(row[name]) for row in sample]]
                for name in columns
            ],
        )
        lines.unpersist()


def _check_share(
    job: Job, source: Source, path: str | None, total: int, refused: int, where: str | None
) -> None:
    if total == 0 and where is not None:
        return
    if total == 0:
        raise InputError(f"{path}: no rows after the header")
    share = refused / total
    if share > job.settings.ingest.max_refused_share or (refused == total and where is None):
        _show_reasons(job.lake.read("quarantine").where(where or "true"), "Quarantined, by reason")
        raise InputError(
            f"{path}: {refused:,} of {total:,} rows ({share:.0%}) break the contract, more than "
            f"ingest.max_refused_share = {job.settings.ingest.max_refused_share:g} allows; "
            f"the table quarantine in {job.lake.location} holds them, transactions is as it was. "
            f"Is the source {source.name} the right one for this log?"
        )


def _show_reasons(refused: DataFrame, title: str) -> None:
    counted = (
        refused.select(F.explode("reasons").alias("reason"), "source_row")
        .groupBy("reason")
        .agg(F.count(F.lit(1)).alias("rows"), F.min("source_row").alias("example"))
        .orderBy(F.desc("rows"), "reason")
    )
    show(
        title,
        ["reason", "rows", "for instance"],
        [[r[0], r[1], r[2][:60]] for r in counted.collect()],
    )


def _limits(job: Job) -> Limits:
    limits = job.settings.ingest
    # Tomorrow in UTC has begun somewhere already.
    today = datetime.now(timezone.utc).date() + timedelta(1)
    return Limits(limits.max_amount, limits.first_day, limits.last_day or today)


@handled
def main(
    source: SourceFile,
    input_: InputPath = None,
    lake: LakeDir = None,
    check_only: Annotated[
        bool,
        typer.Option("--check", help="Read a sample and say what would happen; write nothing."),
    ] = False,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Read a log into the tables transactions and quarantine."""
    loaded = load_source(source)
    job = open_job(env, set_, lake)
    if check_only:
        check(job, loaded, input_)
        return
    with step(f"Ingest {input_ or loaded.name}"):
        result = ingest(job, loaded, input_)
    show_ingested(job, result)
    console.print(f"Next: [bold]repurchase build-features --lake {job.lake.location}[/bold]")


if __name__ == "__main__":
    typer.run(main)
