"""Whether a request came by one of the names of this machine."""

import ipaddress
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_local(host: str | None) -> bool:
    """As its Host header says: a page of a site whose name leads here has that name in it."""
    return urlsplit(f"//{host or ''}").hostname in LOOPBACK
