"""One run of a tenant's retention, or its rehearsal: the same statements decide, a run also takes what they name."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError, Conflict
from core.logging import get_logger
from db.holds import hold
from db.models import DataExport, DataRetentionJob, RetentionPolicy, Tenant
from db.session import Principal, tenant_session
from domain.identity import bound_tenant
from pipelines.privacy.export import expire_exports
from pipelines.retention.files import MATERIAL, MEDIA, Counts, count_due, delete_media, expire_material
from pipelines.retention.rules import RULES, Rule

ROWS_AT_ONCE: Final = 2_000
"""Rows one statement takes; others get in between."""
FOLLOWS_TENANT: Final = ("material", "conversations")
"""Kinds that follow the tenant's own `retention_days` where no policy is about them."""
BY_MONTH: Final = frozenset({("transactions", "archive"), ("audit_logs", "archive"), ("audit_logs", "delete")})
"""What goes by whole months, with the flow that archives them."""

_EXPIRED_EXPORTS: Final = (
    select(func.count())
    .select_from(DataExport)
    .where(DataExport.status == "ready", DataExport.expires_at <= func.now())
)

log = get_logger("pipelines.retention")


class RetentionBusy(Conflict):
    """This organisation's retention is being applied; wait until that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one policy is about at one moment: `gone` went (or would go, in a rehearsal), `held` a legal hold keeps."""

    data_type: str
    action: str
    noun: str
    goes: str
    days: int
    gone: int = 0
    held: int = 0
    error: str | None = None


OnLine = Callable[[Line], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One thing to look at: how it is counted, and how it is taken."""

    line: Line
    before: datetime
    count: Callable[[Principal, datetime], Awaitable[Counts]]
    take: Callable[[Principal, datetime], Awaitable[int]]


async def apply_retention(
    tenant_id: UUID, *, dry_run: bool, now: datetime | None = None, on_line: OnLine | None = None
) -> list[Line]:
    """Let go what the tenant's policies say, at most a batch a statement, and note a job for each policy.

    With `dry_run` nothing but the jobs is written, and the lines say what a run would take now. Legal holds win: what
    they keep is counted, not touched. A run that died is completed by the next one. A policy that fails leaves the
    others alone. Raises `RetentionBusy`.
    """
    principal, moment = Principal(tenant_id, "system"), now or datetime.now(UTC)
    done: list[Line] = []
    async with hold(tenant_id, "retention", busy=RetentionBusy()):
        async with tenant_session(principal) as session:
            steps = _list_steps(await list_days(session), moment)
        exports = await _expire_exports(principal, dry_run=dry_run)
        for (data_type, action), every in steps.items():
            lines = await _run_policy(principal, every, dry_run=dry_run)
            async with tenant_session(principal) as session:
                await note_job(session, data_type, action, lines, dry_run=dry_run)
            for line in lines:
                done.append(line)
                if on_line is not None:
                    on_line(line)
    if on_line is not None:
        on_line(exports)
    return [*done, exports]


async def _expire_exports(principal: Principal, *, dry_run: bool) -> Line:
    """Delete copies made for people whose time is over: each says itself when that is, so no policy is about them."""
    line = Line(data_type="exports", action="delete", noun="copies made for people", goes="deleted", days=0)
    try:
        if dry_run:
            async with tenant_session(principal) as session:
                return replace(line, gone=await session.scalar(_EXPIRED_EXPORTS) or 0)
        return replace(line, gone=await expire_exports(principal.tenant_id))
    except AppError as error:
        return replace(line, error=error.message)


async def list_days(session: AsyncSession) -> dict[tuple[str, str], int]:
    """Return the days of each kind and action of the bound tenant, its own `retention_days` included."""
    p = RetentionPolicy
    rows = await session.execute(select(p.data_type, p.action, p.days).order_by(p.data_type, p.action))
    days = {(row.data_type, row.action): row.days for row in rows}
    own = await session.scalar(select(Tenant.retention_days).where(Tenant.id == await bound_tenant(session)))
    if own is not None:
        for kind in FOLLOWS_TENANT:
            days.setdefault((kind, "delete"), own)
    return days


def _list_steps(days: dict[tuple[str, str], int], now: datetime) -> dict[tuple[str, str], list[_Step]]:
    steps: dict[tuple[str, str], list[_Step]] = {}
    for (data_type, action), count in days.items():
        if (data_type, action) in BY_MONTH:
            continue
        before = now - timedelta(days=count)
        about = {"data_type": data_type, "action": action, "days": count}
        found = [
            _Step(line=Line(noun=rule.noun, goes=rule.goes, **about), before=before, **_by_rule(rule))  # type: ignore[arg-type]  # a dict of both kinds
            for rule in RULES
            if (rule.data_type, rule.action) == (data_type, action)
        ]
        if (data_type, action) == ("material", "delete"):
            line = Line(noun="sessions and documents", goes="deleted", **about)  # type: ignore[arg-type]
            found.append(_Step(line=line, before=before, count=_count(MATERIAL), take=expire_material))
        if (data_type, action) == ("unused_media", "delete"):
            line = Line(noun="files", goes="deleted", **about)  # type: ignore[arg-type]
            found.append(_Step(line=line, before=before, count=_count(MEDIA), take=delete_media))
        if found:
            steps[data_type, action] = found
    return steps


def _count(due: str) -> Callable[[Principal, datetime], Awaitable[Counts]]:
    async def count(principal: Principal, before: datetime) -> Counts:
        return await count_due(principal, due, before)

    return count


def _by_rule(rule: Rule) -> dict[str, Any]:
    async def take(principal: Principal, before: datetime) -> int:
        gone, values = 0, {"before": before, "most": ROWS_AT_ONCE}
        while True:
            async with tenant_session(principal) as session:
                await session.execute(select(func.set_config("app.action", f"{rule.data_type}_retained_out", True)))
                taken = int(await session.scalar(text(rule.batch), values) or 0)
            gone += taken
            if taken < ROWS_AT_ONCE:
                return gone

    return {"count": _count(rule.due), "take": take}


async def _run_policy(principal: Principal, steps: list[_Step], *, dry_run: bool) -> list[Line]:
    lines = []
    for step in steps:
        try:
            counts = await step.count(principal, step.before)
            gone = counts.free if dry_run or not counts.free else await step.take(principal, step.before)
            lines.append(replace(step.line, gone=gone, held=counts.held))
        except AppError as error:
            log.warning("retention failed", data_type=step.line.data_type, code=error.code)
            lines.append(replace(step.line, error=error.message))
    return lines


async def note_job(session: AsyncSession, data_type: str, action: str, lines: list[Line], *, dry_run: bool) -> None:
    """Note what one policy did: counts by noun, never a word of what went."""
    gone, held = sum(line.gone for line in lines), sum(line.held for line in lines)
    errors = [line.error for line in lines if line.error]
    counts = {"gone": {line.noun: line.gone for line in lines}, "held": held, "days": lines[0].days}
    await session.execute(
        insert(DataRetentionJob).values(
            tenant_id=await bound_tenant(session), data_type=data_type, action=action, executed_at=func.now(),
            status="failed" if errors else "held" if held and not gone else "completed", dry_run=dry_run,
            counts=counts, error=errors[0] if errors else None,
        )
    )  # fmt: skip


def to_rows(slug: str, lines: list[Line]) -> list[dict[str, Any]]:
    """Return the lines as rows of a table."""
    return [{"organisation": slug, **asdict(line)} for line in lines]
