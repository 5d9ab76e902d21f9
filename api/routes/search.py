"""Search: ranked passages of what the caller may see."""

from dataclasses import replace
from datetime import UTC, datetime

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import AssistantDep, PrincipalDep, needs, needs_role
from api.errors import list_problem_responses
from api.schemas.chat import show_coverage, show_source
from api.schemas.search import SearchIn, SearchOut, TraceIn, TraceOut
from db.session import Principal, tenant_session
from domain.reading import list_passages_read, record_reading
from rag.answer import Assistant, UnusableQuestion
from rag.passages import Retrieval, Scope
from rag.spending import prepare_question
from rag.synthesize import count_coverage
from rag.trace import trace_search_of
from rag.understand import Understanding, list_named_people, narrow, understand

router = APIRouter(prefix="/v1/search", tags=["search"], dependencies=[needs("search")])


@router.post("", operation_id="search", responses=list_problem_responses(429))
async def search(body: SearchIn, principal: PrincipalDep, assistant: AssistantDep) -> SearchOut:
    """Find passages, each with its source, speakers, time and score."""
    query = body.query.strip()
    if not query:
        raise UnusableQuestion
    asked = Scope(
        client_ids=tuple(body.client_ids), coaching_session_ids=tuple(body.coaching_session_ids),
        source_ids=tuple(body.source_ids), held_from=body.held_from, held_until=body.held_until,
        speakers=tuple(body.speakers), source_kinds=tuple(body.source_kinds),
    )  # fmt: skip
    # a service that is paid is asked before the transaction, within the organisation's limits
    embedder = await prepare_question(principal.as_system(), assistant.embedder, query, memory=assistant.memory)
    async with tenant_session(principal) as session:
        return await _search(session, body, query, asked, principal, replace(assistant, embedder=embedder))


@router.post(
    "/trace", operation_id="traceSearch", dependencies=[needs_role("admin")], responses=list_problem_responses(429)
)
async def trace(body: TraceIn, principal: PrincipalDep, assistant: AssistantDep) -> TraceOut:
    """Count what a person's question loses to their rights, to its own limits and to better passages.

    For an administrator whom somebody tells that they do not find what should be there. The audit log notes it.
    """
    traced = await trace_search_of(principal, body.person, body.query, assistant=assistant)
    return TraceOut.model_validate(traced)


async def _search(  # noqa: PLR0917  # each is another thing
    session: AsyncSession, body: SearchIn, query: str, asked: Scope, principal: Principal, assistant: Assistant
) -> SearchOut:
    found = Understanding(question=query, scope=Scope())
    if body.understand:
        people = await list_named_people(session, query)
        found = await understand(session, query, reader=principal, people=people, now=datetime.now(UTC))
    scope = narrow(asked, found.scope)
    retrieval = Retrieval(passages=(), chunks_in_scope=0, sources_in_scope=0)
    if scope is not None and not found.missing:
        retrieval = await assistant.retriever(session, assistant.embedder, query, top_k=body.top_k, scope=scope)
    await record_reading(session, "passages_retrieved", list_passages_read(retrieval.passages))
    coverage = await count_coverage(session, scope or asked, retrieval)
    return SearchOut(
        items=[show_source(passage, rank) for rank, passage in enumerate(retrieval.passages, 1)],
        understood=found.missing or found.words, chunks_in_scope=retrieval.chunks_in_scope,
        sources_in_scope=retrieval.sources_in_scope, coverage=show_coverage(coverage),
    )  # fmt: skip
