"""Who was erased after a backup is not in the store that comes out of it."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from core.settings import Settings
from db.session import sessions_in
from pipelines.backup.restore import restore
from pipelines.backup.write import back_up
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.verify import verify_receipt
from tests.factories.backups import BackupWorld, new_database, open_backup_world
from tests.factories.erasure import verify_request
from tests.factories.sessions import EMBEDDER, require_id

pytestmark = pytest.mark.whole_store


@pytest.fixture
async def changing(store: Settings) -> AsyncIterator[BackupWorld]:
    """A store of its own, as an erasure changes it."""
    with tempfile.TemporaryDirectory(prefix="regenesis-backups-") as folder:
        async with open_backup_world(store, Path(folder)) as opened:
            yield opened


def count_sessions(url: str, world: BackupWorld) -> list[tuple[int]]:
    """How many turns there are of both organisations' first clients."""
    with psycopg.connect(url) as connection:
        return [
            connection.execute(
                "SELECT count(*)::int FROM rag.transcript_segments WHERE client_id = %s", [one.client_a.user_id]
            ).fetchone()
            or (0,)
            for one in (world.first, world.second)
        ]


async def test_an_erasure_since_the_backup_is_done_again(changing: BackupWorld) -> None:
    person = require_id(changing.first.client_a)
    before = await back_up(changing.settings, with_objects=True)
    async with sessions_in(changing.url, changing.settings):
        request = await verify_request(changing.first, "person", person)
        receipt = await erase_subject(changing.first.tenant_id, request, settings=changing.settings, embedder=EMBEDDER)
    with new_database(changing.settings) as target:
        report = await restore(changing.settings, before.id, into=target, embedder=EMBEDDER)
        assert report.erased == 1
        (first,), (second,) = count_sessions(target, changing)
        assert first == 0
        assert second > 0
        async with sessions_in(make_url(target).set(drivername="postgresql+psycopg"), changing.settings):
            found = await verify_receipt(receipt.to_json(), settings=changing.settings)
            assert found.holds, found.to_json()
            assert found.receipt == receipt
