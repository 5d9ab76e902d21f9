"""Finding entries of the audit log: by who, what and when, and by what somebody read or whom that was about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from core.errors import Invalid
from db.models import AuditLog, AuditReading
from domain.reading import LINKED_AT_ONCE, Kind, link_waiting

MOST_LINKED: Final = 20
"""Times waiting entries are linked before somebody looks, `LINKED_AT_ONCE` each; what waits beyond comes next time."""


class ReadingUnnamed(Invalid):
    """Name both what kind of thing was read and its id; a passage is found by its transcript or document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What entries are looked for; None narrows nothing. `since` is inclusive, `until` exclusive."""

    action: str | None = None
    actor_id: UUID | None = None
    entity_type: str | None = None
    entity_id: UUID | None = None
    severity: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    read_kind: Kind | None = None
    read_id: UUID | None = None
    client_id: UUID | None = None
    """All readings of words about this client."""

    def list_asked(self) -> list[str]:
        """Return the names of the filters that narrow."""
        return [name for name in self.__slots__ if getattr(self, name) is not None]


def select_entries(filters: Filters) -> tuple[Select[tuple[AuditLog]], InstrumentedAttribute[int]]:
    """Return the query of the bound tenant's entries and the column of their order; raises `ReadingUnnamed`.

    What was read is found in a list of its own, by an index that gives the newest first, whatever else the log holds.
    """
    if (filters.read_kind is None) != (filters.read_id is None) or filters.read_kind == "chunk":
        raise ReadingUnnamed
    a = AuditLog
    columns = (a.action, a.actor_id, a.entity_type, a.entity_id, a.severity)
    asked = [(column, getattr(filters, column.key)) for column in columns if getattr(filters, column.key) is not None]
    # Where something read is looked for, it leads the search: one reader can have written most of the log, and no index
    # serves this comparison.
    is_led = filters.read_id is not None or filters.client_id is not None
    alike = [column.is_not_distinct_from(value) if is_led else column == value for column, value in asked]
    query = select(a).where(*alike)
    targets: list[tuple[Kind, UUID]] = []
    if filters.read_kind is not None and filters.read_id is not None:
        targets.append((filters.read_kind, filters.read_id))
    if filters.client_id is not None:
        targets.append(("client", filters.client_id))
    order, moment = a.sequence, a.occurred_at
    for kind, target_id in targets:
        r = aliased(AuditReading)
        same = and_(r.tenant_id == a.tenant_id, r.sequence == a.sequence, r.occurred_at == a.occurred_at)
        query = query.join(r, same).where(r.kind == kind, r.target_id == target_id)
        order, moment = r.sequence, r.occurred_at
    if filters.since is not None:
        query = query.where(moment >= filters.since)
    if filters.until is not None:
        query = query.where(moment < filters.until)
    return query, order


async def list_entries(session: AsyncSession, filters: Filters, *, limit: int) -> Sequence[AuditLog]:
    """Return the newest entries, those that waited for their place among them; raises `ReadingUnnamed`."""
    query, order = select_entries(filters)
    await link_for_reader(session)
    return list(await session.scalars(query.order_by(order.desc()).limit(limit)))


async def link_for_reader(session: AsyncSession) -> None:
    """Let whoever reads the log see what was read a moment ago too: give waiting entries their places."""
    for _ in range(MOST_LINKED):
        if await link_waiting(session) < LINKED_AT_ONCE:
            return


def describe_filters(filters: Filters, entries: int) -> dict[str, Any]:
    """Return what the log says of its being read: ids that were looked for, and of words only that there were some."""
    ids = {name: getattr(filters, name) for name in ("actor_id", "entity_id", "read_id", "client_id")}
    return {"filters": filters.list_asked(), **ids, "entries": entries}
