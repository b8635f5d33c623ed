"""`repurchase`: every command."""

from importlib import metadata
from typing import Annotated

import typer

from jobs import (
    audit,
    backtest,
    build_features,
    dashboard,
    explain,
    generate,
    ingest,
    list_features,
    list_models,
    maintain,
    report,
    rollback,
    run,
    score,
    serve,
    train,
    views,
)

app = typer.Typer(
    name="repurchase",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(metadata.version("repurchase"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which release.")
    ] = False,
) -> None:
    """From a transaction log to 30-day repeat-purchase scores, on Spark and Delta."""


app.command("run")(run.main)
app.command("generate")(generate.main)
app.command("ingest")(ingest.main)
app.command("build-features")(build_features.main)
app.command("train")(train.main)
app.command("backtest")(backtest.main)
app.command("score")(score.main)
app.command("serve")(serve.main)
app.command("dashboard")(dashboard.main)
app.command("report")(report.main)
app.command("rollback")(rollback.main)
app.command("audit")(audit.main)
app.command("explain")(explain.main)
app.command("maintain")(maintain.main)
app.command("views")(views.main)
features = typer.Typer(help="The catalogue of features.", no_args_is_help=True)
features.command("list")(list_features.main)
features.callback()(lambda: None)
app.add_typer(features, name="features")
models = typer.Typer(help="The trained models.", no_args_is_help=True)
models.command("list")(list_models.main)
models.callback()(lambda: None)
app.add_typer(models, name="models")


if __name__ == "__main__":
    app()
