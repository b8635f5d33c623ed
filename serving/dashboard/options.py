"""What the dashboard is started with, as `repurchase dashboard` hands it on."""

import sys
from argparse import ArgumentParser
from dataclasses import dataclass

from serving.hosts import LOOPBACK


@dataclass(frozen=True)
class Options:
    """The folder of the tables, the address of the API, and where the dashboard listens."""

    lake: str
    api: str | None = None
    host: str = LOOPBACK[0]

    @property
    def arguments(self) -> list[str]:
        """The same, for a command line."""
        api = [] if self.api is None else ["--api", self.api]
        return ["--lake", self.lake, "--host", self.host, *api]

    @property
    def private(self) -> bool:
        """Whether only this machine can reach the dashboard."""
        return self.host in LOOPBACK


def options(arguments: list[str] | None = None) -> Options:
    """Read back from a command line, by default that of this process."""
    parser = ArgumentParser()
    parser.add_argument("--lake", default="lakehouse")
    parser.add_argument("--api")
    parser.add_argument("--host", default=LOOPBACK[0])
    known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    return Options(known.lake, known.api, known.host)
