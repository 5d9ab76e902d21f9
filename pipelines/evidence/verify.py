"""The proof that stored evidence holds its invariants: every row of every tenant is looked at again.

Each invariant is held by the store itself when a row is written (docs/decisions/0014). This reads everything anew,
including the words of every quote, so it also finds what a restored backup or a hand on the database broke.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import EvidencePack
from db.session import Principal, tenant_session
from domain.packs import hash_content
from domain.platform import list_tenants

EXAMPLES: Final = 5
PAGE: Final = 200  # packs read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One invariant: how many rows it was proved of, how many break it, and the first of these."""

    invariant: str
    checked: int
    broken: int
    examples: tuple[UUID, ...] = ()


_VERBATIM: Final = """
    WITH spoken AS MATERIALIZED (
        SELECT s.transcript_id AS source_id, string_agg(s.text, E'\\n' ORDER BY s.segment_index) AS words
        FROM rag.transcript_segments s WHERE s.transcript_id IN (SELECT q.transcript_id FROM evidence.quotes q)
        GROUP BY 1
        UNION ALL SELECT d.id, d.text FROM rag.documents d WHERE d.id IN (SELECT q.document_id FROM evidence.quotes q)
    )
    SELECT q.id, coalesce(
        q.content_hash = coalesce(t.content_hash, d.content_hash)
        AND q.char_start >= length(q.prefix)
        AND substr(w.words, q.char_start - length(q.prefix) + 1, length(q.prefix) + length(q.exact) + length(q.suffix))
            = q.prefix || q.exact || q.suffix
        AND (q.document_id IS NOT NULL OR p.turns = q.segment_last - q.segment_first + 1 AND p.one_voice
             AND q.char_start >= p.char_start AND q.char_end <= p.char_end), false) AS holds
    FROM evidence.quotes q
    LEFT JOIN rag.transcripts t ON t.tenant_id = q.tenant_id AND t.id = q.transcript_id
    LEFT JOIN rag.documents d ON d.tenant_id = q.tenant_id AND d.id = q.document_id
    LEFT JOIN spoken w ON w.source_id = coalesce(q.transcript_id, q.document_id)
    LEFT JOIN LATERAL (
        SELECT count(*) AS turns, min(s.char_start) AS char_start, max(s.char_end) AS char_end,
               bool_and(s.speaker IS NOT DISTINCT FROM q.speaker AND s.speaker_id IS NOT DISTINCT FROM q.speaker_id)
                   AND count(DISTINCT coalesce(s.speaker, s.segment_index::text)) = 1 AS one_voice
        FROM rag.transcript_segments s
        WHERE s.tenant_id = q.tenant_id AND s.transcript_id = q.transcript_id
          AND s.segment_index BETWEEN q.segment_first AND q.segment_last
    ) p ON q.transcript_id IS NOT NULL
    WHERE q.stale_at IS NULL
"""
_HASHED: Final = """
    SELECT w.id, w.content_hash = encode(sha256(convert_to(w.words, 'UTF8')), 'hex') AS holds
    FROM (
        SELECT t.id, t.content_hash, string_agg(s.text, E'\\n' ORDER BY s.segment_index) AS words
        FROM rag.transcripts t
        JOIN rag.transcript_segments s ON s.tenant_id = t.tenant_id AND s.transcript_id = t.id
        WHERE t.id IN (SELECT q.transcript_id FROM evidence.quotes q WHERE q.stale_at IS NULL) GROUP BY 1, 2
        UNION ALL SELECT d.id, d.content_hash, d.text FROM rag.documents d
        WHERE d.id IN (SELECT q.document_id FROM evidence.quotes q WHERE q.stale_at IS NULL)
    ) w
"""
_OF_SOURCE: Final = """
    SELECT q.id, (q.visibility, q.client_id, q.coach_id) IS NOT DISTINCT FROM
        (coalesce(t.visibility, d.visibility), coalesce(t.client_id, d.client_id), coalesce(t.coach_id, d.coach_id))
        AS holds
    FROM evidence.quotes q
    LEFT JOIN rag.transcripts t ON t.tenant_id = q.tenant_id AND t.id = q.transcript_id
    LEFT JOIN rag.documents d ON d.tenant_id = q.tenant_id AND d.id = q.document_id
"""
_SUPPORTED: Final = """
    SELECT c.id, EXISTS (
        SELECT FROM evidence.claim_quotes e JOIN evidence.quotes q ON q.tenant_id = e.tenant_id AND q.id = e.quote_id
        WHERE e.tenant_id = c.tenant_id AND e.claim_id = c.id AND e.role = 'supporting' AND q.stale_at IS NULL
          AND (q.transcript_id = c.transcript_id OR q.document_id = c.document_id)) AS holds
    FROM evidence.claims c WHERE c.stale_at IS NULL
"""
_OWN_WORDS: Final = """
    SELECT c.id, EXISTS (
        SELECT FROM evidence.claim_quotes e JOIN evidence.quotes q ON q.tenant_id = e.tenant_id AND q.id = e.quote_id
        WHERE e.tenant_id = c.tenant_id AND e.claim_id = c.id AND e.role = 'supporting'
          AND q.speaker_id = c.client_id) AS holds
    FROM evidence.claims c
    WHERE c.stale_at IS NULL AND c.modality = 'stated' AND c.claim_type IN ('goal', 'belief', 'emotion')
      AND c.holder_id = c.client_id
"""
_SETTLED: Final = """
    SELECT c.id, b.stale_at IS NULL AND b.id <> c.id AND b.client_id IS NOT DISTINCT FROM c.client_id
        AND (s.id IS NOT DISTINCT FROM t.id OR coalesce(s.held_at <= t.held_at, false)) AS holds
    FROM evidence.claims c JOIN evidence.claims b ON b.tenant_id = c.tenant_id AND b.id = c.superseded_by
    LEFT JOIN rag.transcripts s ON s.tenant_id = c.tenant_id AND s.id = c.transcript_id
    LEFT JOIN rag.transcripts t ON t.tenant_id = b.tenant_id AND t.id = b.transcript_id
    WHERE c.stale_at IS NULL
"""
_MINIMUM: Final = """
    SELECT p.id, count(c.id) >= 2 AND count(DISTINCT c.transcript_id) >= 2 AS holds
    FROM evidence.patterns p
    LEFT JOIN evidence.pattern_claims e ON e.tenant_id = p.tenant_id AND e.pattern_id = p.id AND e.role = 'supporting'
    LEFT JOIN evidence.claims c ON c.tenant_id = e.tenant_id AND c.id = e.claim_id AND c.stale_at IS NULL
    WHERE p.stale_at IS NULL GROUP BY p.id
"""
_OVERLAP: Final = """
    SELECT p.id, evidence.contradicts(p.tenant_id, p.id) AS holds
    FROM evidence.patterns p WHERE p.stale_at IS NULL AND p.kind = 'contradiction'
"""
_COHORT: Final = """
    SELECT p.id, p.visibility IN ('admin_aggregate', 'system_internal')
        AND count(DISTINCT c.client_id) FILTER (WHERE e.role = 'supporting' AND c.holder_id = c.client_id) >= 5
        AND NOT evidence.gives_away(p.tenant_id, p.id) AS holds
    FROM evidence.patterns p
    JOIN evidence.pattern_claims e ON e.tenant_id = p.tenant_id AND e.pattern_id = p.id
    JOIN evidence.claims c ON c.tenant_id = e.tenant_id AND c.id = e.claim_id
    WHERE p.stale_at IS NULL AND p.cohort_id IS NOT NULL GROUP BY p.tenant_id, p.id, p.visibility
"""
_EDGES: Final = """
    SELECT coalesce(e.claim_id, d.child_claim_id) AS id, e.claim_id IS NOT NULL AND d.id IS NOT NULL AS holds
    FROM evidence.claim_quotes e
    FULL JOIN (SELECT * FROM evidence.derivations WHERE child_claim_id IS NOT NULL) d ON d.tenant_id = e.tenant_id
        AND d.child_claim_id = e.claim_id AND d.parent_quote_id = e.quote_id AND d.role = e.role
    UNION ALL
    SELECT coalesce(e.pattern_id, d.child_pattern_id), e.pattern_id IS NOT NULL AND d.id IS NOT NULL
    FROM evidence.pattern_claims e
    FULL JOIN (SELECT * FROM evidence.derivations WHERE child_pattern_id IS NOT NULL) d ON d.tenant_id = e.tenant_id
        AND d.child_pattern_id = e.pattern_id AND d.parent_claim_id = e.claim_id AND d.role = e.role
    UNION ALL
    SELECT i.id, EXISTS (
        SELECT FROM evidence.derivations d WHERE d.tenant_id = i.tenant_id AND d.child_insight_id = i.id)
    FROM evidence.insights i WHERE i.stale_at IS NULL
"""
_FRESH: Final = """
    SELECT coalesce(c.id, p.id, i.id, k.id) AS id,
        coalesce(c.stale_at, p.stale_at, i.stale_at, k.stale_at) IS NOT NULL
        OR coalesce(q.stale_at, b.stale_at, r.stale_at) IS NULL AS holds
    FROM evidence.derivations d
    LEFT JOIN evidence.claims c ON c.tenant_id = d.tenant_id AND c.id = d.child_claim_id
    LEFT JOIN evidence.patterns p ON p.tenant_id = d.tenant_id AND p.id = d.child_pattern_id
    LEFT JOIN evidence.insights i ON i.tenant_id = d.tenant_id AND i.id = d.child_insight_id
    LEFT JOIN evidence.evidence_packs k ON k.tenant_id = d.tenant_id AND k.id = d.child_pack_id
    LEFT JOIN evidence.quotes q ON q.tenant_id = d.tenant_id AND q.id = d.parent_quote_id
    LEFT JOIN evidence.claims b ON b.tenant_id = d.tenant_id AND b.id = d.parent_claim_id
    LEFT JOIN evidence.patterns r ON r.tenant_id = d.tenant_id AND r.id = d.parent_pattern_id
"""
_DECIDED: Final = """
    SELECT i.id, (i.visibility <> 'client_visible' OR i.status = 'accepted' AND NOT EXISTS (
            WITH RECURSIVE under AS (
                SELECT d.* FROM evidence.derivations d WHERE d.tenant_id = i.tenant_id AND d.child_insight_id = i.id
                UNION SELECT d.* FROM under u JOIN evidence.derivations d ON d.tenant_id = u.tenant_id
                    AND (d.child_claim_id = u.parent_claim_id OR d.child_pattern_id = u.parent_pattern_id)
            ) SELECT FROM under u JOIN evidence.quotes q ON q.tenant_id = u.tenant_id AND q.id = u.parent_quote_id
              WHERE q.visibility <> 'client_visible'))
        AND (i.status = 'draft' OR i.decided_by IS NOT NULL AND EXISTS (
            SELECT FROM evidence.insight_reviews r
            WHERE r.tenant_id = i.tenant_id AND r.insight_id = i.id AND r.verdict = i.status)) AS holds
    FROM evidence.insights i WHERE i.stale_at IS NULL
"""
_CURRENT: Final = """
    SELECT e.transcript_id AS id, NOT EXISTS (
        SELECT FROM evidence.claims c WHERE c.tenant_id = e.tenant_id AND c.transcript_id = e.transcript_id
          AND c.stale_at IS NOT NULL) AS holds
    FROM evidence.extractions e
"""


INHERITED: Final = {
    "a claim shows no more than all its parents together": ("claims", "claims"),
    "a pattern shows no more than all its parents together": ("patterns", "patterns"),
    "an insight shows no more than all its parents together": ("insights", "insights"),
    "a pack shows no more than all its parents together": ("packs", "evidence_packs"),
}
"""What is proved by the store's own intersection of parents, of all rows of a table at once."""
INVARIANTS: Final = {
    "a quote is verbatim: words, neighbours, turns and the one speaker of the version it names": _VERBATIM,
    "a source that is quoted has the hash of its words": _HASHED,
    "a quote has the visibility and audience of its source": _OF_SOURCE,
    "a claim has a supporting quote of its own session": _SUPPORTED,
    "a stated claim about what is inside a client is in their own words": _OWN_WORDS,
    "a claim is settled by a later one of the same client that stands": _SETTLED,
    "a pattern stands on two claims of two sessions": _MINIMUM,
    "both sides of a contradiction hold at the same time": _OVERLAP,
    "a cohort's pattern speaks of five clients, in nobody's words": _COHORT,
    "what a claim, pattern or insight was derived from is an edge": _EDGES,
    "nothing that stands was derived from what is stale": _FRESH,
    "an insight that a client sees was accepted, and stands on what the client may read": _DECIDED,
    "a session counted as built has no stale claim": _CURRENT,
}
"""Queries for (id, holds), by what they prove."""
PACKS: Final = "a pack's hash is that of its content"


async def verify_evidence(tenant_id: UUID | None = None) -> list[Finding]:
    """Prove every invariant over one tenant, or over all of them, and return what was looked at and what breaks it."""
    tenants = [tenant_id] if tenant_id else [tenant.id for tenant in await list_tenants()]
    found: dict[str, list[Finding]] = {name: [] for name in (*INVARIANTS, *INHERITED, PACKS)}
    for tenant in tenants:
        async with tenant_session(Principal(tenant, "system")) as session:
            for name, query in INVARIANTS.items():
                found[name].append(await _prove(session, name, query))
            for name, (children, table) in INHERITED.items():
                found[name].append(await _prove_inherited(session, name, children, table))
            found[PACKS].append(await _prove_packs(session))
    return [_add_up(name, findings) for name, findings in found.items()]


async def _prove(session: AsyncSession, name: str, query: str) -> Finding:
    row = (
        await session.execute(
            text(
                "SELECT count(*) AS checked, count(*) FILTER (WHERE NOT holds) AS broken, "
                f"coalesce((array_agg(id ORDER BY id) FILTER (WHERE NOT holds))[1:{EXAMPLES}], '{{}}') AS found "
                f"FROM (SELECT id, holds IS TRUE AS holds FROM ({query}) looked_at) told"
            )
        )
    ).one()
    return Finding(invariant=name, checked=row.checked, broken=row.broken, examples=tuple(row.found))


async def _prove_inherited(session: AsyncSession, name: str, children: str, table: str) -> Finding:
    row = (
        await session.execute(
            text(
                f"SELECT count(*) AS checked, evidence.count_widened_{children}("
                "(SELECT current_setting('app.tenant_id')::uuid), coalesce(array_agg(c.id), '{}')) AS broken "
                f"FROM evidence.{table} c"
            )
        )
    ).one()
    found = Finding(invariant=name, checked=row.checked, broken=row.broken)
    if not found.broken:
        return found
    one_by_one = (
        f"SELECT c.id, evidence.count_widened_{children}(c.tenant_id, ARRAY[c.id]) = 0 AS holds FROM evidence.{table} c"
    )
    return await _prove(session, name, one_by_one)


async def _prove_packs(session: AsyncSession) -> Finding:
    """Hash every pack's content again, as it was hashed when it was made."""
    pack, checked, broken = EvidencePack, 0, list[UUID]()
    last = UUID(int=0)
    while rows := (
        await session.execute(
            select(pack.id, pack.content, pack.content_hash).where(pack.id > last).order_by(pack.id).limit(PAGE)
        )
    ).all():
        checked += len(rows)
        broken += [row.id for row in rows if hash_content(row.content) != row.content_hash]
        last = rows[-1].id
    return Finding(invariant=PACKS, checked=checked, broken=len(broken), examples=tuple(broken[:EXAMPLES]))


def _add_up(name: str, findings: Iterable[Finding]) -> Finding:
    every = list(findings)
    return Finding(
        invariant=name,
        checked=sum(one.checked for one in every),
        broken=sum(one.broken for one in every),
        examples=tuple(example for one in every for example in one.examples)[:EXAMPLES],
    )
