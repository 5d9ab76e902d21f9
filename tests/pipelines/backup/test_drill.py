"""A drill passes on a sound backup, names every difference, and leaves nothing behind, however it ends."""

import asyncio
import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from core.crypto import load_master_key
from core.storage import open_store
from db.session import sessions_in, unbound_session
from pipelines.backup import drill as drilling
from pipelines.backup.drill import PREFIX, drill, remove_left_over
from pipelines.backup.history import read_last
from pipelines.backup.load import compare_rows
from pipelines.backup.manifest import Manifest, read_manifest, write_manifest
from pipelines.backup.snapshot import connect
from rag.fakes import HashEmbedder
from tests.factories.backups import BackupWorld
from tests.factories.sessions import EMBEDDER
from tests.faults import killed_restore
from tests.faults.killing import run_and_die

pytestmark = pytest.mark.whole_store


def left_over(world: BackupWorld) -> list[Path]:
    return list(world.settings.postgres_folder.parent.glob(f"{PREFIX}*"))


async def test_a_sound_backup_passes_and_nothing_is_left(world: BackupWorld, made: Manifest) -> None:
    assert isinstance(EMBEDDER, HashEmbedder)
    heard: list[str] = []
    report = await drill(
        world.settings, made.id, embedder=EMBEDDER, told=lambda phase, _done, _all: heard.append(phase)
    )
    assert report.differences == []
    assert report.rows == made.rows
    assert report.answered is not None
    assert report.answered.citations > 0
    assert report.answered.tenant_id in {world.first.tenant_id, world.second.tenant_id}
    assert report.recovery_point_seconds > 0
    assert 0 < report.recovery_seconds < sum(report.phases.values())
    assert list(report.phases) == [
        "server", "tables", "rows", "indexes, keys and guards", "statistics", "checksums", "migrations", "invariants",
        "objects", "question",
    ]  # fmt: skip
    assert set(report.phases) <= set(heard)
    assert left_over(world) == []
    async with sessions_in(world.url, world.settings):
        last = await read_last()
        assert last.passed is True
        assert last.recovery_seconds == report.recovery_seconds
        async with unbound_session() as session:
            asked = await session.scalar(
                text("SELECT differences FROM platform.drills ORDER BY started_at DESC LIMIT 1")
            )
    assert asked == []


async def test_every_difference_is_named(world: BackupWorld, made: Manifest) -> None:
    """A backup that says other counts and sums than it holds stands for rows lost or altered on the way."""
    store = open_store(world.settings.backup_url, world.settings.storage)
    master_key = load_master_key(world.settings)
    manifest, sealer = await read_manifest(store, made.id, master_key)
    wrong: dict[str, dict[str, Any]] = {"platform.tenants": {"rows": 3}, "commerce.transactions": {"checksum": 12}}
    tables = [dataclasses.replace(table, **wrong.get(table.name, {})) for table in manifest.tables]
    head = json.loads(await store.read(f"{made.id}/manifest.json", max_bytes=1 << 30))
    try:
        await write_manifest(
            store, dataclasses.replace(manifest, tables=tables), sealer, head["master_key"],
            base64.b64decode(head["wrapped_key"]),
        )  # fmt: skip
        report = await drill(world.settings, made.id, embedder=EMBEDDER)
    finally:
        await store.write(f"{made.id}/manifest.json", json.dumps(head).encode())
    rows = next(table.rows for table in made.tables if table.name == "commerce.transactions")
    assert report.differences == [
        f"commerce.transactions has the {rows} rows it should, but not with the same content.",
        "platform.tenants has 2 rows instead of 3.",
    ]
    assert not report.passed
    async with sessions_in(world.url, world.settings):
        assert (await read_last()).passed is False


async def test_a_broken_invariant_fails_the_drill(
    world: BackupWorld, made: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compare_rows

    async def and_break(url: URL, *args: Any, **options: Any) -> list[str]:
        found = await real(url, *args, **options)
        with connect(url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("UPDATE accounting.ledger_entries SET amount = amount + 1 WHERE amount > 0")
        return found

    monkeypatch.setattr(drilling, "compare_rows", and_break)
    report = await drill(world.settings, made.id, embedder=EMBEDDER)
    assert not report.passed
    assert "is off by 1" in report.differences[0]


async def test_what_a_killed_drill_left_goes_with_the_next(world: BackupWorld, made: Manifest) -> None:
    above = world.settings.postgres_folder.parent
    await run_and_die(killed_restore.main, made.id, "", world.settings.model_dump_json(), "drill")
    (folder,) = left_over(world)
    running = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    assert psutil.pid_exists(running)
    assert await asyncio.to_thread(remove_left_over, above) == 1
    assert left_over(world) == []
    assert not psutil.pid_exists(running) or psutil.Process(running).status() == psutil.STATUS_ZOMBIE
