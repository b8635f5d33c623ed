"""The app: its routes, and the champion that answers, which changes as the tables do."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal

import orjson
import structlog
from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from conf.errors import InputError
from conf.settings import Horizon
from models.segments import SEGMENTS
from serving.api import answers, documentation, stored
from serving.api.keys import METRICS, PREDICT, READ, Gate
from serving.api.problems import MEDIA, ApiError, answer_errors
from serving.api.watching import Metrics, Watching
from serving.predictor import FIELDS, Columns, Prediction, Predictor, load_predictor
from serving.requests import IDS, SYNONYMS
from serving.spot import YEARS
from serving.tables import Tables

log = structlog.get_logger("repurchase.api")
PAGE = 100
# Routes that ask for no key.
OPEN = {"/health", "/ready"}
MODEL_TABLES = ("models", "current_scores", "features", "customer_base")
FILTERS = (
    *("as_of", "decile", "band", "segment", "horizon_days", "horizon_hours"),
    *("limit", "offset"),
)
SEGMENT_NAMES = [segment.name for segment in SEGMENTS]


def _day(text: str | None) -> date | None:
    """A day as it is written, and no number of seconds."""
    return None if text is None else date.fromisoformat(text)


HorizonDays = Annotated[
    int | None,
    Query(ge=0, le=365, description="Of the label window, by default that of the champion"),
]
HorizonHours = Annotated[
    int | None, Query(ge=1, le=364 * 24, description="Instead of days, where it is in hours")
]
Reasons = Annotated[bool, Query(description="Tell why; costs most of the time of a prediction")]
AsOf = Annotated[
    date | None,
    BeforeValidator(_day),
    Query(description="A day that was scored, by default the last"),
]


@dataclass(frozen=True)
class Limits:
    """What one request may ask: bytes of its body, rows of a batch, and rows of a page."""

    body: int = 32 * 2**20
    batch: int = 10_000
    page: int = 1_000


@dataclass
class Champion:
    """The predictor of now, of a horizon or else of any, and the states of the tables that it was
    made of.
    """

    tables: Tables
    metrics: Metrics
    horizon: Horizon | None = None
    now: Predictor | None = None
    why_not: str = "no champion is loaded yet"
    _states: dict[str, str] = field(default_factory=dict)

    def refresh(self) -> None:
        """Load the champion again if a table that it is made of has changed."""
        try:
            states = {t: self.tables.state(t) for t in MODEL_TABLES if self.tables.exists(t)}
            if states == self._states and self.now is not None:
                return
            found = load_predictor(self.tables, self.horizon)
        except Exception as problem:  # the one before goes on answering
            self.why_not = str(problem) if isinstance(problem, InputError) else "see the log"
            log.error("no champion was loaded", reason=str(problem))
            return
        self.now, self._states = found, states
        self.metrics.champion(found.name, found.version)
        # What is loaded stays: looking for garbage in it would stop requests for 0.1 s. What the
        # champion before has left goes.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        log.info("champion", name=found.name, version=found.version)

    def get(self) -> Predictor:
        """The predictor; raises ApiError, 503, while there is none."""
        if self.now is None:
            raise ApiError(503, f"not ready: {self.why_not}", {"Retry-After": "10"})
        return self.now


def make_app(
    tables: Tables,
    gate: Gate,
    limits: Limits | None = None,
    refresh_seconds: float = 5.0,
    horizon: Horizon | None = None,
) -> FastAPI:
    """The API over the tables: of the champion of a horizon, or of the one published last."""
    limits, metrics = limits or Limits(), Metrics()
    champion = Champion(tables, metrics, horizon)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(champion.refresh)
        task = asyncio.create_task(_refreshed(champion, app, refresh_seconds))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPIOffline(  # its pages are complete without a network
        title="repurchase",
        version="1",
        description="Who orders again: scores from the tables, and predictions of the champion.",
        lifespan=lifespan,
    )
    app.add_middleware(Watching, metrics=metrics)
    answer_errors(app)
    _watch_routes(app, champion, gate)
    _score_routes(app, champion, gate, limits)
    _predict_routes(app, champion, gate, limits)
    app.openapi = lambda: _document(app, champion, gate, limits)  # type: ignore[method-assign]
    return app


async def _refreshed(champion: Champion, app: FastAPI, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        before = champion.now
        await run_in_threadpool(champion.refresh)
        if champion.now is not before:
            app.openapi_schema = None


def _watch_routes(app: FastAPI, champion: Champion, gate: Gate) -> None:
    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_model=answers.Status, tags=["state"])
    async def health() -> Response:
        """The server is up."""
        return _json({"status": "ok"})

    @app.head("/ready", include_in_schema=False)
    @app.get("/ready", response_model=answers.Status, tags=["state"], responses=_errors(503))
    async def ready() -> Response:
        """A champion is loaded."""
        champion.get()
        return _json({"status": "ready"})

    @app.get(
        "/metrics",
        tags=["state"],
        response_class=Response,
        dependencies=[_allowed(gate, METRICS)],
        responses={200: {"content": {"text/plain": {}}}, **_errors(401, 403, 429)},
    )
    async def metrics() -> Response:
        """For Prometheus."""
        found = generate_latest(champion.metrics.registry)
        return Response(found, media_type=CONTENT_TYPE_LATEST)

    @app.get(
        "/model",
        response_model=answers.Model,
        tags=["model"],
        dependencies=[_allowed(gate, READ)],
        responses=_errors(401, 403, 429, 503),
    )
    def model() -> Response:
        """The champion: what it is, how good it is, and the features that it takes."""
        return _json(_card(champion.tables, champion.get()))

    @app.get(
        "/model/onnx",
        tags=["model"],
        response_class=Response,
        dependencies=[_allowed(gate, READ)],
        responses={
            200: {"content": {"application/octet-stream": {}}},
            **_errors(401, 403, 429, 503),
        },
    )
    async def onnx() -> Response:
        """The champion as an ONNX graph, to be run anywhere."""
        return Response(champion.get().onnx, media_type="application/octet-stream")


def _score_routes(app: FastAPI, champion: Champion, gate: Gate, limits: Limits) -> None:
    @app.get(
        "/scores",
        response_model=answers.Scores,
        tags=["scores"],
        dependencies=[_allowed(gate, READ), Depends(_only_known)],
        responses=_errors(401, 403, 422, 429, 503),
    )
    def scores(
        as_of: AsOf = None,
        decile: Annotated[int | None, Query(ge=1, le=10)] = None,
        band: Literal["high", "medium", "low"] | None = None,
        segment: Annotated[str | None, Query(json_schema_extra={"enum": SEGMENT_NAMES})] = None,
        horizon_days: HorizonDays = None,
        horizon_hours: HorizonHours = None,
        limit: Annotated[int, Query(ge=1, le=limits.page)] = PAGE,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> Response:
        """The scores of a day, the likeliest customers first."""
        if segment is not None and segment not in SEGMENT_NAMES:
            raise ApiError(422, f"segment: must be one of {', '.join(SEGMENT_NAMES)}")
        if segment is not None and champion.get().cuts is None:
            raise ApiError(422, "segment: the tables have no features to tell it by")
        of = _scored(champion, as_of, horizon_days, horizon_hours)
        wanted = {**of, "decile": decile, "band": band, "segment": segment}
        found, total = stored.scores(
            champion.tables, champion.now, wanted, limit=limit, offset=offset
        )
        day = of["as_of"]
        end = offset + len(found)
        following = end if found and end < total else None
        return _json({"as_of": day, "total": total, "scores": found, "next_offset": following})

    @app.get(
        "/scores/{customer_id:path}",
        response_model=answers.Score,
        tags=["scores"],
        dependencies=[_allowed(gate, READ)],
        responses=_errors(401, 403, 404, 422, 429, 503),
    )
    def score(
        customer_id: Annotated[str, Path(min_length=1, max_length=500)],
        as_of: AsOf = None,
        horizon_days: HorizonDays = None,
        horizon_hours: HorizonHours = None,
    ) -> Response:
        """A customer's score of a day."""
        of = _scored(champion, as_of, horizon_days, horizon_hours)
        wanted = {**of, "customer_id": customer_id}
        found, _ = stored.scores(champion.tables, champion.now, wanted, limit=1, offset=0)
        if not found and of["as_of"] is None:
            asked = Horizon(of["horizon_days"], of["horizon_hours"])
            raise ApiError(404, f"nobody has been scored for {asked}")
        if not found:
            raise ApiError(404, f"no score of customer {customer_id!r} as of {of['as_of']}")
        return _json(found[0])


def _scored(
    champion: Champion, as_of: date | None, days: int | None, hours: int | None
) -> dict[str, Any]:
    """The day and the horizon of the scores that are asked for: the last day, and the horizon of
    the champion.
    """
    if not champion.tables.exists("scores"):
        raise ApiError(503, "nobody has been scored yet", {"Retry-After": "10"})
    if days and hours is not None:
        raise ApiError(422, "horizon_days and horizon_hours: ask for one of them")
    wanted = Horizon.asked(days, hours)
    if wanted is None:
        wanted = champion.now.horizon if champion.now else stored.horizon(champion.tables)
    day = as_of or stored.latest(champion.tables, wanted)
    return {"as_of": day, "horizon_days": wanted.days, "horizon_hours": wanted.hours}


async def _only_known(request: Request) -> None:
    """A filter that is mistaken for one would let everybody through."""
    unknown = sorted(set(request.query_params) - set(FILTERS))
    if unknown:
        raise ApiError(422, f"{unknown[0][:100]}: no such filter; known are {', '.join(FILTERS)}")


def _predict_routes(app: FastAPI, champion: Champion, gate: Gate, limits: Limits) -> None:
    shared: dict[str, Any] = {
        "tags": ["predictions"],
        "dependencies": [_allowed(gate, PREDICT)],
        "responses": _errors(400, 401, 403, 413, 422, 429, 503),
    }

    @app.post("/predict", response_model=answers.OnePrediction, **shared)
    async def predict(request: Request, reasons: Reasons = True) -> Response:
        """Score one customer, from features or from orders. A feature may be missing or null: if it
        is one that every customer has, all that is missing is taken from customers alike. Beside
        orders, features that these do not tell may be sent.
        """
        predictor = champion.get()
        sent = await _sent(request, limits.body)
        who: Any
        day, unused, missing = None, [], []
        if isinstance(sent.get("orders"), list):
            asked = _orders(predictor, sent, limits)
            if len(asked.customers) > 1:
                raise ApiError(
                    422,
                    f"orders: of {len(asked.customers)} customers; send those of one, or ask "
                    "/predict/batch",
                )
            found = await run_in_threadpool(asked.said, predictor, reasons)
            (name, said), *_ = found.items()
            who = asked.customers[name]
            day, missing = asked.day, asked.missing(predictor)
        else:
            who, said = _who(sent), predictor.predict([sent], reasons)[0]
            unused = predictor.unused(sent)
        champion.metrics.probabilities.observe([said.probability])
        answer = {"customer_id": who, **_model(predictor), **vars(said)}
        more = {"as_of": day, "features_unused": unused, "features_missing": missing}
        return _json({**answer, **more})

    @app.post("/predict/batch", response_model=answers.Predictions, **shared)
    async def batch(request: Request, reasons: Reasons = False) -> Response:
        """Score many customers: `customers` (or `users`), rows of features; or `orders`, and in
        `customers` the features that these do not tell.
        """
        predictor = champion.get()
        sent = await _sent(request, limits.body)
        said, more = await run_in_threadpool(_of_many, predictor, sent, reasons, limits)
        champion.metrics.probabilities.observe(said["probability"])
        names = tuple(said)
        found = [dict(zip(names, one, strict=True)) for one in zip(*said.values(), strict=True)]
        return _json({**_model(predictor), **more, "predictions": found})

    @app.post("/segment", response_model=answers.Segmented, **shared)
    async def segment(request: Request) -> Response:
        """The segment of a customer by recency (days), frequency (orders) and monetary value."""
        sent = await _sent(request, limits.body)
        found = champion.get().segments([sent])[0]
        known = next((one for one in SEGMENTS if one.name == found), None)
        if known is None:
            raise ApiError(422, "Recency, Frequency and Monetary are needed, each a number")
        return _json({"segment": known.name, "means": known.means, "plan": known.plan})


@dataclass(frozen=True)
class Orders:
    """Orders that were sent: whose, what was sent beside them of each customer, and from which day
    they are looked at.
    """

    orders: list[dict[str, Any]]
    # By what they are called here, as they were sent.
    customers: Mapping[str, Any]
    beside: Mapping[str, Mapping[str, Any]]
    day: date

    def said(self, predictor: Predictor, reasons: bool) -> dict[str, Prediction]:
        """What is said of each customer with an order before the day."""
        return predictor.predict_orders(self.orders, self.day, reasons, self.beside)

    def missing(self, predictor: Predictor) -> list[str]:
        """What the champion reads, and neither the orders nor all that is beside them tell."""
        rows = [self.beside.get(name, {}) for name in self.customers]
        named = [{predictor.names.feature(name) for name in row} for row in rows]
        return [name for name in predictor.untold if not all(name in one for one in named)]


def _orders(predictor: Predictor, sent: Mapping[str, Any], limits: Limits) -> Orders:
    """The orders of a body: of one customer, of whom the body may tell features too, or of many,
    of whom `customers` may have a row each.
    """
    spot, who = predictor.understood(), _who(sent)
    shared = {} if who is None else {"customer_id": who}
    try:
        as_of = date.fromisoformat(sent["as_of"]) if sent.get("as_of") is not None else None
        if as_of is not None and as_of.year not in YEARS:
            raise ValueError(as_of)
    except (ValueError, TypeError):
        raise ApiError(422, "as_of: must be a day such as 2024-12-31") from None
    orders = [{**shared, **order} for order in _rows(sent["orders"], "orders", limits.batch)]
    named = (order["customer_id"] for order in orders if order.get("customer_id") is not None)
    customers = {str(name): name for name in named}
    rows = _rows(sent.get("customers", []), "customers", limits.batch)
    beside = {str(_who(row)): row for row in rows}
    if nobody := sorted(beside.keys() - customers.keys()):
        raise ApiError(422, f"customers: there is no order of {nobody[0]!r}"[:1000])
    unknown = set(sent) - {"orders", "customers", "as_of"}
    own = {name: sent[name] for name in sorted(unknown) if name.lower() not in IDS}
    if own and len(customers) > 1:
        raise ApiError(422, f"unknown beside orders of several customers: {', '.join(own)}"[:1000])
    if own and customers:
        beside = {next(iter(customers)): own}
    return Orders(orders, customers, beside, as_of or spot.as_of)


def _of_many(
    predictor: Predictor, sent: Mapping[str, Any], reasons: bool, limits: Limits
) -> tuple[Columns, dict[str, Any]]:
    """The fields of the predictions, of which the first is `customer_id`, and what holds of all."""
    if "orders" in sent:
        asked = _orders(predictor, sent, limits)
        found = asked.said(predictor, reasons)
        said = {name: [getattr(one, name) for one in found.values()] for name in FIELDS}
        more = {
            "as_of": asked.day,
            "customers_without_orders": [
                who for name, who in asked.customers.items() if name not in found
            ],
            "features_missing": asked.missing(predictor),
        }
        return {"customer_id": [asked.customers[name] for name in found], **said}, more
    named = [name for name in ("customers", "users") if name in sent]
    if len(sent) != 1 or not named:
        raise ApiError(422, "send customers (or users), a list of rows of features, or orders")
    rows = _rows(sent[named[0]], named[0], limits.batch)
    said = {"customer_id": [_who(row) for row in rows], **predictor.columns(rows, reasons)}
    return said, {"as_of": None, "customers_without_orders": [], "features_missing": []}


def _rows(sent: Any, name: str, most: int) -> list[dict[str, Any]]:
    if not isinstance(sent, list) or not all(isinstance(row, dict) for row in sent):
        raise ApiError(422, f"{name}: must be a list of objects")
    if len(sent) > most:
        raise ApiError(413, f"{name}: {len(sent)} rows; at most {most} at a time")
    return sent


async def _sent(request: Request, most: int) -> dict[str, Any]:
    """The body: an object of JSON."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ApiError(413, f"the body is larger than {most} bytes", {"Connection": "close"})
        parts.append(part)
    try:
        sent = orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as problem:
        raise ApiError(400, f"the body is not JSON: {problem}") from None
    if not isinstance(sent, dict):
        raise ApiError(422, "the body must be an object")
    return sent


def _who(row: Mapping[str, Any]) -> str | int | None:
    """Who a row says that it is."""
    said_by = {name.lower(): said for name, said in row.items()}
    for name in IDS:
        said = said_by.get(name)
        if isinstance(said, (str, int)) and not isinstance(said, bool):
            return said
        if said is not None:
            raise ApiError(422, f"{name}: must be a text or a whole number")
    return None


def _card(tables: Tables, predictor: Predictor) -> dict[str, Any]:
    row = predictor.row
    found = tables.query(
        "SELECT metric, value FROM evaluations WHERE model_version = $version AND model = $name "
        "AND metric NOT LIKE 'cv_%' AND isfinite(value)",
        {"version": predictor.version, "name": predictor.name},
    )
    synonyms: dict[str, list[str]] = {}
    for synonym, feature in SYNONYMS.items():
        synonyms.setdefault(feature, []).append(synonym)
    features = [
        {
            "name": name,
            "type": kind,
            "description": predictor.descriptions.get(name, ""),
            "read": name in predictor.features,
            "synonyms": [s for s in synonyms.get(name, []) if s != name],
        }
        for name, kind in predictor.types.items()
    ]
    return {
        **_model(predictor),
        "trained_for": str(row["trained_for"])[:10],
        "held_out": str(row["held_out"])[:10],
        "threshold": predictor.threshold,
        "decision": row["decision"],
        "metrics": dict(zip(found["metric"], found["value"], strict=True)),
        "features": features,
    }


def _model(predictor: Predictor) -> dict[str, Any]:
    return {
        "model_name": predictor.name,
        "model_version": predictor.version,
        "horizon_days": predictor.horizon.days,
        "horizon_hours": predictor.horizon.hours,
    }


def _allowed(gate: Gate, scope: str) -> Any:
    async def check(request: Request) -> None:
        await gate.check(request, scope)

    return Depends(check)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": "What is wrong",
            "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _document(app: FastAPI, champion: Champion, gate: Gate, limits: Limits) -> dict[str, Any]:
    """The OpenAPI document, which knows the features of the champion."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    problem = answers.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    found["components"]["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    }
    if gate.asks:
        for path in found["paths"].keys() - OPEN:
            for operation in found["paths"][path].values():
                operation["security"] = [{"key": []}]
    predictor = champion.now
    if predictor is None:
        return found
    paths: dict[str, Callable[[], dict[str, Any]]] = {
        "/predict": lambda: documentation.body(
            documentation.one_schema(),
            {
                "features": documentation.CUSTOMER,
                "orders": {"orders": documentation.orders(predictor)},
            },
        ),
        "/predict/batch": lambda: documentation.body(
            documentation.many_schema(limits.batch),
            {
                "customers": {"customers": [documentation.CUSTOMER]},
                "orders": {"orders": documentation.orders(predictor)},
            },
        ),
        "/segment": lambda: documentation.body(
            documentation.segment_schema(),
            {"segment": {"Recency": 12, "Frequency": 7, "Monetary": 412.5, "Unique_Products": 9}},
        ),
    }
    schemas |= documentation.components(predictor, limits.batch)
    for path, made in paths.items():
        found["paths"][path]["post"]["requestBody"] = made()
    app.openapi_schema = found
    return found
