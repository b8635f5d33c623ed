"""`repurchase ingest`: a log into `transactions` and `quarantine`; events and customers too."""

from dataclasses import dataclass
from typing import Annotated

import typer
from pyspark import StorageLevel
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from conf.errors import InputError, TryAgainError
from conf.source import Source, load_source
from jobs.console import handled, say, show, step
from jobs.inputs import Files, Input, files_of, inputs, limits_of, quarantined, remember
from jobs.options import (
    CustomersPath,
    Env,
    EventsPath,
    InputPath,
    Job,
    LakeDir,
    Set,
    SourceFile,
    open_job,
    show_next,
)
from lake.contracts import INGESTED_FILES, QUARANTINE, TRANSACTIONS, Table
from lake.ingestion import business_session, mapped, read_log
from lake.store import among

SAMPLE_ROWS = 10_000
# Files without a row that are named.
NAMED = 5
# Of a refused row, so many characters are shown.
EXAMPLE = 120
# What is said of the rows that a table has.
SUMMARIES = {
    "transactions": """
        select kind, count(1) as lines, count(distinct customer_id) as customers,
            count(distinct customer_id, ordered_on, order_id) as orders,
            min(ordered_on) as `first day`, max(ordered_on) as `last day`, sum(amount) as amount
        from {kept} group by kind order by lines desc""",
    "events": """
        select kind, count(1) as events, count(distinct customer_id) as customers,
            count(distinct session_id) as sessions,
            min(happened_on) as `first day`, max(happened_on) as `last day`
        from {kept} group by kind order by events desc, kind limit 20""",
    "customers": """
        select count(1) as rows, count(distinct customer_id) as customers,
            count(birth_year) as `with age`, count(gender) as `with gender`,
            count(location) as `with location`, count(signed_up_on) as `with sign-up`,
            min(valid_from_day) as `first day`, max(valid_from_day) as `last day`
        from {kept}""",
}


@dataclass(frozen=True)
class Ingested:
    """How many rows the input has, and how many of them are kept and refused."""

    rows: int
    kept: int
    refused: int


def ingest(job: Job, source: Source, path: str | None, table: Table = TRANSACTIONS) -> Ingested:
    """Bring the table, `transactions` by default, and its rows in `quarantine` to what its input
    is now.

    Of files, only those are read that are new or changed since the last time; the lines of files
    that are gone go too, unless `ingest.gone_files` is `keep`. Any other input is read whole.
    Raises InputError when more than `ingest.max_refused_share` is refused; `quarantine` then
    shows why and the table stays as it was.
    """
    given = Input(source, path, table)
    for shared in (QUARANTINE, INGESTED_FILES):
        job.lake.complete(shared)
    with business_session(job.spark, source.time_zone):
        came: dict[str, list[int]] = {}
        # First: a file that comes or grows meanwhile then counts as new the next time.
        files = files_of(job, given)
        _check_same_log(job, given, files)
        rows = read_log(job.spark, source, path, table)
        if files is not None and files.known:
            _say_what_is_new(files)
        if files is None or files.whole:
            remember(job, given, files.unfinished if files else [])
            came = _take(job, given, rows, None, are_files=files is not None)
        elif files.anything:
            remember(job, given, files.unfinished)
            fresh = rows.where(F.col("_file").isin(sorted(files.fresh)))
            came = _take(job, given, fresh, among("file", files.fresh | files.gone), are_files=True)
        if files is not None and files.anything:
            remember(job, given, list(files.now.values()))
            _say_what_came(files, came)
    job.lake.set_properties(
        table.name,
        {
            "source": source.name,
            "time_zone": source.time_zone,
            "day_starts_at": source.day_starts_at,
            "currency": source.currency,
            "country": source.country or "",
        },
    )
    kept, refused = job.lake.read(table.name).count(), quarantined(job, given).count()
    return Ingested(kept + refused, kept, refused)


def _check_same_log(job: Job, given: Input, files: Files | None) -> None:
    """Raises InputError where the table has another source's rows, of which none would stay."""
    if not job.lake.exists(given.table.name):
        return
    there = job.lake.properties(given.table.name).get("source", given.source.name)
    stays = files is not None and bool(files.known.keys() & files.now.keys())
    if there != given.source.name and not stays:
        raise InputError(
            f"{given}: {job.lake.location} holds the {given.table.name} of the source {there}, "
            f"which would go for those of {given.source.name}, while its scores and models would "
            f"stay. Choose another --lake; or, if it is the same log, call the source {there}"
        )


def _take(
    job: Job, given: Input, rows: DataFrame, where: str | None, *, are_files: bool
) -> dict[str, list[int]]:
    """Write the rows in the place of those that are there; gives for each file how many of them
    are kept and refused.
    """
    every = mapped(rows, given.source, limits_of(job, given), given.table)
    if are_files:
        return _write(job, given, every, where)
    # A database goes on while it is read: a second reading would find other rows.
    every.persist(StorageLevel.DISK_ONLY)
    try:
        return _write(job, given, every, where)
    finally:
        every.unpersist()


def _write(job: Job, given: Input, every: DataFrame, where: str | None) -> dict[str, list[int]]:
    seen = Observation("ingest")
    is_refused = F.size("reasons") > 0
    # Observed rows are also a fence: the filters below are not evaluated line by line twice.
    lines = every.observe(
        seen, F.count(F.lit(1)).alias("rows"), F.count_if(is_refused).alias("refused")
    )
    own = given.own if where is None else f"{given.own} AND {where}"
    job.lake.replace(QUARANTINE, lines.where(is_refused), own)
    total, refused = int(seen.get["rows"] or 0), int(seen.get["refused"] or 0)
    _check_share(job, given, total, refused, where)
    again = every.observe(Observation("kept"), F.count(F.lit(1)).alias("rows"))
    job.lake.replace(given.table, again.where(~is_refused), where)
    came: dict[str, list[int]] = {}
    for place, there in enumerate((job.lake.read(given.table.name), quarantined(job, given))):
        for file, count in there.where(where or "true").groupBy("file").count().collect():
            came.setdefault(file, [0, 0])[place] = count
    kept, left_out = _sums(came)
    if kept + left_out != total:
        raise TryAgainError(
            f"{given}: {total:,} rows came, but {kept:,} were kept and {left_out:,} "
            "refused: did the log change while it was read? Run again"
        )
    return came


def _sums(came: dict[str, list[int]]) -> tuple[int, int]:
    return sum(kept for kept, _ in came.values()), sum(refused for _, refused in came.values())


def _say_what_is_new(files: Files) -> None:
    changed = len(files.fresh - files.early)
    say(
        f"files: {changed:,} new or changed, {len(files.gone):,} gone, "
        f"{len(files.now) - changed:,} there already"
    )
    if files.early:
        say(f"{len(files.early):,} of these read again: the day of some lines has come")
    if files.gone:
        say("the lines of files that are gone go too (ingest.gone_files: keep lets them stay)")


def _say_what_came(files: Files, came: dict[str, list[int]]) -> None:
    """How many rows are of the files that were read now, where others are there already, and which
    of the files have none.
    """
    kept, refused = _sums(came)
    if files.fresh and not files.whole:
        say(f"{kept + refused:,} rows of these = {kept:,} kept + {refused:,} quarantined")
    if empty := sorted(files.fresh - came.keys()):
        named = ", ".join(file.rpartition("/")[2] for file in empty[:NAMED])
        more = f" and {len(empty) - NAMED:,} more files" if empty[NAMED:] else ""
        say(f"no row in {named}{more}")


def show_ingested(job: Job, given: Input, result: Ingested) -> None:
    """The account of rows, the refusals by reason, and what was kept."""
    say(f"{result.rows:,} rows in all = {result.kept:,} kept + {result.refused:,} quarantined")
    if result.refused:
        _show_reasons(quarantined(job, given), "Quarantined in all, by reason")
    table = given.table
    summary = job.spark.sql(SUMMARIES[table.name], kept=job.lake.read(table.name))
    header, cells = summary.columns, [list(row) for row in summary.collect()]
    if table is TRANSACTIONS:
        header[-1] = f"amount, {job.lake.properties('transactions').get('currency')}"
        cells = [[*row[:-1], f"{row[-1]:,}"] for row in cells]
    show(table.name.capitalize(), header, cells)


def check(job: Job, given: Input) -> None:
    """Say what the first rows of the input would become, without writing: of files, those that
    are not in the lake yet.
    """
    source, table = given.source, given.table
    with business_session(job.spark, source.time_zone):
        files = files_of(job, given)
        _check_same_log(job, given, files)
        rows = read_log(job.spark, source, given.path, table)
        if files is not None and files.known:
            _say_what_is_new(files)
            if not files.fresh:
                return
            rows = rows.where(F.col("_file").isin(sorted(files.fresh)))
        lines = mapped(rows.limit(SAMPLE_ROWS), source, limits_of(job, given), table).persist()
        refused = lines.where(F.size("reasons") > 0)
        total, bad = lines.count(), refused.count()
        if total == 0:
            raise _empty(given)
        say(f"of the first {total:,} rows, {total - bad:,} would be kept and {bad:,} refused")
        if bad:
            _show_reasons(refused, "Would be refused, by reason")
        columns = [c.name for c in table.columns]
        as_text = [F.col(name).cast("string") for name in columns]
        sample = table.select(lines.where(F.size("reasons") == 0)).select(as_text)
        rows_kept = sample.limit(3).collect()
        show(
            f"Would be kept in {table.name}, for instance",
            ["column", *[f"row {n}" for n, _ in enumerate(rows_kept, 1)]],
            [[name, *[row[name] or "" for row in rows_kept]] for name in columns],
        )
        lines.unpersist()


def _empty(given: Input) -> InputError:
    is_csv = given.source.mapping(given.table.name).reader.format == "csv"
    return InputError(f"{given}: no rows{' after the header' if is_csv else ''}")


def _check_share(job: Job, given: Input, total: int, refused: int, where: str | None) -> None:
    """Raises InputError where too many rows of the input are refused, those included that are there
    already and stay.
    """
    most = job.settings.ingest.max_refused_share
    if total == 0 and where is not None:
        return
    if total == 0:
        raise _empty(given)
    if refused > most * total and where is not None:
        others = f"NOT ({where})"
        stay = quarantined(job, given).where(others).count()
        total += stay + job.lake.read(given.table.name).where(others).count()
        refused += stay
    share = refused / total
    if share > most or (refused == total and where is None):
        _show_reasons(
            quarantined(job, given).where(where or "true"),
            "Quarantined, by reason",
        )
        raise InputError(
            f"{given}: {refused:,} of {total:,} rows ({share:.0%}) break the contract, more "
            f"than ingest.max_refused_share = {most:g} allows; "
            f"the table quarantine in {job.lake.location} holds them, {given.table.name} is as it "
            f"was. Is the source {given.source.name} the right one for this log?"
        )


def _show_reasons(refused: DataFrame, title: str) -> None:
    counted = (
        # For instance one with as few other reasons as any.
        refused.select(
            F.explode("reasons").alias("reason"),
            F.struct(F.size("reasons"), "source_row").alias("row"),
        )
        .groupBy("reason")
        .agg(F.count(F.lit(1)).alias("rows"), F.min("row").getField("source_row").alias("example"))
        .orderBy(F.desc("rows"), "reason")
    )
    show(
        f"{title}; a row may have several",
        ["reason", "rows", "for instance"],
        [[r[0], r[1], r[2][:EXAMPLE]] for r in counted.collect()],
    )


@handled
def main(
    source: SourceFile,
    input_: InputPath = None,
    events: EventsPath = None,
    customers: CustomersPath = None,
    lake: LakeDir = None,
    check_only: Annotated[
        bool,
        typer.Option("--check", help="Read a sample and say what would happen; write nothing."),
    ] = False,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Read a log into the tables transactions and quarantine; events and customers into theirs."""
    loaded = load_source(source)
    given = inputs(loaded, input_, events, customers)
    job = open_job(env, set_, lake)
    for rows in given:
        if check_only:
            with step(f"Check {rows}"):
                check(job, rows)
        else:
            with step(f"Ingest {rows}"):
                result = ingest(job, loaded, rows.path, rows.table)
            show_ingested(job, rows, result)
    if check_only:
        return
    show_next("build-features", job, env, set_)


if __name__ == "__main__":
    typer.run(main)
