"""What the database refuses about keys, whoever asks: the app's role as anybody, the pipelines, the owner."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.errors import AppError
from core.settings import Settings
from db.locate import owner_url
from db.models import AuditLog, EncryptionKey, LegalHold, User
from db.provision import to_libpq_url
from db.session import tenant_session
from domain import keys
from domain.keys import KeysGuarded, KeysHeld, add_key_version, destroy_keys, field_cipher
from tests.factories.people import Organisation, found_organisation

CHANGES = {
    "add a version": "SELECT platform.add_key_version('fields', 2, 'mine', 'x')",
    "wrap it otherwise": "SELECT platform.rewrap_data_key('fields', 1, (SELECT wrapped_key FROM "
    "platform.list_data_keys('fields')), 'mine', 'x')",
    "retire it": "SELECT platform.retire_data_keys('fields')",
    "destroy what is retired": "SELECT platform.destroy_retired_keys('fields', now())",
    "destroy it": "SELECT platform.destroy_data_keys()",
    "count values": "SELECT * FROM platform.count_fields()",
    "replace values": "SELECT platform.reencrypt_fields('identity.users', 'phone_number', '{}', '{}', '{}')",
    "read the rows": "SELECT 1 / count(*) FROM platform.encryption_keys",
    "update the rows": "UPDATE platform.encryption_keys SET wrapped_key = NULL, destroyed_at = now()",
    "mark a rotation": "UPDATE platform.encryption_keys SET reencrypting = txid_current()",
    "delete the rows": "DELETE FROM platform.encryption_keys",
    "insert a row": "INSERT INTO platform.encryption_keys (tenant_id, purpose, version, master_key_id, wrapped_key) "
    "VALUES (current_setting('app.tenant_id')::uuid, 'fields', 2, 'mine', 'x')",
}


@pytest.fixture
async def sealed(organisation: Organisation) -> bytes:
    """A client's number, encrypted."""
    async with tenant_session(organisation.system) as session:
        person = organisation.client_a.user_id
        assert person is not None
        cipher = await field_cipher(session)
        value = cipher.encrypt("+250", table="identity.users", column="phone_number", row_id=person)
        await session.execute(update(User).where(User.id == person).values(phone_number=value))
    return value


@pytest.fixture
async def owner(store: Settings) -> AsyncIterator[psycopg.AsyncConnection]:
    connection = await psycopg.AsyncConnection.connect(to_libpq_url(owner_url(store)))
    yield connection
    await connection.rollback()
    await connection.close()


async def list_keys(organisation: Organisation) -> list[tuple[str, int, bytes | None]]:
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(
            select(EncryptionKey.master_key_id, EncryptionKey.version, EncryptionKey.wrapped_key)
        )
        return [tuple(row) for row in rows.all()]


@pytest.mark.parametrize("attack", list(CHANGES))
async def test_no_person_changes_or_reads_keys(organisation: Organisation, sealed: bytes, attack: str) -> None:
    before = await list_keys(organisation)
    for reader in organisation.people.values():
        async with tenant_session(reader) as session:
            with pytest.raises((DBAPIError, AppError)):
                await session.execute(text(CHANGES[attack]))
            await session.rollback()
    assert await list_keys(organisation) == before


@pytest.mark.parametrize("attack", ["update the rows", "mark a rotation", "delete the rows", "insert a row"])
async def test_the_pipelines_change_keys_through_functions_only(
    organisation: Organisation, sealed: bytes, attack: str
) -> None:
    async with tenant_session(organisation.system) as session:
        with pytest.raises((DBAPIError, AppError)):
            await session.execute(text(CHANGES[attack]))
        await session.rollback()


async def test_another_tenant_s_pipelines_reach_none_of_it(organisation: Organisation, sealed: bytes) -> None:
    other = await found_organisation()
    async with tenant_session(other.system) as session:
        assert (await session.execute(text("SELECT * FROM platform.count_fields()"))).all() == []
        assert await session.scalar(text("SELECT platform.destroy_data_keys()")) == 0
        with pytest.raises((DBAPIError, AppError)):
            await session.execute(text("SELECT platform.add_key_version('fields', 2, 'mine', 'x')"))
        await session.rollback()
    assert [wrapped is not None for _, _, wrapped in await list_keys(organisation)] == [True]


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_versions_follow_one_another(organisation: Organisation, sealed: bytes, version: int) -> None:
    async with tenant_session(organisation.system) as session:
        with pytest.raises(DBAPIError, match="does not follow"):
            await session.execute(
                text("SELECT platform.add_key_version('fields', :version, 'mine', 'x')"), {"version": version}
            )
        await session.rollback()


async def test_people_begin_no_other_row_of_keys(organisation: Organisation, sealed: bytes) -> None:
    for purpose in ("objects", "mine"):
        async with tenant_session(organisation.admin) as session:
            await session.execute(text("SELECT platform.add_data_key(:purpose, 'mine', 'x')"), {"purpose": purpose})
    assert len(await list_keys(organisation)) == 1


async def test_a_key_that_a_value_needs_is_not_retired(organisation: Organisation, sealed: bytes) -> None:
    async with tenant_session(organisation.system) as session:
        assert await add_key_version(session, "fields") == 2
    async with tenant_session(organisation.system) as session:
        with pytest.raises(DBAPIError, match="older key"):
            await session.execute(text("SELECT platform.retire_data_keys('fields')"))
        await session.rollback()


async def test_destroyed_keys_stay_destroyed_whoever_asks(
    organisation: Organisation, sealed: bytes, owner: psycopg.AsyncConnection
) -> None:
    (_, _, wrapped), *_ = await list_keys(organisation)
    async with tenant_session(organisation.system) as session:
        assert await destroy_keys(session) == 1
    async with tenant_session(organisation.system) as session:
        assert await destroy_keys(session) == 0
        with pytest.raises(DBAPIError, match="does not follow"):
            await session.execute(text("SELECT platform.add_key_version('fields', 2, 'mine', 'x')"))
        await session.rollback()
    async with tenant_session(organisation.client_a) as session:
        await session.execute(text("SELECT platform.add_data_key('fields', 'mine', 'x')"))
    assert [wrapped for _, _, wrapped in await list_keys(organisation)] == [None]
    tenant: UUID = organisation.tenant_id
    for change in (
        "UPDATE platform.encryption_keys SET wrapped_key = %(key)s, destroyed_at = NULL WHERE tenant_id = %(tenant)s",
        "UPDATE platform.encryption_keys SET version = 2 WHERE tenant_id = %(tenant)s",
        "UPDATE platform.encryption_keys SET tenant_id = gen_random_uuid() WHERE tenant_id = %(tenant)s",
        "DELETE FROM platform.encryption_keys WHERE tenant_id = %(tenant)s",
    ):
        for replica in ("origin", "replica"):  # the superuser, ordinary triggers on and off
            await owner.execute(f"SET LOCAL session_replication_role = {replica}")
            with pytest.raises(psycopg.errors.RestrictViolation):
                await owner.execute(change, {"key": wrapped, "tenant": tenant})
            await owner.rollback()


async def test_a_legal_hold_keeps_the_keys(organisation: Organisation, sealed: bytes) -> None:
    async with tenant_session(organisation.system) as session:
        hold = LegalHold(
            tenant_id=organisation.tenant_id, subject_kind="document", subject_id=uuid4(), reason="a lawsuit"
        )
        session.add(hold)
        await session.flush()
        hold_id = hold.id
    with pytest.raises(KeysHeld):
        async with tenant_session(organisation.compliance) as session:
            await destroy_keys(session)
    async with tenant_session(organisation.client_a) as session:
        cipher = await field_cipher(session)
    person = organisation.client_a.user_id
    assert person is not None
    assert cipher.decrypt(sealed, table="identity.users", column="phone_number", row_id=person) == "+250"
    async with tenant_session(organisation.system) as session:
        await session.execute(update(LegalHold).where(LegalHold.id == hold_id).values(released_at=func.now()))
    async with tenant_session(organisation.compliance) as session:
        assert await destroy_keys(session) == 1
    async with tenant_session(organisation.compliance) as session:
        said = await session.execute(
            select(AuditLog.severity, AuditLog.actor_role).where(AuditLog.action == "data_keys_destroyed")
        )
        assert [tuple(row) for row in said.all()] == [("critical", "compliance")]


async def test_only_compliance_and_operators_destroy(organisation: Organisation, sealed: bytes) -> None:
    for name, reader in organisation.people.items():
        if name != "compliance":
            async with tenant_session(reader) as session:
                with pytest.raises(KeysGuarded):
                    await destroy_keys(session)
    assert [wrapped is not None for _, _, wrapped in await list_keys(organisation)] == [True]


async def test_the_log_is_silent_for_a_rotation_alone(organisation: Organisation, sealed: bytes) -> None:
    """Setting what a rotation sets hides nothing: only while the function runs is there the mark beside it."""
    person = organisation.client_a.user_id
    renamed = update(User).where(User.id == person).values(full_name="Somebody Else")
    async with tenant_session(organisation.system) as session:
        table = await session.scalar(text("SELECT 'identity.users'::regclass::oid::text"))
        await session.execute(
            text("SELECT platform.reencrypt_fields('identity.users', 'phone_number', '{}', '{}', '{}')")
        )
        await session.execute(select(func.set_config("app.reencrypting", table, True)))
        await session.execute(renamed)
    async with tenant_session(organisation.system) as session:
        changed = select(func.count()).where(AuditLog.entity_id == person, AuditLog.action == "user_updated")
        assert await session.scalar(changed) == 2  # the number, then the name


@pytest.mark.parametrize(
    ("table", "column", "before", "after"),
    [
        ("identity.users", "full_name", b"x", b"x"),
        ("identity.users", "email; DROP TABLE x", b"x", b"x"),
        ("governance.audit_heads", "hash", b"x", b"x"),
        ("no.table", "phone_number", b"x", b"x"),
        ("identity.users", "phone_number", None, b"plain"),
        ("identity.users", "phone_number", None, b"\x01\0\0\0\x07" + bytes(40)),
        ("identity.users", "phone_number", b"plain", None),
    ],
)
async def test_only_ciphertexts_of_the_newest_key_replace_ciphertexts(  # noqa: PLR0917  # pytest gives them by name
    organisation: Organisation, sealed: bytes, table: str, column: str, before: bytes | None, after: bytes | None
) -> None:
    call = text("SELECT platform.reencrypt_fields(:table, :column, CAST(:ids AS uuid[]), :before, :after)")
    values = {
        "table": table, "column": column, "ids": [organisation.client_a.user_id], "before": [before or sealed],
        "after": [after or sealed],
    }  # fmt: skip
    async with tenant_session(organisation.system) as session:
        with pytest.raises(DBAPIError, match="can not be encrypted anew so"):
            await session.execute(call, values)
        await session.rollback()


async def test_a_deleted_tenant_takes_its_keys_along(organisation: Organisation, sealed: bytes) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM platform.tenants WHERE id = :id"), {"id": organisation.tenant_id})
    keys.forget_keys(organisation.tenant_id)
    assert await list_keys(organisation) == []
