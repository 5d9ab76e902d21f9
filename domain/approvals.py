"""Approvals: what is reviewed by its editors, for the brand and by law before it is shown."""

from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.errors import Conflict, Forbidden, NotFound
from db.models import ContentApproval, Event, Post, Program, Project
from db.session import Principal, acting_as_system
from db.violations import refusing
from domain.comms import notify
from domain.events import publish_event
from domain.governance import name_action
from domain.posts import READER, TENANT, publish_post
from domain.programs import publish_program
from domain.projects import review_project

ContentType = Literal["post", "program", "project", "event"]
ReviewStage = Literal["editorial_review", "brand_review", "legal_review"]


class ApprovalNotFound(NotFound):
    """There is no such submission that you may see; list the submissions to find their ids."""


class NothingToApprove(NotFound):
    """There is no such content of yours; check its type and id."""


class SubmissionOpen(Conflict):
    """This content is under review as it is; wait for the review, or change the content and submit it again."""


class SubmissionStale(Conflict):
    """This content was changed after it was submitted; let its author submit it again."""


class ReviewMovedOn(Conflict):
    """This submission is not at this stage any more; read it again."""


class OwnSubmissionReviewed(Forbidden):
    """Nobody reviews what they submitted; ask another administrator."""


@dataclass(frozen=True, slots=True)
class _Reviewed:
    """Where a stage leaves its review, and what follows it."""

    reviewer: str
    moment: str
    notes: str
    following: str


_STAGES: Final[dict[str, _Reviewed]] = {
    "editorial_review": _Reviewed("editorial_reviewer_id", "editorial_reviewed_at", "editorial_notes", "brand_review"),
    "brand_review": _Reviewed("brand_reviewer_id", "brand_reviewed_at", "brand_notes", "legal_review"),
    "legal_review": _Reviewed("final_approver_id", "final_approved_at", "legal_notes", "approved"),
}
_OPEN: Final = ("draft", *_STAGES)
_OWNED: Final[dict[str, tuple[InstrumentedAttribute[UUID], InstrumentedAttribute[Any]]]] = {
    "post": (Post.id, Post.author_id),
    "program": (Program.id, Program.instructor_id),
    "project": (Project.id, Project.submitted_by),
    "event": (Event.id, Event.organizer_id),
}


async def submit(
    session: AsyncSession, *, submitter: Principal, content_type: ContentType, content_id: UUID
) -> ContentApproval:
    """Put the reader's own content before its first reviewer, as it is now; a new version follows a rejected one.

    Content under review that was changed since is submitted anew, and its open submission is closed. A post waits
    unseen meanwhile. Raises `NothingToApprove`, `SubmissionOpen`.
    """
    row_id, owner = _OWNED[content_type]
    if await session.scalar(select(row_id).where(row_id == content_id, owner == READER)) is None:
        raise NothingToApprove
    content_hash = await _hash(session, content_type, content_id)
    previous: ContentApproval | None = await session.scalar(
        select(ContentApproval)
        .where(ContentApproval.content_type == content_type, ContentApproval.content_id == content_id)
        .order_by(ContentApproval.version.desc())
        .limit(1)
    )
    if previous is not None and previous.current_stage in _OPEN:
        if previous.content_hash == content_hash:
            raise SubmissionOpen
        await _close(session, previous.id, rejected_by=submitter.user_id, reason="A newer version was submitted.")
    if content_type == "post":
        await session.execute(
            update(Post)
            .where(Post.id == content_id, Post.status.in_(("draft", "published")))
            .values(status="pending")
            .execution_options(synchronize_session=False)
        )
    await name_action(session, "content_submitted")
    with refusing({"uq_content_approvals_open": SubmissionOpen}):
        row = await session.scalar(
            insert(ContentApproval)
            .values(
                tenant_id=TENANT, content_type=content_type, content_id=content_id, current_stage="editorial_review",
                submitted_by=submitter.user_id, content_hash=content_hash,
                version=previous.version + 1 if previous else 1,
                previous_approval_id=previous.id if previous else None,
            )
            .returning(ContentApproval)
        )  # fmt: skip
    assert row is not None  # noqa: S101  # an insert returns its row
    return row


async def _hash(session: AsyncSession, content_type: str, content_id: UUID) -> bytes | None:
    content_hash: bytes | None = await session.scalar(select(func.content.hash_content(content_type, content_id)))
    return content_hash


async def get_approval(session: AsyncSession, approval_id: UUID, *, lock: bool = False) -> ContentApproval:
    """Return the submission; raises `ApprovalNotFound`."""
    query = select(ContentApproval).where(ContentApproval.id == approval_id)
    if lock:
        query = query.with_for_update()
    row: ContentApproval | None = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise ApprovalNotFound
    return row


def select_approvals(
    *, stage: str | None = None, content_type: str | None = None, content_id: UUID | None = None, mine: bool = False
) -> Select[Any]:
    """Return submissions; order it by `(submitted_at, id)`."""
    query = select(ContentApproval)
    if stage is not None:
        query = query.where(ContentApproval.current_stage == stage)
    if content_type is not None:
        query = query.where(ContentApproval.content_type == content_type)
    if content_id is not None:
        query = query.where(ContentApproval.content_id == content_id)
    if mine:
        query = query.where(ContentApproval.submitted_by == READER)
    return query


async def approve(
    session: AsyncSession, *, reviewer: Principal, approval_id: UUID, stage: ReviewStage, notes: str | None = None
) -> ContentApproval:
    """Pass the submission at this stage; after the legal review its content is shown, in the same transaction.

    Runs in an administrator's own session. Locks the submission and then its content, so that nothing slips in between
    what was read and what is shown. Raises `ApprovalNotFound`, `ReviewMovedOn`, `OwnSubmissionReviewed`,
    `SubmissionStale`, and what publishing raises.
    """
    row = await _lock_for_review(session, reviewer, approval_id, stage)
    row_id, _ = _OWNED[row.content_type]
    async with acting_as_system(session):
        await session.execute(select(row_id).where(row_id == row.content_id).with_for_update(key_share=True))
    if await _hash(session, row.content_type, row.content_id) != row.content_hash:
        raise SubmissionStale
    step = _STAGES[stage]
    await name_action(session, "content_approved" if step.following == "approved" else f"content_passed_{stage}")
    await session.execute(
        update(ContentApproval)
        .where(ContentApproval.id == approval_id)
        .values({
            "current_stage": step.following, step.reviewer: reviewer.user_id, step.moment: func.now(),
            step.notes: notes, "updated_at": func.now(),
        })
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    if step.following == "approved":
        await _publish(session, reviewer, row.content_type, row.content_id)
        await _tell(session, reviewer, row, "What you submitted is approved and shown.")
    return await get_approval(session, approval_id)


async def _publish(session: AsyncSession, reviewer: Principal, content_type: str, content_id: UUID) -> None:
    if content_type == "post":
        await publish_post(session, moderator=reviewer, post_id=content_id)
    elif content_type == "project":
        await review_project(session, reviewer=reviewer, project_id=content_id, status="approved")
    elif content_type == "program":
        await publish_program(session, content_id)
    else:
        async with acting_as_system(session):
            await publish_event(session, content_id)


async def reject(
    session: AsyncSession, *, reviewer: Principal, approval_id: UUID, stage: ReviewStage, reason: str
) -> ContentApproval:
    """Send the submission back with the reason. Raises `ApprovalNotFound`, `ReviewMovedOn`, `OwnSubmissionReviewed`."""
    row = await _lock_for_review(session, reviewer, approval_id, stage)
    await name_action(session, "content_rejected")
    await _close(session, approval_id, rejected_by=reviewer.user_id, reason=reason)
    await _tell(session, reviewer, row, "What you submitted was sent back; read why, change it and submit it again.")
    return await get_approval(session, approval_id)


async def withdraw(session: AsyncSession, *, submitter: Principal, approval_id: UUID) -> ContentApproval:
    """Take the reader's own open submission back; raises `ApprovalNotFound`, `ReviewMovedOn`."""
    row = await get_approval(session, approval_id, lock=True)
    if row.submitted_by != submitter.user_id:
        raise ApprovalNotFound
    if row.current_stage not in _OPEN:
        raise ReviewMovedOn
    await name_action(session, "content_withdrawn")
    await _close(session, approval_id, rejected_by=submitter.user_id, reason="Its author withdrew it.")
    return await get_approval(session, approval_id)


async def _lock_for_review(
    session: AsyncSession, reviewer: Principal, approval_id: UUID, stage: str
) -> ContentApproval:
    row = await get_approval(session, approval_id, lock=True)
    if row.submitted_by == reviewer.user_id:
        raise OwnSubmissionReviewed
    if row.current_stage != stage:
        raise ReviewMovedOn(f"This submission is at {row.current_stage!r}, not {stage!r}; read it again.")
    return row


async def _close(session: AsyncSession, approval_id: UUID, *, rejected_by: UUID | None, reason: str) -> None:
    await session.execute(
        update(ContentApproval)
        .where(ContentApproval.id == approval_id)
        .values(
            current_stage="rejected", rejected_by=literal(rejected_by, ContentApproval.rejected_by.type),
            rejected_at=func.now(), rejection_reason=reason, updated_at=func.now(),
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip


async def _tell(session: AsyncSession, reviewer: Principal, row: ContentApproval, message: str) -> None:
    if row.submitted_by is not None:
        await notify(
            session, user_id=row.submitted_by, kind="approval", title="About your submission", message=message,
            reference=("content_approval", row.id), actor_id=reviewer.user_id,
        )  # fmt: skip
