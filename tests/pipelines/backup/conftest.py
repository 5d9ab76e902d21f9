"""One store and one backup of it for all of these tests."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from pipelines.backup.manifest import Manifest
from pipelines.backup.write import back_up
from tests.factories.backups import BackupWorld, new_database, open_backup_world
from tests.factories.object_server import s3_settings

__all__ = ["s3_settings"]


@pytest.fixture(scope="package")
async def world(store: Settings) -> AsyncIterator[BackupWorld]:
    """The store that is backed up; nothing here changes it but what is remembered of backups."""
    with tempfile.TemporaryDirectory(prefix="regenesis-backups-") as folder:
        async with open_backup_world(store, Path(folder)) as opened:
            yield opened


@pytest.fixture(scope="package")
async def made(world: BackupWorld) -> Manifest:
    """Its backup, with copies of the objects."""
    return await back_up(world.settings, with_objects=True)


@pytest.fixture
def target(world: BackupWorld) -> Iterator[str]:
    """An operator's URL of an empty database."""
    with new_database(world.settings) as url:
        yield url
