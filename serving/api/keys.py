"""Who may call: API keys with scopes, and how often."""

import hmac
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from conf.errors import ConfigurationError
from serving.api.problems import ApiError
from serving.hosts import LOOPBACK, is_local

VARIABLE = "REPURCHASE_API_KEYS"
HEADER = "X-API-Key"
READ, PREDICT, METRICS = "read", "predict", "metrics"
SCOPES = (READ, PREDICT, METRICS)
SHORTEST = 16


@dataclass(frozen=True)
class Key:
    """A key, whose it is, and what it is for."""

    owner: str
    secret: str
    scopes: frozenset[str]


def keys_of(text: str) -> list[Key]:
    """The keys in `owner:key:scope+scope,...`.

    Raises ConfigurationError, which never tells a key.
    """
    keys: list[Key] = []
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        fields = part.split(":")
        scopes = frozenset(fields[-1].split("+"))
        is_whole = len(fields) == 3 and fields[0] and len(fields[1]) >= SHORTEST
        if not is_whole or not scopes <= set(SCOPES):
            raise ConfigurationError(
                f"{VARIABLE}: entry {number} is not owner:key:scope+scope, with a key of at least "
                f"{SHORTEST} characters and scopes of {', '.join(SCOPES)}"
            )
        if fields[1] in {key.secret for key in keys}:
            raise ConfigurationError(f"{VARIABLE}: entry {number} has the key of another")
        keys.append(Key(fields[0], fields[1], scopes))
    return keys


class Gate:
    """Lets a request through, or raises ApiError: 401, 403, 429. Without keys everybody may; with
    `own_machine`, only who calls this machine by its own names, and not by that of a site that has
    let its name lead here.
    """

    def __init__(self, keys: Sequence[Key], rate: str, *, own_machine: bool = False) -> None:
        self._keys, self._own_machine = list(keys), own_machine
        try:
            self._rate: RateLimitItem = parse(rate)
            if not self._rate.amount:
                raise ValueError(rate)
        except ValueError:
            raise ConfigurationError(
                f"--rate: {rate!r} is not like 1000/second or 600/minute"
            ) from None
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    @property
    def asks(self) -> bool:
        """Whether a caller needs a key."""
        return bool(self._keys)

    async def check(self, request: Request, scope: str) -> None:
        """Whether this caller may do that now."""
        key = self._key(request) if self._keys else None
        if key is None and self._own_machine and not is_local(request.headers.get("Host")):
            raise ApiError(403, f"without keys, call http://{LOOPBACK[0]}: no other name is served")
        if key is not None and scope not in key.scopes:
            raise ApiError(403, f"this key has no scope {scope}")
        caller = key.owner if key else (request.client.host if request.client else "")
        if not await self._limiter.hit(self._rate, caller):
            until, _ = await self._limiter.get_window_stats(self._rate, caller)
            wait = str(max(1, math.ceil(until - time.time())))
            raise ApiError(429, f"more than {self._rate}; wait", {"Retry-After": wait})

    def _key(self, request: Request) -> Key:
        given = request.headers.get(HEADER, "")
        bearer = request.headers.get("Authorization", "")
        given = given or bearer.removeprefix("Bearer ")
        # Every key is compared, so that time tells nothing.
        found = [key for key in self._keys if _same(key.secret, given)]
        if not found:
            told = f"no such key in {HEADER}" if given else f"send a key in {HEADER}"
            raise ApiError(401, told, {"WWW-Authenticate": 'Bearer realm="repurchase"'})
        return found[0]


def _same(secret: str, given: str) -> bool:
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogateescape"))
