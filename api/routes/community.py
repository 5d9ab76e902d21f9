"""Posts and comments, and what people think of them."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.community import (
    AuthorOut,
    Category,
    CommentIn,
    CommentOut,
    CommentPatch,
    CommentStatus,
    FeatureIn,
    ModerationIn,
    PostIn,
    PostOut,
    PostPatch,
    PostStatus,
    ReactionOut,
)
from db.models import Comment, Post, Reaction
from domain import comments, posts, reactions

router = APIRouter(prefix="/v1", tags=["community"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("client", "coach", "admin")]
ADMIN: Final = [needs("admin"), needs_role("admin")]

WordsQuery = Annotated[str | None, Query(alias="q", min_length=1, max_length=200, description="words to find")]


def show_author(user_id: UUID | None, row: Any) -> AuthorOut | None:  # noqa: ANN401  # a row with a profile's columns
    """Return who wrote it, or None where the account is gone."""
    if user_id is None:
        return None
    return AuthorOut(id=user_id, display_name=row.display_name, photo_url=row.profile_photo_url)


def show_post(row: Any) -> PostOut:  # noqa: ANN401  # a row of select_posts
    """Return a post as the feed shows it."""
    post: Post = row.Post
    return PostOut(
        id=post.id, slug=post.slug, author=show_author(post.author_id, row), title=post.title, content=post.content,
        category=post.category, tags=post.tags, media=post.media_urls, visibility=post.visibility,
        status=post.status, moderation_note=post.moderation_note, is_pinned=post.is_pinned,
        is_featured=post.is_featured, view_count=post.view_count, like_count=post.like_count,
        comment_count=post.comment_count, bookmark_count=post.bookmark_count, my_reactions=row.my_reactions,
        created_at=post.created_at, updated_at=post.updated_at, published_at=post.published_at,
    )  # fmt: skip


def show_comment(row: Any) -> CommentOut:  # noqa: ANN401  # a row of select_comments
    """Return a comment as lists show it."""
    comment: Comment = row.Comment
    return CommentOut(
        id=comment.id, post_id=comment.post_id, parent_comment_id=comment.parent_comment_id, depth=comment.depth,
        author=show_author(comment.author_id, row), content=comment.content, status=comment.status,
        like_count=comment.like_count, my_reactions=row.my_reactions, created_at=comment.created_at,
        updated_at=comment.updated_at,
    )  # fmt: skip


@router.get("/posts", operation_id="listPosts", dependencies=READ, responses=list_problem_responses())
async def list_posts(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    category: Category | None = None,
    tag: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    author: Annotated[UUID | None, Query(description="only this person's")] = None,
    q: WordsQuery = None,
    reacted: Annotated[Literal["like", "love", "bookmark"] | None, Query(description="only what you marked so")] = None,
    featured: Annotated[bool | None, Query(description="only what is featured now")] = None,
    state: Annotated[
        PostStatus, Query(alias="status", description="others than published: yours, or to moderate")
    ] = "published",
) -> Page[PostOut]:
    """Read the feed, pinned posts first, then the newest."""
    query = posts.select_posts(
        status=state, category=category, tag=tag, author_id=author, words=q, reacted=reacted, featured=featured
    )
    order = (Post.is_pinned, Post.published_at, Post.id) if state == "published" else (Post.created_at, Post.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[show_post(row) for row in rows], next_cursor=following)


@router.post(
    "/posts", operation_id="createPost", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_post(
    body: PostIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> PostOut:
    """Write a post; where your organisation moderates, it waits as `pending`."""
    post_id = await posts.create_post(
        session, author=principal, title=body.title, content=body.content, category=body.category, tags=body.tags,
        media_urls=[item.stored() for item in body.media], visibility=body.visibility, draft=body.draft,
        mentions=body.mentions, key=key,
    )  # fmt: skip
    return show_post(await posts.get_post(session, post_id))


@router.get("/posts/{post_id}", operation_id="getPost", dependencies=READ, responses=list_problem_responses(404))
async def get_post(post_id: UUID, session: SessionDep) -> PostOut:
    """Read a post, which counts as a view."""
    row = await posts.get_post(session, post_id)
    await posts.add_view(session, "post", post_id)
    return show_post(row)


@router.patch("/posts/{post_id}", operation_id="editPost", dependencies=WRITE, responses=list_problem_responses(404))
async def edit_post(post_id: UUID, body: PostPatch, principal: PrincipalDep, session: SessionDep) -> PostOut:
    """Change a post of yours."""
    given = body.model_dump(exclude_unset=True, exclude={"media"})
    changes = {name: value for name, value in given.items() if value is not None or name == "title"}
    if body.media is not None:
        changes["media_urls"] = [item.stored() for item in body.media]
    await posts.edit_post(session, author=principal, post_id=post_id, changes=changes)
    return show_post(await posts.get_post(session, post_id))


@router.delete(
    "/posts/{post_id}", operation_id="deletePost", dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_post(post_id: UUID, session: SessionDep) -> None:
    """Delete a post of yours with its comments."""
    await posts.delete_post(session, post_id)


@router.post(
    "/posts/{post_id}/moderation", operation_id="moderatePost", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def moderate_post(post_id: UUID, body: ModerationIn, principal: PrincipalDep, session: SessionDep) -> PostOut:
    """Publish, flag or remove a post."""
    await posts.moderate_post(session, moderator=principal, post_id=post_id, status=body.status, note=body.note)
    return show_post(await posts.get_post(session, post_id))


@router.post(
    "/posts/{post_id}/feature", operation_id="featurePost", dependencies=ADMIN, responses=list_problem_responses(404)
)
async def feature_post(post_id: UUID, body: FeatureIn, session: SessionDep) -> PostOut:
    """Pin a post, or feature it until a moment."""
    changes = {name: value for name, value in body.model_dump(exclude_unset=True).items()
               if value is not None or name == "featured_until"}  # fmt: skip
    if changes:
        await posts.feature_post(session, post_id=post_id, changes=changes)
    return show_post(await posts.get_post(session, post_id))


@router.get(
    "/posts/{post_id}/comments", operation_id="listComments", dependencies=READ, responses=list_problem_responses(404)
)
async def list_comments(
    post_id: UUID,
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    parent: Annotated[UUID | None, Query(description="only replies to this comment")] = None,
) -> Page[CommentOut]:
    """Read the comments of a post, the oldest first; `parent_comment_id` says what a reply replies to."""
    await posts.get_post(session, post_id)
    query = comments.select_comments(post_id=post_id, parent_comment_id=parent)
    order = (Comment.created_at, Comment.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    return Page(items=[show_comment(row) for row in rows], next_cursor=following)


@router.post(
    "/posts/{post_id}/comments", operation_id="addComment", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def add_comment(
    post_id: UUID, body: CommentIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> CommentOut:
    """Answer a post or one of its comments."""
    comment_id = await comments.add_comment(
        session, author=principal, post_id=post_id, content=body.content, parent_comment_id=body.parent_comment_id,
        mentions=body.mentions, key=key,
    )  # fmt: skip
    return show_comment(await comments.get_comment(session, comment_id))


@router.get("/comments", operation_id="listCommentsToModerate", dependencies=ADMIN, responses=list_problem_responses())
async def list_comments_to_moderate(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    state: Annotated[CommentStatus, Query(alias="status")] = "flagged",
) -> Page[CommentOut]:
    """List comments by status, the newest first."""
    query = comments.select_comments(status=state)
    order = (Comment.created_at, Comment.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[show_comment(row) for row in rows], next_cursor=following)


@router.patch(
    "/comments/{comment_id}", operation_id="editComment", dependencies=WRITE, responses=list_problem_responses(404)
)
async def edit_comment(comment_id: UUID, body: CommentPatch, session: SessionDep) -> CommentOut:
    """Change the words of a comment of yours."""
    await comments.edit_comment(session, comment_id=comment_id, content=body.content)
    return show_comment(await comments.get_comment(session, comment_id))


@router.delete(
    "/comments/{comment_id}", operation_id="deleteComment", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def delete_comment(comment_id: UUID, session: SessionDep) -> None:
    """Delete a comment of yours with the replies to it."""
    await comments.delete_comment(session, comment_id)


@router.post(
    "/comments/{comment_id}/moderation", operation_id="moderateComment", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def moderate_comment(
    comment_id: UUID, body: ModerationIn, principal: PrincipalDep, session: SessionDep
) -> CommentOut:
    """Show, flag or remove a comment."""
    await comments.moderate_comment(
        session, moderator=principal, comment_id=comment_id, status=body.status, note=body.note
    )
    return show_comment(await comments.get_comment(session, comment_id))


@router.get("/reactions", operation_id="listReactions", dependencies=READ, responses=list_problem_responses())
async def list_reactions(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    entity_type: reactions.EntityType | None = None,
    reaction_type: reactions.ReactionType | None = None,
) -> Page[ReactionOut]:
    """List what you liked, bookmarked and endorsed, the newest first."""
    query = reactions.select_reactions(entity_type=entity_type, reaction_type=reaction_type)
    order = (Reaction.created_at, Reaction.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ReactionOut.model_validate(row.Reaction) for row in rows], next_cursor=following)


@router.put(
    "/reactions/{entity_type}/{entity_id}/{reaction_type}", operation_id="react", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def react(
    entity_type: reactions.EntityType, entity_id: UUID, reaction_type: reactions.ReactionType, session: SessionDep
) -> None:
    """Like, love, bookmark or endorse something; a profile's id is its person's."""
    await reactions.react(session, entity_type=entity_type, entity_id=entity_id, reaction_type=reaction_type)


@router.delete(
    "/reactions/{entity_type}/{entity_id}/{reaction_type}", operation_id="takeReactionBack", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def take_back(
    entity_type: reactions.EntityType, entity_id: UUID, reaction_type: reactions.ReactionType, session: SessionDep
) -> None:
    """Take a reaction of yours back."""
    await reactions.take_back(session, entity_type=entity_type, entity_id=entity_id, reaction_type=reaction_type)
