"""The drill: the newest backup restored into a fresh server, compared, checked, asked a question, taken away again."""

import asyncio
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy.engine import URL

from core.errors import AppError
from core.logging import get_logger
from core.settings import Settings, ensure_home
from db import migrate
from db.embedded import remove_embedded, start_embedded
from db.locate import owner_url
from db.provision import provision
from db.session import sessions_in
from pipelines.backup import history
from pipelines.backup.invariants import find_broken
from pipelines.backup.load import Phases, Source, compare_rows, load
from pipelines.backup.objects import ObjectsCheck, check_objects
from pipelines.backup.question import Answered, ask_someone
from pipelines.backup.restore import open_source
from pipelines.backup.target import check_fits
from pipelines.backup.workers import Told, tell_nobody, translating

if TYPE_CHECKING:
    from rag.embedding.protocol import Embedder

DATABASE: Final = "regenesis_drill"
PREFIX: Final = "drill-"
NOTE: Final = "owner.json"

_log = get_logger("backup")


@dataclass(slots=True)
class DrillReport:
    """How a drill went; the recovery point is the age of the backup's snapshot when the drill began, in seconds.

    `recovery_seconds` is what a restore would take: all phases but the server's start and the question.
    """

    backup_id: str
    started_at: datetime
    finished_at: datetime
    snapshot_at: datetime
    newest_row_at: datetime | None
    recovery_point_seconds: float
    recovery_seconds: float
    rows: int
    tables: int
    size: int
    phases: dict[str, float] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    objects: ObjectsCheck = field(default_factory=ObjectsCheck)
    answered: Answered | None = None

    @property
    def passed(self) -> bool:
        """Whether everything was as it should be."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**asdict(self), "passed": self.passed}


async def drill(
    settings: Settings, backup_id: str | None = None, *, address: str | None = None,
    embedder: "Embedder | None" = None, told: Told = tell_nobody,
) -> DrillReport:  # fmt: skip
    """Restore the backup (None: the newest) into a server made for it, prove it, and remember how it went.

    The store in use is only told of the outcome. Nothing is erased again there, as that would reach the real objects.
    Raises what reading the backup raises; what differs is in the report.
    """
    source = await open_source(settings, backup_id, address)
    phases = Phases(told=told)
    async with _fresh_server(settings, phases) as (url, aimed):
        report = await _examine(aimed, source, url, phases, embedder)
    if settings.db.url is None and not (settings.postgres_folder / "PG_VERSION").exists():
        return report  # there is no store here, and remembering must not make one
    try:
        await history.note_drill(await asyncio.to_thread(owner_url, settings), report)
    except Exception as error:  # noqa: BLE001  # a drill on a machine without the store is a drill all the same
        _log.warning("the drill is not remembered", reason=type(error).__name__)
    return report


async def _examine(
    settings: Settings, source: Source, url: URL, phases: Phases, embedder: "Embedder | None"
) -> DrillReport:
    manifest, told, connections = source.manifest, phases.told, settings.backup.connections
    started = datetime.now(UTC)
    differences: list[str] = []
    objects, answered = ObjectsCheck(), None
    try:
        with translating():
            await asyncio.to_thread(check_fits, url, manifest)
        await load(source, url, phases, connections=connections)
        with phases.phase("checksums"):
            differences += await compare_rows(url, manifest, told, connections=connections)
        with phases.phase("migrations"), translating():
            await asyncio.to_thread(lambda: migrate.upgrade(url, even_closed=True))
            differences += await asyncio.to_thread(_compare_models, url)
        async with sessions_in(url, settings):
            with phases.phase("invariants"):
                differences += await find_broken(settings, told)
            with phases.phase("objects"):
                objects = await check_objects(settings, source.store, manifest, source.sealer)
            recovered = round(sum(took for name, took in phases.seconds.items() if name != "server"), 2)
            with phases.phase("question"):
                answered = await ask_someone(settings, url, embedder)
            if answered is not None and not answered.citations:
                differences.append(
                    f"A question to a restored transcript was answered without a citation: {answered.why}."
                )
    except AppError as error:
        differences.append(error.message)
        recovered = round(sum(took for name, took in phases.seconds.items() if name != "server"), 2)
    return DrillReport(
        manifest.id, started, datetime.now(UTC), manifest.snapshot_at, manifest.newest_row_at,
        round((started - manifest.snapshot_at).total_seconds(), 1), recovered, manifest.rows, len(manifest.tables),
        manifest.size, phases.seconds, differences, objects, answered,
    )  # fmt: skip


def _compare_models(url: URL) -> list[str]:
    try:
        migrate.check(url)
    except CommandError as error:
        return [f"The tables are not what the models say ({error})."]
    return []


@asynccontextmanager
async def _fresh_server(settings: Settings, phases: Phases) -> AsyncIterator[tuple[URL, Settings]]:
    """Yield an empty database of a server made for it, which is gone afterwards; drills that were killed go first."""
    ensure_home(settings)
    above = settings.postgres_folder.parent
    await asyncio.to_thread(remove_left_over, above)
    folder = above / f"{PREFIX}{secrets.token_hex(4)}"

    def start() -> URL:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        (folder / NOTE).write_text(json.dumps({"pid": os.getpid(), "created": psutil.Process().create_time()}))
        return provision(start_embedded(folder / "postgres"), DATABASE)

    try:
        with phases.phase("server"):
            url = await asyncio.to_thread(start)
        secret = SecretStr(url.render_as_string(hide_password=False))
        named = settings.db.model_copy(update={"url": secret, "owner_url": secret, "statement_timeout_s": 3600})
        yield url, settings.model_copy(update={"db": named})
    finally:
        await asyncio.shield(asyncio.to_thread(_remove, folder))


def remove_left_over(above: Path) -> int:
    """Stop and remove the servers of drills whose process is gone; return how many there were."""
    removed = 0
    for folder in above.glob(f"{PREFIX}*"):
        try:
            note = json.loads((folder / NOTE).read_text())
            alive = psutil.Process(note["pid"]).create_time() == note["created"]
        except (OSError, ValueError, KeyError, psutil.Error):
            alive = False
        if not alive:
            _remove(folder)
            removed += 1
    return removed


def _remove(folder: Path) -> None:
    remove_embedded(folder / "postgres")
    shutil.rmtree(folder, ignore_errors=True)
