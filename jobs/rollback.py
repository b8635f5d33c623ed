"""`repurchase rollback`: the champion before, again."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.console import handled, say, step
from jobs.list_models import show_models
from jobs.options import Env, LakeDir, Set, open_job, show_next
from jobs.tracking import track_rollback
from models.registry import roll_back


@handled
def main(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="A published one.",
            show_default="the one before the last",
        ),
    ] = None,
    lake: LakeDir = None,
    env: Env = "local",
    set_: Set = None,
) -> None:
    """Withdraw the last champion, or every one after a version; what was scored stays."""
    job = open_job(env, set_, lake)
    with step("Roll back"):
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        reason = f"rolled back at {when}"
        withdrawn, now = roll_back(job.lake, job.settings.snapshots.horizon, to, reason)
        say(f"withdrawn: {', '.join(withdrawn) or 'none'}; the champion is {now}")
        track_rollback(job, now)
    show_models(job)
    show_next("score", job, env, set_)


if __name__ == "__main__":
    typer.run(main)
