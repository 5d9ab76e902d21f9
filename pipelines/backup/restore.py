"""Restoring a backup: the rows, the proof that they are all there, what was erased since, and only then the door."""

import asyncio
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from sqlalchemy.engine import URL

from core.crypto import load_master_key
from core.errors import Conflict
from core.settings import Settings
from core.storage import open_store
from db import migrate
from db.closing import hold_alone
from db.locate import owner_url
from db.session import sessions_in
from pipelines.backup import history
from pipelines.backup.erasures import erase_again
from pipelines.backup.invariants import find_broken
from pipelines.backup.load import Phases, Source, compare_rows, load, prove_parts
from pipelines.backup.manifest import check_parts, find_newest, read_manifest
from pipelines.backup.objects import ObjectsCheck, check_objects
from pipelines.backup.target import (
    DatabaseNotEmpty,
    NothingToFinish,
    check_fits,
    find_unfinished,
    is_empty,
    open_to_all,
    reach,
)
from pipelines.backup.workers import Told, tell_nobody, translating

if TYPE_CHECKING:
    from rag.embedding.protocol import Embedder


class RestoreDiffers(Conflict):
    """What was restored is not what the backup says; the store stays closed: restore another backup."""


class RestoreRuns(Conflict):
    """Another restore of this database is running; wait for its end, or stop it first."""


@dataclass(slots=True)
class RestoreReport:
    """What was restored, how long each phase took in seconds, and how the objects compare; `erased` are receipts."""

    backup_id: str
    snapshot_at: datetime
    rows: int
    database: str
    revision_before: str
    revision: str
    erased: int
    objects: ObjectsCheck
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


def aim(settings: Settings, into: str | None) -> Settings:
    """Return the settings with the database of another URL, an operator's; its objects stay where they are."""
    if into is None:
        return settings
    secret = SecretStr(into)
    return settings.model_copy(update={"db": settings.db.model_copy(update={"url": secret, "owner_url": secret})})


async def open_source(settings: Settings, backup_id: str | None, address: str | None) -> Source:
    """Return the backup, the newest unless named, once it is certain that all its parts are there."""
    store = open_store(address or settings.backup_url, settings.storage)
    manifest, sealer = await read_manifest(store, backup_id or await find_newest(store), load_master_key(settings))
    await check_parts(store, manifest)
    return Source(store, manifest, sealer)


async def restore(
    settings: Settings, backup_id: str | None, *, address: str | None = None, into: str | None = None,
    replace: bool = False, finish: bool = False, embedder: "Embedder | None" = None, told: Told = tell_nobody,
) -> RestoreReport:  # fmt: skip
    """Restore the backup (None: the newest) into the database of the settings or of `into`; open it once proved.

    The database is closed from its first table on; where this is interrupted it stays so, and the same call, or one
    with `finish`, goes on. Raises `DatabaseNotEmpty`, `RestoreDiffers`, `BackupCut`, `BackupDamaged`, `BackupKeyWrong`.
    """
    aimed = aim(settings, into)
    url = await asyncio.to_thread(owner_url, aimed)
    with translating(), hold_alone(url) as alone:
        if not alone:
            raise RestoreRuns
        return await _restore(
            aimed, url, backup_id, address=address, replace=replace, finish=finish, embedder=embedder, told=told
        )


async def _restore(
    aimed: Settings, url: URL, backup_id: str | None, *, address: str | None, replace: bool, finish: bool,
    embedder: "Embedder | None", told: Told,
) -> RestoreReport:  # fmt: skip
    with translating():
        unfinished = await asyncio.to_thread(find_unfinished, url)
    if finish and unfinished is None:
        raise NothingToFinish
    source = await open_source(aimed, unfinished.backup_id if finish and unfinished else backup_id, address)
    manifest, phases, started = source.manifest, Phases(told=told), datetime.now(UTC)
    stage = unfinished.stage if unfinished is not None and unfinished.backup_id == manifest.id else "loading"
    with translating():
        await asyncio.to_thread(check_fits, url, manifest)
        if unfinished is None and not await asyncio.to_thread(is_empty, url):
            if not replace:
                raise DatabaseNotEmpty(
                    f"The database {url.database} holds a store already; give another one with --into, "
                    "or replace it with --replace."
                )
            with phases.phase("backup"):
                await prove_parts(source, told)
    if stage == "loading":
        await load(source, url, phases, connections=aimed.backup.connections)
    if stage != "proved":
        with phases.phase("checksums"):
            refuse(await compare_rows(url, manifest, told, connections=aimed.backup.connections))
        # From here on the rows may differ from the backup, so they are not compared again.
        await asyncio.to_thread(reach, url, manifest.id, "proved")
    report = await _finish(aimed, source, url, phases, embedder)
    report.seconds, report.phases = round((datetime.now(UTC) - started).total_seconds(), 2), phases.seconds
    return report


async def _finish(
    settings: Settings, source: Source, url: URL, phases: Phases, embedder: "Embedder | None"
) -> RestoreReport:
    """Migrate, prove what must hold, put missing objects back, erase again, and open the store."""
    manifest, told = source.manifest, phases.told
    with phases.phase("migrations"):
        await asyncio.to_thread(lambda: migrate.upgrade(url, even_closed=True))
    async with sessions_in(url, settings):
        with phases.phase("invariants"):
            refuse(await find_broken(settings, told))
        with phases.phase("objects"):
            objects = await check_objects(settings, source.store, manifest, source.sealer, write=True)
        with phases.phase("erasures"):
            erased = await erase_again(settings, manifest.snapshot_at, embedder)
    await history.note_backup(url, manifest, source.store.url)
    await asyncio.to_thread(open_to_all, url)
    _, head = await asyncio.to_thread(migrate.current_and_head, url)
    return RestoreReport(
        manifest.id, manifest.snapshot_at, manifest.rows, url.database or "", manifest.revision, head or "", erased,
        objects, 0.0,
    )  # fmt: skip


def refuse(wrong: list[str]) -> None:
    """Raise `RestoreDiffers` where anything is wrong."""
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise RestoreDiffers(
            f"What was restored is not what it should be ({' '.join(wrong[:5])}{more}), and the store stays closed; "
            "restore another backup."
        )
