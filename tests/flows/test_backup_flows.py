"""The nightly backup and the weekly drill, through a real Prefect server."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from core.settings import Settings
from flows.back_up import back_up
from flows.drill_backup import drill_backup
from tests.factories.backups import BackupWorld, open_backup_world

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
async def world(store: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BackupWorld]:
    with tempfile.TemporaryDirectory(prefix="regenesis-backups-") as folder:
        async with open_backup_world(store, Path(folder)) as opened:
            for module in ("back_up", "drill_backup"):
                monkeypatch.setattr(f"flows.{module}.get_settings", lambda: opened.settings)
            yield opened


async def _read_page(key: str) -> Any:
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return found[-1].data


async def test_backup_and_drill_leave_a_page(world: BackupWorld) -> None:
    made = await back_up()
    assert made["rows"] > 200
    assert made["id"] in str(await _read_page("backup"))
    outcome = await drill_backup()
    assert outcome["backup_id"] == made["id"]
    page = await _read_page("backup-drill")
    assert "**Passed.**" in page
    assert "recovery time, s" in page
