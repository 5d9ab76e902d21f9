"""Claims, patterns and insights over indexed sessions, stored as the pipelines store them."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import (
    Claim,
    ClaimQuote,
    Derivation,
    Insight,
    Pattern,
    PatternClaim,
    Quote,
    Transcript,
    TranscriptSegment,
)
from db.session import tenant_session
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, require_id


async def store_claim(
    organisation: Organisation,
    source: Stored,
    *words: str,
    claim_type: str = "commitment",
    statement: str | None = None,
    opposing: Sequence[str] = (),
    valid_to: date | None = None,
    settles: UUID | None = None,
    status: str = "kept",
    **values: Any,
) -> UUID:
    """Store a claim on these words of the session, each inside one turn; `settles` gives that claim this `status`."""
    async with tenant_session(organisation.system) as session:
        transcript = (await session.scalars(select(Transcript).where(Transcript.id == source.source_id))).one()
        quotes = [(await _store_quote(session, transcript, one), "supporting") for one in words]
        quotes += [(await _store_quote(session, transcript, one), "opposing") for one in opposing]
        claim_id = uuid4()
        about = {name: getattr(transcript, name) for name in ("tenant_id", "visibility", "client_id", "coach_id")}
        given = {
            "holder": "Amina Diallo", "holder_id": transcript.client_id, "modality": "stated", "method": "test/1",
            "subject": None, "valid_from": transcript.held_at and transcript.held_at.date(),
        }  # fmt: skip
        await session.execute(
            insert(Claim).values(
                id=claim_id, transcript_id=transcript.id, claim_type=claim_type, statement=statement or words[0],
                valid_to=valid_to, **about, **given | values,
            )
        )  # fmt: skip
        await session.execute(
            insert(ClaimQuote),
            [
                {"tenant_id": transcript.tenant_id, "claim_id": claim_id, "quote_id": key, "role": role}
                for key, role in quotes
            ],
        )
        if settles is not None:
            settled = (await session.scalars(select(Claim).where(Claim.id == settles))).one()
            settled.status, settled.superseded_by = status, claim_id
    return claim_id


async def _store_quote(session: AsyncSession, transcript: Transcript, words: str) -> UUID:
    segments = list(
        await session.scalars(
            select(TranscriptSegment)
            .where(TranscriptSegment.transcript_id == transcript.id)
            .order_by(TranscriptSegment.segment_index)
        )
    )
    turn = next(segment for segment in segments if words in segment.text)
    text = "\n".join(segment.text for segment in segments)
    start = turn.char_start + turn.text.index(words)
    end = start + len(words)
    found = await session.scalar(
        select(Quote.id).where(
            Quote.transcript_id == transcript.id, Quote.char_start == start, Quote.char_end == end
        )
    )  # fmt: skip
    if found is not None:
        return UUID(str(found))
    quote_id = uuid4()
    await session.execute(
        insert(Quote).values(
            tenant_id=transcript.tenant_id, id=quote_id, transcript_id=transcript.id,
            content_hash=transcript.content_hash, segment_first=turn.segment_index, segment_last=turn.segment_index,
            speaker=turn.speaker, speaker_id=turn.speaker_id, char_start=start, char_end=end, started_s=turn.started_s,
            ended_s=turn.ended_s, exact=words, prefix=text[max(0, start - 32) : start], suffix=text[end : end + 32],
            method="test/1", visibility=transcript.visibility, client_id=transcript.client_id,
            coach_id=transcript.coach_id,
        )
    )  # fmt: skip
    return quote_id


async def store_pattern(
    organisation: Organisation,
    supporting: Sequence[UUID],
    counter: Sequence[UUID] = (),
    *,
    kind: str = "recurrence",
    statement: str = "Amina Diallo spoke of the rota in two of two sessions.",
    subject: str | None = "the rota",
    **values: Any,
) -> UUID:
    """Store a pattern over these claims of one client."""
    pattern_id = uuid4()
    async with tenant_session(organisation.system) as session:
        claims = list(await session.scalars(select(Claim).where(Claim.id.in_([*supporting, *counter]))))
        shared = {one.visibility for one in claims}
        held = list(
            await session.scalars(
                select(Transcript.held_at).where(Transcript.id.in_([one.transcript_id for one in claims]))
            )
        )
        moments = [moment for moment in held if moment]
        given = {
            "client_id": claims[0].client_id, "coach_id": claims[0].coach_id, "first_seen": min(moments),
            "last_seen": max(moments), "sessions_in_scope": 2, "sessions_examined": 2, "sessions_supporting": 2,
            "visibility": shared.pop() if len(shared) == 1 else "coach_only", "method": "test/1",
        }  # fmt: skip
        await session.execute(
            insert(Pattern).values(
                tenant_id=organisation.tenant_id, id=pattern_id, kind=kind, subject=subject, statement=statement,
                **given | values,
            )
        )  # fmt: skip
        await session.execute(
            insert(PatternClaim),
            [
                {"tenant_id": organisation.tenant_id, "pattern_id": pattern_id, "claim_id": key, "role": role}
                for role, keys in (("supporting", supporting), ("counter", counter)) for key in keys
            ],
        )  # fmt: skip
    return pattern_id


async def store_insight(
    organisation: Organisation, *, patterns: Sequence[UUID] = (), claims: Sequence[UUID] = (), title: str = "The rota",
    client_id: UUID | None = None,
) -> UUID:  # fmt: skip
    """Store a draft of an insight over these rows, about client_a unless said otherwise."""
    insight_id = uuid4()
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(Insight).values(
                tenant_id=organisation.tenant_id, id=insight_id, title=title, body="It comes back. Ask why.",
                method="test/1", visibility="coach_only", client_id=client_id or require_id(organisation.client_a),
                coach_id=require_id(organisation.coach_a),
            )
        )  # fmt: skip
        await session.execute(
            insert(Derivation),
            [
                {
                    "tenant_id": organisation.tenant_id, "child_insight_id": insight_id, "parent_pattern_id": pattern,
                    "parent_claim_id": claim, "role": "supporting",
                }
                for pattern, claim in (*((key, None) for key in patterns), *((None, key) for key in claims))
            ],
        )  # fmt: skip
    return insight_id
