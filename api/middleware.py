"""One id, one log line and one measurement per request; pure ASGI, so that streams pass through untouched."""

import re
import time
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.client_address import Networks, find_address
from api.metrics import LATENCY, REQUESTS
from core.logging import get_logger, log_context
from db.session import request_context

HEADER: Final = "X-Request-ID"
_USABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")  # what may stand in a log line as it is

_LONGEST_AGENT: Final = 400

_log = get_logger("api")


class RequestTrace:
    """Gives each request its id, the caller's own where it is usable, in `request.state`, the logs and the reply.

    Id, address and user agent are also what the audit log will say of the changes the request makes.
    """

    def __init__(self, app: ASGIApp, *, trusted: Networks = ()) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        request_id = given if _USABLE.fullmatch(given) else uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"], state["address"] = request_id, find_address(scope, self._trusted)
        context = {
            "request_id": str(_as_uuid(request_id)), "ip_address": state["address"],
            "user_agent": "".join(filter(str.isprintable, headers.get("user-agent", "")[:_LONGEST_AGENT])),
            "surface": "web" if "sec-fetch-mode" in headers else "api",  # browsers name it, and let no page do so
        }  # fmt: skip
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

        before = request_context.set(context)
        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_traced)
            finally:
                request_context.reset(before)
                route = getattr(scope.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                REQUESTS.labels(method, route, status).inc()
                LATENCY.labels(method, route).observe(first_byte or time.perf_counter() - started)
                _log.info(
                    "request", method=method, route=route, status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )  # fmt: skip


def _as_uuid(request_id: str) -> UUID:
    """Return the id as the audit log takes it: itself where it is a UUID, else one that follows from it."""
    try:
        return UUID(request_id)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"regenesis:request:{request_id}")


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
