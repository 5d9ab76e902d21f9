"""What people may be, and from when until when: the grants behind every sign-in."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Uuid, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from core.errors import Conflict, Invalid, NotFound
from db.models import User, UserRole
from domain.governance import name_action
from domain.sessions import end_sessions

_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)


class PersonNotFound(NotFound):
    """There is no such person in your organisation that you may see; list the people to find their ids."""


class GrantNotFound(NotFound):
    """This person does not hold this role now; list their roles to see which they hold."""


class GrantOver(Invalid):
    """A role can't be granted until a moment that has passed; give a later `expires_at`, or none."""


class LastAdministrator(Conflict):
    """This person is the only one who administers the organisation for good; make another administrator first."""


def runs() -> ColumnElement[bool]:
    """Return the condition that a grant counts at this moment."""
    return (
        UserRole.revoked_at.is_(None)
        & (UserRole.granted_at <= func.now())
        & or_(UserRole.expires_at.is_(None), UserRole.expires_at > func.now())
    )


async def grant_role(
    session: AsyncSession, *, user_id: UUID, role: str, granted_by: UUID | None, expires_at: datetime | None = None
) -> UserRole:
    """Let the person act in the role from now on; who holds it already keeps it until the new `expires_at`.

    Needs a session of the pipelines. Locks the person's row, so that two grants at once make one.
    Raises `PersonNotFound`, `GrantOver`.
    """
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise GrantOver
    await _lock_person(session, user_id)
    if role == "admin" and expires_at is not None:
        await require_other_administrator(session, user_id)
    await name_action(session, "role_granted")
    # What ran out still stands as unrevoked; it closes at the moment it ran out.
    await session.execute(
        update(UserRole)
        .where(
            UserRole.user_id == user_id, UserRole.role_name == role, UserRole.revoked_at.is_(None),
            UserRole.expires_at <= func.clock_timestamp(),
        )
        .values(revoked_at=UserRole.expires_at)
    )  # fmt: skip
    added = insert(UserRole).values(
        tenant_id=_TENANT, user_id=user_id, role_name=role, granted_by=granted_by, expires_at=expires_at
    )
    grant = await session.scalar(
        added.on_conflict_do_update(
            index_elements=(UserRole.tenant_id, UserRole.user_id, UserRole.role_name),
            index_where=UserRole.revoked_at.is_(None),
            set_={"expires_at": added.excluded.expires_at},
        ).returning(UserRole),
        execution_options={"populate_existing": True},
    )
    assert grant is not None  # noqa: S101  # an upsert always returns its row
    await _settle_default_role(session, user_id)
    return grant


async def revoke_role(session: AsyncSession, *, user_id: UUID, role: str) -> list[str]:
    """Take the role from the person now, end the sign-ins that act in it and return their hashes, to be forgotten.

    Needs a session of the pipelines. Raises `PersonNotFound`, `GrantNotFound`, `LastAdministrator`.
    """
    await _lock_person(session, user_id)
    if role == "admin":
        await require_other_administrator(session, user_id)
    await name_action(session, "role_revoked")
    revoked = await session.scalar(
        update(UserRole)
        .where(UserRole.user_id == user_id, UserRole.role_name == role, runs())
        .values(revoked_at=func.clock_timestamp())
        .returning(UserRole.id)
    )
    if revoked is None:
        raise GrantNotFound
    await _settle_default_role(session, user_id)
    return await end_sessions(session, user_id=user_id, role=role)


async def require_other_administrator(session: AsyncSession, user_id: UUID) -> None:
    """Raise `LastAdministrator` unless somebody else administers the tenant without an end.

    Locks every administrator's grant in one order, so that two who dismiss each other can't both succeed.
    """
    grants = await session.scalars(
        select(UserRole.user_id)
        .join(User, (User.tenant_id == UserRole.tenant_id) & (User.id == UserRole.user_id))
        .where(UserRole.role_name == "admin", runs(), UserRole.expires_at.is_(None), User.status == "active")
        .order_by(UserRole.id)
        .with_for_update(of=UserRole)
    )
    holders = set(grants)
    if user_id in holders and len(holders) == 1:
        raise LastAdministrator


async def _lock_person(session: AsyncSession, user_id: UUID) -> None:
    if await session.scalar(select(User.id).where(User.id == user_id).with_for_update(key_share=True)) is None:
        raise PersonNotFound


async def _settle_default_role(session: AsyncSession, user_id: UUID) -> None:
    """Let the role a sign-in acts in by default be one the person holds, if they hold any."""
    held = select(UserRole.role_name).where(UserRole.user_id == user_id, runs())
    newest = held.order_by(UserRole.granted_at.desc(), UserRole.id.desc()).limit(1).scalar_subquery()
    await session.execute(
        update(User)
        .where(User.id == user_id, User.role.not_in(held))
        .values(role=func.coalesce(newest, User.role))
        .execution_options(synchronize_session=False)
    )
