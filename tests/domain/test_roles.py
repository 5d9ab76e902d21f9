"""A role counts from its grant until it ends, and an organisation never loses its last administrator."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from core.errors import Conflict
from db.models import AuditLog, User, UserProfile, UserRole
from db.session import Principal, ReaderUnknown, tenant_session
from domain import identity, people, roles
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def may_act(person: Principal, role: str) -> bool:
    try:
        async with tenant_session(replace(person, role=role)) as session:  # type: ignore[arg-type]  # a role's name
            await session.execute(text("SELECT 1"))
    except ReaderUnknown:
        return False
    return True


async def grant(
    organisation: Organisation, person: Principal, role: str, expires_at: datetime | None = None
) -> UserRole:
    async with tenant_session(organisation.admin.as_system()) as session:
        return await roles.grant_role(
            session, user_id=require_id(person), role=role, granted_by=organisation.admin.user_id, expires_at=expires_at
        )


async def revoke(organisation: Organisation, person: Principal, role: str) -> None:
    async with tenant_session(organisation.admin.as_system()) as session:
        await roles.revoke_role(session, user_id=require_id(person), role=role)


async def test_a_grant_lets_act_until_it_is_revoked(organisation: Organisation) -> None:
    person = organisation.client_a
    assert not await may_act(person, "coach")
    made = await grant(organisation, person, "coach")
    assert made.granted_by == organisation.admin.user_id
    assert await may_act(person, "coach")
    assert await may_act(person, "client")
    await revoke(organisation, person, "coach")
    assert not await may_act(person, "coach")
    with pytest.raises(roles.GrantNotFound):
        await revoke(organisation, person, "coach")
    await grant(organisation, person, "coach")
    async with tenant_session(person) as session:
        history = (
            await session.execute(
                select(UserRole.role_name, UserRole.revoked_at.is_(None)).order_by(UserRole.granted_at, UserRole.id)
            )
        ).all()
    assert [tuple(row) for row in history] == [("client", True), ("coach", False), ("coach", True)]


async def test_a_grant_ends_by_itself(organisation: Organisation) -> None:
    person = organisation.client_a
    await grant(organisation, person, "coach", datetime.now(UTC) + timedelta(hours=1))
    assert await may_act(person, "coach")
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "UPDATE identity.user_roles SET expires_at = clock_timestamp() "
                "WHERE user_id = :u AND role_name = 'coach'"
            ),
            {"u": person.user_id},
        )
    assert not await may_act(person, "coach")
    # What ran out does not stand in the way of a new grant, and stays in the history.
    await grant(organisation, person, "coach")
    assert await may_act(person, "coach")
    with pytest.raises(roles.GrantOver):
        await grant(organisation, person, "evaluator", datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(roles.PersonNotFound):
        await grant(organisation, replace(person, user_id=uuid4()), "coach")


async def test_a_key_acts_in_the_role_that_runs(organisation: Organisation) -> None:
    person = organisation.coach_b
    async with tenant_session(organisation.system) as session:
        _, key = await identity.issue_api_key(session, user_id=require_id(person), name="key")
    assert (await identity.authenticate_key(key)).role == "coach"
    await grant(organisation, person, "evaluator")
    assert (await identity.authenticate_key(key)).role == "coach"
    await revoke(organisation, person, "coach")
    assert (await identity.authenticate_key(key)).role == "evaluator"
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(User.role).where(User.id == person.user_id)) == "evaluator"
    await revoke(organisation, person, "evaluator")
    with pytest.raises(identity.Unauthenticated):
        await identity.authenticate_key(key)
    with pytest.raises(identity.UserNotFound):
        await identity.get_principal(organisation.slug, f"coach_b@{organisation.slug}.example")


async def test_the_directory_knows_who_coaches(organisation: Organisation) -> None:
    async def marks(person: Principal) -> tuple[bool, datetime | None]:
        async with tenant_session(organisation.system) as session:
            row = await session.execute(
                select(UserProfile.is_coach, UserProfile.coach_until).where(UserProfile.user_id == person.user_id)
            )
            is_coach, until = row.one()
            return is_coach, until

    assert await marks(organisation.coach_a) == (True, None)
    assert await marks(organisation.client_a) == (False, None)
    until = datetime.now(UTC) + timedelta(days=3)
    await grant(organisation, organisation.client_a, "coach", until)
    assert await marks(organisation.client_a) == (True, until)
    await revoke(organisation, organisation.client_a, "coach")
    assert await marks(organisation.client_a) == (False, None)


async def test_the_last_administrator_stays(organisation: Organisation) -> None:
    admin = organisation.admin
    with pytest.raises(roles.LastAdministrator):
        await revoke(organisation, admin, "admin")
    with pytest.raises(roles.LastAdministrator):
        await grant(organisation, admin, "admin", datetime.now(UTC) + timedelta(days=1))
    for leave in (people.suspend_person, people.delete_person):
        with pytest.raises(roles.LastAdministrator):
            async with tenant_session(organisation.system) as session:
                await leave(session, user_id=require_id(admin))
    # One whose role ends by itself is no substitute.
    await grant(organisation, organisation.coach_a, "admin", datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(roles.LastAdministrator):
        await revoke(organisation, admin, "admin")
    await grant(organisation, organisation.coach_a, "admin")
    await revoke(organisation, admin, "admin")


async def test_administrators_who_dismiss_each_other_leave_one(organisation: Organisation) -> None:
    admins = [organisation.admin, organisation.coach_a, organisation.coach_b, organisation.client_a]
    for person in admins[1:]:
        await grant(organisation, person, "admin")
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == organisation.client_b.user_id).values(status="suspended"))
    await grant(organisation, organisation.client_b, "admin")  # suspended, so it does not count

    async def dismiss(person: Principal) -> bool:
        try:
            await revoke(organisation, person, "admin")
        except Conflict:
            return False
        return True

    dismissed = await asyncio.gather(*(dismiss(person) for person in admins))
    assert sum(dismissed) == len(admins) - 1
    assert sum([await may_act(person, "admin") for person in admins]) == 1


async def test_fifty_grants_at_once_make_one(organisation: Organisation) -> None:
    made = await asyncio.gather(*(grant(organisation, organisation.client_a, "coach") for _ in range(50)))
    assert len({row.id for row in made}) == 1


async def test_the_log_names_who_granted_what(organisation: Organisation) -> None:
    made = await grant(organisation, organisation.client_a, "coach")
    await revoke(organisation, organisation.client_a, "coach")
    async with tenant_session(organisation.compliance) as session:
        rows = (
            await session.execute(
                select(AuditLog.action, AuditLog.actor_id, AuditLog.changes)
                .where(AuditLog.entity_id == made.id)
                .order_by(AuditLog.occurred_at)
            )
        ).all()
    assert [(row.action, row.actor_id) for row in rows] == [
        ("role_granted", organisation.admin.user_id),
        ("role_revoked", organisation.admin.user_id),
    ]
    assert rows[0].changes["role_name"] == [None, "coach"]


async def test_nobody_grants_themself_a_role(organisation: Organisation) -> None:
    own: UUID = require_id(organisation.client_a)
    for person in (organisation.client_a, organisation.admin):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with tenant_session(person) as session:
                await session.execute(
                    insert(UserRole).values(tenant_id=organisation.tenant_id, user_id=own, role_name="admin")
                )
    with pytest.raises(DBAPIError, match="permission denied"):
        async with tenant_session(organisation.system) as session:
            await session.execute(update(UserRole).values(role_name="admin"))
