"""What a tenant used, counted as each piece of work ends: a day, a feature and a flow run, in tokens, USD and files."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import UsageMetric
from db.models.platform import NO_FLOW
from domain.quotas import call_as_system

Feature = Literal["chat", "search", "embedding", "evidence", "evaluation", "ingestion"]
GroupBy = Literal["day", "feature", "flow"]

current_flow_run: ContextVar[UUID | None] = ContextVar("current_flow_run", default=None)
"""The flow run that this work belongs to, set as a flow begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one piece of work took: requests, tokens and USD of models, files taken in and their bytes.

    `cost_usd` sums the calls whose price is known, None where none is; `unpriced` counts the others.
    """

    feature: Feature
    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    unpriced: int = 0
    ingestions: int = 0
    stored_bytes: int = 0
    flow_run_id: UUID = field(default_factory=lambda: current_flow_run.get() or NO_FLOW)

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.input_tokens + self.output_tokens

    def to_json(self) -> dict[str, Any]:
        """Return it as `platform.settle_usage` takes it."""
        return {
            "feature": self.feature, "flow_run_id": str(self.flow_run_id), "requests": self.requests,
            "input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "ingestions": self.ingestions,
            "unpriced": self.unpriced, "stored_bytes": self.stored_bytes,
            "cost_usd": None if self.cost_usd is None else str(self.cost_usd),
        }  # fmt: skip


_SETTLE: Final = (
    "platform.settle_usage(CAST(:finished AS uuid[]), CAST(:calls AS jsonb), CAST(:wanted AS uuid), "
    "CAST(:tokens AS bigint), CAST(:usd AS numeric))"
)


async def settle(
    session: AsyncSession,
    used: Sequence[Used] = (),
    *,
    finished: Iterable[UUID] = (),
    partly: UUID | None = None,
    tokens: int = 0,
    usd: Decimal = Decimal(0),
) -> None:
    """Count what work took, and give back what was reserved for it, in one statement.

    `finished` are reservations that end; of `partly`, so many tokens and USD are given back. Others of the tenant who
    count wait until the commit: let it be one of the transaction's last statements, and one a transaction.
    """
    given = {
        "finished": list(finished), "calls": json.dumps([one.to_json() for one in used]), "wanted": partly,
        "tokens": tokens, "usd": usd,
    }  # fmt: skip
    await call_as_system(session, _SETTLE, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What was used by one day, feature or flow run, or in all (everything None)."""

    date: dt.date | None
    feature: str | None
    flow_run_id: UUID | None
    requests: int
    input_tokens: int
    output_tokens: int
    ingestions: int
    stored_bytes: int
    cost_usd: Decimal | None
    unpriced: int


async def list_usage(
    session: AsyncSession, *, since: dt.date, until: dt.date, by: GroupBy | None = "day", limit: int = 1_000,
    feature: Feature | None = None, flow_run_id: UUID | None = None,
) -> list[UsageRow]:  # fmt: skip
    """Return what was used from a day until before another (UTC), the newest day or the dearest feature or run first.

    Flow runs are those that used anything; the rest comes as one row without. `by` None returns one row of sums. As an
    administrator or executive; others see nothing.
    """
    m = UsageMetric
    keys = {"day": m.date, "feature": m.feature, "flow": m.flow_run_id}
    key = keys[by] if by else None
    query = select(
        func.coalesce(func.sum(m.requests), 0), func.coalesce(func.sum(m.input_tokens), 0),
        func.coalesce(func.sum(m.output_tokens), 0), func.coalesce(func.sum(m.ingestions), 0),
        func.coalesce(func.sum(m.storage_used), 0), func.sum(m.cost_usd), func.coalesce(func.sum(m.unpriced), 0),
    ).where(m.date >= since, m.date < until)  # fmt: skip
    if feature is not None:
        query = query.where(m.feature == feature)
    if flow_run_id is not None:
        query = query.where(m.flow_run_id == flow_run_id)
    if key is not None:
        first = key.desc() if by == "day" else func.coalesce(func.sum(m.cost_usd), 0).desc()
        query = query.add_columns(key).group_by(key).order_by(first, func.sum(m.tokens_used).desc(), key).limit(limit)
    found = []
    for row in await session.execute(query):
        named = row[7] if by else None
        found.append(
            UsageRow(
                date=named if by == "day" else None, feature=named if by == "feature" else None,
                flow_run_id=named if by == "flow" and named != NO_FLOW else None,
                requests=int(row[0]), input_tokens=int(row[1]), output_tokens=int(row[2]), ingestions=int(row[3]),
                stored_bytes=int(row[4]), cost_usd=row[5], unpriced=int(row[6]),
            )
        )  # fmt: skip
    return found


async def get_flow_usage(session: AsyncSession, flow_run_id: UUID) -> list[UsageRow]:
    """Return what one flow run used, by feature; nothing where it used nothing."""
    m = UsageMetric
    rows = await session.execute(
        select(
            m.feature, func.sum(m.requests), func.sum(m.input_tokens), func.sum(m.output_tokens),
            func.sum(m.ingestions), func.sum(m.storage_used), func.sum(m.cost_usd), func.sum(m.unpriced),
        ).where(m.flow_run_id == flow_run_id).group_by(m.feature).order_by(m.feature)
    )  # fmt: skip
    return [
        UsageRow(
            date=None, feature=row[0], flow_run_id=flow_run_id, requests=int(row[1]), input_tokens=int(row[2]),
            output_tokens=int(row[3]), ingestions=int(row[4]), stored_bytes=int(row[5]), cost_usd=row[6],
            unpriced=int(row[7]),
        )
        for row in rows
    ]  # fmt: skip


def forecast_month(days: Mapping[dt.date, Decimal], today: dt.date) -> Decimal:
    """Return what a month adds up to by its end at the pace of the last seven whole days, from what each day took.

    Days before the first that took anything do not slow the pace; on the first day itself, it is the pace.
    """
    following = (today.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    left = (following - today).days - 1
    spent = sum((taken for day, taken in days.items() if today.replace(day=1) <= day <= today), Decimal(0))
    now = days.get(today, Decimal(0))
    first = min((day for day, taken in days.items() if taken), default=today)
    week = [today - dt.timedelta(days=n) for n in range(1, 8) if today - dt.timedelta(days=n) >= first]
    pace = sum((days.get(day, Decimal(0)) for day in week), Decimal(0)) / len(week) if week else now
    return spent + max(pace - now, Decimal(0)) + pace * left
