"""Gathers what was derived for a question: claims on the passages found, claims of the kind asked for, patterns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.consents import say_allowed
from domain.reading import Kind
from rag.passages import Passage, Scope, SourceKind
from rag.understand_evidence import AskedEvidence

MOST_CLAIMS: Final = 160
"""Claims looked at for one question; a session gives about twenty, and answers tell a handful."""

MOST_PATTERNS: Final = 40
_STEM: Final = 4
_ENDING: Final = 3
"""A word is looked for by its beginning: without up to three letters, as "delegating" for "delegation"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceQuote:
    """L0: exact characters of one version of a source, and who said them."""

    source_id: UUID
    source_kind: SourceKind
    object_id: UUID
    content_hash: str
    title: str
    client_id: UUID | None
    coaching_session_id: UUID | None
    char_start: int
    char_end: int
    segment_first: int | None
    segment_last: int | None
    exact: str
    speaker: str | None
    speaker_label: str | None
    speaker_id: UUID | None
    started_s: float | None
    ended_s: float | None
    held_at: datetime | None
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceClaim:
    """L1: what one session's quotes say; `settled_by` is the later claim that kept, broke or replaced it."""

    id: UUID
    claim_type: str
    statement: str
    subject: str | None
    polarity: str
    modality: str
    status: str
    holder: str | None
    valid_from: date | None
    valid_to: date | None
    settled_by: UUID | None
    quotes: tuple[EvidenceQuote, ...]
    in_scope: bool
    """False for a claim that is there only because another leads to it, or may."""

    @property
    def held_at(self) -> datetime | None:
        """When its session was held."""
        return self.quotes[0].held_at


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePattern:
    """L2: what claims of several sessions show together; the ids of those that the reader may see, by time."""

    id: UUID
    kind: str
    statement: str
    subject: str | None
    supporting: tuple[UUID, ...]
    counter: tuple[UUID, ...]
    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was derived and bears on one question."""

    claims: Mapping[UUID, EvidenceClaim] = field(default_factory=dict)
    patterns: tuple[EvidencePattern, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.claims)


NO_EVIDENCE: Final = Evidence()

# A claim stands where one of its quotes does; row-level security has removed every row that its reader may not see,
# and what is stale is nobody's.
_GATHER = text(
    f"""
    WITH spans AS (
        SELECT * FROM unnest(CAST(:sources AS uuid[]), CAST(:starts AS int[]), CAST(:ends AS int[]))
            AS s (source_id, char_start, char_end)
    ),
    met AS (
        SELECT DISTINCT cq.claim_id AS id FROM spans s
        JOIN evidence.quotes q ON coalesce(q.transcript_id, q.document_id) = s.source_id
            AND q.char_start < s.char_end AND q.char_end > s.char_start AND q.stale_at IS NULL
        JOIN evidence.claim_quotes cq ON cq.tenant_id = q.tenant_id AND cq.quote_id = q.id
        LIMIT :most
    ),
    asked AS (
        SELECT placed.* FROM (
            SELECT c.id, t.held_at, c.statement ~* CAST(:words AS text) AS on_topic,
                (CAST(:sessions AS uuid[]) = '{{}}' OR t.coaching_session_id = ANY (CAST(:sessions AS uuid[])))
                AND (CAST(:only AS uuid[]) = '{{}}'
                     OR coalesce(c.transcript_id, c.document_id) = ANY (CAST(:only AS uuid[])))
                AND (CAST(:held_from AS timestamptz) IS NULL OR t.held_at >= :held_from)
                AND (CAST(:held_until AS timestamptz) IS NULL OR t.held_at < :held_until) AS in_scope
            FROM evidence.claims c
            LEFT JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id
            WHERE c.stale_at IS NULL
              AND (c.claim_type = ANY (CAST(:types AS text[])) OR c.status = ANY (CAST(:statuses AS text[]))
                   OR c.statement ~* CAST(:words AS text))
              AND (CAST(:clients AS uuid[]) = '{{}}' OR c.client_id = ANY (CAST(:clients AS uuid[])))
        ) placed
        WHERE in_scope OR :beyond
        ORDER BY in_scope DESC, on_topic DESC, held_at DESC NULLS LAST, id LIMIT :most
    ),
    own AS (
        SELECT id, bool_or(in_scope) AS in_scope
        FROM (SELECT id, true AS in_scope FROM met UNION ALL SELECT id, coalesce(in_scope, false) FROM asked) either
        GROUP BY id
    ),
    shown AS (
        SELECT p.* FROM evidence.patterns p
        WHERE p.stale_at IS NULL AND p.client_id IS NOT NULL AND {say_allowed("p.client_id", "assistant")}
          AND p.kind = ANY (CAST(:kinds AS text[]))
          AND (p.client_id = ANY (CAST(:clients AS uuid[]))
               OR (CAST(:clients AS uuid[]) = '{{}}' AND EXISTS (
                   SELECT FROM evidence.pattern_claims pc JOIN own ON own.id = pc.claim_id
                   WHERE pc.tenant_id = p.tenant_id AND pc.pattern_id = p.id)))
        ORDER BY p.last_seen DESC NULLS LAST, p.id LIMIT :most_patterns
    ),
    linked AS (
        SELECT c.superseded_by AS id FROM evidence.claims c JOIN own ON own.id = c.id WHERE c.superseded_by IS NOT NULL
        UNION SELECT c.id FROM evidence.claims c JOIN own ON own.id = c.superseded_by
        UNION SELECT pc.claim_id FROM evidence.pattern_claims pc JOIN shown ON shown.tenant_id = pc.tenant_id
            AND shown.id = pc.pattern_id
    ),
    every AS (
        SELECT id, in_scope FROM own UNION ALL SELECT id, false FROM linked WHERE id NOT IN (SELECT id FROM own)
    )
    SELECT c.id, c.claim_type, c.statement, c.subject, c.polarity, c.modality, c.status, c.holder, c.valid_from,
        c.valid_to, c.superseded_by AS settled_by, every.in_scope, cq.role,
        coalesce(q.transcript_id, q.document_id) AS source_id,
        CASE WHEN q.transcript_id IS NULL THEN 'document' ELSE 'transcript' END AS source_kind,
        coalesce(t.object_id, d.object_id) AS object_id, q.content_hash, coalesce(t.title, d.title) AS title,
        coalesce(t.client_id, d.client_id) AS client_id, t.coaching_session_id, q.char_start, q.char_end,
        q.segment_first, q.segment_last, q.exact, coalesce(u.full_name, q.speaker) AS speaker,
        q.speaker AS speaker_label, q.speaker_id, q.started_s, q.ended_s, coalesce(t.held_at, d.held_at) AS held_at,
        NULL::jsonb AS pattern
    FROM every
    JOIN evidence.claims c ON c.id = every.id AND c.stale_at IS NULL
        AND {say_allowed("c.client_id", "assistant")}
    JOIN evidence.claim_quotes cq ON cq.tenant_id = c.tenant_id AND cq.claim_id = c.id
    JOIN evidence.quotes q ON q.tenant_id = cq.tenant_id AND q.id = cq.quote_id AND q.stale_at IS NULL
    LEFT JOIN rag.transcripts t ON t.tenant_id = q.tenant_id AND t.id = q.transcript_id
        AND t.content_hash = q.content_hash
    LEFT JOIN rag.documents d ON d.tenant_id = q.tenant_id AND d.id = q.document_id AND d.content_hash = q.content_hash
    LEFT JOIN identity.users u ON u.tenant_id = q.tenant_id AND u.id = q.speaker_id
    WHERE num_nonnulls(t.id, d.id) = 1
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        jsonb_build_object(
            'id', shown.id, 'kind', shown.kind, 'statement', shown.statement, 'subject', shown.subject,
            'sessions_in_scope', shown.sessions_in_scope, 'sessions_examined', shown.sessions_examined,
            'sessions_supporting', shown.sessions_supporting,
            'claims', (SELECT jsonb_agg(jsonb_build_array(pc.claim_id, pc.role)) FROM evidence.pattern_claims pc
                       WHERE pc.tenant_id = shown.tenant_id AND pc.pattern_id = shown.id)
        )
    FROM shown
    """
)


async def gather_evidence(
    session: AsyncSession, asked: AskedEvidence, topic: Sequence[str], scope: Scope, passages: Sequence[Passage]
) -> Evidence:
    """Return, in one statement, the claims and patterns that bear on a question and that its reader may see.

    `topic` are the words that the question is about. Nothing where no evidence has been built. Claims come by time;
    what settles one of them, or is part of a pattern, comes with it. Raises whatever the store raises.
    """
    if "transcript" not in (scope.source_kinds or ("transcript",)):
        return NO_EVIDENCE
    rows = (
        await session.execute(
            _GATHER,
            {
                "sources": [passage.source_id for passage in passages],
                "starts": [passage.char_start for passage in passages],
                "ends": [passage.char_end for passage in passages],
                "words": _match_words(topic),
                "types": sorted(asked.claim_types),
                "statuses": sorted(asked.statuses),
                "kinds": sorted(asked.pattern_kinds),
                "clients": list(scope.client_ids),
                "sessions": list(scope.coaching_session_ids),
                "only": list(scope.source_ids),
                "held_from": scope.held_from,
                "held_until": scope.held_until,
                # what became of a promise is told later than in the session it was made in
                "beyond": asked.outcome,
                "most": MOST_CLAIMS,
                "most_patterns": MOST_PATTERNS,
            },
        )
    ).mappings()
    claims: dict[UUID, list[RowMapping]] = {}
    patterns: list[dict[str, Any]] = []
    for row in rows:
        if row["pattern"] is None:
            claims.setdefault(row["id"], []).append(row)
        else:
            patterns.append(row["pattern"])
    read = [claim for quoted in claims.values() if (claim := _read_claim(quoted)) is not None]
    read.sort(key=lambda claim: (claim.held_at.timestamp() if claim.held_at else 0.0, claim.quotes[0].char_start))
    ordered = {claim.id: claim for claim in read}
    shown = [pattern for row in patterns if (pattern := _read_pattern(row, ordered)) is not None]
    return Evidence(ordered, tuple(shown))


def list_read(evidence: Evidence) -> dict[Kind, list[UUID | None]]:
    """Return what whoever is told this evidence reads: claims and patterns, and the sources they stand on."""
    read: dict[Kind, list[UUID | None]] = {"claim": list(evidence.claims), "client": []}
    for claim in evidence.claims.values():
        for quote in claim.quotes:
            read.setdefault(quote.source_kind, []).append(quote.source_id)
            read["client"].append(quote.client_id)
    return read | {"pattern": [pattern.id for pattern in evidence.patterns]}


def _match_words(words: Sequence[str]) -> str:
    """Return the expression that finds a claim with any of the words, whatever their ending; one that finds nothing."""
    stems = {_stem(word) for word in words if word.isalnum()}
    return rf"\m({'|'.join(sorted(stems))})" if stems else "$."


def _stem(word: str) -> str:
    return word if len(word) <= _STEM else word[: max(_STEM, len(word) - _ENDING)]


def _read_claim(rows: Sequence[RowMapping]) -> EvidenceClaim | None:
    """Return the claim of these rows, a quote each, the supporting first; None where none supports it."""
    quotes = [EvidenceQuote(**{name: row[name] for name in EvidenceQuote.__slots__}) for row in rows]
    quotes.sort(key=lambda quote: (quote.role != "supporting", quote.char_start))
    if quotes[0].role != "supporting":
        return None
    names = (name for name in EvidenceClaim.__slots__ if name != "quotes")
    return EvidenceClaim(quotes=tuple(quotes), **{name: rows[0][name] for name in names})


def _read_pattern(row: Mapping[str, Any], claims: Mapping[UUID, EvidenceClaim]) -> EvidencePattern | None:
    """Return the pattern with those of its claims that can be told; None where fewer than two are left."""
    roles = {UUID(claim): role for claim, role in row["claims"] or ()}
    supporting = tuple(claim for claim in claims if roles.get(claim) == "supporting")
    counter = tuple(claim for claim in claims if roles.get(claim) == "counter")
    if not supporting or len(supporting) + len(counter) < 2:
        return None
    return EvidencePattern(
        id=UUID(row["id"]), kind=row["kind"], statement=row["statement"], subject=row["subject"],
        supporting=supporting, counter=counter,
        sessions_in_scope=row["sessions_in_scope"], sessions_examined=row["sessions_examined"],
        sessions_supporting=row["sessions_supporting"],
    )  # fmt: skip
