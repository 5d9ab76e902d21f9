"""A receiver of webhooks on this machine that answers, delays and breaks as a test tells it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """One response: `silence` is the pause before it in seconds, `endless` a body that never stops."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    silence: float = 0.0
    endless: bool = False
    hang_up: bool = False


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Gives its answers in turn, the last again and again."""

    url: str = ""
    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    received: list[Received] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    sent_bytes: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.received.append(Received(head[0].split()[1], headers, body))
            await self._answer(writer, self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the sender hung up, as some tests want it to
        finally:
            self.at_once -= 1
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await asyncio.sleep(answer.silence)
        if answer.hang_up:
            return
        lines = [
            f"HTTP/1.1 {answer.status} X",
            "connection: close",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        if not answer.endless:
            lines.append(f"content-length: {len(answer.body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        await writer.drain()
        while answer.endless:
            writer.write(b"x" * 1_000)
            self.sent_bytes += 1_000
            await writer.drain()


@asynccontextmanager
async def receive(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=list(answers) or [Answer()])
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    receiver.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
        await server.wait_closed()
