"""API keys stand for people, and only while they are valid."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from db.models import User
from db.session import ReaderUnknown, tenant_session
from domain import identity
from tests.factories.people import Organisation


async def test_key_stands_for_its_user(organisation: Organisation) -> None:
    coach = organisation.coach_a
    assert coach.user_id is not None
    async with tenant_session(organisation.system) as session:
        row, key = await identity.issue_api_key(session, user_id=coach.user_id, name="laptop", scopes=("chat",))
        assert key not in row.hashed_key
    principal = await identity.authenticate_key(key)
    assert (principal.tenant_id, principal.user_id, principal.role) == (coach.tenant_id, coach.user_id, "coach")
    assert principal.scopes == {"chat"}


async def test_wrong_expired_and_revoked_keys_are_refused_alike(organisation: Organisation) -> None:
    assert organisation.coach_a.user_id is not None
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with tenant_session(organisation.system) as session:
        _, expired = await identity.issue_api_key(
            session, user_id=organisation.coach_a.user_id, name="old", expires_at=past
        )
        row, revoked = await identity.issue_api_key(session, user_id=organisation.coach_a.user_id, name="lost")
        await identity.revoke_api_key(session, row.id)
    for key in (expired, revoked, "rg_wrong", ""):
        with pytest.raises(identity.Unauthenticated):
            await identity.authenticate_key(key)


async def test_suspended_user_is_out_at_once(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == organisation.coach_a.user_id).values(status="suspended"))
    with pytest.raises(ReaderUnknown):
        async with tenant_session(organisation.coach_a):
            pass


async def test_role_can_not_be_claimed(organisation: Organisation) -> None:
    with pytest.raises(ReaderUnknown):
        async with tenant_session(replace(organisation.client_a, role="coach")):
            pass
