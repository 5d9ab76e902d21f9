"""Evidence packs: all that one reader could see for one question or client at one moment, provable later.

A pack holds no words. Its content names rows by id, with the SHA-256 of what each said, and ranges of sources by the
version's hash; reading it again renders the rows under the rights its reader has at that moment.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Row, Select, TextClause, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound, Unavailable
from db.models import EvidencePack
from db.session import BOUND_TO, Principal, acting_as_system
from db.violations import refusing
from domain.citations import CitationView, CitedSpan, SourceKind, list_citation_views
from domain.evidence import MAY_READ_CLIENT, ClientEvidenceNotFound, find_examined
from domain.evidence_views import (
    CLAIM_MOMENT,
    CLAIM_SESSION,
    CLAIMS,
    CLAIMS_JSON,
    PATTERNS,
    PATTERNS_JSON,
    ClaimView,
    PatternView,
    link_claims,
    link_shown,
)
from domain.reading import Read, list_citations_read, list_evidence_read, record_reading

VERSION: Final = 1
"""Of the shape of a pack's content."""
MOST_CLAIMS: Final = 500
"""Claims a pack begins with, the latest said first; the claims under its patterns come on top."""
MOST_PATTERNS: Final = 50
MOST_LINKS: Final = 40
"""Claims a client's pack takes along with one pattern; those it begins with come first."""
MOST_PATTERNS_ASKED: Final = 10
MOST_LINKS_ASKED: Final = 15
"""The same of a question's pack, which is made while somebody waits for the answer."""
MOST_PASSAGES: Final = 200
MOST_QUESTION: Final = 4_000  # characters
_ATTEMPTS: Final = 3


class PackNotFound(NotFound):
    """There is no such evidence pack of yours that still stands; list yours, or make a new one."""


class PackUnusable(Invalid):
    """A pack is about a client or a question of up to 4,000 characters, on 500 claims and 200 passages at most."""


class PackNeedsReader(Invalid):
    """A pack is one person's view of the evidence; make it as a user."""


class PackUnstored(Unavailable):
    """What this pack would hold was changed at the same moment; try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackCoverage:
    """Sessions the question or client is about that the reader may see, those examined, those that support."""

    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int | None = None
    """None, given to `make_pack`: counted from what the pack holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackView:
    """A pack as its reader may see it now: patterns name their claims by id, claims bear their quotes."""

    id: UUID
    client_id: UUID | None
    question: str | None
    content_hash: str
    created_at: datetime
    coverage: PackCoverage
    patterns: tuple[PatternView, ...]
    claims: tuple[ClaimView, ...]
    passages: tuple[CitationView, ...]
    """The ranges of sources it was given, in that order."""
    withheld: int = 0
    """Items of the pack that are gone or no longer the reader's to see."""
    changed: tuple[UUID, ...] = ()
    """Patterns and claims that say something else now than when the pack was made."""


def hash_content(content: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, of a pack's content as JSON with sorted keys and no blanks, in UTF-8."""
    return _hash(content)


def _hash(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


class _Identified(Protocol):
    @property
    def id(self) -> UUID: ...


Item = TypeVar("Item", bound=_Identified)

_SPANS = """
    unnest(CAST(:sources AS uuid[]), CAST(:hashes AS text[]), CAST(:starts AS int[]), CAST(:ends AS int[]))
        AS s (source_id, content_hash, char_start, char_end)
"""
_LATEST = f"ORDER BY {CLAIM_MOMENT} DESC, c.id LIMIT {MOST_CLAIMS}"
_OF_CLIENT = f"SELECT c.id FROM evidence.claims c {CLAIM_SESSION} WHERE c.client_id = :client_id {_LATEST}"
_PATTERNS_OF_CLIENT = f"""
    SELECT p.id FROM evidence.patterns p WHERE p.client_id = :client_id
    ORDER BY coalesce(p.last_seen, p.created_at) DESC, p.id LIMIT {MOST_PATTERNS}
"""
# What is given may name anything; the claims themselves are read under their own policy further on.
_GIVEN = "SELECT unnest(CAST(:claim_ids AS uuid[])) AS id"
_PATTERNS_OVER = f"""
    SELECT pc.pattern_id AS id FROM evidence.pattern_claims pc WHERE pc.claim_id IN (SELECT id FROM asked)
    GROUP BY pc.pattern_id ORDER BY count(*) DESC, pc.pattern_id LIMIT {MOST_PATTERNS_ASKED}
"""


def _find_on_words(kind: SourceKind) -> str:
    """Return the SQL of the claims that stand on the spans, or speak against them."""
    return f"""
        SELECT cq.claim_id AS id FROM {_SPANS}
        JOIN evidence.quotes q ON q.{kind}_id = s.source_id AND q.content_hash = s.content_hash
            AND q.char_start < s.char_end AND q.char_end > s.char_start
        JOIN evidence.claim_quotes cq ON cq.tenant_id = q.tenant_id AND cq.quote_id = q.id
    """


def _gather(claims: str, patterns: str, *more: str) -> TextClause:
    return text(f"""
        WITH asked AS ({claims}), wanted_patterns AS ({patterns}),
             linked AS ({link_claims("(pc.claim_id IN (SELECT id FROM asked)) DESC,")}),
             wanted_claims AS (SELECT id FROM asked UNION SELECT claim_id FROM linked)
        SELECT ({PATTERNS_JSON}) AS patterns, ({CLAIMS_JSON}) AS claims{"".join(f", {one}" for one in more)}
    """)


_GATHER_CLIENT: Final = _gather(
    _OF_CLIENT, _PATTERNS_OF_CLIENT, f"{MAY_READ_CLIENT} AS known",
    "ARRAY(SELECT t.id FROM rag.transcripts t WHERE t.client_id = :client_id) AS sessions",
)  # fmt: skip


@cache
def _gather_given(kinds: frozenset[SourceKind]) -> TextClause:
    """Return the statement for what is given; every table in it costs planning, so only those that are needed are."""
    return _gather(" UNION ".join((_GIVEN, *map(_find_on_words, sorted(kinds)))), _PATTERNS_OVER)


_SESSIONS: Final = text(
    "SELECT t.id FROM rag.transcripts t WHERE CAST(:client_id AS uuid) IS NULL OR t.client_id = :client_id"
)
_GATHER_STORED: Final = text(
    f"""
    WITH wanted_patterns AS (SELECT unnest(CAST(:pattern_ids AS uuid[])) AS id), linked AS ({link_claims()}),
         wanted_claims AS (SELECT unnest(CAST(:claim_ids AS uuid[])) AS id)
    SELECT ({PATTERNS_JSON}) AS patterns, ({CLAIMS_JSON}) AS claims
    """
)
_STORE: Final = text(
    """
    WITH made AS (
        INSERT INTO evidence.evidence_packs (tenant_id, user_id, client_id, question, content, content_hash,
            sessions_in_scope, sessions_examined, sessions_supporting)
        VALUES (:tenant_id, :user_id, :client_id, :question, CAST(:content AS jsonb), :content_hash,
            :sessions_in_scope, :sessions_examined, :sessions_supporting)
        ON CONFLICT (tenant_id, user_id, content_hash) DO NOTHING RETURNING tenant_id, id, created_at
    ), edges AS (
        INSERT INTO evidence.derivations (tenant_id, child_pack_id, parent_pattern_id, parent_claim_id, role)
        SELECT made.tenant_id, made.id, e.pattern_id, e.claim_id, 'supporting'
        FROM made, unnest(CAST(:edge_patterns AS uuid[]), CAST(:edge_claims AS uuid[])) AS e (pattern_id, claim_id)
    )
    SELECT id, created_at, false AS stale FROM made UNION ALL
    SELECT id, created_at, stale_at IS NOT NULL FROM evidence.evidence_packs
    WHERE user_id = :user_id AND content_hash = :content_hash
    """
)
_WITHDRAW: Final = text("DELETE FROM evidence.evidence_packs WHERE id = :id AND stale_at IS NOT NULL")


async def make_pack(
    session: AsyncSession,
    *,
    client_id: UUID | None = None,
    question: str | None = None,
    quote_spans: Sequence[CitedSpan] = (),
    claim_ids: Sequence[UUID] = (),
    coverage: PackCoverage | None = None,
) -> PackView:
    """Gather and store what the bound reader may see: of a whole client, or for a question.

    With a question or anything given, the pack holds the given claims, those that stand on words in `quote_spans`, the
    patterns over them, the claims under these, all their quotes, and the spans themselves; with a client alone all of
    theirs. A claim or a span that the reader may not see is left out. The same content is the same pack. `coverage`
    tells what was searched; else a session counts as examined when claims were looked for in it. Raises `PackUnusable`,
    `PackNeedsReader`, `PackUnstored`, and for a client alone `ClientEvidenceNotFound`.
    """
    reader: Principal = session.info[BOUND_TO]
    if reader.user_id is None:
        raise PackNeedsReader
    question = question.strip() if question else None
    if (
        (client_id is None and not question)
        or len(question or "") > MOST_QUESTION
        or len(claim_ids) > MOST_CLAIMS
        or len(quote_spans) > MOST_PASSAGES
    ):
        raise PackUnusable
    whole = question is None and not claim_ids and not quote_spans
    statement = _GATHER_CLIENT if whole else _gather_given(frozenset(span.source_kind for span in quote_spans))
    values = {
        "client_id": client_id, "claim_ids": list(claim_ids), "most_links": MOST_LINKS if whole else MOST_LINKS_ASKED,
        "sources": [span.source_id for span in quote_spans], "hashes": [span.content_hash for span in quote_spans],
        "starts": [span.char_start for span in quote_spans], "ends": [span.char_end for span in quote_spans],
    }  # fmt: skip
    row = (await session.execute(statement, values)).one()
    if whole and not row.known:
        raise ClientEvidenceNotFound
    claims = _standing(CLAIMS.validate_python(row.claims))
    patterns = link_shown(PATTERNS.validate_python(row.patterns), claims)
    passages = _distinct(await list_citation_views(session, quote_spans))
    if coverage is None:
        sessions = row.sessions if whole else (await session.scalars(_SESSIONS, {"client_id": client_id})).all()
        examined = await find_examined(session, sessions) | _list_sessions(claims, passages)
        coverage = PackCoverage(sessions_in_scope=len(sessions), sessions_examined=len(examined & {*sessions}))
    if coverage.sessions_supporting is None:
        supporting = min(len(_list_sessions(claims, passages)), coverage.sessions_examined)
        coverage = replace(coverage, sessions_supporting=supporting)
    content = {
        "version": VERSION, "client_id": str(client_id) if client_id else None, "question": question,
        "coverage": asdict(coverage), **_write_items(patterns, claims, passages),
    }  # fmt: skip
    stored = await _store(session, reader, content)
    return PackView(
        id=stored.id, client_id=client_id, question=question, content_hash=_hash(content),
        created_at=stored.created_at, coverage=coverage, patterns=patterns, claims=claims, passages=passages,
    )  # fmt: skip


async def get_pack(session: AsyncSession, pack_id: UUID) -> PackView:
    """Return the reader's own pack as they may see it now; never more than it held. Raises `PackNotFound`."""
    pack = await session.scalar(select(EvidencePack).where(EvidencePack.id == pack_id))
    if pack is None:
        raise PackNotFound
    return await render_pack(
        session, pack.content, pack_id=pack.id, content_hash=pack.content_hash, created_at=pack.created_at
    )


async def render_pack(
    session: AsyncSession, content: dict[str, Any], *, pack_id: UUID, content_hash: str, created_at: datetime
) -> PackView:
    """Return what a pack held as the session's reader may see it now, whoever it was made for."""
    told = {UUID(item["id"]): item for level in ("patterns", "claims") for item in content[level]}
    row = (
        await session.execute(
            _GATHER_STORED,
            {
                "pattern_ids": [item["id"] for item in content["patterns"]], "most_links": 1_000,
                "claim_ids": [item["id"] for item in content["claims"]],
            },
        )
    ).one()  # fmt: skip
    claims = _standing(
        replace(claim, quotes=_keep(claim.quotes, told[claim.id]["quotes"]))
        for claim in CLAIMS.validate_python(row.claims)
    )
    patterns = link_shown(
        (
            replace(pattern, claims=_keep(pattern.claims, told[pattern.id]["claims"]))
            for pattern in PATTERNS.validate_python(row.patterns)
        ),
        claims,
    )
    spans = [_read_span(place, item) for place, item in enumerate(content["passages"], 1)]
    passages = _distinct(await list_citation_views(session, spans))
    shown: tuple[PatternView | ClaimView, ...] = (*patterns, *claims)
    quoted = sum(len(item["quotes"]) for item in content["claims"])
    held = len(told) + quoted + len(spans)
    return PackView(
        id=pack_id, client_id=UUID(content["client_id"]) if content["client_id"] else None,
        question=content["question"], content_hash=content_hash, created_at=created_at,
        patterns=patterns, claims=claims, passages=passages, coverage=PackCoverage(**content["coverage"]),
        withheld=held - len(shown) - sum(len(claim.quotes) for claim in claims) - len(passages),
        changed=tuple(item.id for item in shown if _digest(item) != told[item.id]["digest"]),
    )  # fmt: skip


async def read_again(session: AsyncSession, shown: PackView) -> PackView:
    """Return what an earlier reading of a pack showed, as the session's reader may see it now.

    `withheld` and `changed` tell what became so since then.
    """
    content = {
        "client_id": shown.client_id and str(shown.client_id), "question": shown.question,
        "coverage": asdict(shown.coverage), **_write_items(shown.patterns, shown.claims, shown.passages),
    }  # fmt: skip
    return await render_pack(
        session, content, pack_id=shown.id, content_hash=shown.content_hash, created_at=shown.created_at
    )


async def record_pack_read(session: AsyncSession, pack: PackView) -> None:
    """Note that the session's reader reads this pack, with all that it shows."""
    read: Read = {"pack": [pack.id], "client": [pack.client_id]}
    shown = list_evidence_read(pack.claims, pack.patterns), list_citations_read(pack.passages)
    await record_reading(session, "pack_read", read, *shown, entity=("pack", pack.id))


def select_packs(client_id: UUID | None = None) -> Select[Any]:
    """Return the reader's own packs without their content; order it by `(created_at, id)`."""
    p = EvidencePack
    counts = [func.jsonb_array_length(p.content[level]).label(level) for level in ("patterns", "claims", "passages")]
    query = select(
        p.id, p.client_id, p.question, p.content_hash, p.created_at, p.sessions_in_scope, p.sessions_examined,
        p.sessions_supporting, *counts,
    )  # fmt: skip
    return query if client_id is None else query.where(p.client_id == client_id)


def _standing(claims: Iterable[ClaimView]) -> tuple[ClaimView, ...]:
    """Return the claims that still have a supporting quote the reader may see."""
    return tuple(claim for claim in claims if any(quote.role == "supporting" for quote in claim.quotes))


def _distinct(views: Iterable[CitationView | None]) -> tuple[CitationView, ...]:
    """Return those that can be shown, each range once, in order."""
    return tuple({(v.source_id, v.char_start, v.char_end): v for v in views if v is not None}.values())


def _list_sessions(claims: Iterable[ClaimView], passages: Iterable[CitationView]) -> set[UUID]:
    shown: tuple[ClaimView | CitationView, ...] = (*claims, *passages)
    return {item.source_id for item in shown if item.source_kind == "transcript"}


def _keep(items: Sequence[Item], held: Iterable[dict[str, str]]) -> tuple[Item, ...]:
    """Return those of the items that the pack held."""
    known = {item["id"] for item in held}
    return tuple(item for item in items if str(item.id) in known)


def _digest(item: ClaimView | PatternView) -> str:
    """Return the SHA-256 of what a claim or pattern says; ids and times of storing do not count."""
    if isinstance(item, PatternView):
        return _hash([
            item.kind, item.subject, item.statement, item.sessions_in_scope, item.sessions_examined,
            item.sessions_supporting, item.first_seen and item.first_seen.timestamp(),
            item.last_seen and item.last_seen.timestamp(),
        ])  # fmt: skip
    return _hash([
        item.claim_type, item.statement, item.holder, item.subject, item.polarity, item.modality, item.valid_from,
        item.valid_to, item.status, item.superseded_by,
    ])  # fmt: skip


def _write_items(
    patterns: Sequence[PatternView], claims: Sequence[ClaimView], passages: Sequence[CitationView]
) -> dict[str, Any]:
    """Return a pack's items as ids, hashes and places; no floats, which JSONB would write its own way."""
    return {
        "patterns": [
            {
                "id": str(pattern.id), "digest": _digest(pattern),
                "claims": [{"id": str(ref.id), "role": ref.role} for ref in pattern.claims],
            }
            for pattern in patterns
        ],
        "claims": [
            {
                "id": str(claim.id), "digest": _digest(claim),
                "quotes": [
                    {
                        "id": str(quote.id), "role": quote.role, "source_id": str(quote.source_id),
                        "content_hash": quote.content_hash, "char_start": quote.char_start, "char_end": quote.char_end,
                    }
                    for quote in claim.quotes
                ],
            }
            for claim in claims
        ],
        "passages": [
            {
                "source_kind": view.source_kind, "source_id": str(view.source_id), "content_hash": view.content_hash,
                "char_start": view.char_start, "char_end": view.char_end,
            }
            for view in sorted(passages, key=lambda view: (str(view.source_id), view.char_start, view.char_end))
        ],
    }  # fmt: skip


def _read_span(place: int, item: dict[str, Any]) -> CitedSpan:
    return CitedSpan(ordinal=place, chunk_id=None, **item | {"source_id": UUID(item["source_id"])})


def _list_edges(content: dict[str, Any]) -> list[tuple[UUID | None, UUID | None]]:
    """Return the parents of a pack as (pattern, claim): its patterns, and its claims under none of them.

    What is under a parent goes stale with it, so an edge to each would say nothing more.
    """
    under = {ref["id"] for pattern in content["patterns"] for ref in pattern["claims"]}
    return [
        *((UUID(pattern["id"]), None) for pattern in content["patterns"]),
        *((None, UUID(claim["id"])) for claim in content["claims"] if claim["id"] not in under),
    ]


async def _store(session: AsyncSession, reader: Principal, content: dict[str, Any]) -> Row[Any]:
    edges = _list_edges(content)
    values = {
        "tenant_id": reader.tenant_id, "user_id": reader.user_id, "question": content["question"],
        "client_id": content["client_id"] and UUID(content["client_id"]), **content["coverage"],
        "content": json.dumps(content), "content_hash": _hash(content),
        "edge_patterns": [pattern for pattern, _ in edges], "edge_claims": [claim for _, claim in edges],
    }  # fmt: skip
    # The reader has no right to write what is derived; what they may see of it was just decided under their own.
    async with acting_as_system(session):
        for _ in range(_ATTEMPTS):
            with refusing({"parent_stale": PackUnstored}):
                row = (await session.execute(_STORE, values)).one_or_none()
            if row is not None and not row.stale:
                return row
            if row is not None:  # the same content stands again: what went stale makes room for it
                await session.execute(_WITHDRAW, {"id": row.id})
    raise PackUnstored
