"""One session with two people in it, and replies of a model about it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from pipelines.evidence.records import SessionText, Turn
from tests.rag.openai_server import Reply, stream_reply

AMINA, RUTH = UUID(int=1), UUID(int=2)
HELD_AT = datetime(2026, 3, 12, 9, tzinfo=UTC)  # a Thursday
TALK = (
    ("coach", "Good morning, Amina. What would you like to look at today?"),
    ("client", "I want to lead the platform team by the end of the year, but I'm afraid of saying no to people."),
    ("coach", "What happens when you say no?"),
    ("client", "I feel guilty for days. Um, last week I took over the release checklist again."),
    ("coach", "You don't have to keep it. Who could have it?"),
    ("client", "I'll hand over the release checklist to Tobias by next Friday. I can't keep doing nights."),
    ("coach", "That sounds like a clear step. I'll send you the delegation worksheet tomorrow."),
)


def make_session(turns: Sequence[tuple[str, str]] = TALK, *, held_at: datetime | None = HELD_AT) -> SessionText:
    """Return a session of (label, words); "client" is Amina Diallo and "coach" Ruth Ellery."""
    made, position = [], 0
    for index, (label, words) in enumerate(turns):
        made.append(
            Turn(
                index=index, text=words, char_start=position, char_end=position + len(words), speaker=label,
                speaker_id={"client": AMINA, "coach": RUTH}.get(label), started_s=10.0 * index,
            )
        )  # fmt: skip
        position += len(words) + 1
    text = "\n".join(words for _, words in turns)
    return SessionText(
        transcript_id=uuid4(), content_hash=sha256(text.encode()).hexdigest(), turns=made, client_id=AMINA,
        coach_id=RUTH, held_at=held_at, names={AMINA: "Amina Diallo", RUTH: "Ruth Ellery"},
    )  # fmt: skip


def quote(words: str, *, turn: Any = 5, speaker: Any = "Amina Diallo", role: str = "supporting") -> dict[str, Any]:
    """Return a quote as a model gives it."""
    return {"turn": turn, "speaker": speaker, "words": words, "role": role}


def claim(**changes: Any) -> dict[str, Any]:
    """Return a claim as a good model gives it, changed as told."""
    given: dict[str, Any] = {
        "type": "commitment",
        "statement": "Amina Diallo will hand over the release checklist to Tobias by next Friday.",
        "holder": "Amina Diallo", "subject": "release checklist", "polarity": "positive", "modality": "stated",
        "valid_from": None, "valid_to": "2026-03-20",
        "quotes": [quote("I'll hand over the release checklist to Tobias by next Friday.")],
    }  # fmt: skip
    return given | changes


def write(*claims: Any) -> str:
    """Return a reply in JSON."""
    return json.dumps({"claims": list(claims)})


def say(
    text: str, *, finish: str | None = "stop", usage: tuple[Any, Any] | None = (1_000, 100), model: str = "gpt-4o-mini"
) -> Reply:
    """Return the reply of an OpenAI-compatible service, in a few pieces."""
    step = max(len(text) // 5, 1)
    events: list[object] = [
        _chunk(model, text[at : at + step]) for at in range(0, len(text), step)
    ]  # fmt: skip
    if finish:
        events.append(_chunk(model, None, finish=finish))
    if usage:
        events.append(_chunk(model, None) | {
            "choices": [],
            "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": 0},
        })  # fmt: skip
    return stream_reply(events)


def _chunk(model: str, text: str | None, *, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
