"""A store of two organisations in a database of its own, to be backed up, and databases to restore it into."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import URL

from core.settings import Settings
from core.storage import open_store
from db import migrate
from db.locate import owner_url
from db.provision import to_libpq_url
from db.session import sessions_in, tenant_session
from domain.messages import send_message
from tests.factories.commerce import pay
from tests.factories.evidence_world import FIRST, TURNS, add_session, make_claim, write_claims
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

SECRET = "Meet me where nobody listens."
OBJECTS = {"tenants/a/originals/1.vtt": b"WEBVTT", "tenants/b/media/2.png": b"\x89PNG" * 1000, "keyring/a": b"never"}


@dataclass(frozen=True)
class BackupWorld:
    """The settings of the store, its operator's URL, its organisations, and the id of a sealed message in the first."""

    settings: Settings
    url: URL
    first: Organisation
    second: Organisation
    message_id: UUID


@asynccontextmanager
async def open_backup_world(settings: Settings, home: Path) -> AsyncIterator[BackupWorld]:
    """Yield the store in a database of its own, with objects and backups in this folder; it is dropped afterwards."""
    name = f"backed_{uuid4().hex[:8]}"
    aimed = settings.model_copy(
        update={
            "db": settings.db.model_copy(update={"name": name}),
            "storage": settings.storage.model_copy(update={"url": (home / "objects").as_uri()}),
            "backup": settings.backup.model_copy(update={"url": (home / "backups").as_uri()}),
        }
    )
    url = owner_url(aimed)
    migrate.upgrade(url)
    try:
        async with sessions_in(url, aimed):
            first, second = await found_organisation(), await found_organisation()
            message_id = await _fill(first)
            await _fill(second)
            async with tenant_session(first.system) as session:
                await session.execute(text("SELECT rag.give_partition(:t)"), {"t": first.tenant_id})
        store = open_store(aimed.storage_url, aimed.storage)
        for key, content in OBJECTS.items():
            await store.write(key, content)
        yield BackupWorld(aimed, url, first, second, message_id)
    finally:
        drop(url)


async def _fill(organisation: Organisation) -> UUID:
    _, words = await add_session(organisation)
    await write_claims(organisation, words, make_claim(words, "The on-call rota keeps me awake"))
    await add_session(organisation, 1, turns=TURNS)
    await pay(organisation)
    async with tenant_session(organisation.coach_a) as session:
        sent = await send_message(
            session, sender=organisation.coach_a, recipient_id=require_id(organisation.client_a), content=SECRET
        )
    return sent.id


@contextmanager
def new_database(settings: Settings) -> Iterator[str]:
    """Yield an operator's URL of an empty database, which is dropped afterwards."""
    name = f"restored_{uuid4().hex[:8]}"
    url = owner_url(settings.model_copy(update={"db": settings.db.model_copy(update={"name": name})}))
    try:
        yield to_libpq_url(url)
    finally:
        drop(url)


def drop(url: URL) -> None:
    """Drop the database, whoever is in it."""
    with psycopg.connect(to_libpq_url(url.set(database="postgres")), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {url.database} WITH (FORCE)")


__all__ = ["FIRST", "OBJECTS", "SECRET", "BackupWorld", "drop", "new_database", "open_backup_world"]
