"""A backup comes back as it was: every row, guard, partition and sealed field; anything less is refused."""

import asyncio
import base64
import re
import secrets
import shutil
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url

from core.crypto import load_master_key
from core.settings import Settings, StorageSettings
from core.storage import open_store
from db import migrate
from db.base import SCHEMAS
from db.closing import StoreClosed, find_closed
from db.session import app_engine, close_store, sessions_in, tenant_session
from domain.keys import field_cipher
from domain.messages import get_message, open_message
from pipelines.backup.history import read_last
from pipelines.backup.load import compare_rows
from pipelines.backup.manifest import (
    MANIFEST,
    BackupCut,
    BackupNewer,
    BackupNotFound,
    Manifest,
    list_backups,
    read_manifest,
)
from pipelines.backup.restore import RestoreReport, RestoreRuns, restore
from pipelines.backup.seal import BackupDamaged, BackupKeyWrong
from pipelines.backup.target import DatabaseNotEmpty, NothingToFinish
from pipelines.backup.workers import tell_nobody
from pipelines.backup.write import SameStore, back_up
from tests.db.test_migrations import CATALOGUE
from tests.factories.backups import OBJECTS, SECRET, BackupWorld, new_database
from tests.factories.people import Organisation

pytestmark = pytest.mark.whole_store


@pytest.fixture
def copied(world: BackupWorld, made: Manifest, tmp_path: Path) -> str:
    """The address of a copy of the backup, to be damaged."""
    shutil.copytree(to_path(world.settings.backup_url), tmp_path / "backups")
    return (tmp_path / "backups").as_uri()


def to_path(url: str) -> Path:
    return Path(urlsplit(url).path)


def catalogue(url: str) -> list[tuple[str, ...]]:
    """Everything but rows, without the casts that PostgreSQL writes otherwise each time it reads a condition."""
    with psycopg.connect(url) as connection:
        found = connection.execute(CATALOGUE, {"schemas": list(SCHEMAS), "names": list(SCHEMAS)}).fetchall()
    casts = re.compile(r"::(text|character varying|date|timestamp with(out)? time zone)(\[\])?|[()]")
    # the copies of a key that PostgreSQL keeps for each partition of its target are numbered as it goes
    numbered = re.compile(r"constraint fk_\w+_\d+$")
    return [tuple(casts.sub("", value or "") for value in row) for row in found if not numbered.match(row[0])]


def changed(settings: Settings, url: str) -> Settings:
    """The settings of whoever serves this database."""
    secret = SecretStr(url)
    return settings.model_copy(update={"db": settings.db.model_copy(update={"url": secret, "owner_url": secret})})


async def count_rows(organisation: Organisation, table: str) -> int:
    async with tenant_session(organisation.system) as session:
        return int(await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


async def test_everything_comes_back(world: BackupWorld, made: Manifest, target: str) -> None:
    for key in OBJECTS:
        if key.endswith(".vtt"):
            await open_store(world.settings.storage_url, world.settings.storage).delete(key)
    report = await restore(world.settings, made.id, into=target)
    assert report.rows == made.rows > 200
    assert (report.objects.same, report.objects.written, report.objects.gone) == (1, 1, 0)
    assert report.objects.changed == 0
    objects = open_store(world.settings.storage_url, world.settings.storage)
    assert await objects.read("tenants/a/originals/1.vtt", max_bytes=100) == b"WEBVTT"
    source = world.url.render_as_string(hide_password=False).replace("+psycopg", "")
    assert catalogue(target) == catalogue(source), "tables, keys, indexes, policies, functions, triggers, owners"
    async with sessions_in(make_url(target).set(drivername="postgresql+psycopg"), world.settings):
        assert await count_rows(world.first, "rag.chunk_embeddings") > 0
        assert await count_rows(world.first, "governance.audit_logs") > 0
        assert await count_rows(world.second, "accounting.ledger_entries") > 0
        assert await count_rows(world.second, "evidence.quotes") > 0
        async with tenant_session(world.first.client_a) as session:
            message = await get_message(session, world.message_id)
            assert open_message(await field_cipher(session), message).content == SECRET
        remembered = await read_last()
        assert remembered.last_good == made.snapshot_at
    assert find_closed(make_url(target).set(drivername="postgresql+psycopg")) is None


async def test_a_store_is_replaced_only_when_asked(world: BackupWorld, made: Manifest, target: str) -> None:
    await restore(world.settings, made.id, into=target)
    url = make_url(target).set(drivername="postgresql+psycopg")
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE platform.tenants SET name = 'Altered'")
        with pytest.raises(DatabaseNotEmpty, match="holds a store already"):
            await restore(world.settings, made.id, into=target)
        assert find_closed(url) is None
        # two rows that exchange their values
        connection.execute(
            "UPDATE identity.users u SET full_name = o.full_name FROM identity.users o WHERE u.tenant_id = o.tenant_id "
            "AND (u.full_name, o.full_name) IN (('client_a', 'client_b'), ('client_b', 'client_a'))"
        )
        differing = await compare_rows(url, made, tell_nobody, connections=2)
        assert "identity.users has the 18 rows it should, but not with the same content." in differing
        assert "platform.tenants has the 2 rows it should, but not with the same content." in differing
    with pytest.raises(NothingToFinish):
        await restore(world.settings, None, into=target, finish=True)
    await restore(world.settings, made.id, into=target, replace=True)
    # what is remembered of the backup itself came with the restore
    assert await compare_rows(url, made, tell_nobody, connections=2) == ["platform.backups has 1 rows instead of 0."]


async def test_two_at_once_are_one(world: BackupWorld, made: Manifest, target: str) -> None:
    both = await asyncio.gather(
        *(restore(world.settings, made.id, into=target) for _ in range(2)), return_exceptions=True
    )
    assert {type(one) for one in both} == {RestoreReport, RestoreRuns}, both
    assert find_closed(make_url(target).set(drivername="postgresql+psycopg")) is None


async def test_a_flipped_byte_is_found_and_the_store_stays_closed(
    world: BackupWorld, made: Manifest, copied: str, target: str
) -> None:
    largest = max((part for table in made.tables for part in table.slices), key=lambda part: part.size)
    path = to_path(copied) / made.id / largest.keys()[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackupDamaged, match=f"The part {largest.keys()[0]} of the backup {made.id} was altered"):
        await restore(world.settings, made.id, address=copied, into=target)
    app = changed(world.settings, target)
    await close_store()
    try:
        app_engine(app)
        with pytest.raises(StoreClosed):
            async with tenant_session(world.first.system):
                pass
    finally:
        await close_store()
    with pytest.raises(StoreClosed):
        migrate.upgrade(make_url(target).set(drivername="postgresql+psycopg"))
    with pytest.raises(StoreClosed):
        await back_up(app)
    # A sound backup ends it; nothing is asked again, as nothing there was ever in use.
    await restore(world.settings, made.id, into=target)
    assert find_closed(make_url(target).set(drivername="postgresql+psycopg")) is None


async def test_a_damaged_backup_does_not_replace_a_sound_store(
    world: BackupWorld, made: Manifest, copied: str, target: str
) -> None:
    await restore(world.settings, made.id, into=target)
    path = to_path(copied) / made.id / made.schema.keys()[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(BackupDamaged):
        await restore(world.settings, made.id, address=copied, into=target, replace=True)
    assert find_closed(make_url(target).set(drivername="postgresql+psycopg")) is None
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT count(*) FROM platform.tenants").fetchone() == (2,)


@pytest.mark.parametrize("damage", ["part gone", "part cut", "manifest gone", "manifest altered", "parts exchanged"])
async def test_a_cut_backup_is_refused_before_anything_is_touched(
    world: BackupWorld, made: Manifest, copied: str, target: str, damage: str
) -> None:
    folder = to_path(copied) / made.id
    part = folder / made.tables[-1].slices[-1].keys()[0]
    manifest = folder / MANIFEST
    match damage:
        case "part gone":
            part.unlink()
        case "part cut":
            part.write_bytes(part.read_bytes()[:-1])
        case "manifest gone":
            manifest.unlink()
        case "manifest altered":
            manifest.write_bytes(manifest.read_bytes().replace(b'"sealed": "', b'"sealed": "AAAA'))
        case _:
            parts = [p for t in made.tables for p in t.slices]
            size, _ = Counter(p.size for p in parts).most_common(1)[0]
            first, second = [folder / p.keys()[0] for p in parts if p.size == size][:2]
            first.write_bytes(second.read_bytes())
    expected = {"part gone": BackupCut, "part cut": BackupCut, "manifest gone": BackupNotFound}.get(
        damage, BackupDamaged
    )
    with pytest.raises(expected):
        await restore(world.settings, made.id, address=copied, into=target)
    if damage != "parts exchanged":
        assert find_closed(make_url(target).set(drivername="postgresql+psycopg")) is None


async def test_another_master_key_is_one_sentence(world: BackupWorld, made: Manifest, target: str) -> None:
    other = SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
    crypto = world.settings.crypto.model_copy(update={"master_key": other})
    right = load_master_key(world.settings).id
    with pytest.raises(BackupKeyWrong, match=f"was sealed under the master key {right}"):
        await restore(world.settings.model_copy(update={"crypto": crypto}), made.id, into=target)


async def test_a_backup_of_a_newer_version_is_refused(
    world: BackupWorld, made: Manifest, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_newer(*given: object) -> object:
        manifest, sealer = await read_manifest(*given)  # type: ignore[arg-type]  # passed on
        object.__setattr__(manifest, "revision", "9999")
        return manifest, sealer

    monkeypatch.setattr("pipelines.backup.restore.read_manifest", read_newer)
    with pytest.raises(BackupNewer, match="at revision 9999"):
        await restore(world.settings, made.id, into=target)


async def test_unknown_names_are_answered_with_the_known(world: BackupWorld, made: Manifest, target: str) -> None:
    with pytest.raises(BackupNotFound, match=made.id):
        await restore(world.settings, "20200101T000000Z-000000", into=target)


async def test_no_backup_holds_the_keyring_or_anything_readable(world: BackupWorld, made: Manifest) -> None:
    assert made.objects == len(OBJECTS) - 1
    folder = to_path(world.settings.backup_url)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > len(made.tables)
    for path in files:
        content = path.read_bytes()
        assert b"rota" not in content
        assert b"never" not in content
        assert b"originals" not in content, "names of objects may tell of people"


async def test_many_connections_do_not_wait_for_each_other(world: BackupWorld, tmp_path: Path) -> None:
    many = world.settings.model_copy(update={"backup": world.settings.backup.model_copy(update={"connections": 16})})
    manifest = await asyncio.wait_for(back_up(many, to=tmp_path.as_uri()), 300)
    with new_database(world.settings) as target:
        report = await asyncio.wait_for(restore(many, None, address=tmp_path.as_uri(), into=target), 300)
    assert report.rows == manifest.rows


async def test_backups_do_not_lie_among_objects(world: BackupWorld) -> None:
    with pytest.raises(SameStore):
        await back_up(world.settings, to=f"{world.settings.storage_url}/backups")


@pytest.fixture
def in_s3(world: BackupWorld, s3_settings: StorageSettings) -> Settings:
    return world.settings.model_copy(
        update={
            "storage": s3_settings.model_copy(update={"url": "s3://material/objects"}),
            "backup": world.settings.backup.model_copy(update={"url": "s3://material/backups"}),
        }
    )


async def test_backups_live_in_s3_too(world: BackupWorld, in_s3: Settings) -> None:
    await open_store(in_s3.storage_url, in_s3.storage).write("tenants/a/1.bin", b"x" * 100)
    manifest = await back_up(in_s3, with_objects=True)
    assert await list_backups(open_store(in_s3.backup_url, in_s3.storage)) == [manifest.id]
    with new_database(world.settings) as target:
        report = await restore(in_s3, None, into=target)
    assert report.rows == manifest.rows
    assert report.objects.same == 1
