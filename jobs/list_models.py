"""`repurchase models list`: what was trained, and which of it scores."""

import typer

from jobs.console import handled, show
from jobs.options import Env, Job, LakeDir, Set, open_job
from models.registry import last_first


def show_models(job: Job) -> None:
    """Each trained model, the last first; the champion has a star."""
    horizon = job.settings.snapshots.horizon
    models = job.lake.read("models").where(horizon.where).orderBy(*last_first())
    rows = models.collect()
    champion = next((row["model_version"] for row in rows if row["published"]), None)
    show(
        f"Models for {horizon}",
        ["", "version", "model", "trained for", "published", "why"],
        [
            [
                "*" if row["model_version"] == champion else "",
                *(row["model_version"], row["model_name"], str(row["trained_for"])),
                *("yes" if row["published"] else "no", row["decision"]),
            ]
            for row in rows
        ],
    )


@handled
def main(lake: LakeDir = None, env: Env = "local", set_: Set = None) -> None:
    """What was trained, whether it was published, and why."""
    show_models(open_job(env, set_, lake))


if __name__ == "__main__":
    typer.run(main)
