"""The only place that knows which HTTP status an error is; every failure leaves as RFC 9457 problem+json."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from core.errors import AppError, Conflict, Forbidden, Invalid, NotFound, QuotaExceeded, Unavailable
from core.logging import get_logger
from domain.identity import Unauthenticated

PROBLEM: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
"""Seconds a client is asked to wait when a service did not answer."""

STATUS: Final[Mapping[type[AppError], int]] = {
    Unauthenticated: 401,
    NotFound: 404,
    Forbidden: 403,
    Conflict: 409,
    Invalid: 422,
    QuotaExceeded: 429,
    Unavailable: 503,
}

_log = get_logger("api")


class FieldError(BaseModel):
    """One field of the request that can't be used."""

    field: str = Field(description="where in the request, such as body.question")
    message: str = Field(description="what is wrong with it")


class Problem(BaseModel):
    """What went wrong and what to do about it (RFC 9457)."""

    type: str = Field("about:blank", description="always about:blank; `code` tells errors apart")
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="one sentence that names the thing and the cure")
    code: str = Field(description="the stable name of the error, for programs")
    request_id: str | None = Field(None, description="names this request in the logs")
    errors: list[FieldError] | None = Field(None, description="the fields that can't be used")
    quota: str | None = Field(None, description="which limit is reached: tokens, ingestions, storage or usd")
    limit: float | None = Field(None, description="the limit: tokens or files a day, bytes in all, USD a month")
    used: float | None = Field(None, description="what counts towards it so far")
    left: float | None = Field(None, description="what may still be asked for; what is under way is taken off")
    resets_at: datetime | None = Field(None, description="when it begins anew; null for storage")


def find_status(error: AppError) -> int:
    """Return the HTTP status of an error: that of its nearest branch of the tree, 500 for one on no branch."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def list_problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the errors a route may answer with; 401, 422 and 503 any may."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 403, 422, 503, *statuses})
    }


def describe(error: AppError, request_id: str | None) -> Problem:
    """Return an error as a problem."""
    status = find_status(error)
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=error.message, code=error.code, request_id=request_id
    )
    if "quota" in error.context:
        told = {name: error.context[name] for name in ("quota", "limit", "used", "left", "resets_at")}
        problem = problem.model_validate(problem.model_dump() | told)
    return problem


def _respond(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = problem.model_dump(mode="json", exclude_none=True)
    return JSONResponse(content, problem.status, headers=dict(headers or {}), media_type=PROBLEM)


def _request_id(request: Request) -> str | None:
    return getattr(request.state, "request_id", None)


def respond_problem(error: AppError, request_id: str | None) -> JSONResponse:
    """Return the reply for an error; one that knows when to try again says so in its context, in seconds."""
    problem = describe(error, request_id)
    headers = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status in (429, 503):
        headers["Retry-After"] = str(error.context.get("retry_after", RETRY_AFTER_S))
    noted = {name: value if isinstance(value, int) else str(value) for name, value in error.context.items()}
    _log.log(40 if problem.status >= 500 else 20, "request_refused", code=error.code, **noted)
    return _respond(problem, headers)


async def _on_app_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)  # noqa: S101  # registered for it alone
    return respond_problem(error, _request_id(request))


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it alone
    status = HTTPStatus(error.status_code)
    details = {
        404: f"There is nothing at {request.url.path}; the paths there are stand in /openapi.json.",
        405: f"{request.method} is not possible at {request.url.path}; what is stands in /openapi.json.",
    }
    detail = details.get(status, str(error.detail))
    problem = Problem(
        title=status.phrase, status=status, detail=detail, code=status.phrase.replace(" ", ""),
        request_id=_request_id(request),
    )  # fmt: skip
    return _respond(problem, error.headers)


async def _on_unusable_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it alone
    fields = [
        FieldError(field=".".join(str(part) for part in found["loc"]), message=found["msg"])
        for found in error.errors()[:20]
    ]
    first = fields[0] if fields else FieldError(field="body", message="unreadable")
    problem = Problem(
        title=HTTPStatus(422).phrase, status=422, code="UnusableRequest", request_id=_request_id(request),
        detail=f"{first.field} can't be used: {first.message}; correct it and send it again.", errors=fields,
    )  # fmt: skip
    return _respond(problem)


async def _on_defect(request: Request, error: Exception) -> JSONResponse:
    _log.error("request_failed", exc_info=error)
    problem = Problem(
        title=HTTPStatus(500).phrase, status=500, code="Defect", request_id=_request_id(request),
        detail="Something broke on our side; try again, and give the request id when you report it.",
    )  # fmt: skip
    return _respond(problem)


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure of the app a problem."""
    app.add_exception_handler(AppError, _on_app_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_unusable_request)
    app.add_exception_handler(Exception, _on_defect)
