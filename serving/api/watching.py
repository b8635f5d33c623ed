"""Every request in the log and in the metrics, under an id of its own."""

import re
import time
import uuid
from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.problems import unforeseen

log = structlog.get_logger("repurchase.api")
ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# The status, in the log and the metrics, of a caller who hung up before all was sent.
GONE = 499
TENTHS = tuple(k / 10 for k in range(1, 11))


class Metrics:
    """What Prometheus asks for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "repurchase_requests",
            "Requests by route and status",
            ["route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "repurchase_request_seconds",
            "Time to answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.probabilities = Probabilities()
        registry.register(self.probabilities)
        self.model = Gauge(
            "repurchase_model", "1 for the champion", ["name", "version"], registry=registry
        )
        self.loaded = Gauge(
            "repurchase_model_loaded_seconds", "When it was loaded, in Unix time", registry=registry
        )

    def champion(self, name: str, version: str) -> None:
        """Another model answers from now on."""
        self.model.clear()
        self.model.labels(name, version).set(1)
        self.loaded.set(time.time())


class Probabilities(Collector):
    """The histogram of what was predicted, which takes many at a time."""

    def __init__(self) -> None:
        self._lock, self._counts, self._sum = Lock(), np.zeros(len(TENTHS), np.int64), 0.0

    def observe(self, probabilities: Sequence[float]) -> None:
        """Count these."""
        found = np.bincount(np.searchsorted(TENTHS, probabilities), minlength=len(TENTHS))
        with self._lock:
            self._counts += found
            self._sum += sum(probabilities)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The buckets, as Prometheus counts: each with those below it."""
        with self._lock:
            counts, total = self._counts.cumsum().tolist(), self._sum
        buckets = [*zip(map(str, TENTHS), counts, strict=True), ("+Inf", counts[-1])]
        yield HistogramMetricFamily(
            "repurchase_probability", "Predicted probabilities", buckets=buckets, sum_value=total
        )


class Watching:
    """An ASGI app around another, which counts, times and logs its requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch what is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = sent.decode() if ID.fullmatch(sent) else uuid.uuid4().hex
        scope["request_id"] = request_id
        status, started, is_answered = 500, time.perf_counter(), False

        async def watched(message: Message) -> None:
            nonlocal status, is_answered
            if message["type"] == "http.response.start":
                status, is_answered = message["status"], True
                own = [
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            status = GONE
        except Exception as problem:
            log.error("failed", request_id=request_id, route=_route(scope), exc_info=problem)
            if is_answered:
                raise
            await unforeseen(Request(scope))(scope, receive, watched)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        log.info(
            "request",
            request_id=scope["request_id"],
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
        )


def _route(scope: Scope) -> str:
    """The route, not the path: customers are no labels."""
    return str(getattr(scope.get("route"), "path", "none"))
