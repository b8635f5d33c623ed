"""`repurchase serve`: scores and predictions over HTTP, without Spark."""

import logging
import os
from typing import Annotated

import structlog
import typer
from rich.markup import escape

from conf.errors import ConfigurationError, InputError
from conf.settings import Horizon
from jobs.console import address, console, handled
from jobs.listening import LOCAL, listen
from jobs.options import LakeDir
from lake.store import located
from serving.hosts import is_loopback


@handled
def main(
    lake: LakeDir = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    rate: Annotated[str, typer.Option(help="Requests of one caller: 5000/second.")] = "5000/second",
    max_batch: Annotated[int, typer.Option(min=1, help="Rows of a batch.")] = 10_000,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Size of a request.")] = 32,
    refresh: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks for a new champion.")
    ] = 5.0,
    horizon_days: Annotated[
        int | None,
        typer.Option(
            min=1, help="Serve the champion of this horizon.", show_default="the last one"
        ),
    ] = None,
    horizon_hours: Annotated[
        int | None, typer.Option(min=1, help="Instead of days, where it is in hours.")
    ] = None,
) -> None:
    """Serve scores and predictions: docs under /docs, keys in REPURCHASE_API_KEYS."""
    try:
        import uvicorn  # noqa: PLC0415 - an extra

        from serving.api.app import Limits, make_app  # noqa: PLC0415
        from serving.api.keys import VARIABLE, Gate, keys_of  # noqa: PLC0415
        from serving.tables import Tables  # noqa: PLC0415
    except ImportError as problem:
        raise InputError(f"{problem}; pip install 'repurchase[serve]'") from None
    tables = Tables(located(lake or "lakehouse"))
    if not tables.exists("models"):
        raise InputError(f"no table models in {tables.location}: `repurchase run` makes it")
    keys = keys_of(os.environ.get(VARIABLE, ""))
    if not keys and not is_loopback(host):
        raise ConfigurationError(
            f"--host {host}: without API keys only {LOCAL} may be served; set {VARIABLE} to "
            "owner:key:read+predict+metrics"
        )
    _log_as_json()
    if horizon_days is not None and horizon_hours is not None:
        raise ConfigurationError("--horizon-days and --horizon-hours: give one of them")
    limits = Limits(max_body_mb * 2**20, max_batch)
    horizon = Horizon.asked(horizon_days, horizon_hours)
    app = make_app(tables, Gate(keys, rate, own_machine=not keys), limits, refresh, horizon)
    listening = listen(host, port)
    where = escape(address(host, listening.getsockname()[1]))
    console.print(
        f"Serving [bold]{escape(tables.location)}[/bold] on {where} (docs: /docs)", soft_wrap=True
    )
    uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who calls is who calls, whatever a header says
            timeout_graceful_shutdown=10,
        )
    ).run(sockets=[listening])


def _log_as_json() -> None:
    logging.basicConfig(level=logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


if __name__ == "__main__":
    typer.run(main)
