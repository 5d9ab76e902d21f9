"""A restore or a drill that is killed at a chosen point, run as a process of its own."""

import asyncio
from typing import Any

from core.settings import Settings
from pipelines.backup import drill, load, restore, seal
from tests.faults.killed_ingest import die_after

POINTS: dict[str, tuple[Any, str, int]] = {
    "emptied": (load, "empty", 1),
    "tables": (load, "run_tool", 1),
    "half of the rows": (seal.Sealer, "open", 60),
    "rows": (load, "_copy_rows", 1),
    "indexes": (load, "run_tool", 2),
    "loaded": (load, "reach", 1),
    "compared": (restore, "compare_rows", 1),
    "proved": (restore, "reach", 1),
    "migrated": (restore, "find_broken", 1),
    "erased again": (restore, "erase_again", 1),
    "drill": (drill, "load", 1),
}
"""Where to die: right after the n-th call of this function."""


def main(backup_id: str, into: str, given: str, point: str) -> None:
    """Restore the backup, or drill it."""
    die_after(*POINTS[point])
    settings = Settings.model_validate_json(given)
    if point == "drill":
        asyncio.run(drill.drill(settings, backup_id))
    else:
        asyncio.run(restore.restore(settings, backup_id, into=into))
