"""The audit log, for those who answer for it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api.deps import SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.governance import AuditEntryOut, ChainFaultOut, ChainOut
from domain.audit_chain import check_chain
from domain.audit_entries import Filters, describe_filters, link_for_reader, select_entries
from domain.governance import Severity, record_event
from domain.reading import Kind

MOST_CHECKED = 20_000
"""Entries one request recomputes at most, within a second; `regenesis db check` reads all."""

router = APIRouter(prefix="/v1", tags=["governance"], dependencies=[needs("read"), needs_role("compliance")])

WordQuery = Annotated[str | None, Query(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
FromQuery = Annotated[AwareDatetime | None, Query(alias="from", description="this moment or later")]
UntilQuery = Annotated[AwareDatetime | None, Query(alias="until", description="before this moment")]


@router.get("/audit", operation_id="listAuditEntries", responses=list_problem_responses())
async def list_audit_entries(
    *,
    session: SessionDep,
    action: WordQuery = None,
    actor_id: UUID | None = None,
    entity_type: WordQuery = None,
    entity_id: UUID | None = None,
    severity: Severity | None = None,
    read_kind: Annotated[
        Kind | None, Query(description="only readings of this kind of thing; a passage is found by its source")
    ] = None,
    read_id: Annotated[UUID | None, Query(description="only readings of the thing of this id")] = None,
    client_id: Annotated[UUID | None, Query(description="only readings of words about this client")] = None,
    since: FromQuery = None,
    until: UntilQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[AuditEntryOut]:
    """List what was done in the organisation, the newest first, who read whose words too; reading it is noted as well.

    `read_kind` with `read_id` asks who read a thing, `client_id` who read anything about a client.
    """
    filters = Filters(
        action=action, actor_id=actor_id, entity_type=entity_type, entity_id=entity_id, severity=severity,
        since=since, until=until, read_kind=read_kind, read_id=read_id, client_id=client_id,
    )  # fmt: skip
    query, order = select_entries(filters)
    await link_for_reader(session)
    rows, more = await fetch_page(session, query, order=(order,), limit=limit, cursor=cursor)
    await record_event(
        session, action="audit_log_read", entity_type="audit_log", metadata=describe_filters(filters, len(rows))
    )
    return Page(items=[AuditEntryOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/audit/chain", operation_id="checkAuditChain", responses=list_problem_responses())
async def check_audit_chain(session: SessionDep) -> ChainOut:
    """Recompute the newest entries of the chain and tell whether they hold, and what its end is."""
    state = await check_chain(session, newest=MOST_CHECKED)
    await record_event(
        session, action="audit_chain_checked", entity_type="audit_log",
        severity="info" if state.fault is None else "critical",
        metadata={"length": state.length, "checked": state.checked, "verified": state.fault is None},
    )  # fmt: skip
    fault = None if state.fault is None else ChainFaultOut.model_validate(state.fault)
    return ChainOut(
        length=state.length, hash=state.hash.hex(), checked=state.checked, dropped_until=state.dropped_until,
        verified=fault is None, fault=fault,
    )  # fmt: skip
