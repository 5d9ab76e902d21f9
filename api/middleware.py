"""One id, one log line and one measurement per request; pure ASGI, so that streams pass through untouched."""

import re
import time
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import LATENCY, REQUESTS
from core.logging import get_logger, log_context

HEADER: Final = "X-Request-ID"
_USABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")  # what may stand in a log line as it is

_log = get_logger("api")


class RequestTrace:
    """Gives each request its id, the caller's own where it is usable, in `request.state`, the logs and the reply."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _USABLE.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status, first_byte = 500, 0.0

        async def send_traced(message: Message) -> None:
            nonlocal status, first_byte
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            elif not first_byte:
                first_byte = time.perf_counter() - started
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_traced)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                REQUESTS.labels(method, route, status).inc()
                LATENCY.labels(method, route).observe(first_byte or time.perf_counter() - started)
                _log.info(
                    "request", method=method, route=route, status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )  # fmt: skip


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
