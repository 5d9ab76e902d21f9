"""Applies corrections to a transcript: its turns read otherwise, and it is parted, embedded and indexed anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.storage import ObjectStore
from db.models import Correction
from db.session import Principal, tenant_session
from domain.corrections import (
    CorrectionDecided,
    CorrectionNotFound,
    CorrectionOutdated,
    TurnCorrection,
    hash_turn,
    list_applied,
    settle_correction,
)
from domain.speakers import fold_label
from pipelines.chunk import TranscriptText, chunk_transcript
from pipelines.index import About, embed_allowed, ensure_registry, index_transcript, lock_index
from pipelines.parsed import Turn
from rag.embedding import Embedder

_SOURCE: Final = text("""
SELECT t.id, t.title, t.format, t.held_at, t.visibility, t.client_id, t.coach_id, t.coaching_session_id, t.content_hash,
       o.storage_key
FROM rag.transcripts t JOIN ingestion.ingested_objects o ON o.tenant_id = t.tenant_id AND o.id = t.object_id
WHERE t.object_id = :object_id
""")
_TURNS: Final = text("""
SELECT speaker, speaker_id, text, started_s, ended_s FROM rag.transcript_segments
WHERE transcript_id = :transcript_id ORDER BY segment_index
""")
_FORGET_ORIGINAL: Final = text(
    "UPDATE ingestion.ingested_objects SET storage_key = NULL WHERE id = :object_id AND storage_key IS NOT NULL"
)


def correct_turns(
    turns: Sequence[Turn], corrections: Sequence[TurnCorrection], speakers: Mapping[str, UUID]
) -> tuple[list[Turn], dict[str, UUID]] | None:
    """Return the turns as they should read, and who each label is; None where no correction fits what is said there.

    `speakers` are those of the labels that are known. A turn that has come to read otherwise keeps what it says.
    """
    said, labels, did = list(turns), dict(speakers), False
    for one in corrections:
        if one.segment_index >= len(said) or hash_turn(said[one.segment_index].text) != one.turn_hash:
            continue
        turn = said[one.segment_index]
        if one.text is not None:
            turn = replace(turn, text=one.text)
        else:
            label = next((name for name, user in labels.items() if user == one.speaker_id), None)
            label = label or _new_label(one, labels)
            labels[label] = one.speaker_id  # type: ignore[assignment]  # its kind has one
            turn = replace(turn, speaker=label)
        said[one.segment_index], did = turn, True
    return (said, labels) if did else None


def _new_label(one: TurnCorrection, labels: Mapping[str, UUID]) -> str:
    """Return a label for someone who has none in this transcript: their name, told apart where it is another's."""
    name, taken = one.speaker or "Speaker", {fold_label(label) for label in labels}
    return name if fold_label(name) not in taken else f"{name} ({str(one.speaker_id)[:8]})"


async def apply_correction(
    decider: Principal, correction_id: UUID, *, embedder: Embedder, originals: ObjectStore, decision: str | None = None
) -> None:
    """Apply a requested correction of a turn, decided by this person, in one transaction.

    The source gets a new version; what was derived from the old one is stale by the database's own rules. The wrong
    words are kept nowhere: the original in our object store goes too. Raises `CorrectionNotFound`,
    `CorrectionDecided`, `CorrectionOutdated`, `NotTheDecider`, `OtherModelActive`.
    """
    system = decider.as_system()
    async with tenant_session(system) as session:
        row = await session.scalar(select(Correction).where(Correction.id == correction_id))
        if row is None or row.object_id is None:
            raise CorrectionNotFound
        if row.status != "requested":
            raise CorrectionDecided
        source = (await session.execute(_SOURCE, {"object_id": row.object_id})).one_or_none()
        if source is None:
            raise CorrectionOutdated
        turns, speakers = await _read_turns(session, source.id)
        asked = [one for one in await list_applied(session, row.object_id, also=correction_id)
                 if (one.segment_index, one.turn_hash) == (row.segment_index, row.turn_hash)]  # fmt: skip
        object_id = row.object_id
    corrected = correct_turns(turns, asked[-1:], speakers)
    if corrected is None:
        raise CorrectionOutdated
    said, labels = corrected
    chunked = chunk_transcript(said, title=source.title, held_at=source.held_at)
    texts = [chunk.embedded_text for chunk in chunked.chunks]
    vectors = await embed_allowed(system, embedder, texts, [source.client_id] * len(texts))
    about = About(
        object_id=object_id, title=source.title, visibility=source.visibility, client_id=source.client_id,
        coach_id=source.coach_id, held_at=source.held_at, coaching_session_id=source.coaching_session_id,
        speaker_ids=labels,
    )  # fmt: skip
    async with tenant_session(system) as session:
        registry = await ensure_registry(session, embedder)
        await lock_index(session, registry)
        now = (await session.execute(_SOURCE, {"object_id": object_id})).one_or_none()
        if now is None or now != source or await _read_turns(session, source.id) != (turns, speakers):
            raise CorrectionOutdated
        await settle_correction(session, correction_id, "applied", decided_by=decider.user_id, decision=decision)
        await index_transcript(session, registry, about, chunked, vectors, format=source.format)
        await session.execute(_FORGET_ORIGINAL, {"object_id": object_id})
    if source.storage_key is not None:
        await originals.purge(source.storage_key)  # its older versions too


async def _read_turns(session: AsyncSession, transcript_id: UUID) -> tuple[list[Turn], dict[str, UUID]]:
    rows: Sequence[Any] = (await session.execute(_TURNS, {"transcript_id": transcript_id})).all()
    speakers = {row.speaker: row.speaker_id for row in rows if row.speaker is not None and row.speaker_id is not None}
    return [Turn(row.speaker, row.text, row.started_s, row.ended_s) for row in rows], speakers


async def correct_source(
    session: AsyncSession, object_id: UUID, source: TranscriptText, about: About
) -> tuple[list[Turn], About] | None:
    """Return what a source that was read again should say, by the corrections applied to it; None where none fits."""
    corrections = await list_applied(session, object_id)
    if not corrections:
        return None
    turns = [Turn(one.speaker, one.text, one.start, one.end) for one in source.segments]
    found = {label: user for label in {one.speaker for one in turns if one.speaker}
             if (user := about.find_speaker(label)) is not None}  # fmt: skip
    corrected = correct_turns(turns, corrections, found)
    return None if corrected is None else (corrected[0], replace(about, speaker_ids=corrected[1]))
