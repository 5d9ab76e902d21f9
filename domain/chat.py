"""Conversations: what was asked, what was answered, on whose words, and who may still read them."""

from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid5

from sqlalchemy import Uuid, cast, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import AgentFailure, AgentRun, ChatMessage, ChatSession, MessageCitation, User
from domain.citations import CitationView, CitedSpan, find_readable_evidence, list_citation_views
from domain.identity import bound_tenant

WITHHELD: Final = "[withheld: its source is no longer available to you]"
TITLE_LENGTH: Final = 80
_BOUND_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)
"""The bound tenant, read inside a statement: no round trip of its own before the first event."""

RunStatus = Literal["running", "succeeded", "failed", "refused", "cancelled"]


class ChatSessionNotFound(NotFound):
    """There is no such conversation of yours; list yours to see their ids."""


class ClientNotFound(NotFound):
    """There is no such client that you may see; list your clients to see their ids."""


class MessageNotFound(NotFound):
    """There is no such message of yours; read the conversation to see its messages."""


class AnswerUnderWay(Conflict):
    """A message with this idempotency key is being answered or broke off; read the conversation, or use a new key."""


class KeyReused(Conflict):
    """This idempotency key was used with other content; use a new key for a new request."""


class NotAPerson(Invalid):
    """Only a person can hold a conversation; sign in as a user."""


@dataclass(frozen=True, slots=True)
class StoredSentence:
    """One sentence of an answer, the ordinals of its citations, and the claims and patterns it tells."""

    text: str
    citations: tuple[int, ...]
    evidence: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What is kept of an answer; `facts` are its coverage, provider and the like, as JSON."""

    sentences: tuple[StoredSentence, ...]
    citations: tuple[CitedSpan, ...]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceView:
    """One sentence as its reader may see it now."""

    text: str
    citations: tuple[int, ...]
    withheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """One message as its reader may see it now; a question has no sentences."""

    id: UUID
    role: str
    created_at: datetime
    text: str
    sentences: tuple[SentenceView, ...]
    citations: tuple[CitationView, ...]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure inside a run."""

    error_type: str
    message: str
    retryable: bool


async def create_session(
    session: AsyncSession,
    *,
    user_id: UUID | None,
    client_id: UUID | None = None,
    title: str | None = None,
    key: str | None = None,
) -> ChatSession:
    """Open a conversation; the same idempotency key returns the same one.

    Raises `ClientNotFound`, and `KeyReused` where the key was used with another client or title.
    """
    if user_id is None:
        raise NotAPerson
    if client_id is not None:
        found = await session.scalar(select(User.id).where(User.id == client_id, User.role == "client"))
        if found is None:
            raise ClientNotFound
    values: dict[str, Any] = {
        "tenant_id": await bound_tenant(session), "user_id": user_id, "client_id": client_id, "title": title,
    }  # fmt: skip
    if key is not None:
        values["id"] = uuid5(user_id, f"chat-session:{key}")
        await session.execute(insert(ChatSession).values(values).on_conflict_do_nothing())
        stored = await get_session(session, values["id"])
        if stored.client_id != client_id or (title is not None and stored.title != title):
            raise KeyReused
        return stored
    row = ChatSession(**values)
    session.add(row)
    await session.flush()
    return row


async def get_session(session: AsyncSession, session_id: UUID) -> ChatSession:
    """Return the reader's own conversation; raises `ChatSessionNotFound`."""
    row = await session.scalar(select(ChatSession).where(ChatSession.id == session_id))
    if row is None:
        raise ChatSessionNotFound
    return row


async def list_sessions(
    session: AsyncSession, *, limit: int, before: tuple[datetime, UUID] | None = None
) -> list[ChatSession]:
    """Return the reader's conversations, the last used first, from after the place `before`."""
    query = select(ChatSession).order_by(ChatSession.updated_at.desc(), ChatSession.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(ChatSession.updated_at, ChatSession.id) < before)
    return list(await session.scalars(query))


async def list_questions(session: AsyncSession, session_id: UUID, *, limit: int) -> list[str]:
    """Return what was asked in the conversation, the oldest of the last `limit` first."""
    query = (
        select(ChatMessage.content)
        .where(ChatMessage.session_id == session_id, ChatMessage.role == "user")
        .order_by(ChatMessage.created_at.desc())
        .limit(limit)
    )
    return list(reversed((await session.scalars(query)).all()))


async def append_question(session: AsyncSession, chat: ChatSession, *, run_id: UUID, text: str) -> None:
    """Add a question to the conversation, whose title it becomes where there is none."""
    session.add(
        ChatMessage(
            tenant_id=chat.tenant_id, id=uuid5(run_id, "question"), session_id=chat.id, user_id=chat.user_id,
            role="user", content=text,
        )
    )  # fmt: skip
    title = chat.title or " ".join(text.split())[:TITLE_LENGTH]
    await session.execute(
        update(ChatSession).where(ChatSession.id == chat.id).values(updated_at=func.clock_timestamp(), title=title)
    )


async def append_answer(
    session: AsyncSession, *, session_id: UUID, user_id: UUID, run_id: UUID, answer: StoredAnswer
) -> UUID:
    """Add an answer with its citations to the conversation and return its id."""
    tenant_id = await bound_tenant(session)
    message_id = uuid5(run_id, "answer")
    message = ChatMessage(
        tenant_id=tenant_id, id=message_id, session_id=session_id, user_id=user_id, role="assistant",
        content=" ".join(sentence.text for sentence in answer.sentences),
        references={
            "sentences": [_write_sentence(sentence) for sentence in answer.sentences],
            "citations": [_write_span(span) for span in answer.citations], **answer.facts,
        },
    )  # fmt: skip
    session.add(message)
    await session.flush()  # the citations' foreign key names it, and the time at which the database stored it
    session.add_all(
        MessageCitation(
            tenant_id=tenant_id, message_id=message_id, message_created_at=message.created_at, ordinal=span.ordinal,
            user_id=user_id, chunk_id=span.chunk_id,
            transcript_id=span.source_id if span.source_kind == "transcript" else None,
            document_id=span.source_id if span.source_kind == "document" else None,
            content_hash=span.content_hash, char_start=span.char_start, char_end=span.char_end,
        )
        for span in answer.citations
    )  # fmt: skip
    return message_id


async def list_messages(
    session: AsyncSession, session_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
) -> list[MessageView]:
    """Return the conversation's messages, the oldest first, as the reader may see them at this moment.

    A sentence of an answer is withheld unless every source it cites and every claim and pattern it tells is there,
    unchanged, and visible to the reader.
    """
    query = (
        select(ChatMessage)
        .where(ChatMessage.session_id == session_id)
        .order_by(ChatMessage.created_at, ChatMessage.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(ChatMessage.created_at, ChatMessage.id) > after)
    return await render_messages(session, list(await session.scalars(query)))


async def list_last_messages(session: AsyncSession, session_id: UUID, *, limit: int) -> list[MessageView]:
    """Return the conversation's last messages, the oldest of them first, as the reader may see them at this moment."""
    query = (
        select(ChatMessage)
        .where(ChatMessage.session_id == session_id)
        .order_by(ChatMessage.created_at.desc(), ChatMessage.id.desc())
        .limit(limit)
    )
    return await render_messages(session, list(reversed((await session.scalars(query)).all())))


async def check_question(session: AsyncSession, run_id: UUID, text: str) -> None:
    """Raise `KeyReused` where this run was about another question."""
    asked = await session.scalar(select(ChatMessage.content).where(ChatMessage.id == uuid5(run_id, "question")))
    if asked != text:
        raise KeyReused


async def find_answer(session: AsyncSession, run_id: UUID) -> MessageView | None:
    """Return the answer of this run as the reader may see it now, or None."""
    row = await session.scalar(select(ChatMessage).where(ChatMessage.id == uuid5(run_id, "answer")))
    return (await render_messages(session, [row]))[0] if row else None


async def get_message(session: AsyncSession, message_id: UUID) -> MessageView:
    """Return one message as the reader may see it now; raises `MessageNotFound`."""
    row = await session.scalar(select(ChatMessage).where(ChatMessage.id == message_id))
    if row is None:
        raise MessageNotFound
    return (await render_messages(session, [row]))[0]


async def render_messages(session: AsyncSession, messages: Sequence[ChatMessage]) -> list[MessageView]:
    """Return the messages as the session's reader may see them now, whoever they were written for."""
    # Where an answer points stands in its own row: the rows of message_citations go when their source is indexed
    # anew, though the same words come back under the same id.
    spans = [
        (message.id, _read_span(cited)) for message in messages for cited in message.references.get("citations", ())
    ]
    views = await list_citation_views(session, [span for _, span in spans])
    readable: dict[UUID, dict[int, CitationView]] = {}
    for (message_id, span), view in zip(spans, views, strict=True):
        if view is not None:
            readable.setdefault(message_id, {})[span.ordinal] = view
    told = {one for message in messages for item in message.references.get("sentences", ()) for one in _list_told(item)}
    lost = told - await find_readable_evidence(session, told)
    return [_view_message(message, readable.get(message.id, {}), lost) for message in messages]


def _write_sentence(sentence: StoredSentence) -> dict[str, Any]:
    written: dict[str, Any] = {"text": sentence.text, "citations": list(sentence.citations)}
    return written | {"evidence": [str(one) for one in sentence.evidence]} if sentence.evidence else written


def _list_told(item: dict[str, Any]) -> frozenset[UUID]:
    return frozenset(UUID(one) for one in item.get("evidence", ()))


def _write_span(span: CitedSpan) -> dict[str, Any]:
    return asdict(span) | {"source_id": str(span.source_id), "chunk_id": span.chunk_id and str(span.chunk_id)}


def _read_span(cited: dict[str, Any]) -> CitedSpan:
    chunk_id = cited["chunk_id"]
    return CitedSpan(
        **cited | {"source_id": UUID(cited["source_id"]), "chunk_id": UUID(chunk_id) if chunk_id else None}
    )


def _view_message(message: ChatMessage, readable: dict[int, CitationView], lost: Set[UUID]) -> MessageView:
    facts = dict(message.references)
    told = facts.pop("sentences", [])
    facts.pop("citations", None)
    sentences = tuple(
        SentenceView(text=item["text"], citations=tuple(item["citations"]), withheld=False)
        if readable.keys() >= set(item["citations"]) and not _list_told(item) & lost
        else SentenceView(text=WITHHELD, citations=(), withheld=True)
        for item in told
    )
    if any(sentence.withheld for sentence in sentences):
        facts["understood"] = ""  # it names whom and when the withheld words were about
    shown = {ordinal for sentence in sentences for ordinal in sentence.citations}
    # neighbours that are withheld say so once
    texts = [s.text for n, s in enumerate(sentences) if not (s.withheld and n and sentences[n - 1].withheld)]
    return MessageView(
        id=message.id, role=message.role, created_at=message.created_at,
        text=" ".join(texts) if message.role == "assistant" else message.content,
        sentences=sentences, citations=tuple(view for n, view in sorted(readable.items()) if n in shown), facts=facts,
    )  # fmt: skip


async def start_run(
    session: AsyncSession, *, run_id: UUID, user_id: UUID | None, session_id: UUID | None, agent_type: str
) -> bool:
    """Note that a run began; False where this run is there already."""
    made = await session.scalar(
        insert(AgentRun)
        .values(
            tenant_id=_BOUND_TENANT, id=run_id, user_id=user_id, session_id=session_id,
            agent_type=agent_type, status="running",
        )
        .on_conflict_do_nothing()
        .returning(AgentRun.id)
    )  # fmt: skip
    return made is not None


async def finish_run(
    session: AsyncSession,
    run_id: UUID,
    status: RunStatus,
    *,
    metadata: dict[str, Any],
    failures: Sequence[Failure] = (),
) -> None:
    """Note how a run ended, what it used, and what failed inside it."""
    await session.execute(
        update(AgentRun)
        .where(AgentRun.id == run_id)
        .values(status=status, completed_at=func.clock_timestamp(), metadata_=metadata)
    )
    if not failures:
        return
    tenant_id = await bound_tenant(session)
    session.add_all(
        AgentFailure(
            tenant_id=tenant_id, agent_run_id=run_id, error_type=failure.error_type,
            error_message=failure.message, retryable=failure.retryable,
        )
        for failure in failures
    )  # fmt: skip
