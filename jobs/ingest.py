"""`repurchase ingest`: a log into `transactions` and `quarantine`."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.source import Source, load_source
from jobs.console import console, handled, say, show, step
from jobs.options import Env, InputPath, Job, LakeDir, Set, SourceFile, open_job
from lake.contracts import QUARANTINE, TRANSACTIONS
from lake.ingestion import Limits, business_session, mapped, read_log

SAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class Ingested:
    """How many rows came, were kept and were refused."""

    rows: int
    kept: int
    refused: int


def ingest(job: Job, source: Source, path: str | None) -> Ingested:
    """Write the whole log into `transactions` and `quarantine`, in the place of what was there.

    Raises InputError when more than `ingest.max_refused_share` is refused; `quarantine` then
    shows why and `transactions` stays as it was.
    """
    with business_session(job.spark, source.time_zone):
        rows = read_log(job.spark, source, path)
        seen = Observation("ingest")
        is_refused = F.size("reasons") > 0
        # Observed rows are also a fence: the filters below are not evaluated line by line twice.
        lines = mapped(rows, source, _limits(job)).observe(
            seen, F.count(F.lit(1)).alias("rows"), F.count_if(is_refused).alias("refused")
        )
        job.lake.replace(QUARANTINE, lines.where(is_refused))
        total, refused = int(seen.get["rows"] or 0), int(seen.get["refused"] or 0)
        _check_share(job, source, path, total, refused)
        again = mapped(rows, source, _limits(job)).observe(
            Observation("kept"), F.count(F.lit(1)).alias("rows")
        )
        job.lake.replace(TRANSACTIONS, again.where(~is_refused))
    job.lake.set_properties(
        "transactions",
        {
            "source": source.name,
            "time_zone": source.time_zone,
            "currency": source.currency,
            "country": source.country or "",
        },
    )
    kept = job.lake.read("transactions").count()
    quarantined = job.lake.read("quarantine").count()
    if kept + quarantined != total:
        raise InputError(
            f"{path}: {total:,} rows came, but {kept:,} were kept and {quarantined:,} refused: "
            "did the log change while it was read? Run again"
        )
    return Ingested(total, kept, quarantined)


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


def _check_share(job: Job, source: Source, path: str | None, total: int, refused: int) -> None:
    if total == 0:
        raise InputError(f"{path}: no rows after the header")
    share = refused / total
    if share > job.settings.ingest.max_refused_share or refused == total:
        _show_reasons(job.lake.read("quarantine"), "Quarantined, by reason")
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
