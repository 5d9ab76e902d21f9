"""What people think of what the assistant made for them: one opinion a person and thing, theirs to take back."""

from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from db.models import Feedback
from db.session import BOUND_TO, Principal

Target = Literal["message", "insight", "claim", "pattern", "quote"]
Rating = Literal[-1, 0, 1]

_TABLES: Final[dict[Target, str]] = {
    "message": "chat.chat_messages", "insight": "evidence.insights", "claim": "evidence.claims",
    "pattern": "evidence.patterns", "quote": "evidence.quotes",
}  # fmt: skip
# What the opinion is about must be there for the person at that moment: row-level security decides, in this statement.
_GIVE: Final = {
    target: text(
        f"""
        INSERT INTO evidence.feedback (tenant_id, user_id, target_type, target_id, rating, reason, comment,
            may_be_studied)
        SELECT t.tenant_id, :user_id, :target_type, t.id, :rating, :reason, :comment, :may_be_studied
        FROM {table} t WHERE t.id = :target_id LIMIT 1
        ON CONFLICT (tenant_id, user_id, target_type, target_id) DO UPDATE SET rating = excluded.rating,
            reason = excluded.reason, comment = excluded.comment, may_be_studied = excluded.may_be_studied
        RETURNING id
        """
    )
    for target, table in _TABLES.items()
}


class FeedbackTargetNotFound(NotFound):
    """There is nothing with this id that you may see; give feedback on a thing of the kind you name."""


class OpinionNotFound(NotFound):
    """There is no such feedback of yours; list yours to see their ids."""


class FeedbackNeedsPerson(Invalid):
    """Feedback is one person's opinion; give it as a user."""


async def give_feedback(
    session: AsyncSession, *, target_type: Target, target_id: UUID, rating: Rating, reason: str | None = None,
    comment: str | None = None, may_be_studied: bool = False,
) -> Feedback:  # fmt: skip
    """Store the reader's opinion of a thing they may see, in place of what they said of it before.

    `may_be_studied` lets it become part of evaluations. Raises `FeedbackTargetNotFound`, `FeedbackNeedsPerson`.
    """
    reader: Principal = session.info[BOUND_TO]
    if reader.user_id is None:
        raise FeedbackNeedsPerson
    given = await session.scalar(
        _GIVE[target_type],
        {
            "user_id": reader.user_id, "target_type": target_type, "target_id": target_id, "rating": rating,
            "reason": reason, "comment": comment, "may_be_studied": may_be_studied,
        },
    )  # fmt: skip
    if given is None:
        raise FeedbackTargetNotFound
    return (
        await session.scalars(
            select(Feedback).where(Feedback.id == given).execution_options(populate_existing=True)
        )
    ).one()  # fmt: skip


def select_feedback(target_type: Target | None = None) -> Select[Any]:
    """Return what the reader said; order it by `(created_at, id)`."""
    query = select(Feedback)
    return query if target_type is None else query.where(Feedback.target_type == target_type)


async def take_back_feedback(session: AsyncSession, feedback_id: UUID) -> None:
    """Remove the reader's opinion; raises `OpinionNotFound`."""
    removed = await session.scalar(delete(Feedback).where(Feedback.id == feedback_id).returning(Feedback.id))
    if removed is None:
        raise OpinionNotFound
