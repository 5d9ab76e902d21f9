"""Keys change while everybody writes: every value opens afterwards, none is lost, and the log says it once."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from core.crypto import DataKeyDestroyed
from core.settings import get_settings
from core.storage import open_store
from db.holds import hold
from db.models import AuditLog, EncryptionKey, User
from db.session import Principal, tenant_session
from domain import keys, rotation
from domain.keys import add_key_version, field_cipher
from domain.objects import tenant_store
from domain.rotation import RotationRunning, count_fields, rotate_keys
from domain.rotation_objects import count_objects
from tests.factories.people import Organisation

PLACE = {"table": "identity.users", "column": "phone_number"}


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    for kept in (keys._kept, keys._ciphers, keys._fresh):
        kept.clear()


async def write_phone(organisation: Organisation, user_id: UUID, number: str) -> None:
    async with tenant_session(organisation.system) as session:
        sealed = (await field_cipher(session)).encrypt(number, row_id=user_id, **PLACE)
        await session.execute(update(User).where(User.id == user_id).values(phone_number=sealed))


async def read_phones(organisation: Organisation) -> dict[UUID, str]:
    async with tenant_session(organisation.system) as session:
        cipher = await field_cipher(session)
        rows = (await session.execute(select(User.id, User.phone_number).where(User.phone_number.is_not(None)))).all()
        return {row.id: cipher.decrypt(row.phone_number, row_id=row.id, **PLACE) for row in rows}


async def add_people(organisation: Organisation, many: int) -> list[UUID]:
    ids = [uuid4() for _ in range(many)]
    async with tenant_session(organisation.system) as session:
        cipher = await field_cipher(session)
        session.add_all(
            User(
                tenant_id=organisation.tenant_id, id=one, email=f"{one}@people.example", full_name="Some One",
                role="client", phone_number=cipher.encrypt(f"number of {one}", row_id=one, **PLACE),
            )
            for one in ids
        )  # fmt: skip
    return ids


async def list_log(organisation: Organisation) -> dict[str, int]:
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(select(AuditLog.action, func.count()).group_by(AuditLog.action))
        return dict(rows.tuples().all())


async def list_versions(organisation: Organisation, purpose: str) -> list[tuple[int, bool, bool]]:
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(
            select(EncryptionKey.version, EncryptionKey.retired_at, EncryptionKey.destroyed_at)
            .where(EncryptionKey.purpose == purpose)
            .order_by(EncryptionKey.version)
        )
        return [(row.version, row.retired_at is not None, row.destroyed_at is not None) for row in rows]


async def test_every_value_is_encrypted_anew_and_the_log_says_it_once(organisation: Organisation) -> None:
    ids = await add_people(organisation, 60)
    before, log = await read_phones(organisation), await list_log(organisation)
    seen: list[tuple[str, int, int]] = []
    fields, files = await rotate_keys(organisation.tenant_id, on_progress=lambda *told: seen.append(told))
    assert (fields.version, fields.renewed, fields.unreadable, fields.left, fields.retired) == (2, 60, 0, 0, 1)
    assert files.version is None
    assert seen[-1] == ("identity.users.phone_number", 60, 60)
    assert await read_phones(organisation) == before
    assert set(before) == set(ids)
    async with tenant_session(organisation.system) as session:
        assert await count_fields(session) == {("identity.users.phone_number", 2): 60}
        said = await session.scalar(select(AuditLog.metadata_).where(AuditLog.action == "values_reencrypted"))
    assert said is not None
    assert (said["renewed"], said["renewed_by_all_runs"], said["by_column"]) == (
        60, 60, {"identity.users.phone_number": 60},
    )  # fmt: skip
    after = await list_log(organisation)
    new = {action: many - log.get(action, 0) for action, many in after.items() if many != log.get(action, 0)}
    assert new == {
        "encryption_key_created": 1, "encryption_key_updated": 1, "key_rotation_started": 1, "values_reencrypted": 1,
    }  # fmt: skip
    assert await list_versions(organisation, "fields") == [(1, True, False), (2, False, False)]


async def test_writers_and_readers_go_on_meanwhile(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "PAGE", 7)
    ids = await add_people(organisation, 100)
    latest = await read_phones(organisation)
    is_done = asyncio.Event()

    async def write(start: int) -> int:
        turn = 0
        while not is_done.is_set():
            one = ids[(start + turn * 7) % len(ids)]
            if hash(one) % 4 == start:  # each person has one writer, so that the latest value is known
                latest[one] = f"{one} called {turn}"
                await write_phone(organisation, one, latest[one])
            turn += 1
            await asyncio.sleep(0)
        return turn

    async def read() -> int:
        turn = 0
        while not is_done.is_set():
            assert len(await read_phones(organisation)) == len(ids)
            turn += 1
        return turn

    others = [asyncio.create_task(work) for work in (*(write(start) for start in range(4)), read())]
    await asyncio.sleep(0.2)
    for version in (2, 3):
        fields, _ = await rotate_keys(organisation.tenant_id)
        assert (fields.version, fields.left, fields.unreadable, fields.retired) == (version, 0, 0, 1)
    is_done.set()
    turns = await asyncio.gather(*others)
    assert min(turns) > 0
    assert await read_phones(organisation) == latest
    async with tenant_session(organisation.system) as session:
        assert {version for _, version in await count_fields(session)} == {3}


async def test_a_killed_rotation_is_ended_and_not_begun_anew(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_people(organisation, 30)
    monkeypatch.setattr(rotation, "PAGE", 10)

    def die(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await rotate_keys(organisation.tenant_id, on_progress=die)
    async with tenant_session(organisation.system) as session:
        counts = await count_fields(session)
    assert sorted(counts.values()) == [10, 20]
    fields, _ = await rotate_keys(organisation.tenant_id)
    assert (fields.version, fields.is_new, fields.renewed, fields.retired) == (2, False, 20, 1)
    async with tenant_session(organisation.system) as session:
        events = await session.scalars(select(AuditLog.metadata_).where(AuditLog.action == "values_reencrypted"))
        assert [said["renewed_by_all_runs"] for said in events if said] == [30]
    fields, _ = await rotate_keys(organisation.tenant_id)
    assert (fields.version, fields.is_new, fields.renewed) == (3, True, 30)


async def test_a_value_that_does_not_open_keeps_its_key(organisation: Organisation) -> None:
    ids = await add_people(organisation, 5)
    async with tenant_session(organisation.system) as session:
        broken = User.phone_number.op("||")(b"x")
        await session.execute(update(User).where(User.id == ids[0]).values(phone_number=broken))
        await session.execute(update(User).where(User.id == ids[1]).values(phone_number=b"what is this"))
    fields, _ = await rotate_keys(organisation.tenant_id, destroys=True)
    assert (fields.renewed, fields.unreadable, fields.left, fields.retired, fields.destroyed) == (3, 2, 0, 0, 0)
    assert "2 unreadable" in fields.describe()


async def test_one_at_a_time(organisation: Organisation) -> None:
    await add_people(organisation, 5)
    async with hold(organisation.tenant_id, "rotate keys", busy=RotationRunning()):
        with pytest.raises(RotationRunning):
            await rotate_keys(organisation.tenant_id)
    assert (await rotate_keys(organisation.tenant_id))[0].version == 2


async def test_an_older_transaction_keeps_the_old_key(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, *_) = await add_people(organisation, 3)
    monkeypatch.setattr(rotation, "SETTLE_SECONDS", 0.3)
    async with tenant_session(organisation.client_a) as slow:
        cipher = await field_cipher(slow)
        fields, _ = await rotate_keys(organisation.tenant_id, destroys=True)
        assert (fields.is_settled, fields.retired, fields.destroyed) == (False, 0, 0)
        sealed = cipher.encrypt("late", row_id=one, **PLACE)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == one).values(phone_number=sealed))
    fields, _ = await rotate_keys(organisation.tenant_id, destroys=True)
    assert (fields.version, fields.renewed, fields.is_settled, fields.retired, fields.destroyed) == (2, 1, True, 1, 1)
    assert (await read_phones(organisation))[one] == "late"


async def test_a_new_version_is_used_at_once_by_processes_that_know_the_old(organisation: Organisation) -> None:
    await add_people(organisation, 1)
    kept = dict(keys._kept)
    async with tenant_session(organisation.system) as session:
        assert await add_key_version(session, "fields") == 2
    keys._kept.clear()
    keys._kept.update(kept)  # what another process still holds
    async with tenant_session(organisation.client_a) as session:
        assert (await field_cipher(session)).newest == 2


async def test_destroyed_versions_are_gone_and_values_open(organisation: Organisation) -> None:
    await add_people(organisation, 3)
    before = await read_phones(organisation)
    async with tenant_session(organisation.system) as session:
        old = await session.scalar(select(User.phone_number).where(User.phone_number.is_not(None)).limit(1))
        owner = await session.scalar(select(User.id).where(User.phone_number == old))
    assert old is not None
    assert owner is not None
    fields, _ = await rotate_keys(organisation.tenant_id, destroys=True)
    assert (fields.retired, fields.destroyed) == (1, 1)
    assert await read_phones(organisation) == before
    async with tenant_session(organisation.system) as session:
        with pytest.raises(DataKeyDestroyed):
            (await field_cipher(session)).decrypt(old, row_id=owner, **PLACE)


async def test_objects_are_encrypted_anew_while_they_are_written(organisation: Organisation) -> None:
    settings = get_settings()
    plain, store = open_store(settings.storage_url, settings.storage), await tenant_store(organisation.tenant_id)
    folder = f"tenants/{organisation.tenant_id}"
    for number in range(12):
        await (plain if number % 2 else store).write(f"{folder}/{number}", f"words {number}".encode())
    await plain.write(f"media/{organisation.tenant_id}/a.bin", bytes(3_000_000))
    assert await count_objects(organisation.tenant_id, settings) == {1: 6, None: 7}
    is_done = asyncio.Event()

    async def write() -> int:
        turn = 0
        while not is_done.is_set():
            turn += 1
            await store.write(f"{folder}/{turn % 6}", f"turn {turn}".encode())
            await store.write(f"{folder}/new-{turn}", b"new")
        return turn

    writing = asyncio.create_task(write())
    _, files = await rotate_keys(organisation.tenant_id, destroys=True)
    is_done.set()
    turns = await writing
    assert (files.version, files.left, files.unreadable, files.retired, files.destroyed) == (2, 0, 0, 1, 0)
    assert set(await count_objects(organisation.tenant_id, settings)) == {2}
    for number in range(6, 12):
        assert await store.read(f"{folder}/{number}", max_bytes=100) == f"words {number}".encode()
    for turn in range(max(1, turns - 5), turns + 1):
        assert await store.read(f"{folder}/{turn % 6}", max_bytes=100) == f"turn {turn}".encode()
        assert await store.read(f"{folder}/new-{turn}", max_bytes=100) == b"new"
    assert await store.read(f"media/{organisation.tenant_id}/a.bin", max_bytes=3_000_000) == bytes(3_000_000)


async def test_plain_objects_alone_get_their_first_key(organisation: Organisation) -> None:
    settings = get_settings()
    plain, key = open_store(settings.storage_url, settings.storage), f"tenants/{organisation.tenant_id}/a"
    await plain.write(key, b"words")
    fields, files = await rotate_keys(organisation.tenant_id)
    assert (fields.version, files.version, files.renewed, files.left) == (None, 1, 1, 0)
    assert await (await tenant_store(organisation.tenant_id)).read(key, max_bytes=10) == b"words"
    assert b"words" not in await plain.read(key, max_bytes=1000)


async def test_objects_keep_a_retired_key_for_a_day(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key = await tenant_store(organisation.tenant_id), f"tenants/{organisation.tenant_id}/a"
    await store.write(key, b"words")
    _, files = await rotate_keys(organisation.tenant_id, destroys=True)
    assert (files.retired, files.destroyed) == (1, 0)
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)
    assert await rotation.destroy_retired(organisation.tenant_id, "objects", get_settings()) == 1
    assert await store.read(key, max_bytes=10) == b"words"
    assert await list_versions(organisation, "objects") == [(1, True, True), (2, False, False)]


async def test_nothing_to_rotate_is_no_error(organisation: Organisation) -> None:
    done = await rotate_keys(organisation.tenant_id)
    assert [one.describe() for one in done] == [
        "fields: nothing is encrypted yet", "objects: nothing is encrypted yet",
    ]  # fmt: skip


async def test_only_the_pipelines_rotate(organisation: Organisation) -> None:
    await add_people(organisation, 1)
    reader: Principal
    for reader in organisation.people.values():
        async with tenant_session(reader) as session:
            with pytest.raises(Exception, match="only the pipelines"):
                await session.execute(text("SELECT * FROM platform.count_fields()"))
            await session.rollback()
