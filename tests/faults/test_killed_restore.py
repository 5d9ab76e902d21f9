"""A restore that is killed with signal 9 at any point leaves the store closed, and is finished by another call."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from core.errors import AppError
from core.settings import Settings
from db.closing import StoreClosed, find_closed
from db.provision import APP
from db.session import app_engine, close_store, sessions_in, tenant_session
from pipelines.backup.manifest import Manifest
from pipelines.backup.restore import aim, restore
from pipelines.backup.write import back_up
from tests.factories.backups import BackupWorld, new_database, open_backup_world
from tests.faults import killed_restore
from tests.faults.killed_restore import POINTS
from tests.faults.killing import run_and_die

pytestmark = [pytest.mark.whole_store, pytest.mark.slow]


@pytest.fixture(scope="module")
async def world(store: Settings) -> AsyncIterator[tuple[BackupWorld, Manifest]]:
    with tempfile.TemporaryDirectory(prefix="regenesis-backups-") as folder:
        async with open_backup_world(store, Path(folder)) as opened:
            yield opened, await back_up(opened.settings)


async def find_refusal(world: BackupWorld, url: str) -> AppError | None:
    """What the product is told that wants in, signing in as the app's role does."""
    app = make_url(url).set(username=APP).render_as_string(hide_password=False)
    await close_store()
    try:
        app_engine(aim(world.settings, app))
        async with tenant_session(world.first.system) as session:
            await session.execute(text("SELECT count(*) FROM identity.users"))
    except AppError as error:
        return error
    finally:
        await close_store()
    return None


@pytest.mark.parametrize("point", [point for point in POINTS if point != "drill"])
async def test_the_store_stays_closed_until_it_is_finished(world: tuple[BackupWorld, Manifest], point: str) -> None:
    opened, made = world
    with new_database(opened.settings) as target:
        await run_and_die(killed_restore.main, made.id, target, opened.settings.model_dump_json(), point)
        assert isinstance(await find_refusal(opened, target), StoreClosed)
        report = await restore(opened.settings, None, into=target, finish=True)
        assert report.backup_id == made.id
        assert ("rows" in report.phases) == (point in {"emptied", "tables", "half of the rows", "rows", "indexes"})
        assert await find_refusal(opened, target) is None
        url = make_url(target).set(drivername="postgresql+psycopg")
        assert find_closed(url) is None
        with psycopg.connect(target) as connection:
            assert connection.execute(
                "SELECT has_database_privilege(%s, current_database(), 'CONNECT')", [APP]
            ).fetchone()
            assert connection.execute("SELECT count(*) FROM platform.tenants").fetchone() == (2,)
        async with sessions_in(url, opened.settings), tenant_session(opened.second.system) as session:
            assert await session.scalar(text("SELECT count(*) FROM platform.tenants")) == 1
