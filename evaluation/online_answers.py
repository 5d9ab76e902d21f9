"""Stored answers to score: which of a window may be studied, what was asked, what they cite, what they took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import AgentRun, ChatMessage
from domain.chat import MessageView
from domain.citations import CitationView
from evaluation.records import Cited, Response
from rag.synthesize import format_moment

MOST_EXAMINED: Final = 20_000
"""The newest answers of a window among which a sample is drawn."""

# The draw is a hash of the answer's id, even from 0 to 1: a second run of a window draws the same answers again.
# OFFSET 0 keeps the inner order: whether an answer may be studied is asked of so many only as are wanted.
_CHOOSE: Final = text(
    """
    SELECT c.id, c.created_at, c.session_id, c.user_id, c.role FROM (
        SELECT n.*, u.role FROM (
            SELECT m.tenant_id, m.id, m.created_at, m.session_id, m.user_id,
                   (hashtextextended(m.id::text, 0) & 9007199254740991) / 9007199254740992.0 AS draw
            FROM chat.chat_messages m
            WHERE m.role = 'assistant' AND m.created_at >= :since AND m.created_at < :until
            ORDER BY m.created_at DESC LIMIT :examined
        ) n JOIN identity.users u ON u.tenant_id = n.tenant_id AND u.id = n.user_id
        WHERE n.draw < :share AND NOT EXISTS (
            SELECT FROM evaluation.rag_evaluations e WHERE e.tenant_id = n.tenant_id AND e.message_id = n.id)
        ORDER BY n.draw, n.id OFFSET 0
    ) c WHERE evaluation.may_study(c.tenant_id, c.id) LIMIT :most
    """
)
_SCORED: Final = text(
    """
    SELECT count(*) FROM evaluation.rag_evaluations
    WHERE message_id IS NOT NULL AND message_created_at >= :since AND message_created_at < :until
    """
)
_MAY_LEAVE: Final = text("SELECT evaluation.may_leave(CAST(current_setting('app.tenant_id') AS uuid), :id)")
_MAY_STUDY: Final = text("SELECT evaluation.may_study(CAST(current_setting('app.tenant_id') AS uuid), :id)")


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored answer that may be studied, and who asked for it."""

    id: UUID
    created_at: datetime
    session_id: UUID
    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class Effort:
    """What an answer took, as its run says: milliseconds by stage, tokens, USD; None where that is not known."""

    timings: Mapping[str, float] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


async def choose_answers(
    session: AsyncSession, since: datetime, until: datetime, count: int, share: float
) -> list[Stored]:
    """Draw answers of a window at random, of this share of them: as many as have no score yet of the `count`."""
    window = {"since": since, "until": until}
    left = max(count - int(await session.scalar(_SCORED, window) or 0), 0)
    values = window | {"share": share, "most": left, "examined": MOST_EXAMINED}
    return [Stored(*row) for row in await session.execute(_CHOOSE, values)] if left else []


async def list_efforts(session: AsyncSession, chosen: Sequence[Stored]) -> dict[UUID, Effort]:
    """Return what the runs behind the answers took, by the answer's id."""
    if not chosen:
        return {}
    runs = select(AgentRun.id, AgentRun.metadata_).where(
        AgentRun.session_id.in_({one.session_id for one in chosen}), AgentRun.agent_type == "assistant"
    )
    wanted = {one.id for one in chosen}
    found = ((uuid5(run_id, "answer"), metadata) for run_id, metadata in (await session.execute(runs)).tuples())
    return {message: _read_effort(metadata) for message, metadata in found if message in wanted}


def _read_effort(metadata: Mapping[str, Any]) -> Effort:
    seconds, cost = metadata.get("seconds"), metadata.get("cost_usd")
    timings = {f"{stage}_ms": float(spent) for stage, spent in metadata.get("timings_ms", {}).items()}
    return Effort(
        timings=timings | ({"total_ms": 1_000 * float(seconds)} if seconds is not None else {}),
        input_tokens=metadata.get("input_tokens"), output_tokens=metadata.get("output_tokens"),
        cost_usd=None if cost is None else Decimal(cost),
    )  # fmt: skip


async def may_study(session: AsyncSession, one: Stored) -> bool:
    """Tell whether everyone whose words the answer holds allows it at this moment."""
    return bool(await session.scalar(_MAY_STUDY, {"id": one.id}))


async def may_leave(session: AsyncSession, one: Stored) -> bool:
    """Tell whether everyone whose words the answer holds lets them go to models outside this installation."""
    return bool(await session.scalar(_MAY_LEAVE, {"id": one.id}))


async def find_question(session: AsyncSession, one: Stored) -> str:
    """Return what the answer answers: the last question of its conversation before it."""
    asked = (
        select(ChatMessage.content)
        .where(
            ChatMessage.session_id == one.session_id, ChatMessage.role == "user",
            ChatMessage.created_at < one.created_at,
        )
        .order_by(ChatMessage.created_at.desc()).limit(1)
    )  # fmt: skip
    return (await session.scalar(asked) or "").strip()


def read_response(message: MessageView, effort: Effort) -> Response:
    """Return a stored answer as the scorers take one; its contexts are what it cites, with what was said around."""
    coverage = message.facts.get("coverage") or {}
    return Response(
        text=message.text, refused=bool(message.facts.get("refused")), provider=str(message.facts.get("provider", "")),
        contexts=tuple(_describe(view) for view in message.citations),
        citations=tuple(
            Cited(quote=view.quote, speaker=view.speaker, title=view.title, source_id=str(view.source_id))
            for view in message.citations
        ),
        sessions_in_scope=coverage.get("sessions_in_scope", 0), sessions_examined=coverage.get("sessions_examined", 0),
        timings=effort.timings, input_tokens=effort.input_tokens, output_tokens=effort.output_tokens,
        cost_usd=effort.cost_usd,
    )  # fmt: skip


def _describe(view: CitationView) -> str:
    """Return a citation with what was said around it, as a judge must read it to know who `she` is."""
    spoken = f"{view.speaker}: {view.quote}" if view.speaker else view.quote
    return "\n".join(filter(None, (name_source(view), view.before.strip(), spoken, view.after.strip())))


def name_source(view: CitationView) -> str:
    """Return what an answer may name beside a source's words: its title, who spoke, and when."""
    moment = format_moment(view.held_at, view.started_s) if view.held_at else ""
    return ", ".join(filter(None, (view.title, view.speaker, moment)))
