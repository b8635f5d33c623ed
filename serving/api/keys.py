"""Who may call: API keys with scopes, and how often."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from conf.errors import ConfigurationError
from serving.api.problems import ApiError

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
    keys = []
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        fields = part.split(":")
        scopes = frozenset(fields[-1].split("+"))
        if len(fields) != 3 or len(fields[1]) < SHORTEST or not scopes <= set(SCOPES):
            raise ConfigurationError(
                f"{VARIABLE}: entry {number} is not owner:key:scope+scope, with a key of at least "
                f"{SHORTEST} characters and scopes of {', '.join(SCOPES)}"
            )
        keys.append(Key(fields[0], fields[1], scopes))
    return keys


class Gate:
    """Lets a request through, or raises ApiError: 401, 403, 429. Without keys everybody may."""

    def __init__(self, keys: Sequence[Key], rate: str) -> None:
        self._keys = list(keys)
        try:
            self._rate: RateLimitItem = parse(rate)
        except ValueError:
            raise ConfigurationError(
                f"--rate: {rate!r} is not like 1000/second or 600/minute"
            ) from None
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def check(self, request: Request, scope: str) -> None:
        """Whether this caller may do that now."""
        key = self._key(request) if self._keys else None
        if key is not None and scope not in key.scopes:
            raise ApiError(403, f"this key has no scope {scope}")
        caller = key.owner if key else (request.client.host if request.client else "")
        if not await self._limiter.hit(self._rate, caller):
            wait = str(max(1, self._rate.get_expiry()))
            raise ApiError(429, f"more than {self._rate}; wait", {"Retry-After": wait})

    def _key(self, request: Request) -> Key:
        given = request.headers.get(HEADER, "")
        bearer = request.headers.get("Authorization", "")
        given = given or bearer.removeprefix("Bearer ")
        # Every key is compared, so that time tells nothing.
        found = [key for key in self._keys if _same(key.secret, given)]
        if not found:
            raise ApiError(
                401, f"send a key in {HEADER}", {"WWW-Authenticate": 'Bearer realm="repurchase"'}
            )
        return found[0]


def _same(secret: str, given: str) -> bool:
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogateescape"))
