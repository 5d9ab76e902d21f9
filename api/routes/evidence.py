"""Evidence: claims with their quotes, patterns with their claims, what there is of a client, and packs."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, status
from pydantic import AwareDatetime
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import AssistantDep, PrincipalDep, SessionDep, needs
from api.errors import list_problem_responses
from api.pagination import PLACE, CursorQuery, LimitQuery, Page, fetch_page, read_cursor, write_cursor
from api.schemas.evidence import (
    ClaimOut,
    ClaimStatus,
    ClaimType,
    CommitmentOut,
    EvidenceSummaryOut,
    PackIn,
    PackOut,
    PackSummaryOut,
    PatternDetailOut,
    PatternKind,
    PatternOut,
    SessionEvidenceOut,
    show_pattern,
)
from db.models import EvidencePack
from db.session import Principal
from domain import evidence
from domain.evidence import CommitmentState
from domain.packs import PackCoverage, PackUnusable, PackView, get_pack, make_pack, record_pack_read, select_packs
from domain.reading import list_evidence_read, record_reading
from rag.answer import Assistant
from rag.evidence import gather_evidence
from rag.passages import Retrieval, Scope
from rag.synthesize import count_coverage
from rag.understand import list_named_people, narrow, understand
from rag.understand_evidence import find_asked_evidence
from rag.understand_topic import list_topic_words

router = APIRouter(prefix="/v1", tags=["evidence"], dependencies=[needs("search")])

ClientQuery = Annotated[UUID | None, Query(alias="client", description="only of this client")]
VisibilityQuery = Annotated[
    Literal["client_visible", "coach_only"] | None, Query(description="only what may be shown to these")
]


@router.get("/claims", operation_id="listClaims", responses=list_problem_responses())
async def list_claims(
    *,
    session: SessionDep,
    client_id: ClientQuery = None,
    claim_type: Annotated[ClaimType | None, Query(alias="type", description="only of this type")] = None,
    claim_status: Annotated[ClaimStatus | None, Query(alias="status", description="only with this status")] = None,
    visibility: VisibilityQuery = None,
    held_from: Annotated[AwareDatetime | None, Query(alias="from", description="said then or later")] = None,
    held_until: Annotated[AwareDatetime | None, Query(alias="until", description="said before then")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[ClaimOut]:
    """List claims with their quotes, the latest said first: a client's own, those of a coach's clients."""
    found = await evidence.list_claims(
        session, client_id=client_id, claim_type=claim_type, status=claim_status, visibility=visibility,
        held_from=held_from, held_until=held_until, limit=limit + 1, before=read_cursor(cursor, PLACE),
    )  # fmt: skip
    await record_reading(session, "evidence_read", list_evidence_read(found[:limit]))
    more = write_cursor((found[limit - 1].moment, found[limit - 1].id)) if len(found) > limit else None
    return Page(items=[ClaimOut.model_validate(one) for one in found[:limit]], next_cursor=more)


@router.get("/claims/{claim_id}", operation_id="getClaim", responses=list_problem_responses(404))
async def get_claim(claim_id: UUID, session: SessionDep) -> ClaimOut:
    """Read a claim with its quotes, word for word, and where each stands."""
    claim = await evidence.get_claim(session, claim_id)
    await record_reading(session, "evidence_read", list_evidence_read([claim]), entity=("claim", claim.id))
    return ClaimOut.model_validate(claim)


@router.get("/patterns", operation_id="listPatterns", responses=list_problem_responses())
async def list_patterns(
    *,
    session: SessionDep,
    client_id: ClientQuery = None,
    kind: Annotated[PatternKind | None, Query(description="only of this kind")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[PatternOut]:
    """List patterns, the last seen first: of your clients, or as administrator those of cohorts."""
    found = await evidence.list_patterns(
        session, client_id=client_id, kind=kind, limit=limit + 1, before=read_cursor(cursor, PLACE)
    )
    await record_reading(session, "evidence_read", list_evidence_read(patterns=found[:limit]))
    more = write_cursor((found[limit - 1].moment, found[limit - 1].id)) if len(found) > limit else None
    return Page(items=[PatternOut.model_validate(one) for one in found[:limit]], next_cursor=more)


@router.get("/patterns/{pattern_id}", operation_id="getPattern", responses=list_problem_responses(404))
async def get_pattern(pattern_id: UUID, session: SessionDep) -> PatternDetailOut:
    """Read a pattern with all under it: its claims, for and against, and their quotes."""
    found = await evidence.get_pattern(session, pattern_id)
    read = list_evidence_read((one.claim for one in found.claims), [found.pattern])
    await record_reading(session, "evidence_read", read, entity=("pattern", pattern_id))
    return show_pattern(found)


@router.get("/clients/{client_id}/evidence", operation_id="getClientEvidence", responses=list_problem_responses(404))
async def get_client_evidence(client_id: UUID, session: SessionDep) -> EvidenceSummaryOut:
    """Tell how much evidence of a client there is that you may see."""
    return EvidenceSummaryOut.model_validate(await evidence.summarize_client(session, client_id))


@router.get(
    "/clients/{client_id}/evidence/sessions", operation_id="listClientEvidenceSessions",
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_client_sessions(
    client_id: UUID,
    session: SessionDep,
    visibility: VisibilityQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[SessionEvidenceOut]:
    """List a client's sessions, the latest first, with how much evidence stands on each."""
    found = await evidence.list_sessions(
        session, client_id, visibility=visibility, limit=limit + 1, before=read_cursor(cursor, PLACE)
    )
    last = found[limit - 1] if len(found) > limit else None
    more = write_cursor((last.moment, last.transcript_id)) if last else None
    return Page(items=[SessionEvidenceOut.model_validate(one) for one in found[:limit]], next_cursor=more)


@router.get(
    "/clients/{client_id}/commitments", operation_id="listClientCommitments", responses=list_problem_responses(404)
)
async def list_commitments(
    client_id: UUID,
    session: SessionDep,
    *,
    state: Annotated[CommitmentState | None, Query(description="only in this state")] = None,
    visibility: VisibilityQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[CommitmentOut]:
    """List what a client committed to, the latest first: when it is due, and the words that say what became of it."""
    found = await evidence.list_commitments(
        session, client_id, state=state, visibility=visibility, limit=limit + 1, before=read_cursor(cursor, PLACE)
    )
    shown = (claim for one in found[:limit] for claim in (one.claim, one.settled_by) if claim is not None)
    await record_reading(session, "evidence_read", list_evidence_read(shown))
    last = found[limit - 1].claim if len(found) > limit else None
    more = write_cursor((last.moment, last.id)) if last else None
    return Page(items=[CommitmentOut.model_validate(one) for one in found[:limit]], next_cursor=more)


@router.get("/evidence-packs", operation_id="listEvidencePacks", responses=list_problem_responses())
async def list_packs(
    session: SessionDep, client_id: ClientQuery = None, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[PackSummaryOut]:
    """List your own packs, the newest first, with the numbers of their items."""
    order = (EvidencePack.created_at, EvidencePack.id)
    rows, more = await fetch_page(session, select_packs(client_id), order=order, limit=limit, cursor=cursor)
    return Page(items=[PackSummaryOut.model_validate(row) for row in rows], next_cursor=more)


@router.post(
    "/evidence-packs", operation_id="makeEvidencePack", status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_pack(body: PackIn, principal: PrincipalDep, session: SessionDep, assistant: AssistantDep) -> PackOut:
    """Gather all evidence that you may see of a client, for a question, or for a question about a client.

    The same evidence again is the same pack.
    """
    if body.question is None:
        made = await make_pack(session, client_id=body.client_id)
    else:
        made = await _pack_question(session, principal, assistant, body.question, body.client_id)
    await record_pack_read(session, made)
    return PackOut.model_validate(made)


@router.get("/evidence-packs/{pack_id}", operation_id="getEvidencePack", responses=list_problem_responses(404))
async def read_pack(pack_id: UUID, session: SessionDep) -> PackOut:
    """Read one of your packs as you may see it now: what is gone or no longer yours to see is counted, not shown."""
    found = await get_pack(session, pack_id)
    await record_pack_read(session, found)
    return PackOut.model_validate(found)


async def _pack_question(
    session: AsyncSession, reader: Principal, assistant: Assistant, question: str, client_id: UUID | None
) -> PackView:
    """Make the pack of what search and the levels above it find for the question."""
    if not question.strip():
        raise PackUnusable
    asked = Scope(client_ids=(client_id,) if client_id else ())
    people = await list_named_people(session, question)
    found = await understand(session, question, reader=reader, people=people, now=datetime.now(UTC))
    scope = narrow(asked, found.scope)
    retrieval = Retrieval(passages=(), chunks_in_scope=0, sources_in_scope=0)
    claim_ids: list[UUID] = []
    if scope is not None and not found.missing:
        retrieval = await assistant.retriever(session, assistant.embedder, question, top_k=assistant.top_k, scope=scope)
        gathered = await gather_evidence(
            session, find_asked_evidence(question), list_topic_words(found), scope, retrieval.passages
        )
        claim_ids = list(gathered.claims)
    covered = await count_coverage(session, scope or asked, retrieval)
    coverage = PackCoverage(sessions_in_scope=covered.sessions_in_scope, sessions_examined=covered.sessions_examined)
    return await make_pack(session, client_id=client_id, question=question, claim_ids=claim_ids, coverage=coverage)
