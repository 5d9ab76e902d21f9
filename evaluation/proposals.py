"""Proposes stored answers as cases; whoever asked confirms what a good answer holds, or rejects.

A proposal is there only while everyone whose words the answer holds allows that it is studied: the database refuses
it otherwise, and removes it, with every case made from it, the moment one of them takes that back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ScalarSelect, Select, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from core.errors import Invalid, NotFound
from db.models import CaseProposal, ChatMessage, Feedback, User
from db.session import BOUND_TO, Principal
from domain.chat import MessageView, get_message
from domain.reading import Read, list_citations_read, record_reading
from evaluation.suites import Case, explain

T = TypeVar("T")
Origin = Literal["feedback", "production"]
Status = Literal["proposed", "confirmed", "rejected"]

MOST_PROPOSED: Final = 1_000
"""What one call proposes at most: people are to read each."""

MOST_EXAMINED: Final = 20_000
"""The newest answers that one call looks at."""

MOST_QUESTIONS: Final = 5
"""Earlier questions of the conversation that are shown, since an answer may lean on them."""


class ProposalNotFound(NotFound):
    """There is no such proposal of yours; list yours to see their ids."""


class UnusableCase(Invalid):
    """A case can't be made of this; correct what it names and confirm it again."""


class NothingToCompare(Invalid):
    """Say what a good answer holds: choose quotes, write a reference, or say that the question can't be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalView:
    """One proposal as whoever asked may see it now; `earlier` are the questions before it, the oldest first.

    While they may not read one of the sources that the answer cites, the proposal is not there for them.
    """

    id: UUID
    origin: str
    status: str
    created_at: datetime
    message_id: UUID
    asked_at: datetime
    question: str
    earlier: tuple[str, ...]
    answer: MessageView
    rating: int | None
    rating_reason: str | None
    comment: str | None
    user_input: str | None
    reference: str | None
    reference_contexts: tuple[str, ...]
    answerable: bool
    decided_at: datetime | None
    reason: str | None


# Taken before the statement looks: a withdrawal that is under way is waited for, and one that comes later waits.
_WAIT_FOR_WITHDRAWALS: Final = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('study:' || current_setting('app.tenant_id'), 0))"
)
# One question of consent for all candidates together: asked one by one it would take minutes.
_PROPOSE: Final = """
    WITH candidates AS MATERIALIZED ({candidates})
    INSERT INTO evaluation.case_proposals (tenant_id, user_id, message_id, message_created_at, origin)
    SELECT m.tenant_id, m.user_id, m.id, m.created_at, '{origin}' FROM candidates m
    JOIN evaluation.list_allowed(
        (SELECT current_setting('app.tenant_id')::uuid), ARRAY(SELECT c.id FROM candidates c)
    ) AS allowed ON allowed = m.id
    ORDER BY m.place, m.id LIMIT :limit
    ON CONFLICT (tenant_id, message_id) DO NOTHING RETURNING id
"""
_NEW: Final = """
    m.role = 'assistant' AND NOT EXISTS (
        SELECT FROM evaluation.case_proposals p WHERE p.tenant_id = m.tenant_id AND p.message_id = m.id)
"""
_FROM_FEEDBACK: Final = text(
    _PROPOSE.format(
        origin="feedback",
        candidates=f"""
            SELECT m.tenant_id, m.user_id, m.id, m.created_at, row_number() OVER (ORDER BY f.created_at DESC) AS place
            FROM evidence.feedback f
            JOIN chat.chat_messages m ON m.tenant_id = f.tenant_id AND m.id = f.target_id AND m.user_id = f.user_id
            WHERE f.target_type = 'message' AND f.rating <> 0 AND f.may_be_studied AND {_NEW}
            ORDER BY f.created_at DESC LIMIT {MOST_EXAMINED}
        """,
    )
)
# The draw is a hash of the answer's id, even from 0 to 1, so that the same seed draws the same answers again.
_FROM_PRODUCTION: Final = text(
    _PROPOSE.format(
        origin="production",
        candidates=f"""
            SELECT n.* FROM (
                SELECT m.tenant_id, m.user_id, m.id, m.created_at,
                       (hashtextextended(m.id::text, :seed) & 9007199254740991) / 9007199254740992.0 AS place
                FROM chat.chat_messages m
                WHERE {_NEW} AND m.created_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
                ORDER BY m.created_at DESC LIMIT {MOST_EXAMINED}
            ) n WHERE n.place < :share
        """,
    )
)


async def propose_from_feedback(session: AsyncSession, limit: int = 100) -> int:
    """Propose answers whose asker rated them, up or down, and let them be studied; return how many are new.

    The newest opinions come first, at most `MOST_PROPOSED` at once. Needs a session of the pipelines.
    """
    await session.execute(_WAIT_FOR_WITHDRAWALS)
    made = await session.scalars(_FROM_FEEDBACK, {"limit": min(limit, MOST_PROPOSED)})
    return len(made.all())


async def propose_from_production(
    session: AsyncSession, *, count: int | None = None, share: float | None = None, since: datetime | None = None,
    seed: int = 0,
) -> int:  # fmt: skip
    """Propose a random sample of the answers that may be studied and are not proposed yet; return how many are new.

    `share` (0 to 1) decides answer by answer, always alike under the same seed; `count` takes the first of that order,
    at most `MOST_PROPOSED`. Only the newest `MOST_EXAMINED` answers since `since` are looked at. Needs a session of
    the pipelines.
    """
    await session.execute(_WAIT_FOR_WITHDRAWALS)
    values = {
        "limit": MOST_PROPOSED if count is None else min(count, MOST_PROPOSED),
        "share": 1.0 if share is None else share, "since": since, "seed": seed,
    }  # fmt: skip
    return len((await session.scalars(_FROM_PRODUCTION, values)).all())


async def count_waiting(session: AsyncSession) -> dict[str, int]:
    """Return how many proposals wait for each person, by e-mail, the most first."""
    counted = (
        select(User.email, func.count()).join(CaseProposal, CaseProposal.user_id == User.id)
        .where(CaseProposal.status == "proposed").group_by(User.email).order_by(func.count().desc(), User.email)
    )  # fmt: skip
    return dict((await session.execute(counted)).tuples().all())


def select_proposals(status: Status | None = None, origin: Origin | None = None) -> Select[Any]:
    """Return the reader's proposals as rows of (proposal, question, rating); order by `(created_at, id)`."""
    query = select(
        CaseProposal, _select_of_question(ChatMessage.content).label("question"), _select_rating().label("rating")
    )
    if status is not None:
        query = query.where(CaseProposal.status == status)
    return query if origin is None else query.where(CaseProposal.origin == origin)


async def get_proposal(session: AsyncSession, proposal_id: UUID) -> ProposalView:
    """Return one of the reader's proposals with its answer as they may see it now; raises `ProposalNotFound`."""
    proposal = await _get(session, proposal_id)
    answer = await get_message(session, proposal.message_id)
    asked = await _list_questions(session, proposal)
    opinion = await session.scalar(
        select(Feedback).where(
            Feedback.target_type == "message", Feedback.target_id == proposal.message_id,
            Feedback.user_id == proposal.user_id,
        )
    )  # fmt: skip
    return ProposalView(
        id=proposal.id, origin=proposal.origin, status=proposal.status, created_at=proposal.created_at,
        message_id=proposal.message_id, asked_at=asked[-1].created_at if asked else proposal.message_created_at,
        question=asked[-1].content if asked else "", earlier=tuple(one.content for one in asked[:-1]), answer=answer,
        rating=opinion.rating if opinion else None, rating_reason=opinion.reason if opinion else None,
        comment=opinion.comment if opinion else None, user_input=proposal.user_input, reference=proposal.reference,
        reference_contexts=tuple(proposal.reference_contexts),
        answerable=proposal.answerable, decided_at=proposal.decided_at, reason=proposal.reason,
    )  # fmt: skip


async def read_proposal(session: AsyncSession, proposal_id: UUID) -> ProposalView:
    """Return what `get_proposal` does, to be shown to the reader, and note that they read it."""
    found = await get_proposal(session, proposal_id)
    read: Read = {"case_proposal": [found.id], "message": [found.message_id]}
    cited = list_citations_read(found.answer.citations)
    await record_reading(session, "proposal_read", read, cited, entity=("case_proposal", found.id))
    return found


async def confirm_proposal(
    session: AsyncSession, proposal_id: UUID, *, user_input: str | None = None, reference: str | None = None,
    quotes: Sequence[int] = (), answerable: bool = True,
) -> ProposalView:  # fmt: skip
    """Make the stored answer a case, with the question as it was asked unless another is given.

    `quotes` are ordinals of the answer's citations; their exact words become what a good answer stands on. Confirmed
    again, or after a rejection, it says the new; versions of a dataset that were built before keep what they have.
    Raises `ProposalNotFound`, `NothingToCompare`, and `UnusableCase` where a quote or the words can't be used.
    """
    seen = await get_proposal(session, proposal_id)
    words = {citation.ordinal: citation.quote.strip() for citation in seen.answer.citations}
    missing = next((ordinal for ordinal in quotes if ordinal not in words), None)
    if missing is not None:
        raise UnusableCase(f"The answer has no citation {missing} that you may read; choose of those it shows.")
    if answerable and not quotes and not (reference or "").strip():
        raise NothingToCompare
    try:
        case = Case(
            id=str(proposal_id), user_input=seen.question if user_input is None else user_input,
            reference=(reference or "").strip() or None,
            reference_contexts=tuple(dict.fromkeys(words[ordinal] for ordinal in quotes)), answerable=answerable,
        )  # fmt: skip
    except ValidationError as error:
        raise UnusableCase(f"{explain(error)}; correct it and confirm again.") from error
    await _decide(
        session, proposal_id, "confirmed", user_input=case.user_input, reference=case.reference,
        reference_contexts=list(case.reference_contexts), answerable=case.answerable, reason=None,
    )  # fmt: skip
    return await read_proposal(session, proposal_id)


async def reject_proposal(session: AsyncSession, proposal_id: UUID, *, reason: str) -> ProposalView:
    """Keep the stored answer from becoming a case of datasets built from now on; raises `ProposalNotFound`.

    What was confirmed of it is emptied. It is not proposed again.
    """
    await _decide(
        session, proposal_id, "rejected", user_input=None, reference=None, reference_contexts=[], answerable=True,
        reason=reason,
    )  # fmt: skip
    return await read_proposal(session, proposal_id)


async def _decide(session: AsyncSession, proposal_id: UUID, status: Status, **words: Any) -> None:  # noqa: ANN401  # columns
    reader: Principal = session.info[BOUND_TO]
    decided = await session.scalar(
        update(CaseProposal).where(CaseProposal.id == proposal_id)
        .values(status=status, decided_by=reader.user_id, decided_at=func.clock_timestamp(), **words)
        .returning(CaseProposal.id)
    )  # fmt: skip
    if decided is None:
        raise ProposalNotFound


async def _get(session: AsyncSession, proposal_id: UUID) -> CaseProposal:
    found = await session.scalar(
        select(CaseProposal).where(CaseProposal.id == proposal_id).execution_options(populate_existing=True)
    )
    if found is None:
        raise ProposalNotFound
    return found


def select_moment() -> ScalarSelect[datetime]:
    """Return, for each proposal a query selects, when its question was asked; null where only the answer is left."""
    return _select_of_question(ChatMessage.created_at)


def _select_of_question(column: InstrumentedAttribute[T]) -> ScalarSelect[T]:
    """Return a column of the last question that was asked in the conversation before the answer."""
    asked, answer = aliased(ChatMessage), aliased(ChatMessage)
    return (
        select(getattr(asked, column.key))
        .join(answer, and_(answer.tenant_id == asked.tenant_id, answer.session_id == asked.session_id))
        .where(
            answer.tenant_id == CaseProposal.tenant_id, answer.id == CaseProposal.message_id,
            answer.created_at == CaseProposal.message_created_at, asked.role == "user",
            asked.created_at < answer.created_at,
        )
        .order_by(asked.created_at.desc()).limit(1).correlate(CaseProposal).scalar_subquery()
    )  # fmt: skip


def _select_rating() -> ScalarSelect[int]:
    return (
        select(Feedback.rating)
        .where(
            Feedback.tenant_id == CaseProposal.tenant_id, Feedback.target_type == "message",
            Feedback.target_id == CaseProposal.message_id, Feedback.user_id == CaseProposal.user_id,
        )
        .correlate(CaseProposal).scalar_subquery()
    )  # fmt: skip


async def _list_questions(session: AsyncSession, proposal: CaseProposal) -> list[ChatMessage]:
    """Return the questions up to the answer's own, the oldest of the last few first."""
    conversation = (
        select(ChatMessage.session_id)
        .where(ChatMessage.id == proposal.message_id, ChatMessage.created_at == proposal.message_created_at)
        .scalar_subquery()
    )  # fmt: skip
    query = (
        select(ChatMessage)
        .where(
            ChatMessage.session_id == conversation, ChatMessage.role == "user",
            ChatMessage.created_at < proposal.message_created_at,
        )
        .order_by(ChatMessage.created_at.desc()).limit(MOST_QUESTIONS + 1)
    )  # fmt: skip
    return list(reversed((await session.scalars(query)).all()))
