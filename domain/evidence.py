"""Reading evidence: claims with their quotes, patterns with their claims, and how far a client's sessions are covered.

Every function is one statement under the reader's row-level security, which leaves out what they may not see and what
no longer stands on its sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.session import acting_as_system
from domain.evidence_views import (
    CLAIM_MOMENT,
    CLAIM_SESSION,
    CLAIMS,
    CLAIMS_JSON,
    PATTERNS,
    PATTERNS_JSON,
    ClaimRole,
    ClaimView,
    PatternView,
    link_claims,
    link_shown,
)

MOST_LINKS: Final = 200
"""Claims shown under one pattern; one of a hundred sessions that speak of it in each has that many."""

CommitmentState = Literal["open", "overdue", "kept", "broken", "retracted", "superseded"]
Place = tuple[datetime, UUID]
"""Where a page begins: the moment and the id of the last row of the page before."""


class ClaimNotFound(NotFound):
    """There is no such claim that you may see; list the claims to see their ids."""


class PatternNotFound(NotFound):
    """There is no such pattern that you may see; list the patterns to see their ids."""


class ClientEvidenceNotFound(NotFound):
    """There is no such client whose evidence you may see; list your clients to see their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternClaimView:
    """One claim under one pattern."""

    role: ClaimRole
    claim: ClaimView


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternDetail:
    """A pattern, the claims under it that the reader may see, and their quotes."""

    pattern: PatternView
    claims: tuple[PatternClaimView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentView:
    """A commitment, how it stands today, the day it is due, and the claim that settled it."""

    claim: ClaimView
    state: CommitmentState
    due: date | None
    settled_by: ClaimView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvidence:
    """One session of a client and how much evidence stands on it."""

    transcript_id: UUID
    title: str
    held_at: datetime | None
    moment: datetime
    examined: bool
    """Whether claims were looked for in this version of it."""
    claims: int
    quotes: int
    commitments: int
    visibility: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSummary:
    """How much evidence of a client the reader may see, counted by type, kind and state."""

    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int
    first_held_at: datetime | None
    last_held_at: datetime | None
    quotes: int
    claims: Mapping[str, int]
    commitments: Mapping[str, int]
    patterns: Mapping[str, int]
    insights: Mapping[str, int]


_CLAIMS_ONLY = "WITH wanted_claims AS ({wanted}) SELECT ({shown}) AS claims"
_GET_CLAIM: Final = text(_CLAIMS_ONLY.format(wanted="SELECT CAST(:claim_id AS uuid) AS id", shown=CLAIMS_JSON))
_GET_PATTERN: Final = text(
    f"""
    WITH wanted_patterns AS (SELECT CAST(:pattern_id AS uuid) AS id), linked AS ({link_claims()}),
         wanted_claims AS (SELECT claim_id AS id FROM linked)
    SELECT ({PATTERNS_JSON}) AS patterns, ({CLAIMS_JSON}) AS claims
    """
)
_READ_PYRAMID: Final = text(
    f"""
    WITH wanted_patterns AS (SELECT unnest(CAST(:pattern_ids AS uuid[])) AS id), linked AS ({link_claims()}),
         wanted_claims AS (SELECT unnest(CAST(:claim_ids AS uuid[])) AS id UNION SELECT claim_id FROM linked)
    SELECT ({PATTERNS_JSON}) AS patterns, ({CLAIMS_JSON}) AS claims
    """
)

# The reader of a client: the client, their coaches, the pipelines. Others may know that the person is there, no more.
MAY_READ_CLIENT: Final = """
    EXISTS (SELECT FROM identity.users WHERE id = :client_id AND role = 'client')
    AND ((SELECT current_setting('app.role')) = 'system'
         OR :client_id = ANY ((SELECT string_to_array(current_setting('app.clients'), ',')::uuid[])::uuid[]))
"""
COMMITMENT_STATE = """
    CASE WHEN c.status = 'asserted' AND c.valid_to < current_date THEN 'overdue'
         WHEN c.status = 'asserted' THEN 'open' ELSE c.status END
"""


async def get_claim(session: AsyncSession, claim_id: UUID) -> ClaimView:
    """Return the claim with its quotes; raises `ClaimNotFound`."""
    found = CLAIMS.validate_python(await session.scalar(_GET_CLAIM, {"claim_id": claim_id}))
    if not found:
        raise ClaimNotFound
    return found[0]


async def list_claims(
    session: AsyncSession,
    *,
    client_id: UUID | None = None,
    claim_type: str | None = None,
    status: str | None = None,
    visibility: str | None = None,
    held_from: datetime | None = None,
    held_until: datetime | None = None,
    limit: int,
    before: Place | None = None,
) -> list[ClaimView]:
    """Return claims with their quotes, the latest said first, from after the place `before`.

    `held_from` is inclusive, `held_until` exclusive; they bound `ClaimView.moment`.
    """
    narrowed = {
        "c.client_id = :client_id": client_id, "c.claim_type = :claim_type": claim_type, "c.status = :status": status,
        "c.visibility = :visibility": visibility, f"{CLAIM_MOMENT} >= :held_from": held_from,
        f"{CLAIM_MOMENT} < :held_until": held_until,
    }  # fmt: skip
    conditions = [condition for condition, value in narrowed.items() if value is not None]
    statement = text(_CLAIMS_ONLY.format(wanted=_page_claims(conditions, before), shown=CLAIMS_JSON))
    values: dict[str, Any] = {
        "client_id": client_id, "claim_type": claim_type, "status": status, "visibility": visibility,
        "held_from": held_from, "held_until": held_until, "limit": limit, **_bind_place(before),
    }  # fmt: skip
    found = CLAIMS.validate_python(await session.scalar(statement, values))
    return list(reversed(found))


async def get_pattern(session: AsyncSession, pattern_id: UUID) -> PatternDetail:
    """Return the pattern with the claims and quotes under it; raises `PatternNotFound`."""
    row = (await session.execute(_GET_PATTERN, {"pattern_id": pattern_id, "most_links": MOST_LINKS})).one()
    found = PATTERNS.validate_python(row.patterns)
    if not found:
        raise PatternNotFound
    claims = {claim.id: claim for claim in CLAIMS.validate_python(row.claims)}
    (pattern,) = link_shown(found, claims.values())
    return PatternDetail(
        pattern=pattern,
        claims=tuple(PatternClaimView(role=link.role, claim=claims[link.id]) for link in pattern.claims),
    )


async def read_pyramid(
    session: AsyncSession, *, pattern_ids: Sequence[UUID], claim_ids: Sequence[UUID] = ()
) -> tuple[tuple[PatternView, ...], tuple[ClaimView, ...]]:
    """Return these patterns, and these claims with those under the patterns, as far as the reader may see them."""
    values = {"pattern_ids": list(pattern_ids), "claim_ids": list(claim_ids), "most_links": MOST_LINKS}
    row = (await session.execute(_READ_PYRAMID, values)).one()
    claims = CLAIMS.validate_python(row.claims)
    return link_shown(PATTERNS.validate_python(row.patterns), claims), claims


async def list_patterns(
    session: AsyncSession,
    *,
    client_id: UUID | None = None,
    kind: str | None = None,
    limit: int,
    before: Place | None = None,
) -> list[PatternView]:
    """Return patterns, the last seen first, from after the place `before`; their claims by id."""
    narrowed = {"p.client_id = :client_id": client_id, "p.kind = :kind": kind}
    conditions = [condition for condition, value in narrowed.items() if value is not None]
    moment = "coalesce(p.last_seen, p.created_at)"
    if before is not None:
        conditions.append(f"({moment}, p.id) < (:moment, :id)")
    statement = text(
        f"""
        WITH wanted_patterns AS (
            SELECT p.id FROM evidence.patterns p WHERE {" AND ".join(["p.stale_at IS NULL", *conditions])}
            ORDER BY {moment} DESC, p.id DESC LIMIT :limit
        ), linked AS ({link_claims()})
        SELECT ({PATTERNS_JSON}) AS patterns
        """
    )
    values = {"client_id": client_id, "kind": kind, "limit": limit, "most_links": MOST_LINKS, **_bind_place(before)}
    return list(PATTERNS.validate_python(await session.scalar(statement, values)))


_COMMITMENTS: Final = TypeAdapter(dict[UUID, CommitmentState])


async def list_commitments(
    session: AsyncSession,
    client_id: UUID,
    *,
    state: CommitmentState | None = None,
    visibility: str | None = None,
    limit: int,
    before: Place | None = None,
) -> list[CommitmentView]:
    """Return the client's commitments, the latest said first, with how they stand today and what settled them.

    Raises `ClientEvidenceNotFound`.
    """
    conditions = ["c.client_id = :client_id", "c.claim_type = 'commitment'"]
    if state is not None:
        conditions.append(f"{COMMITMENT_STATE} = :state")
    if visibility is not None:
        conditions.append("c.visibility = :visibility")
    statement = text(
        f"""
        WITH page AS ({_page_claims(conditions, before, f"c.superseded_by, {COMMITMENT_STATE} AS state")}),
             wanted_claims AS (
                 SELECT id FROM page UNION SELECT superseded_by FROM page WHERE superseded_by IS NOT NULL
             )
        SELECT {MAY_READ_CLIENT} AS known, ({CLAIMS_JSON}) AS claims,
               (SELECT coalesce(jsonb_object_agg(id, state), '{{}}') FROM page) AS states
        """
    )
    values = {
        "client_id": client_id, "state": state, "visibility": visibility, "limit": limit, **_bind_place(before),
    }  # fmt: skip
    row = (await session.execute(statement, values)).one()
    if not row.known:
        raise ClientEvidenceNotFound
    claims = {claim.id: claim for claim in CLAIMS.validate_python(row.claims)}
    states = _COMMITMENTS.validate_python(row.states)
    return [
        CommitmentView(
            claim=claim, state=states[claim.id], due=claim.valid_to,
            settled_by=claims.get(claim.superseded_by) if claim.superseded_by else None,
        )
        for claim in reversed(claims.values()) if claim.id in states
    ]  # fmt: skip


_SESSIONS: Final = """
    SELECT {known} AS known, s.* FROM (SELECT) one LEFT JOIN (
        SELECT t.id AS transcript_id, t.title, t.held_at, t.visibility, coalesce(t.held_at, t.created_at) AS moment,
               (SELECT count(*) FROM evidence.claims c
                WHERE c.tenant_id = t.tenant_id AND c.transcript_id = t.id AND c.stale_at IS NULL) AS claims,
               (SELECT count(*) FROM evidence.quotes q
                WHERE q.tenant_id = t.tenant_id AND q.transcript_id = t.id AND q.stale_at IS NULL) AS quotes,
               (SELECT count(*) FROM evidence.claims c
                WHERE c.tenant_id = t.tenant_id AND c.transcript_id = t.id AND c.stale_at IS NULL
                  AND c.claim_type = 'commitment') AS commitments
        FROM rag.transcripts t WHERE t.client_id = :client_id {narrowed}
        ORDER BY moment DESC, t.id DESC LIMIT :limit
    ) s ON true ORDER BY s.moment DESC, s.transcript_id DESC
"""


async def list_sessions(
    session: AsyncSession, client_id: UUID, *, visibility: str | None = None, limit: int, before: Place | None = None
) -> list[SessionEvidence]:
    """Return the client's sessions, the latest first, with how much evidence stands on each.

    Raises `ClientEvidenceNotFound`.
    """
    narrowed = "" if before is None else "AND (coalesce(t.held_at, t.created_at), t.id) < (:moment, :id)"
    narrowed += "" if visibility is None else " AND t.visibility = :visibility"
    statement = text(_SESSIONS.format(known=MAY_READ_CLIENT, narrowed=narrowed))
    values = {"client_id": client_id, "visibility": visibility, "limit": limit, **_bind_place(before)}
    rows = (await session.execute(statement, values)).all()
    if not rows[0].known:
        raise ClientEvidenceNotFound
    examined = await find_examined(session, [row.transcript_id for row in rows if row.transcript_id is not None])
    return [
        SessionEvidence(
            transcript_id=row.transcript_id, title=row.title, held_at=row.held_at, moment=row.moment,
            examined=row.transcript_id in examined or row.claims > 0, claims=row.claims, quotes=row.quotes,
            commitments=row.commitments, visibility=row.visibility,
        )
        for row in rows if row.transcript_id is not None
    ]  # fmt: skip


_EXAMINED: Final = text(
    """
    SELECT t.id FROM evidence.extractions x
    JOIN rag.transcripts t ON t.tenant_id = x.tenant_id AND t.id = x.transcript_id AND t.content_hash = x.content_hash
    WHERE x.transcript_id = ANY (CAST(:transcript_ids AS uuid[]))
    """
)


async def find_examined(session: AsyncSession, transcript_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the transcripts, which the reader may see, in whose present version claims were looked for."""
    if not transcript_ids:
        return set()
    # What was read is noted for the pipelines alone.
    async with acting_as_system(session):
        return set(await session.scalars(_EXAMINED, {"transcript_ids": list(transcript_ids)}))


def _count_by(column: str, table: str, where: str = "true") -> str:
    return (
        f"(SELECT coalesce(jsonb_object_agg(name, rows), '{{}}') FROM (SELECT {column} AS name, count(*) AS rows "
        f"FROM evidence.{table} c WHERE c.client_id = :client_id AND c.stale_at IS NULL AND {where} "
        "GROUP BY 1) counted)"
    )


_SUMMARY: Final = text(
    f"""
    SELECT {MAY_READ_CLIENT} AS known, s.sessions, s.first_held_at, s.last_held_at,
           ARRAY(SELECT DISTINCT c.transcript_id FROM evidence.claims c
                 WHERE c.client_id = :client_id AND c.stale_at IS NULL AND c.transcript_id IS NOT NULL) AS supporting,
           (SELECT count(*) FROM evidence.quotes q WHERE q.client_id = :client_id AND q.stale_at IS NULL) AS quotes,
           {_count_by("c.claim_type", "claims")} AS claims,
           {_count_by(COMMITMENT_STATE, "claims", "c.claim_type = 'commitment'")} AS commitments,
           {_count_by("c.kind", "patterns")} AS patterns, {_count_by("c.status", "insights")} AS insights
    FROM (SELECT coalesce(array_agg(id), '{{}}') AS sessions, min(held_at) AS first_held_at,
                 max(held_at) AS last_held_at FROM rag.transcripts WHERE client_id = :client_id) s
    """
)


async def summarize_client(session: AsyncSession, client_id: UUID) -> EvidenceSummary:
    """Return how much evidence of the client the reader may see; raises `ClientEvidenceNotFound`."""
    row = (await session.execute(_SUMMARY, {"client_id": client_id})).one()
    if not row.known:
        raise ClientEvidenceNotFound
    examined = await find_examined(session, row.sessions) | set(row.supporting)
    return EvidenceSummary(
        sessions_in_scope=len(row.sessions), sessions_examined=len(examined), sessions_supporting=len(row.supporting),
        first_held_at=row.first_held_at, last_held_at=row.last_held_at, quotes=row.quotes, claims=row.claims,
        commitments=row.commitments, patterns=row.patterns, insights=row.insights,
    )  # fmt: skip


def _page_claims(conditions: list[str], before: Place | None, columns: str = "") -> str:
    place = [f"({CLAIM_MOMENT}, c.id) < (:moment, :id)"] if before is not None else []
    return (
        f"SELECT c.id{', ' if columns else ''}{columns} FROM evidence.claims c {CLAIM_SESSION} "
        f"WHERE {' AND '.join(['c.stale_at IS NULL', *conditions, *place])} "
        f"ORDER BY {CLAIM_MOMENT} DESC, c.id DESC LIMIT :limit"
    )


def _bind_place(before: Place | None) -> dict[str, Any]:
    return {} if before is None else {"moment": before[0], "id": before[1]}
