"""The flow rotates one organisation's keys, shows what it did, and fails where something was left."""

from uuid import uuid4

import pytest
from sqlalchemy import update

from db.models import User
from db.session import tenant_session
from domain.keys import field_cipher
from domain.platform import TenantNotFound
from flows.rotate_keys import KeysLeft, rotate_keys
from tests.factories.people import Organisation

pytestmark = pytest.mark.usefixtures("prefect_server")


async def fill(organisation: Organisation) -> None:
    one = organisation.client_a.user_id
    assert one is not None
    async with tenant_session(organisation.system) as session:
        sealed = (await field_cipher(session)).encrypt(
            "+250", table="identity.users", column="phone_number", row_id=one
        )
        await session.execute(update(User).where(User.id == one).values(phone_number=sealed))


async def test_one_organisation_s_keys_are_rotated(organisation: Organisation) -> None:
    await fill(organisation)
    assert await rotate_keys(tenant_id=organisation.tenant_id, destroy_old=True) == 1
    assert await rotate_keys(tenant_id=organisation.tenant_id) == 1


async def test_an_organisation_that_is_not_there_is_said_to_be(organisation: Organisation) -> None:
    with pytest.raises(TenantNotFound, match="There is no active organisation"):
        await rotate_keys(tenant_id=uuid4())


async def test_what_is_left_fails_the_run(organisation: Organisation) -> None:
    await fill(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(User).where(User.id == organisation.client_b.user_id).values(phone_number=b"no ciphertext")
        )
    with pytest.raises(KeysLeft):
        await rotate_keys(tenant_id=organisation.tenant_id)
