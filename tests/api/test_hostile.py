"""Text that no database stores, and ids and cursors that nobody gave out, are refused or taken, and never break."""

from uuid import uuid4

import pytest

from tests.api.conftest import Connect

HOSTILE = [
    "\x00",
    "a\x00b",
    "\ud800",
    "x" * 5_000,
    "'; DROP TABLE chat.chat_sessions; --",
    "%s %(a)s {}",
    "\u202e\u0007",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_never_a_defect(connect: Connect, text: str) -> None:
    import json

    coach = connect("coach_a")
    created = await coach.post("/v1/chat/sessions", json={})
    session_url = f"/v1/chat/sessions/{created.json()['id']}"
    bodies = [
        ("/v1/chat/sessions", {"title": text}),
        (f"{session_url}/messages", {"content": text}),
        ("/v1/search", {"query": text}),
        ("/v1/search", {"query": "harbour", "speakers": [text]}),
        ("/v1/chat/completions", {"model": "sasha", "messages": [{"role": "user", "content": text}]}),
        ("/v1/chat/completions", {"model": text, "messages": [{"role": "user", "content": "Hello?"}]}),
    ]
    for path, body in bodies:
        reply = await coach.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert reply.status_code < 500, (path, reply.text)
        assert "event: error" not in reply.text
    for path in (
        "/v1/chat/sessions",
        f"{session_url}/messages",
        "/v1/clients",
        "/v1/ingestions",
        f"/v1/transcripts/{uuid4()}",
    ):
        reply = await coach.get(path, params={"cursor": text.encode("utf-8", "replace")})
        assert reply.status_code in {404, 422}, path


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"content": 5}'])
async def test_broken_bodies_are_problems(connect: Connect, body: bytes) -> None:
    for path in ("/v1/search", "/v1/chat/completions", f"/v1/chat/sessions/{uuid4()}/messages"):
        reply = await connect("coach_a").post(path, content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code in {400, 422}, path
        assert reply.headers["content-type"] == "application/problem+json"


async def test_uploads_keep_their_place(connect: Connect) -> None:
    for name in ("../../etc/passwd", "..", "a/b/../c", "\\\\server\\share"):
        reply = await connect("coach_a").post("/v1/ingestions", files={"file": (name, b"text")})
        assert reply.status_code in {422, 503}, name
