"""What is beyond its time goes, what a legal hold keeps stays, and a rehearsal only counts."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, text, update

from core.settings import Settings
from db.models import (
    AuthSession,
    ChatSession,
    DataRetentionJob,
    DeletionRequest,
    DocumentChunk,
    IngestedObject,
    MediaAsset,
    Notification,
    Tenant,
    Transcript,
    User,
)
from db.session import Principal, tenant_session
from domain.objects import tenant_store
from pipelines.retention.apply import Line, apply_retention
from tests.factories.months import as_owner, keep_for, place_hold, release_hold
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id, store_session

OLD = datetime(2021, 3, 4, 12, tzinfo=UTC)
TURNS = [("coach", "What will you do?"), ("client", "I'll call Tobias before the weekend."), ("coach", "Good.")]


def of(lines: Sequence[Line], noun: str, action: str = "delete") -> tuple[int, int]:
    (found,) = [line for line in lines if (line.noun, line.action) == (noun, action)]
    assert found.error is None, found.error
    return found.gone, found.held


async def count(organisation: Organisation, model: type, *conditions: Any) -> int:
    async with tenant_session(organisation.system) as session:
        return await session.scalar(select(func.count()).select_from(model).where(*conditions)) or 0


async def keep_material_for(organisation: Organisation, days: int) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(retention_days=days))


async def sign_in(organisation: Organisation, person: Principal, *, ended: datetime) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(AuthSession).values(
                tenant_id=organisation.tenant_id, user_id=person.user_id, role=person.role, token_hash=uuid4().hex,
                created_at=ended - timedelta(days=1), last_activity=ended - timedelta(days=1), expires_at=ended,
            )
        )  # fmt: skip


async def upload_file(organisation: Organisation, person: Principal, *, at: datetime, store: Settings) -> str:
    key = f"media/{organisation.tenant_id}/{uuid4()}.png"
    with as_owner(store, organisation.tenant_id) as connection:
        connection.execute(
            "INSERT INTO content.media_assets (tenant_id, filename, file_type, file_size_bytes, storage_key, "
            "uploaded_by, uploaded_at, storage_provider) VALUES (%s, 'a.png', 'image/png', 3, %s, %s, %s, 'local')",
            [organisation.tenant_id, key, person.user_id, at],
        )
    await (await tenant_store(organisation.tenant_id)).write(key, b"png")
    return key


async def read_everything(organisation: Organisation) -> dict[str, list[tuple[str, str]]]:
    """Return every row of the tenant with the transaction that wrote it, by table; jobs and the log are records."""
    from db.base import Base

    found = {}
    async with tenant_session(organisation.system) as session:
        for table in Base.metadata.sorted_tables:
            if table.fullname == "governance.data_retention_jobs" or table.name.startswith("audit_"):
                continue
            if "tenant_id" not in table.columns or table.fullname == "platform.encryption_keys":
                continue
            rows = await session.execute(text(f"SELECT t.xmin::text, t::text FROM {table.fullname} t ORDER BY 2"))
            found[table.fullname] = [tuple(row) for row in rows]
    return found


async def fill(organisation: Organisation, store: Settings) -> None:
    """Put something old of every kind into the organisation."""
    people = organisation.people
    await keep_material_for(organisation, 365)
    await store_session(organisation, TURNS, held_at=OLD)
    await store_session(organisation, TURNS)
    with as_owner(store, organisation.tenant_id) as connection:
        for user in ("client_a", "client_b"):
            connection.execute(
                "INSERT INTO comms.notifications (tenant_id, created_at, user_id, notification_type, title, message) "
                "VALUES (%s, %s, %s, 'reminder', 'x', 'y')", [organisation.tenant_id, OLD, people[user].user_id],
            )  # fmt: skip
    await sign_in(organisation, organisation.client_a, ended=OLD)
    await sign_in(organisation, organisation.client_b, ended=datetime.now(UTC) + timedelta(days=1))
    await upload_file(organisation, organisation.coach_a, at=OLD, store=store)
    async with tenant_session(organisation.system) as session:
        for at in (OLD, datetime.now(UTC)):
            session.add(
                ChatSession(
                    tenant_id=organisation.tenant_id, user_id=require_id(organisation.coach_a), created_at=at,
                    updated_at=at,
                )
            )  # fmt: skip
        await session.execute(
            update(User).where(User.id == organisation.client_c.user_id).values(status="deleted", deleted_at=OLD)
        )


async def test_a_rehearsal_changes_nothing_and_counts_what_a_run_takes(
    organisation: Organisation, store: Settings
) -> None:
    await fill(organisation, store)
    before = await read_everything(organisation)
    planned = await apply_retention(organisation.tenant_id, dry_run=True)
    assert await read_everything(organisation) == before
    expected = {
        "sessions and documents": 1, "notifications": 2, "sign-ins": 1, "files": 1, "conversations": 1, "accounts": 1,
    }  # fmt: skip
    assert {line.noun: line.gone for line in planned if line.gone} == expected
    done = await apply_retention(organisation.tenant_id, dry_run=False)
    assert done == planned
    again = await apply_retention(organisation.tenant_id, dry_run=False)
    assert {line.noun for line in again if line.gone} == set()
    async with tenant_session(organisation.compliance) as session:
        jobs = list(await session.scalars(select(DataRetentionJob).order_by(DataRetentionJob.id)))
    kinds = {job.data_type for job in jobs}
    assert {"material", "notifications", "accounts_deleted"} <= kinds
    assert [job.dry_run for job in jobs if job.data_type == "material"] == [True, False, False]
    assert jobs[0].counts.keys() == {"gone", "held", "days"}


async def test_what_is_old_goes_and_what_is_new_stays(organisation: Organisation, store: Settings) -> None:
    await fill(organisation, store)
    objects = await tenant_store(organisation.tenant_id)
    await apply_retention(organisation.tenant_id, dry_run=False)
    assert await count(organisation, Transcript) == 1
    assert await count(organisation, Transcript, Transcript.held_at == OLD) == 0
    assert await count(organisation, Notification) == 0
    assert await count(organisation, AuthSession) == 1
    assert await count(organisation, ChatSession) == 1
    assert await count(organisation, MediaAsset) == 0
    assert [one async for one in objects.list(f"media/{organisation.tenant_id}/")] == []
    async with tenant_session(organisation.system) as session:
        request = (await session.scalars(select(DeletionRequest))).one()
        states = sorted(await session.scalars(select(IngestedObject.ingestion_status)))
    assert (request.status, request.subject_kind, request.subject_id) == (
        "verified", "person", organisation.client_c.user_id,
    )  # fmt: skip
    assert request.verified_at is not None
    assert states == ["expired", "indexed"]


HOLDS = ("tenant", "person", "session", "document")


@pytest.mark.parametrize("kind", HOLDS)
async def test_a_hold_wins_until_it_is_released(organisation: Organisation, store: Settings, kind: str) -> None:
    await keep_material_for(organisation, 365)
    stored = await store_session(organisation, TURNS, held_at=OLD)
    other = await store_session(
        organisation, TURNS, held_at=OLD, client=organisation.client_b, coach=organisation.coach_b
    )
    async with tenant_session(organisation.system) as session:
        meeting = await session.scalar(select(Transcript.coaching_session_id).where(Transcript.id == stored.source_id))
    subject = {
        "tenant": organisation.tenant_id, "person": require_id(organisation.client_a), "session": meeting,
        "document": stored.source_id,
    }[kind]  # fmt: skip
    assert subject is not None
    hold = await place_hold(organisation, kind, subject)
    expected = (0, 2) if kind == "tenant" else (1, 1)
    for dry_run in (True, False):
        lines = await apply_retention(organisation.tenant_id, dry_run=dry_run)
        assert of(lines, "sessions and documents") == expected
    left = {stored.source_id, other.source_id} if kind == "tenant" else {stored.source_id}
    async with tenant_session(organisation.system) as session:
        assert set(await session.scalars(select(Transcript.id))) == left
    await release_hold(organisation, hold)
    lines = await apply_retention(organisation.tenant_id, dry_run=False)
    assert of(lines, "sessions and documents") == (len(left), 0)
    assert await count(organisation, DocumentChunk) == 0


async def test_a_hold_on_a_person_keeps_their_account_their_chats_and_what_they_were_told(
    organisation: Organisation, store: Settings
) -> None:
    await fill(organisation, store)
    for person in (organisation.client_a, organisation.client_c, organisation.coach_a):
        await place_hold(organisation, "person", require_id(person))
    lines = await apply_retention(organisation.tenant_id, dry_run=False)
    assert of(lines, "notifications") == (1, 1)
    assert of(lines, "sign-ins") == (0, 1)
    assert of(lines, "files") == (0, 1)
    assert of(lines, "conversations") == (0, 1)
    (deleted,) = [line for line in lines if line.data_type == "accounts_deleted"]
    assert (deleted.gone, deleted.held) == (0, 1)
    assert await count(organisation, DeletionRequest) == 0
    async with tenant_session(organisation.compliance) as session:
        status = select(DataRetentionJob.status).where(DataRetentionJob.data_type == "conversations")
        assert await session.scalar(status) == "held"


async def test_whoever_is_quiet_for_two_years_is_suspended_then_erased(
    organisation: Organisation, store: Settings
) -> None:
    loner = uuid4()
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(User).values(
                tenant_id=organisation.tenant_id, id=loner, email=f"loner@{organisation.slug}.example",
                full_name="Loner", role="client", created_at=datetime.now(UTC) - timedelta(days=800),
            )
        )  # fmt: skip
    lines = await apply_retention(organisation.tenant_id, dry_run=False)
    assert of(lines, "accounts", "archive") == (1, 0)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(User.status).where(User.id == loner)) == "suspended"
        statuses = set(await session.scalars(select(User.status).where(User.id != loner)))
        assert statuses == {"active"}
    await keep_for(organisation, "accounts_inactive", "delete", 790)
    await apply_retention(organisation.tenant_id, dry_run=False)
    async with tenant_session(organisation.system) as session:
        assert (await session.scalars(select(DeletionRequest.subject_id))).all() == [loner]
    await apply_retention(organisation.tenant_id, dry_run=False)
    assert await count(organisation, DeletionRequest) == 1


async def test_one_organisation_s_retention_is_its_own(organisation: Organisation, store: Settings) -> None:
    other = await found_organisation()
    for one in (organisation, other):
        await store_session(one, TURNS, held_at=OLD)
    await keep_material_for(organisation, 365)
    await apply_retention(other.tenant_id, dry_run=False)
    await apply_retention(organisation.tenant_id, dry_run=False)
    assert (await count(organisation, Transcript), await count(other, Transcript)) == (0, 1)


async def test_batches_go_on_to_the_end(
    organisation: Organisation, store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.retention.apply.ROWS_AT_ONCE", 3)
    monkeypatch.setattr("pipelines.retention.files.OBJECTS_AT_ONCE", 2)
    await keep_material_for(organisation, 365)
    for _ in range(10):
        await sign_in(organisation, organisation.client_a, ended=OLD)
    for _ in range(5):
        await store_session(organisation, TURNS, held_at=OLD)
    lines = await apply_retention(organisation.tenant_id, dry_run=False)
    assert of(lines, "sign-ins") == (10, 0)
    assert of(lines, "sessions and documents") == (5, 0)


async def test_two_runs_do_not_do_each_other_s_work(organisation: Organisation, store: Settings) -> None:
    await fill(organisation, store)
    runs = await asyncio.gather(
        *(apply_retention(organisation.tenant_id, dry_run=False) for _ in range(2)), return_exceptions=True
    )
    errors = [type(one).__name__ for one in runs if isinstance(one, BaseException)]
    assert errors in ([], ["RetentionBusy"])
    assert await count(organisation, DeletionRequest) == 1
