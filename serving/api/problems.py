"""Errors as problem+json (RFC 9457): what is wrong, where, and what to do."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from conf.errors import RepurchaseError
from serving.requests import InvalidRows
from serving.tables import MissingTable

MEDIA = "application/problem+json"
# So many wrong fields are told; more are of no use to anybody.
MOST_ERRORS = 100


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def answer_errors(app: FastAPI) -> None:
    """Answer every error of the app as problem+json."""

    @app.exception_handler(ApiError)
    async def of_api(request: Request, problem: ApiError) -> Response:
        return _problem(request, problem.status, problem.detail, headers=problem.headers)

    @app.exception_handler(InvalidRows)
    async def of_rows(request: Request, problem: InvalidRows) -> Response:
        errors = [vars(one) for one in problem.problems[:MOST_ERRORS]]
        return _problem(request, 422, str(problem), errors)

    @app.exception_handler(MissingTable)
    async def of_table(request: Request, problem: MissingTable) -> Response:
        # Where the tables are on this machine is nobody's business.
        told = f"no table {problem.table} is there yet"
        return _problem(request, 503, told, headers={"Retry-After": "10"})

    @app.exception_handler(RepurchaseError)
    async def of_input(request: Request, problem: RepurchaseError) -> Response:
        return _problem(request, 422, str(problem))

    @app.exception_handler(RequestValidationError)
    async def of_parameters(request: Request, problem: RequestValidationError) -> Response:
        errors = [
            {"field": ".".join(map(str, one["loc"][1:])), "message": one["msg"]}
            for one in problem.errors()
        ]
        detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
        return _problem(request, 422, detail, errors)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, problem: HTTPException) -> Response:
        headers = dict(problem.headers or {})
        return _problem(request, problem.status_code, str(problem.detail), headers=headers)


def unforeseen(request: Request) -> Response:
    """What is answered where the server is at fault."""
    return _problem(request, 500, "this should not happen; the log knows more by request_id")


def _problem(
    request: Request,
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request.scope.get("request_id", ""),
        "errors": list(errors),
    }
    # A lone surrogate cannot be told in UTF-8.
    return Response(orjson.dumps(_clean(body)), status, dict(headers or {}), MEDIA)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {key: _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list) else value
