"""Posts: writing, showing, finding and moderating what people tell their community."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any, Final, Literal
from uuid import UUID, uuid4, uuid5

from sqlalchemy import ARRAY, Select, Text, Uuid, case, cast, func, literal, literal_column, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from core.errors import Forbidden, NotFound
from db.models import Post, Reaction, UserProfile
from db.session import Principal
from domain.comms import notify
from domain.governance import name_action
from domain.people import show_person

TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)
READER: Final = select(cast(func.nullif(func.current_setting("app.user_id"), ""), Uuid)).scalar_subquery()
"""Who is bound, read once a statement; it is in no parameter, so that it can't differ from who is bound."""

_PUBLISHED: Final[ColumnElement[str]] = literal_column("'published'")
"""Spelt out: a partial index is only used where the planner sees its condition."""


class PostNotFound(NotFound):
    """There is no such post that you may see; list the posts to find the ids of those there are."""


class PostNotYours(Forbidden):
    """Only its author changes this post, and only while it is not flagged or removed; write one of your own."""


class AnnouncementForbidden(Forbidden):
    """Only coaches and administrators announce; choose another category."""


def name_slug(title: str | None, row_id: UUID) -> str:
    """Return the part of a web address that names the row: its title, and enough of the id to be unique."""
    plain = unicodedata.normalize("NFKC", title or "").lower()
    words = re.sub(r"[\W_]+", "-", plain).strip("-")[:200].strip("-")
    return f"{words}-{row_id.hex[-12:]}" if words else row_id.hex[-12:]


def name_tag(tag: str) -> str:
    """Return the tag as posts bear it and are found by it: letters and figures in lower case, joined by hyphens."""
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", tag).lower()).strip("-")[:100].strip("-")


def name_tags(tags: Sequence[str]) -> list[str]:
    """Return the tags as posts bear them, each once, in the order given."""
    return [tag for tag in dict.fromkeys(map(name_tag, tags)) if tag]


def name_id(principal: Principal, kind: str, key: str | None) -> UUID:
    """Return the id of a new row, the same again for the same person and idempotency key."""
    if key is None or principal.user_id is None:
        return uuid4()
    return uuid5(principal.user_id, f"{principal.tenant_id}|{kind}|{key}")


async def create_post(
    session: AsyncSession,
    *,
    author: Principal,
    title: str | None,
    content: str,
    category: str,
    tags: Sequence[str] = (),
    media_urls: Sequence[dict[str, Any]] = (),
    visibility: str = "client_visible",
    draft: bool = False,
    mentions: Collection[UUID] = (),
    key: str | None = None,
) -> UUID:
    """Store the post (001 §4 W3) and return its id; the same idempotency key returns the same one.

    It shows at once, or waits for an administrator where the organisation moderates: the database decides, and counts.
    Raises `AnnouncementForbidden`.
    """
    if category == "announcement" and author.role not in ("coach", "admin"):
        raise AnnouncementForbidden
    post_id = name_id(author, "post", key)
    statement = (
        insert(Post)
        .values(
            tenant_id=TENANT, id=post_id, author_id=author.user_id, title=title, content=content, category=category,
            tags=name_tags(tags), media_urls=list(media_urls), visibility=visibility,
            status="draft" if draft else "published", slug=name_slug(title, post_id),
        )
        .on_conflict_do_nothing(index_elements=(Post.tenant_id, Post.id))
        .returning(Post.status)
    )  # fmt: skip
    status = await session.scalar(statement)
    if status == "published" and mentions:
        await tell_mentioned(
            session, author=author, people=mentions, reference=("post", post_id), visibility=visibility
        )
    return post_id


async def tell_mentioned(
    session: AsyncSession, *, author: Principal, people: Collection[UUID], reference: tuple[str, UUID], visibility: str
) -> None:
    """Tell the people whom the author names, those of them who may read it; ids of nobody change nothing."""
    query = select(UserProfile.user_id).where(UserProfile.user_id.in_(set(people)), UserProfile.user_id != READER)
    if visibility == "coach_only":
        query = query.where(UserProfile.is_coach)
    for person in await session.scalars(query):
        await notify(
            session, user_id=person, kind="mention", title="Someone mentioned you",
            message="You were mentioned in the community.", reference=reference, actor_id=author.user_id,
            deduplication_key=f"mention:{reference[1]}:{person}",
        )  # fmt: skip


def my_reactions(entity_type: str, entity_id: Any) -> Any:  # noqa: ANN401  # a column, and an expression of SQLAlchemy
    """Return the reader's own reactions to the row, as an array."""
    own = select(Reaction.reaction_type).where(
        Reaction.user_id == READER, Reaction.entity_type == entity_type, Reaction.entity_id == entity_id
    )
    return func.array(own.scalar_subquery(), type_=ARRAY(Text)).label("my_reactions")


def select_posts(
    *,
    status: str = "published",
    category: str | None = None,
    tag: str | None = None,
    author_id: UUID | None = None,
    words: str | None = None,
    reacted: Literal["like", "love", "bookmark"] | None = None,
    featured: bool | None = None,
) -> Select[Any]:
    """Return the feed (001 §4 P3) as one statement: posts, who wrote them, the reader's own reactions.

    Order it by `(is_pinned, published_at, id)`, which an index holds for each category and for all, or by
    `(created_at, id)` for what is not published. Counts are read, not counted: triggers keep them. Words and
    tags are looked for from the newest on: no index can serve `@@` or `@>` under row-level security, as they may leak
    what they compare. A word of many posts is found in 10 ms, the absence of one from 200,000 posts in 0.6 s.
    """
    query = select(Post, *show_person(Post.tenant_id, Post.author_id), my_reactions("post", Post.id)).where(
        Post.status == (_PUBLISHED if status == "published" else status)
    )
    if category is not None:
        query = query.where(Post.category == category)
    if author_id is not None:
        query = query.where(Post.author_id == author_id)
    if tag is not None:
        query = query.where(Post.tags.contains(cast(literal([name_tag(tag)], JSONB), JSONB)))
    if words is not None:
        query = query.where(Post.search_words.op("@@")(func.websearch_to_tsquery("english", words)))
    if reacted is not None:
        bookmarked = select(Reaction.entity_id).where(
            Reaction.user_id == READER, Reaction.entity_type == "post", Reaction.reaction_type == reacted
        )
        query = query.where(Post.id.in_(bookmarked))
    if featured:
        query = query.where(Post.is_featured, func.coalesce(Post.featured_until, func.now()) >= func.now())
    return query


async def get_post(session: AsyncSession, post_id: UUID) -> Any:  # noqa: ANN401  # a row of select_posts
    """Return the post as the feed shows it, whatever its status; raises `PostNotFound`."""
    query = select(Post, *show_person(Post.tenant_id, Post.author_id), my_reactions("post", Post.id)).where(
        Post.id == post_id
    )
    row = (await session.execute(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise PostNotFound
    return row


async def add_view(session: AsyncSession, kind: Literal["post", "project", "faq"], entity_id: UUID) -> None:
    """Count one look at it; sixteen become one change of its `view_count`, so it lags a little behind."""
    await session.execute(select(func.community.add_view(kind, entity_id)))


async def edit_post(session: AsyncSession, *, author: Principal, post_id: UUID, changes: dict[str, Any]) -> None:
    """Change what its author may: words, category, tags, media, visibility, and `draft` (true hides, false shows it).

    Changed words of a moderated organisation wait for its administrator again. Raises `PostNotFound`, `PostNotYours`,
    `AnnouncementForbidden`.
    """
    if changes.get("category") == "announcement" and author.role not in ("coach", "admin"):
        raise AnnouncementForbidden
    values = {name: value for name, value in changes.items() if name != "draft"}
    if "tags" in changes:
        values["tags"] = name_tags(changes["tags"])
    if "draft" in changes:
        values["status"] = (
            "draft" if changes["draft"] else case((Post.status == "pending", "pending"), else_="published")
        )
    await _change_own(session, post_id, values)


async def _change_own(session: AsyncSession, post_id: UUID, values: dict[str, Any]) -> None:
    changed = await session.scalar(
        update(Post)
        .where(Post.id == post_id, Post.author_id == READER, Post.status.in_(("draft", "pending", "published")))
        .values(**values, updated_at=func.now())
        .returning(Post.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        await get_post(session, post_id)
        raise PostNotYours


async def delete_post(session: AsyncSession, post_id: UUID) -> None:
    """Delete the reader's own post with its comments and reactions; raises `PostNotFound`, `PostNotYours`."""
    gone = await session.scalar(
        Post.__table__.delete()  # type: ignore[attr-defined]  # a Table, which the mapper types as FromClause
        .where(Post.id == post_id, Post.author_id == READER)
        .returning(Post.id)
    )
    if gone is None:
        await get_post(session, post_id)
        raise PostNotYours


async def moderate_post(
    session: AsyncSession,
    *,
    moderator: Principal,
    post_id: UUID,
    status: Literal["published", "flagged", "removed"],
    note: str | None = None,
) -> None:
    """Let the post show, flag it, or take it down: with its comments it is unreadable from the commit on.

    Runs in the administrator's own session: the database lets them change no word of it. Raises `PostNotFound`.
    """
    await name_action(session, {"published": "post_published"}.get(status, f"post_{status}"))
    author = await _moderate(
        session, post_id, {"status": status, "moderated_by": moderator.user_id, "moderation_note": note}
    )
    if author is not None and author != moderator.user_id:
        outcome = {
            "published": "Your post is published.",
            "flagged": "Your post is being looked at by an administrator and is hidden meanwhile.",
            "removed": "Your post was removed by an administrator; open it to read why.",
        }[status]
        await notify(
            session, user_id=author, kind="moderation", title="About your post", message=outcome,
            reference=("post", post_id), actor_id=moderator.user_id,
        )  # fmt: skip


async def publish_post(session: AsyncSession, *, moderator: Principal, post_id: UUID) -> None:
    """Let a post that waits show; raises `PostNotFound`."""
    await moderate_post(session, moderator=moderator, post_id=post_id, status="published")


async def feature_post(session: AsyncSession, *, post_id: UUID, changes: dict[str, Any]) -> None:
    """Pin the post, or feature it until a moment, in the administrator's session; raises `PostNotFound`."""
    await name_action(session, "post_featured")
    await _moderate(session, post_id, changes)


async def _moderate(session: AsyncSession, post_id: UUID, values: dict[str, Any]) -> UUID | None:
    row = (
        await session.execute(
            update(Post)
            .where(Post.id == post_id, Post.status != "draft")
            .values(**values, updated_at=func.now())
            .returning(Post.id, Post.author_id)
            .execution_options(synchronize_session=False)
        )
    ).one_or_none()
    if row is None:
        raise PostNotFound
    author: UUID | None = row.author_id
    return author
