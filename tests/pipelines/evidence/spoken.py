"""Sessions made of a few spoken lines, for tests that need no store."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from uuid import UUID, uuid5

from pipelines.evidence.records import SessionText, Turn

SESSION = UUID("00000000-0000-4000-8000-000000000001")


def make_session(
    *lines: tuple[str | None, str],
    people: Mapping[str, UUID] | None = None,
    names: Mapping[UUID, str] | None = None,
    client: UUID | None = None,
    coach: UUID | None = None,
) -> SessionText:
    """Return a session of these (label, words); a turn every ten seconds. `people` says whose the labels are."""
    turns: list[Turn] = []
    at = 0
    for index, (speaker, words) in enumerate(lines):
        turns.append(
            Turn(
                index=index,
                text=words,
                char_start=at,
                char_end=at + len(words),
                speaker=speaker,
                speaker_id=(people or {}).get(speaker or ""),
                started_s=index * 10.0,
                ended_s=index * 10.0 + 9,
            )
        )
        at += len(words) + 1
    text = "\n".join(turn.text for turn in turns)
    digest = sha256(text.encode(errors="replace")).hexdigest()
    return SessionText(
        transcript_id=uuid5(SESSION, digest),
        content_hash=digest,
        turns=turns,
        names=names or {},
        client_id=client,
        coach_id=coach,
    )


def stretches(session: SessionText) -> Sequence[str]:
    """Return what each speaker says until another speaks."""
    found: list[str] = []
    before: Turn | None = None
    for turn in session.turns:
        if before is not None and turn.speaker is not None and before.speaker == turn.speaker:
            found[-1] += "\n" + turn.text
        else:
            found.append(turn.text)
        before = turn
    return found
