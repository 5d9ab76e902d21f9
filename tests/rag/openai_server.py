"""A model service on this machine that answers, delays and breaks as a test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One HTTP response; a number among the parts is a pause in seconds, and `cut` leaves the body unfinished.

    `silence` is the pause before the response's first byte, `retry` the header that says when to ask again.
    """

    parts: tuple[bytes | float, ...] = ()
    status: int = 200
    content_type: str = "application/json"
    cut: bool = False
    silence: float = 0.0
    retry: str = "retry-after-ms: 1"


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ModelServer:
    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await read_head(reader):
                path, headers = head
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(Request(path, headers, json.loads(body)))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                reply = self.respond(self.requests[-1].body)
                try:
                    await send(writer, reply)
                finally:
                    self.under_way -= 1
                if reply.cut:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client hung up, as some tests want it to
        finally:
            writer.close()

    def respond(self, _body: dict[str, Any]) -> Reply:
        """Return the next reply; the last is given again and again."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
    line = await reader.readline()
    if not line:
        return None
    headers = {}
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return line.decode().split()[1], headers


async def send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    await asyncio.sleep(reply.silence)
    writer.write(
        f"HTTP/1.1 {reply.status} X\r\ncontent-type: {reply.content_type}\r\n"
        f"transfer-encoding: chunked\r\n{reply.retry}\r\n\r\n".encode()
    )
    for part in reply.parts:
        if isinstance(part, bytes):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
        else:
            await asyncio.sleep(part)
    if not reply.cut:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def json_reply(body: object, status: int = 200) -> Reply:
    return Reply((json.dumps(body).encode(),), status)


def error_reply(status: int, *, code: str | None = None, kind: str | None = None, message: str = "no") -> Reply:
    return json_reply({"error": {"message": message, "code": code, "type": kind}}, status)


def stream_reply(events: Iterable[object | float], *, done: bool = True, cut: bool = False) -> Reply:
    parts: list[bytes | float] = [
        event if isinstance(event, float) else b"data: " + json.dumps(event).encode() + b"\n\n" for event in events
    ]
    if done:
        parts.append(b"data: [DONE]\n\n")
    return Reply(tuple(parts), content_type="text/event-stream", cut=cut)


@asynccontextmanager
async def serve_model(model: ModelServer | None = None) -> AsyncIterator[ModelServer]:
    model = model or ModelServer()
    server = await asyncio.start_server(model.answer, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()
        await server.wait_closed()
