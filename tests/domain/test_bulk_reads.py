"""Compliance is told of somebody who reads far more than work takes, once, and of nobody who works."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import select

from core.settings import AuditSettings, Settings
from db.locate import owner_url
from db.models import AuditLog, Notification, Outbox, ReadingWindow
from db.provision import to_libpq_url
from db.session import Principal, tenant_session
from domain.bulk_reads import COUNTED, TOPIC, BulkRead, watch_readings
from domain.reading import reading_through, record_reading
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

pytestmark = pytest.mark.whole_store

SETTINGS = AuditSettings()
NOON = datetime(2026, 6, 17, 12, 30, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def owner(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        yield connection


def read(
    owner: psycopg.Connection, reader: Principal, moment: datetime, action: str, ids: dict[str, list[UUID]]
) -> None:
    """Leave an entry as if it had been read then."""
    told = {"surface": "api", "read": {kind: [str(one) for one in some] for kind, some in ids.items()}}
    owner.execute(
        "INSERT INTO governance.audit_pending (tenant_id, transaction_id, occurred_at, actor_id, actor_role, action, "
        "metadata, waits) VALUES (%s, txid_current(), %s, %s, %s, %s, %s, true)",
        [reader.tenant_id, moment, reader.user_id, reader.role, action, Jsonb(told)],
    )


def page_through(
    owner: psycopg.Connection, reader: Principal, count: int, *, until: datetime = NOON, minutes: int = 25
) -> None:
    """Open so many transcripts, each once, within some minutes."""
    for number in range(count):
        moment = until - timedelta(minutes=minutes * (number + 1) / (count + 1))
        read(owner, reader, moment, "transcript_read", {"transcript": [uuid4()], "client": [UUID(int=number % 7)]})


async def watch(organisation: Organisation, now: datetime = NOON, **settings: Any) -> list[BulkRead]:
    return await watch_readings(organisation.tenant_id, SETTINGS.model_copy(update=settings), now=now)


async def list_told(organisation: Organisation) -> list[AuditLog]:
    async with tenant_session(organisation.compliance) as session:
        query = select(AuditLog).where(AuditLog.action == "bulk_read_detected").order_by(AuditLog.sequence)
        return list(await session.scalars(query))


async def test_who_pages_through_all_transcripts_is_told_once(
    organisation: Organisation, owner: psycopg.Connection
) -> None:
    page_through(owner, organisation.coach_a, SETTINGS.hour_transcripts + 1)
    page_through(owner, organisation.coach_b, SETTINGS.hour_transcripts)
    (told,) = await watch(organisation)
    reader = require_id(organisation.coach_a)
    assert (told.reader_id, told.span, told.began_at) == (reader, "hour", NOON.replace(minute=0))
    assert told.over == {"transcripts": SETTINGS.hour_transcripts}
    assert told.counts == {"transcripts": 31, "documents": 0, "clients": 7, "passages": 0}
    (entry,) = await list_told(organisation)
    assert (entry.severity, entry.entity_type, entry.entity_id) == ("critical", "user", reader)
    assert entry.metadata_ is not None
    assert (entry.metadata_["counts"], entry.metadata_["over"]) == (told.counts, told.over)
    async with tenant_session(organisation.system) as session:
        notes = list(await session.scalars(select(Notification).where(Notification.notification_type == "bulk_read")))
        assert [note.user_id for note in notes] == [organisation.compliance.user_id]
        assert "31 transcripts (expected at most 30)" in notes[0].message
        (message,) = await session.scalars(select(Outbox).where(Outbox.topic == TOPIC))
        assert message.payload["reader_id"] == str(reader)
        emails = [f"{name}@{organisation.slug}" for name in organisation.people]
        assert not [one for one in emails if one in f"{notes[0].message} {notes[0].title} {message.payload}"]
    page_through(owner, organisation.coach_a, 20)
    assert await watch(organisation) == []
    page_through(owner, organisation.coach_b, 1)
    assert [one.reader_id for one in await watch(organisation)] == [organisation.coach_b.user_id]
    later = NOON + timedelta(hours=1)
    page_through(owner, organisation.coach_a, 31, until=later)
    spans = [(one.span, one.over) for one in await watch(organisation, later)]
    assert spans == [("day", {"transcripts": 80}), ("hour", {"transcripts": 30})], "82 of one day by now"


async def test_looks_at_once_tell_once(organisation: Organisation, owner: psycopg.Connection) -> None:
    page_through(owner, organisation.coach_a, 60)
    found = await asyncio.gather(*(watch(organisation) for _ in range(5)))
    assert sum(map(len, found)) == 1
    assert len(await list_told(organisation)) == 1


@pytest.mark.parametrize(
    ("kind", "action", "measure"),
    [("document", "document_read", "documents"), ("chunk", "passages_retrieved", "passages"),
     ("client", "evidence_read", "clients")],
)  # fmt: skip
async def test_other_ways_to_read_much(
    organisation: Organisation, owner: psycopg.Connection, kind: str, action: str, measure: str
) -> None:
    limit = getattr(SETTINGS, f"hour_{measure}")
    read(owner, organisation.coach_a, NOON, action, {kind: [uuid4() for _ in range(limit + 1)]})
    read(owner, organisation.coach_b, NOON, action, {kind: [UUID(int=1)] * (limit + 1)})
    (told,) = await watch(organisation)
    assert (told.reader_id, set(told.over)) == (organisation.coach_a.user_id, {measure})


async def test_a_passage_of_a_transcript_does_not_open_it(
    organisation: Organisation, owner: psycopg.Connection
) -> None:
    for _ in range(SETTINGS.day_transcripts + 1):
        ids = {"transcript": [uuid4()], "chunk": [uuid4()]}
        read(owner, organisation.coach_a, NOON, "passages_retrieved", ids)
    assert await watch(organisation) == []


async def test_a_suite_that_asks_as_a_person_is_not_their_reading(organisation: Organisation) -> None:
    with reading_through("evaluation"):
        async with tenant_session(organisation.coach_a) as session:
            for _ in range(40):
                await record_reading(session, "transcript_read", {"transcript": [uuid4()]})
    assert await watch(organisation, datetime.now(UTC)) == []


async def test_what_nobody_looked_at_for_hours_is_told_late(
    organisation: Organisation, owner: psycopg.Connection
) -> None:
    page_through(owner, organisation.coach_b, 2, until=NOON - timedelta(hours=9))
    assert await watch(organisation, NOON - timedelta(hours=9)) == []
    page_through(owner, organisation.coach_a, 40, until=NOON - timedelta(hours=5))
    assert [one.began_at.hour for one in await watch(organisation, NOON + timedelta(hours=20))] == [7]


async def test_a_habit_left_behind_is_told(organisation: Organisation, owner: psycopg.Connection) -> None:
    """Twelve transcripts in an hour are nothing, unless it was never more than two."""
    for day in range(1, 8):
        for hour in (9, 10):
            moment = (NOON - timedelta(days=day)).replace(hour=hour, minute=30)
            page_through(owner, organisation.coach_a, 2, until=moment)
            page_through(owner, organisation.admin, 6, until=moment)
            assert await watch(organisation, moment) == []
    for person in (organisation.coach_a, organisation.coach_b, organisation.admin):
        page_through(owner, person, 12)
    (told,) = await watch(organisation)
    assert (told.reader_id, told.span, told.over) == (organisation.coach_a.user_id, "hour", {"transcripts": 8})
    assert (await watch(organisation, habit_factor=5.9)) == []


def work(rng: random.Random, clients: int) -> Iterator[tuple[str, dict[str, list[UUID]]]]:
    """Yield what a coach with so many clients reads in a day: sessions prepared one by one, and questions asked."""
    for _ in range(rng.randint(2, 8)):  # sessions that day
        client = UUID(int=rng.randrange(clients))
        for back in range(rng.randint(0, 3)):
            yield "transcript_read", {"transcript": [UUID(int=client.int * 1_000 + back)], "client": [client]}
        for _ in range(rng.randint(0, 4)):
            chunks = [UUID(int=client.int * 10_000 + rng.randrange(600)) for _ in range(rng.randint(4, 20))]
            yield "passages_retrieved", {"chunk": chunks, "client": [client]}
        if rng.random() < 0.5:
            quotes = [UUID(int=client.int * 10_000 + rng.randrange(200)) for _ in range(50)]
            yield "evidence_read", {"quote": quotes, "client": [client]}
    for _ in range(rng.randint(0, 6)):  # questions about all
        some = [UUID(int=rng.randrange(clients)) for _ in range(rng.randint(1, 8))]
        chunks = [UUID(int=one.int * 10_000 + rng.randrange(600)) for one in some]
        yield "passages_retrieved", {"chunk": chunks, "client": some}


async def test_a_quarter_of_work_tells_of_nobody(organisation: Organisation, owner: psycopg.Connection) -> None:
    """Four readers with 5 to 40 clients, 60 working days, each day all at once in the worst case: within one hour."""
    rng = random.Random(7)  # the same work each time
    readers = (
        (organisation.coach_a, 5), (organisation.coach_b, 12), (organisation.admin, 25), (organisation.executive, 40),
    )  # fmt: skip
    told: list[BulkRead] = []
    busiest = dict.fromkeys(COUNTED, 0)
    for day in range(60):
        morning = NOON - timedelta(days=84 - day - 2 * (day // 5))
        for reader, clients in readers:
            crammed = rng.random() < 0.1
            for action, ids in work(rng, clients):
                read(owner, reader, morning + timedelta(minutes=rng.randrange(25 if crammed else 360)), action, ids)
        told += await watch(organisation, morning + timedelta(hours=7))
    async with tenant_session(organisation.compliance) as session:
        windows = list(await session.scalars(select(ReadingWindow)))
    for one in windows:
        busiest = {name: max(most, getattr(one, name)) for name, most in busiest.items()}
    assert len(windows) > 500
    assert busiest["transcripts"] > 10
    assert told == [], busiest


async def test_windows_are_compliance_s(organisation: Organisation, owner: psycopg.Connection) -> None:
    page_through(owner, organisation.coach_a, 2)
    await watch(organisation)
    for name, person in organisation.people.items():
        async with tenant_session(person) as session:
            assert bool(list(await session.scalars(select(ReadingWindow)))) == (name == "compliance"), name
