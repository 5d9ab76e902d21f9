"""How long what is kept: an organisation's policies, what their runs did, and the months that are archived."""

from typing import Any, Literal

from sqlalchemy import Select, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from db.models import Archive, DataRetentionJob, RetentionPolicy, Tenant
from db.violations import refusing
from domain.identity import bound_tenant

DataType = Literal[
    "accounts_deleted", "accounts_inactive", "analytics_events", "audit_logs", "community_posts", "conversations",
    "course_content", "deliveries", "material", "messages", "notifications", "sign_in_sessions", "transactions",
    "unused_media", "usage",
]  # fmt: skip
Action = Literal["archive", "delete"]

APPLIED: frozenset[tuple[str, str]] = frozenset(
    {
        *((kind, "archive") for kind in (
            "accounts_inactive", "analytics_events", "audit_logs", "conversations", "notifications", "transactions",
            "unused_media", "usage",
        )),
        *((kind, "delete") for kind in (
            "accounts_deleted", "accounts_inactive", "analytics_events", "audit_logs", "community_posts",
            "conversations", "course_content", "deliveries", "material", "messages", "notifications",
            "sign_in_sessions", "unused_media", "usage",
        )),
    }
)  # fmt: skip
"""What there is something to be done for; `unused_media` is archived where it lies, as there is no colder place."""


class RetentionRefused(Invalid):
    """This can't be kept so: money is never deleted, the log not before three years, and not all of it is archived."""


class PolicyNotFound(NotFound):
    """There is no such retention policy; list them to see those there are."""


async def list_policies(session: AsyncSession) -> list[RetentionPolicy]:
    """Return the bound tenant's policies, by kind of data and action."""
    p = RetentionPolicy
    return list(await session.scalars(select(p).order_by(p.data_type, p.action)))


async def find_retention_days(session: AsyncSession) -> int | None:
    """Return after how many days the tenant's material and conversations go; None: never."""
    days: int | None = await session.scalar(
        select(Tenant.retention_days).where(Tenant.id == await bound_tenant(session))
    )
    return days


async def set_policy(session: AsyncSession, data_type: DataType, action: Action, days: int) -> RetentionPolicy:
    """Keep this kind of data so long from the next run on; raises `RetentionRefused`."""
    if (data_type, action) not in APPLIED:
        raise RetentionRefused
    p = RetentionPolicy
    values = {"tenant_id": await bound_tenant(session), "data_type": data_type, "action": action, "days": days}
    with refusing(
        dict.fromkeys(("ck_retention_policies_money_stays", "ck_retention_policies_log_stays"), RetentionRefused)
    ):
        await session.execute(
            insert(p)
            .values(values)
            .on_conflict_do_update(
                index_elements=(p.tenant_id, p.data_type, p.action), set_={"days": days, "updated_at": func.now()}
            )
        )
    mine = select(p).where(p.data_type == data_type, p.action == action)
    return (await session.scalars(mine, execution_options={"populate_existing": True})).one()


async def remove_policy(session: AsyncSession, data_type: DataType, action: Action) -> None:
    """Keep this kind of data for ever from now on; raises `PolicyNotFound`."""
    p = RetentionPolicy
    gone = await session.scalar(
        delete(p).where(p.data_type == data_type, p.action == action).returning(p.id),
        execution_options={"synchronize_session": False},
    )
    if gone is None:
        raise PolicyNotFound


def select_jobs(*, data_type: DataType | None = None, dry_run: bool | None = None) -> Select[Any]:
    """Return what runs of policies did; order it by `(scheduled_at, id)`."""
    query = select(DataRetentionJob)
    if data_type is not None:
        query = query.where(DataRetentionJob.data_type == data_type)
    if dry_run is not None:
        query = query.where(DataRetentionJob.dry_run.is_(dry_run))
    return query


def select_archives(*, table: str | None = None) -> Select[Any]:
    """Return archived months; order it by `(month, id)`."""
    query = select(Archive)
    return query if table is None else query.where(Archive.table_name == table)
