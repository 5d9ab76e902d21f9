"""The audit log, for those who answer for it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from sqlalchemy import select

from api.deps import SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.governance import AuditEntryOut, ChainFaultOut, ChainOut
from db.models import AuditLog
from domain.audit_chain import check_chain
from domain.governance import Severity, record_event

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
    since: FromQuery = None,
    until: UntilQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[AuditEntryOut]:
    """List what was done in the organisation, the newest first; reading it is noted as well."""
    conditions = {
        "action": AuditLog.action == action if action else None,
        "actor_id": AuditLog.actor_id == actor_id if actor_id else None,
        "entity_type": AuditLog.entity_type == entity_type if entity_type else None,
        "entity_id": AuditLog.entity_id == entity_id if entity_id else None,
        "severity": AuditLog.severity == severity if severity else None,
        "from": AuditLog.occurred_at >= since if since else None,
        "until": AuditLog.occurred_at < until if until else None,
    }
    asked = {name: condition for name, condition in conditions.items() if condition is not None}
    rows, more = await fetch_page(
        session, select(AuditLog).where(*asked.values()), order=(AuditLog.sequence,), limit=limit, cursor=cursor
    )
    await record_event(
        session, action="audit_log_read", entity_type="audit_log",
        # Whom one looked for is an id; what one typed may be a name.
        metadata={"filters": list(asked), "actor_id": actor_id, "entity_id": entity_id, "entries": len(rows)},
    )  # fmt: skip
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
        length=state.length, hash=state.hash.hex(), checked=state.checked, verified=fault is None, fault=fault
    )
