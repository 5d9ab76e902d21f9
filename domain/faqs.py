"""Frequently asked questions: writing, ordering and finding them helpful."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden, NotFound
from db.models import Faq, FaqVote
from db.session import Principal
from domain.posts import READER, TENANT, name_id


class FaqNotFound(NotFound):
    """There is no such question that you may see; list the questions to find their ids."""


class FaqNotYours(Forbidden):
    """Administrators write questions for everyone, coaches those for coaches only; ask your administrator."""


def require_faq_writer(writer: Principal, visibility: str) -> None:
    """Raise `FaqNotYours` unless the person may write questions of this visibility."""
    if not (writer.role == "admin" or (writer.role == "coach" and visibility == "coach_only")):
        raise FaqNotYours


async def create_faq(
    session: AsyncSession, *, writer: Principal, fields: dict[str, Any], visibility: str, key: str | None = None
) -> UUID:
    """Store a question and its answer; one id for one idempotency key. Raises `FaqNotYours`."""
    require_faq_writer(writer, visibility)
    faq_id = name_id(writer, "faq", key)
    await session.execute(
        insert(Faq)
        .values(tenant_id=TENANT, id=faq_id, visibility=visibility, **fields)
        .on_conflict_do_nothing(index_elements=(Faq.tenant_id, Faq.id))
    )
    return faq_id


def select_faqs(*, category: str | None = None, published: bool | None = None, words: str | None = None) -> Select[Any]:
    """Return questions and whether the reader found each helpful; order it by `(sequence_order, id)`, ascending."""
    mine = select(literal(1)).where(FaqVote.faq_id == Faq.id, FaqVote.user_id == READER)
    query = select(Faq, exists(mine).label("is_helpful"))
    if category is not None:
        query = query.where(Faq.category == category)
    if published is not None:
        query = query.where(Faq.is_published.is_(published))
    if words is not None:
        text = func.to_tsvector("english", Faq.question + " " + Faq.answer)
        query = query.where(text.op("@@")(func.websearch_to_tsquery("english", words)))
    return query


async def get_faq(session: AsyncSession, faq_id: UUID) -> Any:  # noqa: ANN401  # a row of select_faqs
    """Return the question as lists show it; raises `FaqNotFound`."""
    query = select_faqs().where(Faq.id == faq_id).execution_options(populate_existing=True)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise FaqNotFound
    return row


async def edit_faq(session: AsyncSession, *, writer: Principal, faq_id: UUID, changes: dict[str, Any]) -> None:
    """Change the question; raises `FaqNotFound`, `FaqNotYours`."""
    require_faq_writer(writer, changes.get("visibility", "coach_only"))
    changed = await session.scalar(
        update(Faq)
        .where(Faq.id == faq_id)
        .values(**changes, updated_at=func.now())
        .returning(Faq.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        await get_faq(session, faq_id)
        raise FaqNotYours


async def delete_faq(session: AsyncSession, faq_id: UUID) -> None:
    """Delete the question; raises `FaqNotFound`, `FaqNotYours`."""
    gone = await session.scalar(
        delete(Faq).where(Faq.id == faq_id).returning(Faq.id).execution_options(synchronize_session=False)
    )
    if gone is None:
        await get_faq(session, faq_id)
        raise FaqNotYours


async def vote_helpful(session: AsyncSession, *, faq_id: UUID, helpful: bool) -> None:
    """Find the answer helpful, or take that back; again changes nothing. Raises `FaqNotFound`."""
    if not helpful:
        await session.execute(
            delete(FaqVote)
            .where(FaqVote.faq_id == faq_id, FaqVote.user_id == READER)
            .execution_options(synchronize_session=False)
        )
        return
    row = select(TENANT, Faq.id, READER).where(Faq.id == faq_id)
    await session.execute(insert(FaqVote).from_select(("tenant_id", "faq_id", "user_id"), row).on_conflict_do_nothing())
    await get_faq(session, faq_id)
