"""`repurchase`: every command."""

import typer

from jobs import build_features, generate, ingest, run, score, train

app = typer.Typer(
    name="repurchase",
    help="From a transaction log to 30-day repeat-purchase scores, on Spark and Delta.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.main)
app.command("generate")(generate.main)
app.command("ingest")(ingest.main)
app.command("build-features")(build_features.main)
app.command("train")(train.main)
app.command("score")(score.main)


if __name__ == "__main__":
    app()
