"""Planting canaries: one client of an organisation, and words of theirs in every kind of row and object there is."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import text

from core.settings import Settings
from db.locate import owner_url
from db.provision import OWNER, to_libpq_url
from db.session import Principal, request_context, tenant_session
from domain import coaching
from domain.governance import record_event
from domain.ingestion import ensure_source
from domain.keys import field_cipher
from domain.objects import tenant_store
from pipelines.archives.months import get_monthly
from pipelines.archives.write import archive_month
from pipelines.chunk import chunk_transcript
from pipelines.evidence.build import build_client
from pipelines.index import About, ensure_registry, index_transcript, lock_index
from pipelines.parsed import Turn
from pipelines.privacy.canary import breed
from pipelines.privacy.plant_rows import Cast, Planter, plant_rows
from rag.embedding import Embedder

TURNS: Final = 12
"""Turns of a session; each holds a canary."""
ROWS: Final = 86
"""Canaries planted outside of sessions, about."""
PAST: Final = date(2013, 5, 1)
ARCHIVED: Final = ("comms.notifications", "analytics.events")
"""A month that lies in the object store as Parquet, and the tables of which it does."""


@dataclass(frozen=True, slots=True)
class Planted:
    """All canaries, and which of them stand in rows that money must keep."""

    words: tuple[str, ...]
    sources: tuple[UUID, ...]


_OBJECT: Final = text("""
INSERT INTO ingestion.ingested_objects (tenant_id, id, data_source_id, key, storage_key, size_bytes, sidecar, kind,
    coaching_session_id, ingestion_status, visibility, client_id, coach_id)
VALUES (:tenant, :id, :source, :key, :kept, 1, CAST(:sidecar AS jsonb), 'transcript', :meeting, 'indexed',
    'client_visible', :client, :coach)
""")
_MESSAGE: Final = text("""
INSERT INTO community.messages (tenant_id, id, sender_id, recipient_id, content)
VALUES (:tenant, :id, :from, :to, :content)
""")


async def plant(settings: Settings, cast: Cast, embedder: Embedder, *, canaries: int = 1_000) -> Planted:
    """Give the client sessions, chats, rows of every schema and objects, with so many canaries or some more."""
    words = breed(canaries + ROWS + TURNS)
    system = Principal(cast.tenant_id, "system")
    sessions = max(2, -((ROWS - canaries) // TURNS))
    spoken = list[str]()
    sources = list[UUID]()
    for number in range(sessions):
        said = [next(words) for _ in range(TURNS)]
        spoken += said
        sources.append(await _plant_session(system, cast, embedder, said, number=number, settings=settings))
    await build_client(cast.tenant_id, cast.client)
    with psycopg.connect(to_libpq_url(owner_url(settings))) as connection:
        bound = {
            "tenant_id": cast.tenant_id,
            "user_id": "",
            "role": "system",
            "context": "{}",
            "clients": "",
            "visibilities": "",
        }
        for name, value in bound.items():
            connection.execute("SELECT set_config(%s, %s, false)", [f"app.{name}", str(value)])
        store = await tenant_store(cast.tenant_id, settings)
        planter = Planter(connection, cast, words, store.url)
        places = plant_rows(planter, cast, sources, connection)
        _add_past(connection, planter, cast)
        connection.commit()
        for key, content in places:
            await store.write(key, content)
    await _plant_encrypted(system, cast, planter.word())
    await _plant_entry(cast, planter)
    for table in ARCHIVED:
        await archive_month(cast.tenant_id, get_monthly(table), PAST, settings=settings)
    return Planted((*spoken, *planter.used), tuple(sources))


async def _plant_session(
    system: Principal, cast: Cast, embedder: Embedder, said: list[str], *, number: int, settings: Settings
) -> UUID:
    held_at = datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(days=number)
    turns = [
        Turn("Client" if n % 2 else "Coach", f"I will hand over the {word} by Friday, the {word} worries me.", 9.0 * n)
        for n, word in enumerate(said)
    ]
    source = chunk_transcript(turns, title=f"Session {number}", held_at=held_at)
    vectors = await embedder.embed([chunk.embedded_text for chunk in source.chunks])
    object_id = uuid4()
    content = source.text.encode()
    key = f"tenants/{cast.tenant_id}/originals/{object_id}/{hashlib.sha256(content).hexdigest()}"
    await (await tenant_store(cast.tenant_id, settings)).write(key, content)
    async with tenant_session(system) as session:
        registry = await ensure_registry(session, embedder)
        await lock_index(session, registry)
        meeting = await coaching.record_session(
            session,
            external_id=f"{said[0]}-{number}",
            coach_id=cast.coach,
            client_id=cast.client,
            held_at=held_at,
            topic=f"About {said[1]}",
        )
        source_id = await ensure_source(session, f"file:///material/{said[2]}")
        await session.execute(
            _OBJECT,
            {
                "tenant": cast.tenant_id,
                "id": object_id,
                "source": source_id,
                "key": f"{said[3]}.vtt",
                "kept": key,
                "client": cast.client,
                "coach": cast.coach,
                "meeting": meeting,
                "sidecar": f'{{"title": "{said[4]}"}}',
            },
        )
        about = About(
            object_id=object_id,
            title=f"Session {said[5]}",
            visibility="client_visible",
            client_id=cast.client,
            coach_id=cast.coach,
            held_at=held_at,
            coaching_session_id=meeting,
            speaker_ids={"Client": cast.client, "Coach": cast.coach},
        )
        return await index_transcript(session, registry, about, source, vectors, format="vtt")


async def _plant_encrypted(system: Principal, cast: Cast, word: str) -> None:
    """Store a message as the product does, under the tenant's key."""
    key = uuid4()
    async with tenant_session(system) as session:
        cipher = await field_cipher(session)
        content = cipher.encrypt(word, table="community.messages", column="content", row_id=key)
        await session.execute(
            _MESSAGE, {"tenant": cast.tenant_id, "id": key, "from": cast.client, "to": cast.peer, "content": content}
        )


async def _plant_entry(cast: Cast, planter: Planter) -> None:
    """Leave an entry of the audit log that tells with what and from where the client did something."""
    context = {"request_id": str(uuid4()), "ip_address": "203.0.113.9", "user_agent": planter.word()}
    before = request_context.set(context)
    try:
        async with tenant_session(Principal(cast.tenant_id, "client", cast.client)) as session:
            await record_event(
                session, action="export_read", description=planter.say(), metadata={"address": planter.word()}
            )
    finally:
        request_context.reset(before)


def _add_past(connection: psycopg.Connection, planter: Planter, cast: Cast) -> None:
    """Add rows of a month long past, in partitions as they were made then."""
    connection.execute(f"SET ROLE {OWNER}".encode())
    for table in ARCHIVED:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table}_p{PAST:%Y_%m} PARTITION OF {table} "
            f"FOR VALUES FROM ('{PAST}') TO ('{PAST + timedelta(days=31)}')".encode()
        )
    connection.execute("RESET ROLE")
    at = datetime(PAST.year, PAST.month, 3, tzinfo=UTC)
    planter.add(
        "comms.notifications", created_at=at, user_id=cast.client, notification_type="reminder", title=planter.word(),
        message=planter.say(),
    )  # fmt: skip
    planter.add(
        "analytics.events", occurred_at=at, user_id=cast.client, event_type="searched",
        event_data={"words": planter.word(), "found": [planter.word(), None]},
    )  # fmt: skip
