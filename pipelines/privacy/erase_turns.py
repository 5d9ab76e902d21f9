"""Taking one person's turns out of a transcript that is about somebody else, and indexing what remains."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal, tenant_session
from domain import ingestion
from pipelines.chunk import TranscriptText, chunk_transcript
from pipelines.index import About, ensure_registry, index_transcript, lock_index, withdraw_objects
from pipelines.parsed import Turn
from pipelines.privacy.subjects import Scope
from rag.embedding import Embedder

_TRANSCRIPT: Final = text("""
SELECT t.id, t.object_id, t.title, t.format, t.held_at, t.visibility, t.client_id, t.coach_id, t.coaching_session_id,
    jsonb_agg(jsonb_build_object('speaker', g.speaker, 'speaker_id', g.speaker_id, 'text', g.text, 'start', g.started_s,
        'end', g.ended_s) ORDER BY g.segment_index)
        FILTER (WHERE (g.speaker_id = ANY (:persons)) IS NOT TRUE) AS turns
FROM rag.transcripts t JOIN rag.transcript_segments g ON g.tenant_id = t.tenant_id AND g.transcript_id = t.id
WHERE t.id = :id GROUP BY t.tenant_id, t.id HAVING bool_or(g.speaker_id = ANY (:persons))
""").bindparams(bindparam("persons", type_=ARRAY(Uuid)))
"""Nothing where none of the turns is theirs any more: then it is done."""


async def take_turns_out(system: Principal, scope: Scope, transcript_id: UUID, embedder: Embedder) -> bool:
    """Index the transcript anew without the turns of the scope's persons; False where there are none.

    Its text and all offsets count into what remains, so what was derived from it goes and is derived anew. Where
    nothing remains, the transcript leaves the index.
    """
    async with tenant_session(system) as session:
        row = (await session.execute(_TRANSCRIPT, {"id": transcript_id, "persons": list(scope["persons"])})).first()
        if row is None:
            return False
        turns: list[dict[str, Any]] = row.turns or []
        registry_id = await ensure_registry(session, embedder)
    source = chunk_transcript(
        [Turn(one["speaker"], one["text"], one["start"], one["end"]) for one in turns],
        title=row.title, held_at=row.held_at,
    )  # fmt: skip
    vectors = await embedder.embed([chunk.embedded_text for chunk in source.chunks]) if source.chunks else None
    about = About(
        object_id=row.object_id, title=row.title, visibility=row.visibility, client_id=row.client_id,
        coach_id=row.coach_id, held_at=row.held_at, coaching_session_id=row.coaching_session_id,
        speaker_ids={one["speaker"]: UUID(one["speaker_id"]) for one in turns if one["speaker"] and one["speaker_id"]},
    )  # fmt: skip
    async with tenant_session(system) as session:
        await lock_index(session, registry_id)
        if vectors is None:
            await withdraw_objects(session, [row.object_id])
        else:
            await index_transcript(session, registry_id, about, source, vectors, format=row.format)
        await _record(session, row.object_id, source)
    return True


async def _record(session: AsyncSession, object_id: UUID, source: TranscriptText) -> None:
    """Say what the object gives now; with nothing left it is as if it had left its source."""
    if not source.chunks:
        await ingestion.vanish_objects(session, [object_id])
    await session.execute(
        text("UPDATE ingestion.ingested_objects SET pieces = :pieces, updated_at = now() WHERE id = :id"),
        {"pieces": len(source.chunks), "id": object_id},
    )
