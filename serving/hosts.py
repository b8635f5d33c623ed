"""Whether a request came by one of the names of this machine."""

from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_local(host: str | None) -> bool:
    """As its Host header says: a page of a site whose name leads here has that name in it."""
    return urlsplit(f"//{host or ''}").hostname in LOOPBACK
