"""`repurchase views`: SQL views over the tables, for people with an SQL client."""

from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql.types import StructType

from conf.errors import InputError
from jobs.console import console, handled, say, show, step
from jobs.options import Env, Job, LakeDir, Set, check_output, open_job
from lake.contracts import CURRENT_SCORES, LABELS, LIFETIME_VALUE, SCORES
from serving.sql_views import View, pasteable, tables_of, views

# What writes the columns that the tables of an earlier release lack.
COMPLETED_BY = {
    SCORES: "score",
    CURRENT_SCORES: "score",
    LIFETIME_VALUE: "score",
    LABELS: "build-features",
}


def register(job: Job) -> list[View]:
    """Create the views in the catalog's schema; on a lake in a folder, temporary ones in the
    session.

    Raises InputError where a table is missing, or is of an earlier release.
    """
    every = views()
    _check(job, tables_of(every))
    kind = "VIEW" if job.settings.lake.catalog_schema else "TEMPORARY VIEW"
    for statement in _statements(job, kind):
        job.spark.sql(statement)
    return list(every.values())


def script(job: Job) -> str:
    """The statements that create the views, for any Spark SQL client: in the catalog's schema, or
    over the paths of the tables of a lake in a folder.
    """
    return "\n\n".join(f"{statement};" for statement in _statements(job, "VIEW")) + "\n"


def _statements(job: Job, kind: str) -> list[str]:
    every, name = views(), job.lake.name
    if job.settings.lake.catalog_schema:
        return [view.statement(name, name(view.name), kind) for view in every.values()]
    named = pasteable(every, name)
    return [view.statement(named, view.name, kind) for view in every.values()]


def _check(job: Job, tables: tuple[str, ...]) -> None:
    there = {name: job.lake.read(name).schema for name in tables}
    for table, command in COMPLETED_BY.items():
        _check_columns(job, table.name, [c.name for c in table.columns], there[table.name], command)


def _check_columns(
    job: Job, table: str, wanted: list[str], there: StructType, command: str
) -> None:
    missing = [name for name in wanted if name not in there.names]
    if missing:
        raise InputError(
            f"the table {table} in {job.lake.location} is of an earlier release and has no column "
            f"{missing[0]}: `repurchase {command}` adds it"
        )


def show_views(job: Job, made: list[View]) -> None:
    """Each view, how many rows it has, and what a row is."""
    there = job.lake.name if job.settings.lake.catalog_schema else str
    rows = [[v.name, job.spark.table(there(v.name)).count(), v.description] for v in made]
    show(f"Views of {job.lake.location}", ["view", "rows", "what it holds"], rows)


@handled
def main(
    output: Annotated[
        Path | None,
        typer.Option(help="A file for the statements.", show_default="printed"),
    ] = None,
    lake: LakeDir = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Create the SQL views in lake.catalog_schema; of a folder, which keeps none, print them.

    The statements printed are for pasting into Spark SQL, or for a Thrift server.
    """
    if output is not None:
        check_output(output)
    job = open_job(env, set_, lake)
    with step(f"Views of {job.lake.location}"):
        made = register(job)
    show_views(job, made)
    if output is not None:
        output.write_text(script(job), encoding="utf-8")
    if job.settings.lake.catalog_schema:
        return
    if output is None:
        console.print(script(job), markup=False, soft_wrap=True)
    say(
        "a folder keeps no views: paste the statements above into Spark SQL, or set "
        "lake.catalog_schema where the tables are in a catalog"
        if output is None
        else f"a folder keeps no views: run the statements in {output} in Spark SQL, such as "
        "`beeline -f`, or set lake.catalog_schema where the tables are in a catalog"
    )


if __name__ == "__main__":
    typer.run(main)
