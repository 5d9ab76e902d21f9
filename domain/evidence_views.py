"""What evidence looks like to a reader: quotes, claims and patterns as PostgreSQL hands them over, whole and typed.

A statement under the reader's row-level security builds each level as JSON, so a pyramid of any shape comes in one
round trip and no row is repeated. What is stale is nobody's; the policies say so to people, the SQL here to the
pipelines as well. The fragments of SQL below are constants; nothing of a request becomes part of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from pydantic import TypeAdapter

from domain.citations import SourceKind, link_source

QuoteRole = Literal["supporting", "opposing"]
ClaimRole = Literal["supporting", "counter"]

MOST_QUOTES: Final = 20
"""Quotes shown of one claim; the rules give it one to three, merged duplicates a few more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteView:
    """One quote under one claim: `exact` is verbatim; segments count from 0, inclusive; times in seconds."""

    id: UUID
    role: QuoteRole
    source_kind: SourceKind
    source_id: UUID
    content_hash: str
    speaker: str | None
    """The person's name, where the speaker is known, else the label in the source."""
    speaker_id: UUID | None
    segment_first: int | None
    segment_last: int | None
    char_start: int
    char_end: int
    started_s: float | None
    ended_s: float | None
    exact: str
    prefix: str
    suffix: str

    @property
    def link(self) -> str:
        """Where the words stand in their source."""
        return link_source(
            self.source_kind, self.source_id, segment=self.segment_first, char_start=self.char_start,
            char_end=self.char_end,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One claim of one session with its quotes: the supporting ones first, among them the main one."""

    id: UUID
    claim_type: str
    statement: str
    holder: str | None
    holder_id: UUID | None
    subject: str | None
    polarity: str
    modality: str
    valid_from: date | None
    valid_to: date | None
    status: str
    superseded_by: UUID | None
    source_kind: SourceKind
    source_id: UUID
    title: str | None
    held_at: datetime | None
    client_id: UUID | None
    coach_id: UUID | None
    visibility: str
    method: str
    model_name: str | None
    prompt_hash: str | None
    support_score: float | None
    scorer: str | None
    created_at: datetime
    quotes: tuple[QuoteView, ...]

    @property
    def moment(self) -> datetime:
        """When it was said, or, of a source without a day, when it was derived."""
        return self.held_at or self.created_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRef:
    """A claim under a pattern, by id."""

    id: UUID
    role: ClaimRole


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternView:
    """One pattern and, by id, the claims under it, supporting ones first."""

    id: UUID
    kind: str
    subject: str | None
    statement: str
    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int
    first_seen: datetime | None
    last_seen: datetime | None
    client_id: UUID | None
    coach_id: UUID | None
    cohort_id: UUID | None
    visibility: str
    method: str
    model_name: str | None
    prompt_hash: str | None
    support_score: float | None
    scorer: str | None
    created_at: datetime
    claims: tuple[ClaimRef, ...]

    @property
    def moment(self) -> datetime:
        """When it was last seen, or, of sources without a day, when it was derived."""
        return self.last_seen or self.created_at


CLAIMS: Final = TypeAdapter(tuple[ClaimView, ...])
PATTERNS: Final = TypeAdapter(tuple[PatternView, ...])

CLAIM_MOMENT: Final = "coalesce(t.held_at, c.created_at)"
CLAIM_SESSION: Final = "LEFT JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id"

_SOURCE_KIND = "CASE WHEN {0}.transcript_id IS NULL THEN 'document' ELSE 'transcript' END AS source_kind"

# json, not jsonb: it is only passed on, and written two times faster.
_QUOTES = f"""
    SELECT json_agg(to_json(quoted)) FROM (
        SELECT q.id, cq.role, {_SOURCE_KIND.format("q")}, coalesce(q.transcript_id, q.document_id) AS source_id,
               q.content_hash, coalesce(u.full_name, q.speaker) AS speaker, q.speaker_id, q.segment_first,
               q.segment_last, q.char_start, q.char_end, q.started_s, q.ended_s, q.exact, q.prefix, q.suffix
        FROM evidence.claim_quotes cq
        JOIN evidence.quotes q ON q.tenant_id = cq.tenant_id AND q.id = cq.quote_id AND q.stale_at IS NULL
        LEFT JOIN identity.users u ON u.tenant_id = q.tenant_id AND u.id = q.speaker_id
        WHERE cq.tenant_id = c.tenant_id AND cq.claim_id = c.id
        ORDER BY cq.role DESC, cq.ordinal, q.char_start LIMIT {MOST_QUOTES}
    ) quoted
"""

# 'supporting' sorts after 'opposing' and 'counter', hence the descending roles.
CLAIMS_JSON: Final = f"""
    SELECT coalesce(json_agg(to_json(shown) ORDER BY coalesce(shown.held_at, shown.created_at), shown.id), '[]')
    FROM (
        SELECT c.id, c.claim_type, c.statement, c.holder, c.holder_id, c.subject, c.polarity, c.modality, c.valid_from,
               c.valid_to, c.status, c.superseded_by, {_SOURCE_KIND.format("c")},
               coalesce(c.transcript_id, c.document_id) AS source_id, t.title, t.held_at, c.client_id, c.coach_id,
               c.visibility, c.method, c.model_name, c.prompt_hash, c.support_score, c.scorer, c.created_at,
               coalesce(({_QUOTES}), '[]') AS quotes
        FROM evidence.claims c {CLAIM_SESSION}
        WHERE c.id IN (SELECT id FROM wanted_claims) AND c.stale_at IS NULL
    ) shown
"""
"""Every claim whose id is in `wanted_claims`, by time, with its quotes: one JSON array."""

PATTERNS_JSON: Final = """
    SELECT coalesce(
        json_agg(to_json(shown) ORDER BY coalesce(shown.last_seen, shown.created_at) DESC, shown.id DESC), '[]')
    FROM (
        SELECT p.id, p.kind, p.subject, p.statement, p.sessions_in_scope, p.sessions_examined, p.sessions_supporting,
               p.first_seen, p.last_seen, p.client_id, p.coach_id, p.cohort_id, p.visibility, p.method, p.model_name,
               p.prompt_hash, p.support_score, p.scorer, p.created_at,
               coalesce((
                   SELECT json_agg(json_build_object('id', l.claim_id, 'role', l.role) ORDER BY l.role DESC, l.claim_id)
                   FROM linked l WHERE l.pattern_id = p.id
               ), '[]') AS claims
        FROM evidence.patterns p WHERE p.id IN (SELECT id FROM wanted_patterns) AND p.stale_at IS NULL
    ) shown
"""
"""Every pattern whose id is in `wanted_patterns`, the last seen first, with its claims in `linked`: one JSON array."""


def link_claims(first: str = "") -> str:
    """Return the SQL of the claims under the patterns in `wanted_patterns`, at most `:most_links` each.

    Supporting ones go before counter ones; `first` is an order that goes before that. What a link leads to is not
    looked at: its policy leaves out what the reader may not see, and every level more is planned with all its policies.
    """
    return f"""
        SELECT ranked.pattern_id, ranked.claim_id, ranked.role FROM (
            SELECT pc.pattern_id, pc.claim_id, pc.role, row_number() OVER (
                PARTITION BY pc.pattern_id ORDER BY {first} pc.role DESC, pc.claim_id
            ) AS place
            FROM evidence.pattern_claims pc WHERE pc.pattern_id IN (SELECT id FROM wanted_patterns)
        ) ranked WHERE ranked.place <= :most_links
    """


def link_shown(patterns: Iterable[PatternView], claims: Iterable[ClaimView]) -> tuple[PatternView, ...]:
    """Return the patterns with links to these claims alone, supporting ones first, each side by time."""
    places = {claim.id: place for place, claim in enumerate(sorted(claims, key=lambda one: (one.moment, one.id)))}
    return tuple(
        replace(
            pattern,
            claims=tuple(
                sorted(
                    (link for link in pattern.claims if link.id in places),
                    key=lambda link: (link.role != "supporting", places[link.id]),
                )
            ),
        )
        for pattern in patterns
    )
