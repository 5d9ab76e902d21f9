"""What the database refuses in community and content, whatever code tries, as the app's own role."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from db.base import VISIBILITIES, Base
from db.models import (
    BlogPost,
    Comment,
    ContentApproval,
    Faq,
    MediaAsset,
    Message,
    Post,
    Project,
    ProjectCollaborator,
    Reaction,
    Tag,
    Tenant,
)
from db.session import Principal, tenant_session
from domain import comments, messages, posts, projects, reactions
from tests.factories.community import write_post
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

PROJECT = {"problem_statement": "Nobody rests.", "solution_description": "A quiet hour.", "stage": "idea"}
DENIED = "permission denied|row-level security|nobody's words|only an administrator|keeps its"


async def refuse(principal: Principal, statement: Any, match: str = DENIED) -> None:
    with pytest.raises(DBAPIError, match=match):
        async with tenant_session(principal) as session:
            await session.execute(statement)


async def count_changed(principal: Principal, statement: Any) -> int:
    async with tenant_session(principal) as session:
        return len((await session.execute(statement)).all())


async def list_readers(organisation: Organisation, column: Any, row_id: UUID) -> set[str]:
    readers = set()
    for name, person in organisation.people.items():
        async with tenant_session(person) as session:
            if await session.scalar(select(column).where(column == row_id)) is not None:
                readers.add(name)
    return readers


EVERYONE = {"coach_a", "coach_b", "client_a", "client_b", "client_c", "admin"}
COACHES = {"coach_a", "coach_b"}


async def test_posts_are_read_by_status_and_visibility(organisation: Organisation) -> None:
    author = organisation.coach_a
    assert await list_readers(organisation, Post.id, await write_post(author)) == EVERYONE
    assert await list_readers(organisation, Post.id, await write_post(author, visibility="coach_only")) == COACHES
    assert await list_readers(organisation, Post.id, await write_post(author, draft=True)) == {"coach_a"}
    taken = await write_post(author)
    async with tenant_session(organisation.admin) as session:
        await posts.moderate_post(session, moderator=organisation.admin, post_id=taken, status="removed", note="No.")
    assert await list_readers(organisation, Post.id, taken) == {"coach_a", "admin"}
    other = await found_organisation()
    assert await list_readers(other, Post.id, taken) == set()


async def test_every_visibility_of_faqs_and_articles_has_its_readers(organisation: Organisation) -> None:
    rows = {visibility: uuid4() for visibility in VISIBILITIES}
    async with tenant_session(organisation.system) as session:
        for visibility, row_id in rows.items():
            await session.execute(
                insert(Faq).values(
                    tenant_id=organisation.tenant_id, id=row_id, category="Start", question="?", answer="!",
                    visibility=visibility,
                )
            )  # fmt: skip
            await session.execute(
                insert(BlogPost).values(
                    tenant_id=organisation.tenant_id, id=row_id, title="On rest", slug=row_id.hex, content="Rest.",
                    status="published", visibility=visibility,
                )
            )  # fmt: skip
    allowed = {
        "client_visible": EVERYONE, "coach_only": COACHES, "admin_aggregate": {"admin", "executive"},
        "system_internal": set(),
    }  # fmt: skip
    for visibility, readers in allowed.items():
        assert await list_readers(organisation, Faq.id, rows[visibility]) == readers
        assert await list_readers(organisation, BlogPost.id, rows[visibility]) == readers


async def test_removed_posts_take_their_comments_out_of_sight_at_once(organisation: Organisation) -> None:
    post_id = await write_post(organisation.coach_a)
    async with tenant_session(organisation.client_a) as session:
        comment_id = await comments.add_comment(session, author=organisation.client_a, post_id=post_id, content="Yes.")
    assert await list_readers(organisation, Comment.id, comment_id) == EVERYONE
    async with tenant_session(organisation.admin) as session:
        await posts.moderate_post(session, moderator=organisation.admin, post_id=post_id, status="flagged")
    assert await list_readers(organisation, Comment.id, comment_id) == {"admin"}
    async with tenant_session(organisation.admin) as session:
        await posts.moderate_post(session, moderator=organisation.admin, post_id=post_id, status="published")
    async with tenant_session(organisation.coach_a) as session:
        await posts.edit_post(
            session, author=organisation.coach_a, post_id=post_id, changes={"visibility": "coach_only"}
        )
    assert await list_readers(organisation, Comment.id, comment_id) == COACHES


async def test_nobody_writes_counters_or_in_others_names(organisation: Organisation) -> None:
    post_id = await write_post(organisation.coach_a)
    for person in (organisation.coach_a, organisation.admin, organisation.system):
        await refuse(person, update(Post).where(Post.id == post_id).values(like_count=99))
        await refuse(person, update(Post).where(Post.id == post_id).values(author_id=organisation.client_a.user_id))
        await refuse(person, text("UPDATE content.tags SET usage_count = 5"))
        await refuse(person, text("UPDATE identity.user_profiles SET post_count = 5"))
        await refuse(person, text("DELETE FROM community.view_tallies"))
    forged = {"tenant_id": organisation.tenant_id, "content": "x", "category": "story"}
    await refuse(organisation.client_a, insert(Post).values(**forged, author_id=organisation.coach_a.user_id))
    await refuse(
        organisation.client_a,
        insert(Post).values(**forged, author_id=organisation.client_a.user_id, visibility="coach_only"),
    )
    await refuse(
        organisation.client_a,
        insert(Post).values(**forged, author_id=organisation.client_a.user_id, client_id=organisation.client_b.user_id),
    )
    await refuse(
        organisation.client_a,
        insert(Post).values(**(forged | {"category": "announcement"}), author_id=organisation.client_a.user_id),
    )
    await refuse(organisation.executive, insert(Post).values(**forged, author_id=organisation.executive.user_id))
    await refuse(
        organisation.client_a,
        insert(Comment).values(
            tenant_id=organisation.tenant_id, post_id=post_id, author_id=organisation.client_b.user_id, content="x"
        ),
    )
    await refuse(
        organisation.client_a,
        insert(Reaction).values(
            tenant_id=organisation.tenant_id, user_id=organisation.client_b.user_id, entity_type="post",
            entity_id=post_id, reaction_type="like",
        ),
    )  # fmt: skip


async def test_moderators_change_no_words_and_authors_moderate_nothing(organisation: Organisation) -> None:
    post_id = await write_post(organisation.coach_a)
    async with tenant_session(organisation.client_a) as session:
        comment_id = await comments.add_comment(session, author=organisation.client_a, post_id=post_id, content="Yes.")
    await refuse(organisation.admin, update(Post).where(Post.id == post_id).values(content="Mine now."))
    await refuse(organisation.admin, update(Comment).where(Comment.id == comment_id).values(content="Mine now."))
    await refuse(organisation.coach_a, update(Post).where(Post.id == post_id).values(is_pinned=True))
    await refuse(organisation.coach_a, update(Post).where(Post.id == post_id).values(moderation_note="Good."))
    await refuse(organisation.coach_a, update(Post).where(Post.id == post_id).values(status="removed"))
    await refuse(organisation.client_a, update(Comment).where(Comment.id == comment_id).values(status="flagged"))
    async with tenant_session(organisation.admin) as session:
        await posts.moderate_post(session, moderator=organisation.admin, post_id=post_id, status="removed")
    back = update(Post).where(Post.id == post_id).values(status="published").returning(Post.id)
    assert await count_changed(organisation.coach_a, back) == 0
    assert await count_changed(organisation.coach_a, delete(Post).where(Post.id == post_id).returning(Post.id)) == 0
    assert await count_changed(organisation.client_b, update(Post).values(content="x").returning(Post.id)) == 0


async def test_writers_can_not_date_their_posts(organisation: Organisation) -> None:
    async with tenant_session(organisation.client_a) as session:
        later = await session.scalar(
            insert(Post)
            .values(
                tenant_id=organisation.tenant_id, author_id=organisation.client_a.user_id, content="x",
                category="story", published_at=text("now() + interval '1 year'"),
            )
            .returning(Post.published_at > func.now())
        )  # fmt: skip
    assert later is False


async def test_where_the_organisation_moderates_posts_wait(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(metadata_={"community": {"moderated": True}}))
    post_id = await write_post(organisation.client_a)
    assert await list_readers(organisation, Post.id, post_id) == {"client_a", "admin"}
    # Publishing it oneself leaves it waiting, and so does changing it once it shows.
    publish = update(Post).where(Post.id == post_id).values(status="published").returning(Post.status)
    async with tenant_session(organisation.client_a) as session:
        assert await session.scalar(publish) == "pending"
    async with tenant_session(organisation.admin) as session:
        await posts.publish_post(session, moderator=organisation.admin, post_id=post_id)
    assert await list_readers(organisation, Post.id, post_id) == EVERYONE
    async with tenant_session(organisation.client_a) as session:
        await posts.edit_post(
            session, author=organisation.client_a, post_id=post_id, changes={"content": "Buy my book."}
        )
    assert await list_readers(organisation, Post.id, post_id) == {"client_a", "admin"}


async def test_what_one_can_not_read_one_can_not_react_to(organisation: Organisation) -> None:
    hidden = await write_post(organisation.coach_a, visibility="coach_only")
    other = await found_organisation()
    foreign = await write_post(other.coach_a)
    for entity_id in (hidden, foreign, uuid4()):
        with pytest.raises(reactions.NothingToReactTo):
            async with tenant_session(organisation.client_a) as session:
                await reactions.react(session, entity_type="post", entity_id=entity_id, reaction_type="like")
        await refuse(
            organisation.client_a,
            insert(Reaction).values(
                tenant_id=organisation.tenant_id, user_id=organisation.client_a.user_id, entity_type="post",
                entity_id=entity_id, reaction_type="like",
            ),
            match="nothing to react to",
        )  # fmt: skip
        with pytest.raises(posts.PostNotFound):
            async with tenant_session(organisation.client_a) as session:
                await comments.add_comment(session, author=organisation.client_a, post_id=entity_id, content="x")


async def test_messages_are_read_by_two_people_and_lie_encrypted(organisation: Organisation) -> None:
    secret = "Nobody must read this but you."
    async with tenant_session(organisation.client_a) as session:
        sent = await messages.send_message(
            session, sender=organisation.client_a, recipient_id=require_id(organisation.coach_a), content=secret,
            attachments=[{"filename": "diary.pdf", "url": "https://files.example/d", "type": "a/pdf", "size": 9}],
        )  # fmt: skip
    assert await list_readers(organisation, Message.id, sent.id) == {"client_a", "coach_a"}
    async with tenant_session(organisation.system) as session:
        row = (await session.execute(text("SELECT to_jsonb(m)::text FROM community.messages m"))).scalar_one()
        sealed = await session.scalar(select(Message.content))
    assert "diary" not in row
    assert secret.encode() not in (sealed or b"")
    # A ciphertext moved to another row does not open, and nobody writes it again.
    for person in (organisation.client_a, organisation.coach_a, organisation.system):
        await refuse(person, update(Message).values(content=b"x"))
    unread = update(Message).values(is_read=True, read_at=func.now()).returning(Message.id)
    assert await count_changed(organisation.client_a, unread) == 0
    assert await count_changed(organisation.client_b, unread) == 0
    forged = insert(Message).values(
        tenant_id=organisation.tenant_id, sender_id=organisation.coach_a.user_id,
        recipient_id=organisation.client_b.user_id, content=b"x",
    )  # fmt: skip
    await refuse(organisation.client_a, forged)


async def test_projects_show_when_someone_else_approved_them(organisation: Organisation) -> None:
    leader = organisation.client_a
    async with tenant_session(leader) as session:
        project_id = await projects.submit_project(session, author=leader, title="Quiet hour", fields=PROJECT)
    assert await list_readers(organisation, Project.id, project_id) == {"client_a", "admin"}
    await refuse(
        leader, update(Project).where(Project.id == project_id).values(status="approved"), match="someone else approves"
    )
    await refuse(leader, update(Project).where(Project.id == project_id).values(reviewed_by=leader.user_id))
    await refuse(
        organisation.admin, update(Project).where(Project.id == project_id).values(title="Mine now"), match=DENIED
    )
    async with tenant_session(organisation.admin) as session:
        await projects.review_project(session, reviewer=organisation.admin, project_id=project_id, status="approved")
    assert await list_readers(organisation, Project.id, project_id) == EVERYONE
    await refuse(
        organisation.client_b,
        insert(ProjectCollaborator).values(
            tenant_id=organisation.tenant_id, project_id=project_id, user_id=organisation.client_c.user_id
        ),
    )
    async with tenant_session(organisation.client_b) as session:
        await projects.ask_to_join(
            session, reader=organisation.client_b, project_id=project_id, role=None, message="Please."
        )
    join = update(ProjectCollaborator).values(status="accepted", joined_at=func.now()).returning(ProjectCollaborator.id)
    assert await count_changed(organisation.client_b, join) == 0
    assert await list_readers(organisation, ProjectCollaborator.project_id, project_id) == {"client_a", "client_b"}
    # Changed words are read again before they show.
    async with tenant_session(leader) as session:
        await projects.edit_project(session, project_id=project_id, changes={"title": "Loud hour"})
    assert await list_readers(organisation, Project.id, project_id) == {"client_a", "admin"}


async def test_tags_files_and_submissions_are_guarded(organisation: Organisation) -> None:
    await write_post(organisation.coach_a, tags=["Focus"])
    async with tenant_session(organisation.client_a) as session:
        assert list(await session.execute(select(Tag.slug, Tag.usage_count))) == [("focus", 1)]
    await refuse(organisation.coach_a, insert(Tag).values(tenant_id=organisation.tenant_id, name="Rest", slug="rest"))
    assert await count_changed(organisation.admin, delete(Tag).returning(Tag.id)) == 0
    asset = insert(MediaAsset).values(
        tenant_id=organisation.tenant_id, filename="a.png", file_type="image/png", file_size_bytes=1,
        storage_key="media/a", uploaded_by=organisation.coach_a.user_id,
    )  # fmt: skip
    await refuse(organisation.client_a, asset)
    async with tenant_session(organisation.coach_a) as session:
        asset_id = await session.scalar(asset.returning(MediaAsset.id))
    assert await list_readers(organisation, MediaAsset.id, asset_id) == {"coach_a", "admin"}  # type: ignore[arg-type]  # it was made
    begun = {
        "tenant_id": organisation.tenant_id, "content_type": "post", "content_id": uuid4(), "content_hash": b"x",
        "submitted_by": organisation.coach_a.user_id,
    }  # fmt: skip
    await refuse(
        organisation.coach_a,
        insert(ContentApproval).values(**begun, current_stage="approved", final_approved_at=func.now()),
        match="begins with its first review",
    )  # fmt: skip
    async with tenant_session(organisation.coach_a) as session:
        await session.execute(insert(ContentApproval).values(**begun, current_stage="editorial_review"))
    for values, sentence in (
        ({"current_stage": "approved", "final_approved_at": func.now()}, "can't go from"),
        ({"current_stage": "brand_review"}, "can't go from"),
        ({"current_stage": "legal_review", "editorial_reviewer_id": organisation.admin.user_id}, "can't go from"),
        ({"content_hash": b"y"}, "permission denied"),
        ({"version": 2}, "permission denied"),
    ):
        await refuse(organisation.admin, update(ContentApproval).values(**values), match=sentence)
    passed = {
        "current_stage": "brand_review", "editorial_reviewer_id": organisation.admin.user_id,
        "editorial_reviewed_at": func.now(),
    }  # fmt: skip
    await refuse(organisation.coach_a, update(ContentApproval).values(**passed), match="someone else reviews")
    async with tenant_session(organisation.admin) as session:
        await session.execute(update(ContentApproval).values(**passed))
    await refuse(organisation.admin, update(ContentApproval).values(editorial_notes="No."), match="written once")


async def test_an_organisation_goes_with_all_its_community(organisation: Organisation) -> None:
    post_id = await write_post(organisation.client_a, tags=["Focus"])
    person = organisation.client_b
    async with tenant_session(person) as session:
        comment_id = await comments.add_comment(session, author=person, post_id=post_id, content="Yes.")
        await reactions.react(session, entity_type="post", entity_id=post_id, reaction_type="like")
        await reactions.react(session, entity_type="comment", entity_id=comment_id, reaction_type="like")
        await posts.add_view(session, "post", post_id)
        await messages.send_message(
            session, sender=person, recipient_id=require_id(organisation.coach_a), content="Hello"
        )
        await projects.submit_project(session, author=person, title="Quiet hour", fields=PROJECT)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Tenant))
    async with tenant_session(organisation.system) as session:
        for table in Base.metadata.tables.values():
            if table.schema in ("community", "content"):
                assert await session.scalar(select(func.count()).select_from(table)) == 0, table.fullname
