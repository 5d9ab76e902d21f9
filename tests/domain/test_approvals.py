"""Reviews: one way through three stages, of what was submitted, by somebody else."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from core.errors import Conflict
from db.models import ContentApproval, Event, Lesson, Notification, Post, Program, Project, User
from db.session import Principal, tenant_session
from domain import approvals, events, identity, posts, projects
from tests.factories.community import write_post
from tests.factories.courses import write_course
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

STAGES: tuple[approvals.ReviewStage, ...] = ("editorial_review", "brand_review", "legal_review")
PROJECT = {"problem_statement": "Nobody rests.", "solution_description": "A quiet hour.", "stage": "idea"}


async def submit(person: Principal, content_type: approvals.ContentType, content_id: UUID) -> ContentApproval:
    async with tenant_session(person) as session:
        return await approvals.submit(session, submitter=person, content_type=content_type, content_id=content_id)


async def approve(person: Principal, approval_id: UUID, stage: approvals.ReviewStage) -> ContentApproval:
    async with tenant_session(person) as session:
        return await approvals.approve(session, reviewer=person, approval_id=approval_id, stage=stage, notes="Good.")


async def write(organisation: Organisation, content_type: approvals.ContentType) -> UUID:
    author = organisation.coach_a
    if content_type == "post":
        return await write_post(author, draft=True)
    if content_type == "program":
        return (await write_course(organisation, publish=False)).program_id
    if content_type == "project":
        async with tenant_session(author) as session:
            return await projects.submit_project(session, author=author, title="Quiet hour", fields=PROJECT)
    async with tenant_session(organisation.system) as session:
        begins = datetime.now(UTC) + timedelta(days=9)
        event = await events.create_event(
            session, organizer_id=require_id(author),
            values={"title": "An evening", "slug": "an-evening", "event_date": begins, "timezone": "UTC",
                    "location_type": "virtual"},
        )  # fmt: skip
        return event.id


STATUS = {"post": Post.status, "program": Program.status, "project": Project.status, "event": Event.status}
OPENED = {"post": "published", "program": "published", "project": "approved", "event": "published"}


async def read_status(organisation: Organisation, content_type: str, content_id: UUID) -> str | None:
    column = STATUS[content_type]
    async with tenant_session(organisation.system) as session:
        status: str | None = await session.scalar(select(column).where(column.class_.id == content_id))
        return status


@pytest.mark.parametrize("content_type", list(STATUS))
async def test_three_reviews_show_it_in_the_same_transaction(
    organisation: Organisation, content_type: approvals.ContentType
) -> None:
    content_id = await write(organisation, content_type)
    submission = await submit(organisation.coach_a, content_type, content_id)
    assert (submission.version, submission.current_stage) == (1, "editorial_review")
    for stage in STAGES:
        assert await read_status(organisation, content_type, content_id) != OPENED[content_type]
        row = await approve(organisation.admin, submission.id, stage)
    assert row.current_stage == "approved"
    assert {row.editorial_reviewer_id, row.brand_reviewer_id, row.final_approver_id} == {organisation.admin.user_id}
    assert await read_status(organisation, content_type, content_id) == OPENED[content_type]
    async with tenant_session(organisation.coach_a) as session:
        told = select(func.count()).where(Notification.notification_type == "approval")
        assert await session.scalar(told) == 1
    for stage in STAGES:
        with pytest.raises(approvals.ReviewMovedOn):
            await approve(organisation.admin, submission.id, stage)


@pytest.mark.parametrize("content_type", list(STATUS))
async def test_what_was_changed_after_its_submission_is_refused(
    organisation: Organisation, content_type: approvals.ContentType
) -> None:
    content_id = await write(organisation, content_type)
    first = await submit(organisation.coach_a, content_type, content_id)
    with pytest.raises(approvals.SubmissionOpen):
        await submit(organisation.coach_a, content_type, content_id)
    model = STATUS[content_type].class_
    changed = update(Lesson).where(Lesson.program_id == content_id).values(text_content="Hold your breath.")
    async with tenant_session(organisation.system) as session:
        await session.execute(
            changed if content_type == "program" else update(model).where(model.id == content_id).values(title="Else")
        )
    with pytest.raises(approvals.SubmissionStale):
        await approve(organisation.admin, first.id, "editorial_review")
    second = await submit(organisation.coach_a, content_type, content_id)
    assert (second.version, second.previous_approval_id) == (2, first.id)
    async with tenant_session(organisation.coach_a) as session:
        assert (await approvals.get_approval(session, first.id)).current_stage == "rejected"
    assert (await approve(organisation.admin, second.id, "editorial_review")).current_stage == "brand_review"


async def test_rejected_content_comes_back_as_its_next_version(organisation: Organisation) -> None:
    post_id = await write_post(organisation.client_a, draft=True)
    first = await submit(organisation.client_a, "post", post_id)
    async with tenant_session(organisation.admin) as session:
        row = await approvals.reject(
            session, reviewer=organisation.admin, approval_id=first.id, stage="editorial_review", reason="Too short."
        )
    assert (row.current_stage, row.rejection_reason, row.rejected_by) == (
        "rejected", "Too short.", organisation.admin.user_id,
    )  # fmt: skip
    second = await submit(organisation.client_a, "post", post_id)
    assert (second.version, second.previous_approval_id) == (2, first.id)
    async with tenant_session(organisation.client_a) as session:
        await approvals.withdraw(session, submitter=organisation.client_a, approval_id=second.id)
        with pytest.raises(approvals.ReviewMovedOn):
            await approvals.withdraw(session, submitter=organisation.client_a, approval_id=second.id)
    assert (await submit(organisation.client_a, "post", post_id)).version == 3


async def test_nobody_submits_others_content_or_reviews_their_own(organisation: Organisation) -> None:
    for content_type in STATUS:
        content_id = await write(organisation, content_type)  # type: ignore[arg-type]  # its keys are the types
        for person in (organisation.coach_b, organisation.client_a, organisation.admin):
            with pytest.raises(approvals.NothingToApprove):
                await submit(person, content_type, content_id)  # type: ignore[arg-type]  # its keys are the types
    own = await submit(organisation.admin, "post", await write_post(organisation.admin, draft=True))
    with pytest.raises(approvals.OwnSubmissionReviewed):
        await approve(organisation.admin, own.id, "editorial_review")
    async with tenant_session(organisation.coach_b) as session:
        with pytest.raises(approvals.ApprovalNotFound):
            await approvals.get_approval(session, own.id)


async def test_twenty_reviewers_at_once_pass_one_stage(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        users: list[User] = [
            await identity.create_user(
                session, email=f"admin{n}@{organisation.slug}.example", full_name=f"Admin {n}", role="admin"
            )
            for n in range(4)
        ]
    reviewers = [Principal(organisation.tenant_id, "admin", user.id) for user in users]
    post_id = await write_post(organisation.coach_a, draft=True)
    submissions = await asyncio.gather(
        *(submit(organisation.coach_a, "post", post_id) for _ in range(10)), return_exceptions=True
    )
    opened = [one for one in submissions if isinstance(one, ContentApproval)]
    assert len(opened) == 1
    for stage in STAGES:
        outcomes = await asyncio.gather(
            *(approve(reviewer, opened[0].id, stage) for reviewer in reviewers * 5), return_exceptions=True
        )
        assert sum(isinstance(outcome, ContentApproval) for outcome in outcomes) == 1
        assert all(isinstance(outcome, ContentApproval | Conflict) for outcome in outcomes)
    async with tenant_session(organisation.client_a) as session:
        assert (await posts.get_post(session, post_id)).Post.status == "published"
