"""Around every request: an id that ties answer and log together, the counter, the body limit."""

import re
import secrets
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.errors import body_too_large
from gateway.telemetry import Metrics

REQUEST_ID_HEADER = "X-Request-ID"
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Gives each request an id (the client's own, if it is a decent one) and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                self._metrics.http_requests.labels(scope["method"], _route(scope), status).inc()


class BodyLimitEnvelope:
    """Puts Starlette's bare 413 into our envelope; it is sent from below every error handler."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        replaced = False

        async def send_enveloped(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_bare_413(message):
                replaced = True
                await body_too_large(Request(scope))(scope, receive, send)
            elif not replaced:
                await send(message)

        await self._app(scope, receive, send_enveloped)


def _is_bare_413(message: Message) -> bool:
    headers = Headers(raw=message["headers"])
    is_text = headers.get("content-type", "").startswith("text/plain")
    return message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and is_text


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _CLIENT_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _route(scope: Scope) -> str:
    """The route's template, so that ids in paths do not become labels."""
    route: Any = scope.get("route")
    return getattr(route, "path", "unmatched")
