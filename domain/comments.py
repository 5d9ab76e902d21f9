"""Comments: what people answer to posts and to each other."""

from collections.abc import Collection
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden, Invalid, NotFound
from db.models import Comment, Post
from db.session import Principal
from db.violations import refusing
from domain.comms import notify
from domain.governance import name_action
from domain.people import show_person
from domain.posts import READER, PostNotFound, my_reactions, name_id, tell_mentioned


class CommentNotFound(NotFound):
    """There is no such comment here that you may see; list the comments of the post to find their ids."""


class CommentNotYours(Forbidden):
    """Only its author changes this comment, and only while it is not flagged; write one of your own."""


class TooDeep(Invalid):
    """Replies nest no deeper here; answer a comment further up."""


_RULES: Final = {"comments_post": PostNotFound, "comments_parent": CommentNotFound, "ck_comments_depth": TooDeep}


async def add_comment(
    session: AsyncSession,
    *,
    author: Principal,
    post_id: UUID,
    content: str,
    parent_comment_id: UUID | None = None,
    mentions: Collection[UUID] = (),
    key: str | None = None,
) -> UUID:
    """Store a comment on a post the reader sees and return its id; the same idempotency key returns the same one.

    Locks the post until commit. Tells the author of what it answers, and whom it mentions.
    Raises `PostNotFound`, `CommentNotFound`, `TooDeep`.
    """
    comment_id = name_id(author, "comment", key)
    parent = literal(parent_comment_id, Comment.id.type)
    shown = select(Post.tenant_id, literal(comment_id), Post.id, READER, parent, literal(content)).where(
        Post.id == post_id, Post.status == "published"
    )
    columns = ("tenant_id", "id", "post_id", "author_id", "parent_comment_id", "content")
    with refusing(_RULES):
        row = (
            await session.execute(
                insert(Comment)
                .from_select(columns, shown)
                .on_conflict_do_nothing(index_elements=(Comment.tenant_id, Comment.id))
                .returning(Comment.id, Comment.visibility)
            )
        ).one_or_none()
    if row is None:
        if await session.scalar(select(Comment.id).where(Comment.id == comment_id)) is None:
            raise PostNotFound
        return comment_id
    await _tell_answered(session, author=author, post_id=post_id, comment_id=comment_id, parent_id=parent_comment_id)
    if mentions:
        await tell_mentioned(
            session, author=author, people=mentions, reference=("comment", comment_id), visibility=row.visibility
        )
    return comment_id


async def _tell_answered(
    session: AsyncSession, *, author: Principal, post_id: UUID, comment_id: UUID, parent_id: UUID | None
) -> None:
    post_author = select(Post.author_id).where(Post.id == post_id)
    answered = post_author.union(select(Comment.author_id).where(Comment.id == parent_id))
    for person in await session.scalars(answered):
        if person is not None and person != author.user_id:
            await notify(
                session, user_id=person, kind="comment", title="Someone answered you",
                message="There is a new answer to what you wrote in the community.", reference=("comment", comment_id),
                actor_id=author.user_id, deduplication_key=f"comment:{comment_id}:{person}",
            )  # fmt: skip


def select_comments(
    *, post_id: UUID | None = None, parent_comment_id: UUID | None = None, status: str = "published"
) -> Select[Any]:
    """Return comments with who wrote them and the reader's own reactions; order it by `(created_at, id)`."""
    query = select(
        Comment, *show_person(Comment.tenant_id, Comment.author_id), my_reactions("comment", Comment.id)
    ).where(Comment.status == status)
    if post_id is not None:
        query = query.where(Comment.post_id == post_id)
    if parent_comment_id is not None:
        query = query.where(Comment.parent_comment_id == parent_comment_id)
    return query


async def get_comment(session: AsyncSession, comment_id: UUID) -> Any:  # noqa: ANN401  # a row of select_comments
    """Return the comment as lists show it, whatever its status; raises `CommentNotFound`."""
    query = select(
        Comment, *show_person(Comment.tenant_id, Comment.author_id), my_reactions("comment", Comment.id)
    ).where(Comment.id == comment_id)
    row = (await session.execute(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise CommentNotFound
    return row


async def edit_comment(session: AsyncSession, *, comment_id: UUID, content: str) -> None:
    """Change the words of the reader's own comment; raises `CommentNotFound`, `CommentNotYours`."""
    changed = await session.scalar(
        update(Comment)
        .where(Comment.id == comment_id, Comment.author_id == READER, Comment.status == "published")
        .values(content=content, updated_at=func.now())
        .returning(Comment.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        await get_comment(session, comment_id)
        raise CommentNotYours


async def delete_comment(session: AsyncSession, comment_id: UUID) -> None:
    """Delete the reader's own comment with the replies to it; raises `CommentNotFound`, `CommentNotYours`."""
    gone = await session.scalar(
        delete(Comment)
        .where(Comment.id == comment_id, Comment.author_id == READER, Comment.status == "published")
        .returning(Comment.id)
        .execution_options(synchronize_session=False)
    )
    if gone is None:
        await get_comment(session, comment_id)
        raise CommentNotYours


async def moderate_comment(
    session: AsyncSession,
    *,
    moderator: Principal,
    comment_id: UUID,
    status: Literal["published", "flagged", "removed"],
    note: str | None = None,
) -> None:
    """Let the comment show, flag it, or take it down, in the administrator's own session; raises `CommentNotFound`."""
    await name_action(session, "comment_published" if status == "published" else f"comment_{status}")
    changed = await session.scalar(
        update(Comment)
        .where(Comment.id == comment_id)
        .values(status=status, moderated_by=moderator.user_id, moderation_note=note, updated_at=func.now())
        .returning(Comment.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        raise CommentNotFound
