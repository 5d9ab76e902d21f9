"""Server-sent events that end cleanly: a caller who leaves ends the work behind them."""

from collections.abc import AsyncGenerator
from typing import Final

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from api.errors import Problem, describe
from core.errors import AppError
from core.logging import get_logger

PING_S: Final = 15
"""Seconds between comments that keep proxies from closing a silent stream."""

_log = get_logger("api")


class EventStream(EventSourceResponse):
    """Streams a generator's events and closes it whatever happens, so that it can store what was said."""

    def __init__(self, events: AsyncGenerator[ServerSentEvent, None]) -> None:
        super().__init__(events, ping=PING_S, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):  # the server has cancelled this task when the caller is gone
                await self._events.aclose()


def describe_failure(error: Exception, request_id: str | None) -> Problem:
    """Return what a stream that has begun can still say of an error."""
    if isinstance(error, AppError):
        return describe(error, request_id)
    _log.error("stream_failed", exc_info=error)
    return describe(
        AppError("Something broke on our side; try again, and give the request id when you report it."), request_id
    )
