"""What proves who someone is can be read and written by the pipelines only, whatever a reader's code tries."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from core.errors import AppError
from core.settings import AuthSettings
from db.models import ApiKey, AuthSession, EncryptionKey, RecoveryCode, User
from db.session import Principal, tenant_session
from domain.identity import issue_api_key
from domain.keys import field_cipher
from domain.sessions import open_session
from domain.totp import renew_recovery_codes
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


@pytest.fixture
async def victim(organisation: Organisation) -> Principal:
    """A client with a password, a session, a key and recovery codes."""
    person = organisation.client_a
    user_id = require_id(person)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == user_id).values(password_hash="kept"))
        await open_session(session, user_id=user_id, role="client", settings=AuthSettings())
        await issue_api_key(session, user_id=user_id, name="kept")
        await renew_recovery_codes(session, user_id=user_id)
        await field_cipher(session)
    return person


ATTACKS = {
    "take the account": update(User).values(password_hash="mine"),
    "unlock it": update(User).values(failed_login_attempts=0, locked_until=None),
    "drop the second factor": update(User).values(two_factor_enabled=False, two_factor_secret=None),
    "become someone": update(User).values(role="admin"),
    "lengthen sessions": update(AuthSession).values(expires_at=func.now() + timedelta(days=900)),
    "move a session": update(AuthSession).values(role="admin"),
    "delete sessions": delete(AuthSession),
    "widen keys": update(ApiKey).values(scope="admin"),
    "revive keys": update(ApiKey).values(revoked_at=None),
    "delete keys": delete(ApiKey),
    "use codes again": update(RecoveryCode).values(used_at=None),
    "delete codes": delete(RecoveryCode),
    "destroy the key": update(EncryptionKey).values(wrapped_key=None, destroyed_at=func.now()),
    "delete the key": delete(EncryptionKey),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
async def test_nobody_but_the_pipelines_changes_it(organisation: Organisation, victim: Principal, attack: str) -> None:
    for reader in organisation.people.values():
        async with tenant_session(reader) as session:
            try:
                changed = len((await session.execute(ATTACKS[attack].returning(text("1")))).all())
            except (DBAPIError, AppError):
                changed = 0
                await session.rollback()
        assert changed == 0, reader


async def test_nobody_but_the_pipelines_makes_it(organisation: Organisation, victim: Principal) -> None:
    own = {"tenant_id": organisation.tenant_id, "user_id": victim.user_id}
    soon = datetime.now(UTC) + timedelta(hours=1)
    rows = (
        insert(AuthSession).values(**own, role="client", token_hash="x", expires_at=soon),
        insert(ApiKey).values(**own, name="x", hashed_key="x", scope="admin"),
        insert(RecoveryCode).values(**own, code_hash="x"),
        insert(EncryptionKey).values(
            tenant_id=organisation.tenant_id, purpose="fields", version=2, master_key_id="x", wrapped_key=b"x"
        ),
    )
    for reader in organisation.people.values():
        for row in rows:
            async with tenant_session(reader) as session:
                with pytest.raises((DBAPIError, AppError)):
                    await session.execute(row)
                await session.rollback()


async def test_people_read_their_own_and_no_codes(organisation: Organisation, victim: Principal) -> None:
    other = await found_organisation()
    expected = {"client_a": (1, 1), "admin": (0, 1)}
    for organisation_of, is_home in ((organisation, True), (other, False)):
        for name, reader in organisation_of.people.items():
            async with tenant_session(reader) as session:
                found = [
                    len((await session.scalars(select(model.id))).all())
                    for model in (AuthSession, ApiKey, RecoveryCode, EncryptionKey)
                ]
            assert tuple(found) == (*(expected.get(name, (0, 0)) if is_home else (0, 0)), 0, 0), name
