"""Figures of evidence for those who look over it: what waits of each client, and what was spoken of month by month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.evidence import COMMITMENT_STATE, MAY_READ_CLIENT, ClientEvidenceNotFound
from domain.evidence_views import CLAIM_MOMENT, CLAIM_SESSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What of one client waits for somebody: commitments not settled, some of them overdue, and drafts of insights."""

    unsettled: int
    overdue: int
    drafts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month of one client: its first day, the sessions held in it and the claims of these by type."""

    first_day: date
    sessions: int
    claims: Mapping[str, int]


_WAITING: Final = text(
    f"""
    WITH unsettled AS (
        SELECT c.client_id, {COMMITMENT_STATE} AS state FROM evidence.claims c
        WHERE c.client_id = ANY (CAST(:client_ids AS uuid[])) AND c.claim_type = 'commitment'
          AND c.status = 'asserted' AND c.stale_at IS NULL
    ), drafts AS (
        SELECT client_id FROM evidence.insights
        WHERE client_id = ANY (CAST(:client_ids AS uuid[])) AND status = 'draft' AND stale_at IS NULL
    )
    SELECT one.id, (SELECT count(*) FROM unsettled u WHERE u.client_id = one.id) AS unsettled,
           (SELECT count(*) FROM unsettled u WHERE u.client_id = one.id AND u.state = 'overdue') AS overdue,
           (SELECT count(*) FROM drafts d WHERE d.client_id = one.id) AS drafts
    FROM unnest(CAST(:client_ids AS uuid[])) AS one (id)
    """
)
_MONTHS: Final = text(
    f"""
    SELECT date_trunc('month', {CLAIM_MOMENT} AT TIME ZONE :zone)::date AS month, c.claim_type AS kind, count(*) AS rows
    FROM evidence.claims c {CLAIM_SESSION} WHERE c.client_id = :client_id AND c.stale_at IS NULL GROUP BY 1, 2
    UNION ALL
    SELECT date_trunc('month', coalesce(t.held_at, t.created_at) AT TIME ZONE :zone)::date, NULL, count(*)
    FROM rag.transcripts t WHERE t.client_id = :client_id GROUP BY 1
    """
)


_NAME: Final = text(
    f"SELECT coalesce(nullif(full_name, ''), email) FROM identity.users WHERE id = :client_id AND {MAY_READ_CLIENT}"
)


async def get_client_name(session: AsyncSession, client_id: UUID) -> str:
    """Return the name of a client whom the session's reader may read; raises `ClientEvidenceNotFound`."""
    name = await session.scalar(_NAME, {"client_id": client_id})
    if name is None:
        raise ClientEvidenceNotFound
    return str(name)


async def count_waiting(session: AsyncSession, client_ids: Sequence[UUID]) -> dict[UUID, Waiting]:
    """Return what waits of each of the clients, as far as the reader may see it."""
    rows = await session.execute(_WAITING, {"client_ids": list(client_ids)})
    return {row.id: Waiting(unsettled=row.unsettled, overdue=row.overdue, drafts=row.drafts) for row in rows}


async def count_months(session: AsyncSession, client_id: UUID, *, zone: ZoneInfo, most: int) -> list[Month]:
    """Return the last `most` months up to the last one in which something was said, also those without a session.

    A month is one of the zone's. Empty where nothing was said yet, or where the reader may not see it.
    """
    rows = (await session.execute(_MONTHS, {"client_id": client_id, "zone": zone.key})).all()
    if not rows:
        return []
    claims: dict[date, dict[str, int]] = {}
    sessions: dict[date, int] = {}
    for row in rows:
        if row.kind is None:
            sessions[row.month] = row.rows
        else:
            claims.setdefault(row.month, {})[row.kind] = row.rows
    days = claims.keys() | sessions.keys()
    shown, day = [max(days)], min(days)
    while shown[0] > day and len(shown) < most:
        shown.insert(0, _month_before(shown[0]))
    return [Month(first_day=one, sessions=sessions.get(one, 0), claims=claims.get(one, {})) for one in shown]


def _month_before(first_day: date) -> date:
    year, month = divmod(first_day.year * 12 + first_day.month - 2, 12)
    return date(year, month + 1, 1)
