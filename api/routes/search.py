"""Search: ranked passages of what the caller may see."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.deps import AssistantDep, PrincipalDep, SessionDep, needs
from api.errors import list_problem_responses
from api.schemas.chat import show_coverage, show_source
from api.schemas.search import SearchIn, SearchOut
from rag.answer import UnusableQuestion
from rag.passages import Retrieval, Scope
from rag.synthesize import count_coverage
from rag.understand import Understanding, list_named_people, narrow, understand

router = APIRouter(prefix="/v1/search", tags=["search"], dependencies=[needs("search")])


@router.post("", operation_id="search", responses=list_problem_responses())
async def search(body: SearchIn, session: SessionDep, principal: PrincipalDep, assistant: AssistantDep) -> SearchOut:
    """Find passages, each with its source, speakers, time and score."""
    query = body.query.strip()
    if not query:
        raise UnusableQuestion
    asked = Scope(
        client_ids=tuple(body.client_ids), coaching_session_ids=tuple(body.coaching_session_ids),
        source_ids=tuple(body.source_ids), held_from=body.held_from, held_until=body.held_until,
        speakers=tuple(body.speakers), source_kinds=tuple(body.source_kinds),
    )  # fmt: skip
    found = Understanding(question=query, scope=Scope())
    if body.understand:
        people = await list_named_people(session, query)
        found = await understand(session, query, reader=principal, people=people, now=datetime.now(UTC))
    scope = narrow(asked, found.scope)
    retrieval = Retrieval(passages=(), chunks_in_scope=0, sources_in_scope=0)
    if scope is not None and not found.missing:
        retrieval = await assistant.retriever(session, assistant.embedder, query, top_k=body.top_k, scope=scope)
    coverage = await count_coverage(session, scope or asked, retrieval)
    return SearchOut(
        items=[show_source(passage, rank) for rank, passage in enumerate(retrieval.passages, 1)],
        understood=found.missing or found.words, chunks_in_scope=retrieval.chunks_in_scope,
        sources_in_scope=retrieval.sources_in_scope, coverage=show_coverage(coverage),
    )  # fmt: skip
