"""What is to be ingested: a source's inputs, and which of their files have been taken already."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from conf.errors import InputError
from conf.source import Mapping, Source
from features.calendar import Clock
from jobs.options import Job
from lake.contracts import CUSTOMERS, EVENTS, INGESTED_FILES, TRANSACTIONS, Table
from lake.ingestion import log_files
from lake.rules import Limits
from lake.store import located

# In the place of the hash of a file while its lines are on their way.
INTERRUPTED = ""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Input:
    """The rows for one table: their source, and where they are (None where the reader knows)."""

    source: Source
    path: str | None
    table: Table = TRANSACTIONS

    @property
    def own(self) -> str:
        """The predicate of the table's rows in `quarantine` and `ingested_files`."""
        return meant_for(self.table)

    def __str__(self) -> str:
        """What progress calls it."""
        where = self.path or self.source.name
        return where if self.table is TRANSACTIONS else f"{self.table.name} of {where}"


@dataclass(frozen=True)
class Files:
    """The files of an input: what they are now, and what of them is still to be done.

    `fresh` are new, changed, or read otherwise than the source file asks now; of them, `early` are
    as they were, but have lines whose day had not come when they were read. `gone` were taken and
    are no longer there. `whole`: nothing of the tables can stay.
    """

    known: dict[str, Row]
    now: dict[str, Row]
    fresh: set[str]
    early: set[str]
    gone: set[str]
    whole: bool

    @property
    def anything(self) -> bool:
        """Whether there is something to be done."""
        return self.whole or bool(self.fresh or self.gone)

    @property
    def unfinished(self) -> list[Row]:
        """What is known while the work lasts: whatever is touched counts as not taken."""
        touched = {*self.known, *self.now} if self.whole else self.fresh | self.gone
        return [
            Row(**{**row.asDict(), "mapping": INTERRUPTED}) if file in touched else row
            for file, row in {**self.known, **self.now}.items()
        ]


def meant_for(table: Table) -> str:
    """The predicate of a table's rows in `quarantine` and `ingested_files`, which had no column
    `table_name` when there was but one.
    """
    named = f"table_name = '{table.name}'"
    return f"({named} OR table_name IS NULL)" if table is TRANSACTIONS else named


def inputs(
    source: Source, path: str | None, events: str | None = None, customers: str | None = None
) -> list[Input]:
    """What is to be ingested: the log, and events and customers where the source maps them and
    they can be found, customers that are `in_log` in the log. Without a path of its own the log is
    left out if another has one.

    Raises ConfigurationError for the path of a section that the source does not have.
    """
    more = []
    if customers is None and source.customers is not None and source.customers.in_log:
        customers = path
    for table, found in ((EVENTS, events), (CUSTOMERS, customers)):
        section = getattr(source, table.name)
        mapping = None if section is None and found is None else source.mapping(table.name)
        if mapping is not None and (found is not None or not mapping.needs_path):
            more.append(Input(source, found, table))
    log = [] if path is None and source.needs_path and more else [Input(source, path)]
    return [*log, *more]


def files_of(job: Job, given: Input) -> Files | None:
    """What the files of the input are and were; None for what is read whole each time."""
    mapping = given.source.mapping(given.table.name)
    listing = log_files(job.spark, mapping, given.path)
    if listing is None:
        return None
    _check_apart(job, str(given.path), mapping)
    limits = job.settings.ingest
    own_part = mapping.model_dump_json(exclude={"events", "customers"})
    # What changes no line is left out.
    limited = limits.model_dump_json(exclude={"gone_files", "max_refused_share"})
    clock = f"{given.source.time_zone} {given.source.day_starts_at}"
    read_with = f"{own_part} {clock} {limited}"
    mapping_hash = hashlib.sha256(read_with.encode()).hexdigest()[:16]
    columns = ("file", "bytes", F.unix_micros("modified_at").alias("modified"), "mapping")
    listed = listing.withColumn("mapping", F.lit(mapping_hash)).select(*columns).collect()
    now = {row["file"]: row for row in listed}
    known: dict[str, Row] = {}
    if job.lake.exists("ingested_files") and job.lake.exists(given.table.name):
        taken = job.lake.read("ingested_files").where(given.own).select(*columns).collect()
        known = {row["file"]: row for row in taken}
    # What was refused is known of no file where somebody has taken quarantine away.
    has_refused = job.lake.exists("quarantine")
    changed = {file for file, row in now.items() if known.get(file) != row or not has_refused}
    early = _too_early(job, given) & (set(now) - changed) if known and has_refused else set()
    fresh = changed | early
    gone = set(known) - set(now)
    # To know which of the same two lines repeats the other takes all of them.
    compares = mapping.exact_duplicates == "refuse"
    if limits.gone_files == "keep":
        if compares and fresh and gone:
            raise InputError(
                f"{given.path}: {len(gone):,} of the files that were taken are gone, for instance "
                f"{min(gone)}; exact_duplicates: refuse in the source {given.source.name} compares "
                "the lines of all files, which ingest.gone_files: keep then cannot do. Bring the "
                "files back, or give up one of the two"
            )
        if gone:
            _check_whole(given, known, gone)
            _check_alike(job, given, gone)
        now, gone = {**known, **now}, set()
    touched = fresh | gone
    is_whole = (compares and bool(touched)) or set(known) <= touched
    return Files(known, now, fresh, early, gone, is_whole)


def _check_whole(given: Input, known: dict[str, Row], gone: set[str]) -> None:
    """Raises InputError where a file is gone of which nobody knows how many lines have come in."""
    if half := sorted(file for file in gone if known[file]["mapping"] == INTERRUPTED):
        raise InputError(
            f"{given}: an ingest was interrupted while it took {half[0]}, and the file is gone "
            "since: bring it back, so that it is read again"
            + (f" (and {len(half) - 1:,} more)" if half[1:] else "")
        )


def _check_alike(job: Job, given: Input, gone: set[str]) -> None:
    """Raises InputError where the lines of files that are gone, and stay, are of another clock or
    currency than the source has now.
    """
    there, source = job.lake.properties(given.table.name), given.source
    for key in ("time_zone", "day_starts_at", "currency"):
        wanted = getattr(source, key)
        if there.get(key, wanted) != wanted:
            raise InputError(
                f"{given}: {key} is {wanted} in the source {source.name}, but {there[key]} in the "
                f"lines of {len(gone):,} files that are gone, for instance {min(gone)}, which "
                "ingest.gone_files: keep lets stay. Bring the files back, so that they are read "
                "again, or choose another --lake"
            )


def _check_apart(job: Job, path: str, mapping: Mapping) -> None:
    """Raises InputError where the lake is in the folder that is read."""
    options = {name.lower(): str(value).lower() for name, value in mapping.reader.options.items()}
    if "pathglobfilter" in options or options.get("recursivefilelookup") == "false":
        return
    read, lake = str(PurePosixPath(located(path))), PurePosixPath(job.lake.location)
    inside = [above for above in (lake, *lake.parents) if _is_read(str(above), read)]
    if inside and not all(_is_hidden(lake.relative_to(above)) for above in inside):
        raise InputError(
            f"{path}: the lake {lake} is inside: its files would be read as lines; choose "
            "another --lake, or name the files with the reader's option pathGlobFilter"
        )


def _is_read(folder: str, path: str) -> bool:
    """Whether the path is of the folder, or a pattern that finds it."""
    return folder == path or fnmatchcase(folder, path)


def _is_hidden(path: PurePosixPath) -> bool:
    """Whether Spark passes over it."""
    return any(part.startswith(("_", ".")) for part in path.parts)


def _too_early(job: Job, given: Input) -> set[str]:
    """The files with a line that was refused for its date, and is not any more."""
    is_due = F.col("due_on") <= F.lit(limits_of(job, given).last_day)
    rows = quarantined(job, given).where(is_due).select("file").distinct().collect()
    return {row["file"] for row in rows}


def limits_of(job: Job, given: Input) -> Limits:
    """What lines must fulfil today, by the clock of the source."""
    limits, source = job.settings.ingest, given.source
    last_day = limits.last_day or Clock(source.time_zone, source.day_starts_at).today()
    return Limits(limits.max_amount, limits.max_quantity, limits.first_day, last_day)


def remember(job: Job, given: Input, files: list[Row]) -> None:
    """Write down which files of the input are in its table or in quarantine."""
    entries = [
        (given.table.name, file, size, EPOCH + timedelta(microseconds=modified), mapping)
        for file, size, modified, mapping in files
    ]
    job.lake.put(INGESTED_FILES, entries, given.own)


def quarantined(job: Job, given: Input) -> DataFrame:
    """What was refused of the input's rows."""
    return job.lake.read("quarantine").where(given.own)
