"""Articles of the tenant's blog: writing, publishing and finding them."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from core.errors import Forbidden, NotFound
from db.models import BlogPost, BlogPostSkill
from db.session import Principal
from domain.people import show_person
from domain.posts import TENANT, name_id, name_slug


class ArticleNotFound(NotFound):
    """There is no such article that you may see; list the articles to find the ids of those there are."""


class ArticleForbidden(Forbidden):
    """Coaches write articles and change their own, administrators any; ask one of them."""


_PUBLISHED: Final[ColumnElement[str]] = literal_column("'published'")


async def create_article(
    session: AsyncSession, *, author: Principal, title: str, fields: dict[str, Any], key: str | None = None
) -> UUID:
    """Store an article and return its id, the same for the same idempotency key; raises `ArticleForbidden`."""
    if author.role not in ("coach", "admin"):
        raise ArticleForbidden
    article_id = name_id(author, "article", key)
    await session.execute(
        insert(BlogPost)
        .values(
            tenant_id=TENANT, id=article_id, author_id=author.user_id, title=title,
            slug=name_slug(title, article_id), **fields,
        )
        .on_conflict_do_nothing(index_elements=(BlogPost.tenant_id, BlogPost.id))
    )  # fmt: skip
    return article_id


def _with_author() -> Select[Any]:
    return select(BlogPost, *show_person(BlogPost.tenant_id, BlogPost.author_id))


def select_articles(
    *,
    status: str = "published",
    author_id: UUID | None = None,
    skill_id: UUID | None = None,
    words: str | None = None,
) -> Select[Any]:
    """Return articles and who wrote them; order it by `(published_at, id)` where published, else `(created_at, id)`."""
    query = _with_author().where(BlogPost.status == (_PUBLISHED if status == "published" else status))
    if author_id is not None:
        query = query.where(BlogPost.author_id == author_id)
    if skill_id is not None:
        about = select(BlogPostSkill.blog_post_id).where(BlogPostSkill.skill_id == skill_id)
        query = query.where(BlogPost.id.in_(about))
    if words is not None:
        text = func.to_tsvector("english", BlogPost.title + " " + BlogPost.content)
        query = query.where(text.op("@@")(func.websearch_to_tsquery("english", words)))
    return query


async def get_article(session: AsyncSession, article_id: UUID) -> Any:  # noqa: ANN401  # a row of select_articles
    """Return the article as lists show it, whatever its status; raises `ArticleNotFound`."""
    query = _with_author().where(BlogPost.id == article_id).execution_options(populate_existing=True)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise ArticleNotFound
    return row


async def edit_article(session: AsyncSession, *, article_id: UUID, changes: dict[str, Any]) -> None:
    """Change the article; it bears the moment it was first published. Raises `ArticleNotFound`, `ArticleForbidden`."""
    changed = await session.scalar(
        update(BlogPost)
        .where(BlogPost.id == article_id)
        .values(**changes, updated_at=func.now())
        .returning(BlogPost.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        await get_article(session, article_id)
        raise ArticleForbidden


async def delete_article(session: AsyncSession, article_id: UUID) -> None:
    """Delete the article; raises `ArticleNotFound`, `ArticleForbidden`."""
    gone = await session.scalar(
        delete(BlogPost)
        .where(BlogPost.id == article_id)
        .returning(BlogPost.id)
        .execution_options(synchronize_session=False)
    )
    if gone is None:
        await get_article(session, article_id)
        raise ArticleForbidden
