"""Bounds what a request may send before anything of it is read into memory or onto disk."""

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import PROBLEM, Problem

MAX_BODY: Final = 8_000_000
"""Bytes of a request that is no upload: a long conversation has far fewer."""

_UPLOADS: Final = ("/v1/ingestions", "/v1/media", "/sources/upload")
_FORM_BYTES: Final = 1_000_000
"""What a form may hold besides its file."""


class BodyLimit:
    """Answers 413 to a body that is too long, whether it says so or not."""

    def __init__(self, app: ASGIApp, *, uploads: int) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._uploads + _FORM_BYTES if scope["path"] in _UPLOADS else MAX_BODY
        sentence = f"The request is longer than {most:,} bytes; send less at once."
        said = Headers(scope=scope).get("content-length", "0")
        if said.isdigit() and int(said) > most:
            problem = Problem(
                title="Content Too Large", status=413, detail=sentence, code="ContentTooLarge",
                request_id=scope.get("state", {}).get("request_id"),
            )  # fmt: skip
            reply = JSONResponse(problem.model_dump(exclude_none=True), 413, media_type=PROBLEM)
            await reply(scope, receive, send)
            return
        read = 0

        async def receive_bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, sentence)
            return message

        await self._app(scope, receive_bounded, send)
