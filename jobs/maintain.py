"""`repurchase maintain`: fewer, larger files, and none that no version needs any more."""

from typing import Annotated

import typer

from conf.errors import InputError
from jobs.console import handled, mebibytes, show, step
from jobs.options import Env, Job, LakeDir, Set, open_job
from lake.store import TABLES

HOURS_OF_DAY = 24


def maintain(job: Job, keep_days: int) -> list[tuple[str, int, int, str]]:
    """Compact every table and remove the files that only versions older than `keep_days` need.

    Gives for each table its name, its files before and after, and its size. Raises InputError
    where there is no table.
    """
    rows = []
    for table in TABLES:
        if not job.lake.exists(table):
            continue
        before, _ = job.lake.size(table)
        job.lake.compact(table)
        job.lake.vacuum(table, keep_days * HOURS_OF_DAY)
        after, size = job.lake.size(table)
        rows.append((table, before, after, mebibytes(size)))
    if not rows:
        raise InputError(f"no tables in {job.lake.location}: --lake says where they are")
    return rows


@handled
def main(
    lake: LakeDir = None,
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=7, help="Days of versions that stay readable.")
    ] = 7,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Compact the tables, and remove what only old versions need.

    Small files are also merged while tables are written; run this weekly.
    """
    job = open_job(env, set_, lake)
    with step(f"Maintain {job.lake.location}"):
        rows = maintain(job, keep_days)
    show("Tables", ["table", "files before", "files after", "size"], rows)


if __name__ == "__main__":
    typer.run(main)
