"""What is remembered of backups is read by all and written by the operator alone."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from core.settings import Settings
from db.session import tenant_session, unbound_session
from tests.factories.people import Organisation

WRITES = (
    "INSERT INTO platform.backups (id, status, url, started_at) VALUES ('x', 'good', 'file:///x', now())",
    "UPDATE platform.backups SET status = 'good'",
    "DELETE FROM platform.drills",
    "INSERT INTO platform.drills (backup_id, started_at, finished_at, passed) VALUES ('x', now(), now(), true)",
)


@pytest.mark.parametrize("statement", WRITES)
async def test_the_app_can_not_pretend_to_a_backup(organisation: Organisation, statement: str) -> None:
    with pytest.raises(ProgrammingError) as refused:
        async with tenant_session(organisation.system) as session:
            await session.execute(text(statement))
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


async def test_everybody_may_know_of_backups(store: Settings) -> None:
    async with unbound_session() as session:
        assert await session.scalar(text("SELECT count(*) FROM platform.backups")) is not None
