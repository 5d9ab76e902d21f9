"""Evidence in the store: a session's words read, its claims and the patterns over them written where they differ.

The store guards itself (docs/decisions/0014): what is not verbatim, not supported or shown too widely is refused there.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import orjson
from sqlalchemy import RowMapping, TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, NotFound
from db.models import Claim, ClaimQuote, Quote, Transcript, TranscriptSegment
from db.violations import refusing
from domain.consents import say_allowed
from pipelines.evidence.records import Extraction, Located, Method, QuoteRole, SessionClaim, SessionText, Turn
from pipelines.evidence.store_patterns import write_patterns
from pipelines.evidence.store_rows import Written, delete_rows, insert_rows, update_rows

if TYPE_CHECKING:
    from pipelines.evidence.lifecycle import StatusChange

__all__ = [
    "BuiltSession", "SessionChanged", "TranscriptGone", "Written", "list_client_claims", "list_sessions",
    "load_session", "write_extraction", "write_patterns", "write_statuses",
]  # fmt: skip

CONTEXT: Final = 32
"""Characters kept before and after a quote, by which it is found again in another version (W3C text quote selector)."""


class TranscriptGone(NotFound):
    """There is no such session transcript in this organisation; list its sessions to see which there are."""


class EvidenceWithheld(Conflict):
    """This session's client does not agree to evidence being taken from it; it is taken once they agree again."""


class SessionChanged(Conflict):
    """This session's transcript changed while its evidence was being taken; build its evidence again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSession:
    """One session and what its evidence was built from; `built_hash` is None where there is none that stands."""

    transcript_id: UUID
    title: str
    content_hash: str
    held_at: datetime | None
    built_hash: str | None
    built_version: str | None
    claims: int
    """Claims stored by that build."""


_LOAD: Final = text("""
SELECT t.id, t.content_hash, t.visibility, t.client_id, t.coach_id, t.held_at, t.title,
    (SELECT json_agg(json_build_array(s.segment_index, s.text, s.char_start, s.char_end, s.speaker, s.speaker_id,
                                      s.started_s, s.ended_s) ORDER BY s.segment_index)::text
     FROM rag.transcript_segments s WHERE s.tenant_id = t.tenant_id AND s.transcript_id = t.id) AS turns,
    (SELECT json_object_agg(u.id, u.full_name)::text FROM identity.users u
     WHERE u.tenant_id = t.tenant_id AND (u.id IN (t.client_id, t.coach_id) OR u.id IN (
         SELECT s.speaker_id FROM rag.transcript_segments s
         WHERE s.tenant_id = t.tenant_id AND s.transcript_id = t.id))) AS names
FROM rag.transcripts t WHERE t.id = :transcript_id
""")
_LIST: Final = text(f"""
SELECT t.id AS transcript_id, t.title, t.content_hash, t.held_at, e.content_hash AS built_hash,
       e.version AS built_version, coalesce(e.claims, 0) AS claims
FROM rag.transcripts t
LEFT JOIN evidence.extractions e ON e.tenant_id = t.tenant_id AND e.transcript_id = t.id
WHERE t.client_id IS NOT DISTINCT FROM CAST(:client_id AS uuid) AND {say_allowed("t.client_id", "evidence")}
ORDER BY t.held_at NULLS FIRST, t.id
""")


async def load_session(session: AsyncSession, transcript_id: UUID) -> SessionText:
    """Return one transcript as evidence is taken from it; raises `TranscriptGone`."""
    row = (await session.execute(_LOAD, {"transcript_id": transcript_id})).mappings().one_or_none()
    if row is None:
        raise TranscriptGone
    turns = tuple(
        Turn(
            index=index, text=words, char_start=start, char_end=end, speaker=speaker,
            speaker_id=UUID(speaker_id) if speaker_id else None, started_s=started_s, ended_s=ended_s,
        )
        for index, words, start, end, speaker, speaker_id, started_s, ended_s in orjson.loads(row["turns"] or "[]")
    )  # fmt: skip
    return SessionText(
        transcript_id=row["id"], content_hash=row["content_hash"], turns=turns, visibility=row["visibility"],
        client_id=row["client_id"], coach_id=row["coach_id"], held_at=row["held_at"], title=row["title"],
        names={UUID(key): name for key, name in orjson.loads(row["names"] or "{}").items()},
    )  # fmt: skip


async def list_sessions(session: AsyncSession, client_id: UUID | None) -> list[BuiltSession]:
    """Return the client's sessions by time, or those of nobody's, with what their evidence was built from.

    Of a client who does not agree to evidence there are none.
    """
    rows = (await session.execute(_LIST, {"client_id": client_id})).mappings()
    return [BuiltSession(**row) for row in rows]


async def write_extraction(
    session: AsyncSession, text: SessionText, extraction: Extraction, *, version: str, run_id: UUID | None = None
) -> Written:
    """Make the store hold these claims of this transcript and no others; the counts are of claims.

    Locks the transcript until the transaction ends. A claim that differs or is stale is taken out and written anew, so
    what stands on it goes stale; one that is stored already is not touched. Raises `SessionChanged`,
    `EvidenceWithheld`.
    """
    query = select(Transcript.content_hash).where(Transcript.id == text.transcript_id)
    if await session.scalar(query.with_for_update(key_share=True)) != text.content_hash:
        raise SessionChanged
    speakers = select(TranscriptSegment.speaker, TranscriptSegment.speaker_id).distinct()
    rows = await session.execute(speakers.where(TranscriptSegment.transcript_id == text.transcript_id))
    if set(rows.tuples()) != {(turn.speaker, turn.speaker_id) for turn in text.turns}:
        raise SessionChanged  # somebody said who speaks while it was read
    wanted = {claim.claim_id: claim for claim in reversed(extraction.claims)}
    quotes = _list_quotes(text, reversed(wanted.values()), run_id)
    stored_quotes = {row["id"]: row for row in await _read(session, _QUOTES, text.transcript_id)}
    stored_claims = {row["id"]: row for row in await _read(session, _CLAIMS, text.transcript_id)}
    same_quotes = {key for key, row in quotes.items() if _is_stored(row, stored_quotes.get(key), _QUOTE_COLUMNS)}
    same = {
        key for key, claim in wanted.items()
        if (row := stored_claims.get(key)) is not None
        and _is_stored(_make_claim(text, claim, run_id), row, _CLAIM_COLUMNS)
        and row["edges"] == _list_edges(text, claim)
        and same_quotes.issuperset(quote_id for quote_id, _ in row["edges"])
    }  # fmt: skip
    await delete_rows(session, Claim, stored_claims.keys() - same)
    # A quote that no claim needs any more may still be what a pack stands on.
    idle = [row["id"] for row in await _read(session, _IDLE_QUOTES, text.transcript_id) if row["id"] not in quotes]
    await delete_rows(session, Quote, {*idle, *((stored_quotes.keys() & quotes.keys()) - same_quotes)})
    with refusing({"evidence_consent": EvidenceWithheld}):
        await insert_rows(session, Quote, [row for key, row in quotes.items() if key not in same_quotes])
    new = [claim for key, claim in wanted.items() if key not in same]
    await insert_rows(session, Claim, [_make_claim(text, claim, run_id) for claim in new])
    await insert_rows(session, ClaimQuote, [
        {"claim_id": claim.claim_id, "quote_id": quote_id, "role": role, "ordinal": ordinal}
        for claim in new for ordinal, (quote_id, role) in enumerate(_list_edges(text, claim))
    ])  # fmt: skip
    located = sum(len(claim.quotes) for claim in extraction.claims)
    await session.execute(_NOTE, {
        "transcript_id": text.transcript_id, "content_hash": text.content_hash, "version": version, "run_id": run_id,
        "candidates": located + len(extraction.rejected), "claims": len(wanted),
        "rejections": orjson.dumps(extraction.rejections).decode(),
        "dropped": orjson.dumps(extraction.dropped).decode(),
    })  # fmt: skip
    changed = len(stored_claims.keys() & {claim.claim_id for claim in new})
    return Written(
        added=len(new) - changed, changed=changed, removed=len(stored_claims.keys() - wanted.keys())
    )  # fmt: skip


_QUOTE_COLUMNS: Final = (
    "content_hash", "segment_first", "segment_last", "speaker", "speaker_id", "char_start", "char_end", "started_s",
    "ended_s", "exact", "prefix", "suffix",
)  # fmt: skip
_CLAIM_COLUMNS: Final = (
    "claim_type", "statement", "holder", "holder_id", "subject", "polarity", "modality", "valid_from", "valid_to",
    "method", "model_name", "prompt_hash", "support_score", "scorer",
)  # fmt: skip
"""What makes a stored row another one; what became of a claim in later sessions does not."""
_QUOTES: Final = text(
    f"SELECT id, stale_at, {', '.join(_QUOTE_COLUMNS)} FROM evidence.quotes WHERE transcript_id = :transcript_id"
)
_CLAIMS: Final = text(f"""
SELECT c.id, c.stale_at, {", ".join(f"c.{name}" for name in _CLAIM_COLUMNS)},
    (SELECT json_agg(json_build_array(e.quote_id, e.role) ORDER BY e.ordinal, e.quote_id)::text
     FROM evidence.claim_quotes e WHERE e.tenant_id = c.tenant_id AND e.claim_id = c.id) AS edges
FROM evidence.claims c WHERE c.transcript_id = :transcript_id
""")
_IDLE_QUOTES: Final = text("""
SELECT q.id FROM evidence.quotes q WHERE q.transcript_id = :transcript_id AND (q.stale_at IS NOT NULL OR NOT EXISTS (
    SELECT FROM evidence.derivations d WHERE d.tenant_id = q.tenant_id AND d.parent_quote_id = q.id))
""")
_NOTE: Final = text("""
INSERT INTO evidence.extractions AS e
    (tenant_id, transcript_id, content_hash, version, candidates, rejections, dropped, claims, run_id)
VALUES ((SELECT current_setting('app.tenant_id')::uuid), :transcript_id, :content_hash, :version, :candidates,
        CAST(:rejections AS jsonb), CAST(:dropped AS jsonb), :claims, :run_id)
ON CONFLICT (tenant_id, transcript_id) DO UPDATE SET content_hash = excluded.content_hash, version = excluded.version,
    candidates = excluded.candidates, rejections = excluded.rejections, dropped = excluded.dropped,
    claims = excluded.claims, run_id = excluded.run_id, built_at = now()
WHERE (e.content_hash, e.version, e.candidates, e.rejections, e.dropped, e.claims) IS DISTINCT FROM
      (excluded.content_hash, excluded.version, excluded.candidates, excluded.rejections, excluded.dropped,
       excluded.claims)
""")


async def _read(session: AsyncSession, statement: TextClause, transcript_id: UUID) -> list[dict[str, Any]]:
    rows = [dict(row) for row in (await session.execute(statement, {"transcript_id": transcript_id})).mappings()]
    for row in rows:
        if "edges" in row:
            row["edges"] = [(UUID(quote_id), role) for quote_id, role in orjson.loads(row["edges"] or "[]")]
    return rows


def _is_stored(row: dict[str, Any], stored: dict[str, Any] | None, columns: Iterable[str]) -> bool:
    return (
        stored is not None and stored["stale_at"] is None and all(row[name] == stored[name] for name in columns)
    )  # fmt: skip


def identify_quote(text: SessionText, quote: Located) -> UUID:
    """Return the id of these words of this version."""
    return uuid5(text.transcript_id, f"quote:{text.content_hash}:{quote.char_start}:{quote.char_end}")


def _list_edges(text: SessionText, claim: SessionClaim) -> list[tuple[UUID, QuoteRole]]:
    """Return the claim's quotes and their roles, the main one first, each once."""
    edges: dict[UUID, QuoteRole] = {}
    for quote, role in claim.quotes:
        edges.setdefault(identify_quote(text, quote), role)
    return list(edges.items())


def _write_method(method: Method, run_id: UUID | None) -> dict[str, Any]:
    return {
        "method": method.name, "model_name": method.model_name, "prompt_hash": method.prompt_hash,
        "run_id": method.run_id or run_id,
    }  # fmt: skip


def _list_quotes(text: SessionText, claims: Iterable[SessionClaim], run_id: UUID | None) -> dict[UUID, dict[str, Any]]:
    words, found = text.text, dict[UUID, dict[str, Any]]()
    for claim in claims:
        for quote, _ in claim.quotes:
            key = identify_quote(text, quote)
            if key in found:
                continue
            found[key] = {
                "id": key, "transcript_id": text.transcript_id, "content_hash": text.content_hash,
                "segment_first": quote.turn_first, "segment_last": quote.turn_last, "speaker": quote.speaker,
                "speaker_id": quote.speaker_id, "char_start": quote.char_start, "char_end": quote.char_end,
                "started_s": quote.started_s, "ended_s": quote.ended_s, "exact": quote.exact,
                "prefix": words[max(0, quote.char_start - CONTEXT) : quote.char_start],
                "suffix": words[quote.char_end : quote.char_end + CONTEXT], **_write_method(claim.method, run_id),
                "visibility": text.visibility, "client_id": text.client_id, "coach_id": text.coach_id,
            }  # fmt: skip
    return found


def _make_claim(text: SessionText, claim: SessionClaim, run_id: UUID | None) -> dict[str, Any]:
    return {
        "id": claim.claim_id, "transcript_id": text.transcript_id, "claim_type": claim.claim_type,
        "statement": claim.statement, "holder": claim.holder, "holder_id": claim.holder_id, "subject": claim.subject,
        "polarity": claim.polarity, "modality": claim.modality, "valid_from": claim.valid_from,
        "valid_to": claim.valid_to, "status": claim.status, "support_score": claim.support_score,
        "scorer": claim.scorer, **_write_method(claim.method, run_id), "visibility": text.visibility,
        "client_id": text.client_id, "coach_id": text.coach_id,
    }  # fmt: skip


_CLIENT_CLAIMS: Final = text("""
SELECT c.id AS claim_id, c.claim_type, c.statement, c.modality, c.transcript_id, t.held_at, c.holder, c.holder_id,
       c.subject, c.polarity, c.valid_from, c.valid_to, c.support_score, c.scorer, c.status, c.superseded_by,
       c.method, c.model_name, c.prompt_hash, c.run_id
FROM evidence.claims c JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id
WHERE c.client_id = :client_id AND c.stale_at IS NULL AND NOT EXISTS (
    SELECT FROM governance.corrections k
    WHERE k.tenant_id = c.tenant_id AND k.claim_id = c.id AND k.status = 'applied')
""")
_CLIENT_QUOTES: Final = text("""
SELECT e.claim_id, e.role, q.exact, q.char_start, q.char_end, q.segment_first AS turn_first,
       q.segment_last AS turn_last, q.speaker, q.speaker_id, q.started_s, q.ended_s
FROM evidence.claims c
JOIN evidence.claim_quotes e ON e.tenant_id = c.tenant_id AND e.claim_id = c.id
JOIN evidence.quotes q ON q.tenant_id = e.tenant_id AND q.id = e.quote_id
WHERE c.client_id = :client_id AND c.stale_at IS NULL ORDER BY e.claim_id, e.ordinal
""")
_METHOD: Final = ("name", "model_name", "prompt_hash", "run_id")


async def list_client_claims(session: AsyncSession, client_id: UUID) -> list[SessionClaim]:
    """Return the client's claims that stand, with their quotes, by time and place in the session.

    Without those that their holder disputes.
    """
    quotes: dict[UUID, list[tuple[Located, QuoteRole]]] = defaultdict(list)
    for row in (await session.execute(_CLIENT_QUOTES, {"client_id": client_id})).mappings():
        fields = dict(row)
        quotes[fields.pop("claim_id")].append(
            (Located(**{k: v for k, v in fields.items() if k != "role"}), row["role"])
        )
    rows = (await session.execute(_CLIENT_CLAIMS, {"client_id": client_id})).mappings()
    claims = [_read_claim(row, quotes[row["claim_id"]]) for row in rows]
    return sorted(claims, key=_order)


def _read_claim(row: RowMapping, quotes: Sequence[tuple[Located, QuoteRole]]) -> SessionClaim:
    fields = dict(row)
    method = Method(name=fields.pop("method"), **{name: fields.pop(name) for name in _METHOD[1:]})
    return SessionClaim(**fields, quotes=tuple(quotes), method=method)


def _order(claim: SessionClaim) -> tuple[bool, float, UUID, int, UUID]:
    when = claim.held_at
    return (
        when is not None, when.timestamp() if when else 0.0, claim.transcript_id,
        claim.quotes[0][0].char_start if claim.quotes else 0, claim.claim_id,
    )  # fmt: skip


async def write_statuses(session: AsyncSession, changes: "Sequence[StatusChange]") -> Written:
    """Write what became of claims in later sessions, where it differs from what is stored."""
    changed = await update_rows(session, Claim, [
        {"id": one.claim_id, "status": one.status, "superseded_by": one.by_claim_id} for one in changes
    ])  # fmt: skip
    return Written(changed=changed)
