"""`repurchase dashboard`: the tables as pages in the browser, without Spark."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from conf.errors import ConfigurationError, InputError
from jobs.console import address, console, handled
from jobs.listening import LOCAL, listen
from jobs.options import LakeDir
from lake.store import located
from serving.hosts import is_loopback

NEEDED = ("streamlit", "altair", "duckdb", "onnxruntime")
# Nothing is sent anywhere, and pages are not drawn anew because a file has changed.
QUIET = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.primaryColor": "#0072b2",
}


def command(app: Path, host: str, port: int, arguments: list[str]) -> list[str]:
    """What starts Streamlit on the app, with the app's own arguments."""
    known = {**QUIET, "server.address": host, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in known.items()]
    return [sys.executable, "-m", "streamlit", "run", str(app), *flags, "--", *arguments]


@handled
def main(
    lake: LakeDir = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = LOCAL,
    api: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The API of `repurchase serve`, for its response times; with REPURCHASE_API_KEY "
            "where it asks for keys.",
        ),
    ] = None,
) -> None:
    """Show scores, customers, the model and its data in the browser."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} not installed: pip install 'repurchase[dashboard]'")
    from serving.dashboard import options  # noqa: PLC0415 - of an extra
    from serving.tables import Tables  # noqa: PLC0415

    location = located(lake or "lakehouse")
    if not Tables(location).exists("current_scores"):
        raise InputError(f"no table current_scores in {location}: `repurchase run` makes it")
    if api is not None and urlsplit(api).scheme not in ("http", "https"):
        raise ConfigurationError(f"--api {api}: give an address such as http://127.0.0.1:8000")
    listen(host, port).close()
    where = escape(address(host, port))
    console.print(f"Showing [bold]{escape(location)}[/bold] on {where}", soft_wrap=True)
    if not is_loopback(host):
        console.print(
            "Whoever reaches it sees every customer, for it asks for no key: put a login before it."
        )
    sys.stdout.flush()
    arguments = options.Options(location, api, host).arguments
    started = command(Path(options.__file__).with_name("app.py"), host, port, arguments)
    # In the place of this process: Ctrl-C and signals are Streamlit's.
    os.execv(started[0], started)


if __name__ == "__main__":
    typer.run(main)
