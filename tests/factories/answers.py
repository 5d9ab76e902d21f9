"""Stored answers: a question and an answer that cites exact words of stored sources, as a chat leaves them."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import select

from db.models import Document, Transcript
from db.session import Principal, tenant_session
from domain import chat
from domain.citations import CitedSpan
from domain.consents import record_consent
from tests.factories.sessions import Stored, require_id


@dataclass(frozen=True)
class Answered:
    """One stored answer, in its conversation."""

    message_id: UUID
    session_id: UUID
    asker: Principal


async def cite(asker: Principal, stored: Stored, ordinal: int, words: str) -> CitedSpan:
    """Return the span of these words in a stored source."""
    async with tenant_session(asker.as_system()) as session:
        transcript = await session.scalar(select(Transcript).where(Transcript.id == stored.source_id))
        if transcript is not None:
            from db.models import TranscriptSegment

            turns = await session.scalars(
                select(TranscriptSegment).where(TranscriptSegment.transcript_id == transcript.id)
            )
            turn = next(turn for turn in turns if words in turn.text)
            start, kind, content_hash = turn.char_start + turn.text.index(words), "transcript", transcript.content_hash
        else:
            document = (await session.scalars(select(Document).where(Document.id == stored.source_id))).one()
            start, kind, content_hash = document.text.index(words), "document", document.content_hash
    return CitedSpan(
        ordinal=ordinal, source_id=stored.source_id, source_kind=kind,  # type: ignore[arg-type]  # one of the two
        chunk_id=None, content_hash=content_hash, char_start=start, char_end=start + len(words),
    )  # fmt: skip


async def store_answer(
    asker: Principal, *cited: tuple[Stored, str], question: str = "What did she promise?",
    client: Principal | None = None, evidence: tuple[UUID, ...] = (), session_id: UUID | None = None,
) -> Answered:  # fmt: skip
    """Store a question and an answer of one sentence a citation, the first of which tells the evidence."""
    spans = [await cite(asker, stored, ordinal, words) for ordinal, (stored, words) in enumerate(cited, 1)]
    run_id = uuid4()
    async with tenant_session(asker) as session:
        if session_id is None:
            about = require_id(client) if client else None
            session_id = (await chat.create_session(session, user_id=asker.user_id, client_id=about)).id
        conversation = await chat.get_session(session, session_id)
        await chat.append_question(session, conversation, run_id=run_id, text=question)
    async with tenant_session(asker) as session:
        sentences = tuple(
            chat.StoredSentence(f"It was said: {words}", (ordinal,), evidence if ordinal == 1 else ())
            for ordinal, (_, words) in enumerate(cited, 1)
        )
        message_id = await chat.append_answer(
            session, session_id=session_id, user_id=require_id(asker), run_id=run_id,
            answer=chat.StoredAnswer(
                sentences=sentences or (chat.StoredSentence("Nothing was found.", ()),), citations=tuple(spans),
                facts={"refused": not cited, "provider": "extractive"},
            ),
        )  # fmt: skip
    return Answered(message_id, session_id, asker)


async def agree(person: Principal) -> None:
    """Let the person consent to evaluation."""
    async with tenant_session(person) as session:
        await record_consent(session, user_id=require_id(person), purpose="evaluation", version="1")
