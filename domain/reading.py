"""Who read which words: noted in the reader's own transaction, by ids, and linked into the audit log soon after.

One entry a request. It says who read (and as what), through which surface, and what: ids by kind, never a word. It
is committed with the reading itself, or before the first word of a stream leaves; its place in the chain it gets
from `link_all`, so that no search stands in line at the chain's lock
([ADR 21](../docs/decisions/0021-who-read-is-noted-without-the-words.md)).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, Protocol, get_args
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger
from db.session import Principal, request_context, tenant_session, unbound_session
from domain.citations import CitationView
from domain.evidence_views import ClaimView, PatternView
from domain.governance import find_schema

Action = Literal[
    "passages_retrieved", "transcript_read", "document_read", "evidence_read", "insight_read", "pack_read",
    "history_read", "message_read", "proposal_read", "evaluation_read", "note_read", "feedback_read",
    "session_read", "submission_read", "share_read", "export_read", "correction_read",
]  # fmt: skip
Kind = Literal[
    "chunk", "transcript", "document", "quote", "claim", "pattern", "insight", "pack", "message", "chat_session",
    "coaching_session", "session_note", "session_feedback", "case_proposal", "experiment", "submission",
    "shared_link", "data_export", "correction", "client",
]  # fmt: skip
Surface = Literal["api", "web", "cli", "evaluation", "flow", "library"]
"""Through what: a program, a browser, this machine's command line, a suite that asks as a person, a flow."""
Read = Mapping[Kind, Iterable[UUID | None]]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MOST_IDS: Final = 2_000
"""Ids of one entry: 100 passages have some 500; of a larger report the rest is counted."""
LINKED_AT_ONCE: Final = 500
"""Entries linked in one transaction (governance.link_waiting): the chain's lock is held for some 50 ms."""

_RECORD: Final = text(
    "SELECT governance.record_reading(:action, CAST(:schema AS text), CAST(:entity_type AS text), "
    "CAST(:entity_id AS uuid), CAST(:kinds AS text[]), CAST(:ids AS uuid[]), :surface, :left_out)"
)
_LINK: Final = select(func.governance.link_waiting())

_log = get_logger("reading")


class _Passage(Protocol):
    @property
    def chunk_ids(self) -> tuple[UUID, ...]: ...
    @property
    def source_kind(self) -> Literal["transcript", "document"]: ...
    @property
    def source_id(self) -> UUID: ...
    @property
    def client_id(self) -> UUID | None: ...


@contextmanager
def reading_through(surface: Surface) -> Iterator[None]:
    """Let what is read inside the block be noted as read through this surface."""
    before = request_context.set({**(request_context.get() or {}), "surface": surface})
    try:
        yield
    finally:
        request_context.reset(before)


async def record_reading(
    session: AsyncSession, action: Action, *read: Read, entity: tuple[Kind, UUID] | None = None
) -> None:
    """Note, as done by the session's reader, that they read this; nothing where there was nothing to read.

    `entity` is what was asked for by its id. Call it once a request, in the transaction that reads. A null id is left
    out.
    """
    ids: dict[tuple[Kind, UUID], None] = {}
    for given in read:
        for kind, some in given.items():
            ids.update(((kind, one), None) for one in some if one is not None)
    if not ids:
        return
    kept = list(ids)[:MOST_IDS]
    entity_type, entity_id = entity or (None, None)
    await session.execute(
        _RECORD,
        {
            "action": action, "schema": find_schema(entity_type), "entity_type": entity_type, "entity_id": entity_id,
            "kinds": [kind for kind, _ in kept], "ids": [one for _, one in kept],
            "surface": (request_context.get() or {}).get("surface", "library"), "left_out": len(ids) - len(kept),
        },
    )  # fmt: skip


def list_passages_read(passages: Iterable[_Passage]) -> dict[Kind, list[UUID | None]]:
    """Return what whoever gets these passages reads: chunks, their sources, and whom these are about."""
    read: dict[Kind, list[UUID | None]] = {}
    for passage in passages:
        read.setdefault(passage.source_kind, []).append(passage.source_id)
        read.setdefault("client", []).append(passage.client_id)
        read.setdefault("chunk", []).extend(passage.chunk_ids)
    return read


def list_citations_read(citations: Iterable[CitationView]) -> dict[Kind, list[UUID | None]]:
    """Return what whoever gets these citations reads: their sources, and whom these are about."""
    read: dict[Kind, list[UUID | None]] = {}
    for citation in citations:
        read.setdefault(citation.source_kind, []).append(citation.source_id)
        read.setdefault("client", []).append(citation.client_id)
    return read


def list_evidence_read(
    claims: Iterable[ClaimView] = (), patterns: Iterable[PatternView] = ()
) -> dict[Kind, list[UUID | None]]:
    """Return what whoever gets these claims and patterns reads, down to the quotes and their sources."""
    read: dict[Kind, list[UUID | None]] = {"claim": [], "pattern": [], "quote": [], "client": []}
    for claim in claims:
        read["claim"].append(claim.id)
        read["client"].append(claim.client_id)
        for quote in claim.quotes:
            read["quote"].append(quote.id)
            read.setdefault(quote.source_kind, []).append(quote.source_id)
    for pattern in patterns:
        read["pattern"].append(pattern.id)
        read["client"].append(pattern.client_id)
    return read


async def link_waiting(session: AsyncSession) -> int:
    """Give up to `LINKED_AT_ONCE` waiting entries of the bound tenant their places; return how many those were.

    The transaction holds the tenant's chain until it ends, so end it soon.
    """
    return int(await session.scalar(_LINK) or 0)


async def link_tenant(tenant_id: UUID) -> int:
    """Give all waiting entries of the tenant their places in the chain; return how many those were."""
    linked = 0
    while True:
        async with tenant_session(Principal(tenant_id, "system")) as session:
            done = await link_waiting(session)
        linked += done
        if done < LINKED_AT_ONCE:
            return linked


async def link_all() -> int:
    """Give the waiting entries of all tenants their places; one tenant's trouble keeps no other's waiting."""
    async with unbound_session() as session:
        tenants = list(await session.scalars(select(func.governance.list_waiting())))
    linked = 0
    for tenant_id in tenants:
        try:
            linked += await link_tenant(tenant_id)
        except AppError as error:
            _log.warning("entries_wait", tenant_id=str(tenant_id), code=error.code)
    return linked
