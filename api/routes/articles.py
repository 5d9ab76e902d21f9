"""Frequently asked questions, and the articles of the blog."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.community import WordsQuery, show_author
from api.schemas.content import ArticleIn, ArticleOut, ArticlePatch, ArticleStatus, FaqIn, FaqOut, FaqPatch
from db.models import BlogPost, Faq
from domain import articles, faqs, posts

router = APIRouter(prefix="/v1", tags=["content"])

# What an executive or an evaluator may read is decided by each row's visibility.
READ: Final = [needs("read")]
WRITE: Final = [needs("write"), needs_role("coach", "admin")]


def _show_faq(row: Any) -> FaqOut:  # noqa: ANN401  # a row of select_faqs
    faq: Faq = row.Faq
    return FaqOut(
        id=faq.id, category=faq.category, question=faq.question, answer=faq.answer,
        sequence_order=faq.sequence_order, is_published=faq.is_published, visibility=faq.visibility,
        view_count=faq.view_count, helpful_count=faq.helpful_count, is_helpful=row.is_helpful,
        updated_at=faq.updated_at,
    )  # fmt: skip


def _show_article(row: Any) -> ArticleOut:  # noqa: ANN401  # a row of select_articles
    article: BlogPost = row.BlogPost
    return ArticleOut(
        id=article.id, slug=article.slug, author=show_author(article.author_id, row), title=article.title,
        summary=article.summary, content=article.content, media=article.media_urls, status=article.status,
        visibility=article.visibility, created_at=article.created_at, updated_at=article.updated_at,
        published_at=article.published_at,
    )  # fmt: skip


@router.get("/faqs", operation_id="listFaqs", dependencies=READ, responses=list_problem_responses())
async def list_faqs(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    category: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    published: Annotated[bool | None, Query(description="who writes questions sees those not published too")] = None,
    q: WordsQuery = None,
) -> Page[FaqOut]:
    """List frequently asked questions in their order."""
    query = faqs.select_faqs(category=category, published=published, words=q)
    order = (Faq.sequence_order, Faq.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    return Page(items=[_show_faq(row) for row in rows], next_cursor=following)


@router.post(
    "/faqs", operation_id="createFaq", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_faq(body: FaqIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None) -> FaqOut:
    """Answer a question once for all."""
    fields = body.model_dump(exclude={"visibility"})
    faq_id = await faqs.create_faq(session, writer=principal, fields=fields, visibility=body.visibility, key=key)
    return _show_faq(await faqs.get_faq(session, faq_id))


@router.get("/faqs/{faq_id}", operation_id="getFaq", dependencies=READ, responses=list_problem_responses(404))
async def get_faq(faq_id: UUID, session: SessionDep) -> FaqOut:
    """Read a question, which counts as a view."""
    row = await faqs.get_faq(session, faq_id)
    await posts.add_view(session, "faq", faq_id)
    return _show_faq(row)


@router.patch("/faqs/{faq_id}", operation_id="editFaq", dependencies=WRITE, responses=list_problem_responses(404))
async def edit_faq(faq_id: UUID, body: FaqPatch, principal: PrincipalDep, session: SessionDep) -> FaqOut:
    """Change a question or its answer."""
    changes = body.model_dump(exclude_none=True)
    await faqs.edit_faq(session, writer=principal, faq_id=faq_id, changes=changes)
    return _show_faq(await faqs.get_faq(session, faq_id))


@router.delete(
    "/faqs/{faq_id}", operation_id="deleteFaq", dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_faq(faq_id: UUID, session: SessionDep) -> None:
    """Delete a question."""
    await faqs.delete_faq(session, faq_id)


@router.put(
    "/faqs/{faq_id}/helpful", operation_id="voteFaqHelpful", dependencies=[needs("write")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def vote_helpful(faq_id: UUID, session: SessionDep) -> FaqOut:
    """Say that an answer helped you; once counts."""
    await faqs.vote_helpful(session, faq_id=faq_id, helpful=True)
    return _show_faq(await faqs.get_faq(session, faq_id))


@router.delete(
    "/faqs/{faq_id}/helpful", operation_id="takeFaqVoteBack", dependencies=[needs("write")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def take_vote_back(faq_id: UUID, session: SessionDep) -> FaqOut:
    """Take back that an answer helped you."""
    await faqs.vote_helpful(session, faq_id=faq_id, helpful=False)
    return _show_faq(await faqs.get_faq(session, faq_id))


@router.get("/blog-posts", operation_id="listArticles", dependencies=READ, responses=list_problem_responses())
async def list_articles(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    author: Annotated[UUID | None, Query(description="only this person's")] = None,
    skill: Annotated[UUID | None, Query(description="only those about this skill")] = None,
    q: WordsQuery = None,
    state: Annotated[ArticleStatus, Query(alias="status")] = "published",
) -> Page[ArticleOut]:
    """List articles, the newest first."""
    query = articles.select_articles(status=state, author_id=author, skill_id=skill, words=q)
    order = (BlogPost.published_at if state == "published" else BlogPost.created_at, BlogPost.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[_show_article(row) for row in rows], next_cursor=following)


@router.post(
    "/blog-posts", operation_id="createArticle", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_article(
    body: ArticleIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> ArticleOut:
    """Write an article."""
    fields = body.model_dump(exclude={"title", "media"}) | {"media_urls": [item.stored() for item in body.media]}
    article_id = await articles.create_article(session, author=principal, title=body.title, fields=fields, key=key)
    return _show_article(await articles.get_article(session, article_id))


@router.get(
    "/blog-posts/{article_id}", operation_id="getArticle", dependencies=READ, responses=list_problem_responses(404)
)
async def get_article(article_id: UUID, session: SessionDep) -> ArticleOut:
    """Read an article."""
    return _show_article(await articles.get_article(session, article_id))


@router.patch(
    "/blog-posts/{article_id}", operation_id="editArticle", dependencies=WRITE, responses=list_problem_responses(404)
)
async def edit_article(article_id: UUID, body: ArticlePatch, session: SessionDep) -> ArticleOut:
    """Change, publish or archive an article."""
    given = body.model_dump(exclude_unset=True, exclude={"media"})
    changes = {name: value for name, value in given.items() if value is not None or name == "summary"}
    if body.media is not None:
        changes["media_urls"] = [item.stored() for item in body.media]
    await articles.edit_article(session, article_id=article_id, changes=changes)
    return _show_article(await articles.get_article(session, article_id))


@router.delete(
    "/blog-posts/{article_id}", operation_id="deleteArticle", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def delete_article(article_id: UUID, session: SessionDep) -> None:
    """Delete an article."""
    await articles.delete_article(session, article_id)
