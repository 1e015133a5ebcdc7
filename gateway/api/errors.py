"""Every refusal as HTTP: one table of statuses, one envelope that stock SDKs read.

`{"error": {"message", "type", "code", "param", "request_id", ...}}`, everywhere.
"""

from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DataError, DBAPIError
from starlette.exceptions import HTTPException

from gateway.domain.errors import (
    AccountSuspended,
    AlreadyDone,
    AuthenticationFailed,
    DailyLimit,
    GatewayError,
    IdempotencyMismatch,
    InsufficientPoints,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PlanLimit,
    StaleAttempt,
    TooManyJobs,
    Unavailable,
)

log = structlog.get_logger()

# A class stands for its subclasses. 402 and 422 rather than 429 or 409: SDKs retry those.
STATUSES: dict[type[GatewayError], tuple[int, str]] = {
    InvalidRequest: (400, "invalid_request_error"),
    AuthenticationFailed: (401, "authentication_error"),
    InsufficientPoints: (402, "insufficient_quota"),
    AccountSuspended: (403, "permission_error"),
    PermissionDenied: (403, "permission_error"),
    PlanLimit: (403, "permission_error"),
    NotFound: (404, "not_found_error"),
    StaleAttempt: (409, "conflict_error"),
    IdempotencyMismatch: (422, "invalid_request_error"),
    TooManyJobs: (429, "rate_limit_error"),
    DailyLimit: (429, "rate_limit_error"),
    AlreadyDone: (409, "conflict_error"),
    Unavailable: (503, "server_error"),
}
# What no retry cures; openai's SDK heeds the header, and would retry these statuses otherwise.
NO_RETRY = (DailyLimit, AlreadyDone)
RETRY_AFTER_S = {TooManyJobs: 5, Unavailable: 1}
_TYPES_BY_STATUS = {404: "not_found_error"}
_CODES_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}


class ErrorBody(BaseModel):
    """What went wrong. Further fields depend on `code`."""

    model_config = ConfigDict(extra="allow")

    message: str
    type: str
    code: str
    param: str | None = None
    request_id: str | None = None


class ErrorEnvelope(BaseModel):
    """The body of every refusal."""

    error: ErrorBody


def status_of(error: type[GatewayError]) -> tuple[int, str]:
    """HTTP status and OpenAI-style type of an error class.

    Raises:
        KeyError: nobody has decided on one.
    """
    for known in error.__mro__:
        if known in STATUSES:
            return STATUSES[known]
    raise KeyError(error)


def install_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every exception in the envelope."""
    app.add_exception_handler(GatewayError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(Exception, _unexpected)


def body_too_large(request: Request) -> JSONResponse:
    """The answer to a body over the limit of its route."""
    body = ErrorBody(
        message="the body is larger than this route takes",
        type="invalid_request_error",
        code="body_too_large",
    )
    return _answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, body, {})


def _refused(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, GatewayError):
        raise error
    status, kind = status_of(type(error))
    retry_after = next((s for cls, s in RETRY_AFTER_S.items() if isinstance(error, cls)), None)
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if isinstance(error, NO_RETRY):
        headers["x-should-retry"] = "false"
    if isinstance(error, AuthenticationFailed):
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(
        request,
        status,
        ErrorBody(
            message=error.message,
            type=kind,
            code=error.code,
            param=error.param,
            **error.details(),
        ),
        headers,
    )


def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    body = ErrorBody(
        message=str(error.detail),
        type=_TYPES_BY_STATUS.get(error.status_code, "invalid_request_error"),
        code=_CODES_BY_STATUS.get(error.status_code, "bad_request"),
    )
    return _answer(request, error.status_code, body, error.headers or {})


def _bad_parameter(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()[0]
    param = ".".join(str(part) for part in found["loc"][1:]) or str(found["loc"][0])
    body = ErrorBody(
        message=f"{param}: {found['msg']}",
        type="invalid_request_error",
        code="invalid_parameter",
        param=param,
        limit={name: bound for name, bound in found.get("ctx", {}).items() if name != "error"},
        value=repr(found.get("input"))[:100],
    )
    return _answer(request, 400, body, {})


def _database_error(request: Request, error: Exception) -> JSONResponse:
    """The transaction did not commit; the request may be sent again, unless it is at fault."""
    if isinstance(error, DataError):
        log.warning("value_not_stored", exc_info=error)
        message = "a value cannot be stored: text is Unicode without NUL, numbers have 63 bits"
        return _refused(request, InvalidRequest(message, param=None))
    log.error("database_failed", exc_info=error)
    return _refused(request, Unavailable("the database did not take this; send it again"))


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", exc_info=error)
    body = ErrorBody(
        message="an error on our side; the request id tells us which",
        type="server_error",
        code="internal_error",
    )
    return _answer(request, 500, body, {})


def _answer(
    request: Request, status: int, body: ErrorBody, headers: Mapping[str, str]
) -> JSONResponse:
    body.request_id = getattr(request.state, "request_id", None)
    envelope = ErrorEnvelope(error=body)
    return JSONResponse(envelope.model_dump(mode="json"), status, dict(headers))
