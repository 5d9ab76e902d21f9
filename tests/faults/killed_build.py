"""A build of evidence that is killed at a chosen point, run as a process of its own by test_killed_build.py."""

import asyncio
from typing import Any
from uuid import UUID

from pipelines.evidence import build, rederive, store, store_patterns
from tests.faults.killed_ingest import die_after

POINTS: dict[str, tuple[Any, str, int]] = {
    "read": (build, "load_session", 2),
    "half of a session": (store, "insert_rows", 5),
    "session written": (build, "write_extraction", 2),
    "statuses": (build, "write_statuses", 1),
    "half of the patterns": (store_patterns, "insert_rows", 1),
    "patterns": (build, "write_patterns", 1),
    "drafts": (build, "draft_insights", 1),
}
"""Where to die: right after the n-th call of this function."""


def main(tenant: str, point: str) -> None:
    """Build what is missing."""
    die_after(*POINTS[point])
    asyncio.run(rederive.rederive_stale(UUID(tenant)))
