"""How long a backup of the measured world takes, how large it is, and how soon it is back: a drill, by phase."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.settings import Settings
from evaluation.bench_store import DATABASE, open_world
from evaluation.store_tables import World
from pipelines.backup.drill import DrillReport, drill
from pipelines.backup.write import back_up


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The measured backup, and the drill that proved it."""

    users: int
    rows: int
    tables: int
    size: int
    backup_seconds: float
    drill: DrillReport

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**asdict(self), "drill": self.drill.to_json()}


async def bench_backup(
    settings: Settings, world: World, *, keep: bool = False, told: Callable[[str], None] = lambda _: None
) -> BackupReport:
    """Build the world in a database of its own, back it up into a folder that goes away, and drill that backup."""
    settings = settings.model_copy(update={"db": settings.db.model_copy(update={"name": DATABASE})})
    with tempfile.TemporaryDirectory(prefix="regenesis-bench-backup-") as folder:
        async with open_world(settings, world, keep=keep, told=told):
            address = Path(folder).as_uri()
            told("backing up")
            made = await back_up(settings, to=address)
            report = await drill(settings, made.id, address=address, told=lambda phase, _done, _all: told(phase))
    took = (made.finished_at - made.started_at).total_seconds()
    return BackupReport(world.users, made.rows, len(made.tables), made.size, round(took, 2), report)
