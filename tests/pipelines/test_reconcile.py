"""A healthy store has nothing to mend; every fault that is planted is found, told and mended."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, text, update

from core.settings import Settings
from db.holds import hold
from db.models import (
    AgentRun,
    Archive,
    ChunkEmbedding,
    Dataset,
    DataSource,
    DeletionRequest,
    EmbeddingsRegistry,
    Experiment,
    IngestedObject,
    IngestionAttempt,
)
from db.session import tenant_session
from domain.ingestion import SourceBusy
from domain.objects import tenant_store
from pipelines.archives.months import get_monthly
from pipelines.archives.write import archive_month
from pipelines.reconcile import Finding, reconcile_tenant
from tests.factories.months import as_owner, keep_for, make_month, notify_in
from tests.factories.people import Organisation
from tests.factories.sessions import require_id, store_document, store_session

TURNS = [("coach", "What will you do?"), ("client", "I'll call Tobias before the weekend."), ("coach", "Good.")]
NOW = timedelta(0)
OLD = datetime(2021, 3, 4, 12, tzinfo=UTC)

Plant = Callable[[Organisation, Settings], Awaitable[str]]


async def look(organisation: Organisation, *, repair: bool = False) -> dict[str, Finding]:
    findings = await reconcile_tenant(organisation.tenant_id, repair=repair, grace=NOW)
    assert len({one.kind for one in findings}) == len(findings)
    return {one.kind: one for one in findings if one.found}


async def keep_original(organisation: Organisation) -> str:
    """Store a session whose original is kept, as ingestion does, and return the original's key."""
    stored = await store_session(organisation, TURNS)
    key = f"tenants/{organisation.tenant_id}/originals/{stored.object_id}/abc"
    await (await tenant_store(organisation.tenant_id)).write(key, b"words")
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(IngestedObject)
            .where(IngestedObject.id == stored.object_id)
            .values(storage_key=key, checksum="abc", pipeline_version="1")
        )
    return key  # fmt: skip


async def purge(organisation: Organisation, key: str) -> None:
    await (await tenant_store(organisation.tenant_id)).purge(key)


async def lose_vectors(organisation: Organisation, store: Settings) -> str:
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM rag.chunk_embeddings"))
        await session.execute(update(IngestedObject).values(pipeline_version="1"))
    return "chunks without vectors"


async def lose_words(organisation: Organisation, store: Settings) -> str:
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM rag.search_metadata"))
        await session.execute(update(IngestedObject).values(pipeline_version="1"))
    return "chunks without search words"


async def retire_model(organisation: Organisation, store: Settings) -> str:
    async with tenant_session(organisation.system) as session:
        active = await session.scalar(select(EmbeddingsRegistry.id))
        retired = uuid4()
        session.add(
            EmbeddingsRegistry(
                tenant_id=organisation.tenant_id, id=retired, model_name="older", dimensions=3, status="retired"
            )
        )
        await session.flush()
        columns = [c.name for c in ChunkEmbedding.__table__.c if c.name != "registry_id"]
        await session.execute(
            text(
                f"INSERT INTO rag.chunk_embeddings (registry_id, {', '.join(columns)}) "
                f"SELECT :retired, {', '.join(columns)} FROM rag.chunk_embeddings WHERE registry_id = :active"
            ),
            {"retired": retired, "active": active},
        )
    return "vectors of retired models"  # fmt: skip


async def miscount(organisation: Organisation, store: Settings) -> str:
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE rag.term_frequencies SET chunks = chunks + 1 WHERE term = 0"))
        await session.execute(
            text("DELETE FROM rag.term_frequencies WHERE term = (SELECT max(term) FROM rag.term_frequencies)")
        )
    return "wrong word counts"


async def leave_object(organisation: Organisation, store: Settings) -> str:
    objects = await tenant_store(organisation.tenant_id)
    for folder in ("originals", "uploads", "exports", "archives/comms.notifications", "reports"):
        await objects.write(f"tenants/{organisation.tenant_id}/{folder}/{uuid4()}/left", b"left")
    await objects.write(f"media/{organisation.tenant_id}/{uuid4()}.png", b"left")
    return "objects without rows"


async def lose_original(organisation: Organisation, store: Settings) -> str:
    await purge(organisation, await keep_original(organisation))
    return "originals without their object"


async def export_as(organisation: Organisation, store: Settings, *steps: str) -> None:
    """Take an export of client_a's, asked for long ago, through these steps."""
    with as_owner(store, organisation.tenant_id) as connection:
        connection.execute(
            "INSERT INTO governance.data_exports (tenant_id, user_id, requested_at) VALUES (%s, %s, %s)",
            [organisation.tenant_id, require_id(organisation.client_a), OLD],
        )
        for step in steps:
            connection.execute(f"UPDATE governance.data_exports SET {step}")


async def lose_export(organisation: Organisation, store: Settings) -> str:
    await export_as(
        organisation, store, "status = 'running'",
        f"status = 'ready', object_key = 'tenants/{organisation.tenant_id}/exports/gone', completed_at = now(), "
        "expires_at = now() + interval '1 day', size_bytes = 1, sha256 = sha256('x')",
    )  # fmt: skip
    return "exports without their object"


async def lose_archive(organisation: Organisation, store: Settings) -> str:
    month = date(2017, 1, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await archive_month(organisation.tenant_id, get_monthly("comms.notifications"), month)
    async with tenant_session(organisation.system) as session:
        key = await session.scalar(select(Archive.object_key))
    assert key is not None
    await purge(organisation, key)
    return "archives still in the store without their object"


async def die_over_a_source(organisation: Organisation, store: Settings) -> str:
    async with tenant_session(organisation.system) as session:
        object_id = await session.scalar(select(IngestedObject.id).limit(1))
        await session.execute(
            insert(IngestionAttempt).values(
                tenant_id=organisation.tenant_id, object_id=object_id, run_id="x", stage="parse", started_at=OLD
            )
        )  # fmt: skip
    return "sources with tries that died"


async def die_in_an_answer(organisation: Organisation, store: Settings) -> str:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(AgentRun).values(
                tenant_id=organisation.tenant_id, user_id=organisation.coach_a.user_id, agent_type="assistant",
                status="running", started_at=OLD, metadata_={"reserved_usd": 1},
            )
        )  # fmt: skip
    return "runs of a model that died"


async def die_in_an_evaluation(organisation: Organisation, store: Settings) -> str:
    dataset_id = uuid4()
    async with tenant_session(organisation.system) as session:
        session.add(
            Dataset(
                tenant_id=organisation.tenant_id,
                id=dataset_id,
                name="s",
                version=1,
                origin="production",
                content_hash="x",
            )
        )
        await session.flush()
        session.add(
            Experiment(
                tenant_id=organisation.tenant_id,
                suite="s",
                dataset_id=dataset_id,
                config={},
                config_hash="x",
                user_id=require_id(organisation.coach_a),
                started_at=OLD,
            )
        )
    return "evaluations that died"  # fmt: skip


async def die_in_an_export(organisation: Organisation, store: Settings) -> str:
    await export_as(organisation, store, "status = 'running'")
    return "exports that died"


MENDED: tuple[Plant, ...] = (
    lose_vectors, lose_words, retire_model, miscount, leave_object, lose_original, lose_export, lose_archive,
    die_over_a_source, die_in_an_answer, die_in_an_evaluation, die_in_an_export,
)  # fmt: skip


async def test_a_healthy_store_agrees(organisation: Organisation, store: Settings) -> None:
    await keep_original(organisation)
    await store_document(organisation, ["One paragraph.", "Another one."])
    month = date(2017, 2, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await archive_month(organisation.tenant_id, get_monthly("comms.notifications"), month)
    for repair in (False, True):
        assert await look(organisation, repair=repair) == {}


@pytest.mark.parametrize("plant", MENDED, ids=lambda plant: plant.__name__)
async def test_a_planted_fault_is_found_and_mended(organisation: Organisation, store: Settings, plant: Plant) -> None:
    await store_session(organisation, TURNS)
    kind = await plant(organisation, store)
    told = await look(organisation)
    assert kind in told
    assert told[kind].repaired == 0
    assert told[kind].named
    assert (await look(organisation))[kind].found == told[kind].found, "looking changed something"
    mended = await look(organisation, repair=True)
    assert mended[kind].repaired == told[kind].found
    left = await look(organisation, repair=True)
    if plant in {lose_vectors, lose_words}:
        assert left[kind].repaired == 0
        assert "next run of its source" in str(left[kind].reason)
        async with tenant_session(organisation.system) as session:
            assert (await session.scalars(select(IngestedObject.pipeline_version))).all() == [None]
    else:
        assert kind not in left


async def test_objects_left_over_are_removed_one_by_one(organisation: Organisation, store: Settings) -> None:
    kept = await keep_original(organisation)
    await leave_object(organisation, store)
    assert (await look(organisation, repair=True))["objects without rows"].repaired == 6
    objects = await tenant_store(organisation.tenant_id)
    assert [one.key async for one in objects.list(f"tenants/{organisation.tenant_id}/")] == [kept]


async def test_what_is_young_is_left_alone(organisation: Organisation, store: Settings) -> None:
    await leave_object(organisation, store)
    findings = await reconcile_tenant(organisation.tenant_id, repair=True)
    assert [one for one in findings if one.found] == []


async def test_what_runs_is_left_alone(organisation: Organisation, store: Settings) -> None:
    await store_session(organisation, TURNS)
    await die_over_a_source(organisation, store)
    await die_in_an_evaluation(organisation, store)
    async with tenant_session(organisation.system) as session:
        uri = await session.scalar(select(DataSource.uri))
        experiment_id = await session.scalar(select(Experiment.id))
    busy = SourceBusy()
    assert uri is not None
    async with (
        hold(organisation.tenant_id, uri, busy=busy),
        hold(organisation.tenant_id, f"experiment:{experiment_id}", busy=busy),
    ):
        assert await look(organisation, repair=True) == {}


async def test_a_lost_archive_whose_rows_are_gone_is_told(organisation: Organisation, store: Settings) -> None:
    month = date(2017, 3, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    await archive_month(organisation.tenant_id, get_monthly("comms.notifications"), month)
    async with tenant_session(organisation.system) as session:
        await session.execute(select(func.governance.clear_month("comms.notifications", month)))
        key = await session.scalar(select(Archive.object_key))
    assert key is not None
    await purge(organisation, key)
    for _ in range(2):
        finding = (await look(organisation, repair=True))["archives without their object"]
        assert (finding.found, finding.repaired) == (1, 0)
        assert "backup" in str(finding.reason)


async def test_requests_that_wait_or_are_overdue_are_told(organisation: Organisation, store: Settings) -> None:
    with as_owner(store, organisation.tenant_id) as connection:
        connection.execute(
            "INSERT INTO governance.deletion_requests (tenant_id, user_id, subject_kind, subject_id, requested_at, "
            "due_at) VALUES (%s, %s, 'person', %s, now() - interval '40 days', now() - interval '10 days')",
            [organisation.tenant_id, organisation.client_a.user_id, organisation.client_a.user_id],
        )
    assert (await look(organisation))["requests overdue"].found == 1
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(DeletionRequest).values(status="verified", verified_at=OLD, verification_method="operator")
        )
    assert (await look(organisation))["erasures that wait"].found == 1


async def test_a_store_that_is_another_s_is_not_emptied(
    organisation: Organisation, store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.reconcile_objects.MOST_ORPHANS", 3)
    await leave_object(organisation, store)
    finding = (await look(organisation, repair=True))["objects without rows"]
    assert (finding.found, finding.repaired) == (6, 0)
    assert "belong together" in str(finding.reason)
