"""The database refuses what code might try by mistake, as the app's own role."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.base import Base
from db.locate import owner_url
from db.models import (
    AuditLog,
    ChatMessage,
    ChatSession,
    DocumentChunk,
    Engagement,
    SearchMetadata,
    SystemAdmin,
    Tenant,
    TermFrequency,
    User,
)
from db.session import AlreadyStored, Principal, tenant_session, unbound_session
from domain import coaching
from domain.audit_chain import check_chain
from domain.platform import found_tenant, get_tenant_by_slug
from tests.factories.material import Material, store_material
from tests.factories.people import Organisation, found_organisation

OUTLIVING = {"audit_logs", "audit_heads", "deletion_records"}
"""What tells of a tenant after its end."""


async def test_unbound_connection_reads_nothing(organisation: Organisation) -> None:
    for table in ("identity.users", "rag.document_chunks", "chat.chat_messages", "platform.tenants"):
        with pytest.raises(DBAPIError, match=r"app\.\w+|type uuid"):
            async with unbound_session() as session:
                await session.execute(text(f"SELECT count(*) FROM {table}"))


async def test_binding_ends_with_its_transaction(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(User)) == 9
    # The same pooled connection, bound to nobody again: an empty setting is no tenant.
    with pytest.raises(DBAPIError):
        async with unbound_session() as session:
            await session.execute(select(User.id))


async def test_superuser_can_not_be_the_app(store: Settings, organisation: Organisation) -> None:
    engine = create_engine(owner_url(store))
    with engine.connect() as connection, pytest.raises(DBAPIError, match="goes around row-level security"):
        connection.execute(text("SELECT platform.bind_reader(:t, null, 'system')"), {"t": organisation.tenant_id})
    engine.dispose()


async def test_owner_is_bound_too(store: Settings, organisation: Organisation) -> None:
    engine = create_engine(owner_url(store))
    with engine.connect() as connection:
        connection.execute(text("SET ROLE regenesis_owner"))
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT * FROM coaching.engagements"))
        connection.rollback()
        connection.execute(text("SET ROLE regenesis_owner"))
        connection.execute(text("SELECT platform.bind_reader(:t, null, 'system')"), {"t": organisation.tenant_id})
        tenants = connection.execute(text("SELECT DISTINCT tenant_id FROM coaching.engagements")).scalars().all()
        assert tenants == [organisation.tenant_id]
    engine.dispose()


async def test_row_can_not_point_into_another_tenant(organisation: Organisation) -> None:
    other = await found_organisation()
    with pytest.raises(DBAPIError, match="foreign key"):
        async with tenant_session(organisation.system) as session:
            await coaching.start_engagement(
                session,
                coach_id=organisation.coach_a.user_id,  # type: ignore[arg-type]  # people have ids
                client_id=other.client_a.user_id,  # type: ignore[arg-type]  # people have ids
            )


async def test_row_can_not_be_written_into_another_tenant(organisation: Organisation) -> None:
    other = await found_organisation()
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(organisation.system) as session:
            await session.execute(
                insert(User).values(tenant_id=other.tenant_id, email="x@y.example", full_name="x", role="coach")
            )


async def test_people_do_not_write_content(organisation: Organisation) -> None:
    material = Material(uuid4(), "document", "client_visible", None, None)
    for reader in (organisation.coach_a, organisation.admin, organisation.client_a):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with tenant_session(reader) as session:
                await store_material(session, organisation.tenant_id, [material])
    async with tenant_session(organisation.system) as session:
        await store_material(session, organisation.tenant_id, [material])
    async with tenant_session(organisation.admin) as session:
        changed = await session.execute(update(DocumentChunk).values(heading="mine"))
        assert changed.rowcount == 0  # type: ignore[attr-defined]  # a cursor result


async def test_child_keeps_its_source_s_audience(organisation: Organisation) -> None:
    material = Material(uuid4(), "document", "coach_only", organisation.client_a.user_id, None)
    async with tenant_session(organisation.system) as session:
        await store_material(session, organisation.tenant_id, [material])
    for table in ("document_chunks", "documents", "chunk_embeddings"):
        with pytest.raises(DBAPIError, match="another visibility or audience"):
            async with tenant_session(organisation.system) as session:
                await session.execute(text(f"UPDATE rag.{table} SET visibility = 'client_visible'"))


async def test_messages_are_never_changed(organisation: Organisation) -> None:
    coach = organisation.coach_a
    session_id = uuid4()
    async with tenant_session(coach) as session:
        session.add(ChatSession(tenant_id=coach.tenant_id, id=session_id, user_id=coach.user_id))
        await session.flush()
        session.add(
            ChatMessage(
                tenant_id=coach.tenant_id, session_id=session_id, user_id=coach.user_id, role="user", content="hello"
            )
        )
    for statement in (update(ChatMessage).values(content="bye"), delete(ChatMessage)):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with tenant_session(coach) as session:
                await session.execute(statement)
    async with tenant_session(organisation.coach_b) as session:
        assert await session.scalar(select(func.count()).select_from(ChatMessage)) == 0
    async with tenant_session(organisation.admin) as session:
        assert await session.scalar(select(func.count()).select_from(ChatSession)) == 0


async def test_owner_can_not_change_messages_or_admins_by_mistake(store: Settings) -> None:
    engine = create_engine(owner_url(store))
    with engine.connect() as connection:
        for statement in (
            (
                "INSERT INTO platform.system_admins (email) VALUES ('a@b.example'); "
                "UPDATE platform.system_admins SET email = 'x'"
            ),
            "DELETE FROM platform.system_admins",
            "TRUNCATE platform.system_admins CASCADE",
        ):
            with pytest.raises(DBAPIError, match="never changed"):
                connection.execute(text(statement))
            connection.rollback()
    engine.dispose()
    with pytest.raises(DBAPIError, match="permission denied"):
        async with unbound_session() as session:
            await session.execute(insert(SystemAdmin).values(email="me@here.example"))


async def test_term_frequencies_are_exact_under_concurrency(organisation: Organisation) -> None:
    async def write(seed: int) -> Material:
        material = Material(uuid4(), "document", "client_visible", None, None)
        async with tenant_session(organisation.system) as session:
            await store_material(session, organisation.tenant_id, [material])
            await session.execute(delete(SearchMetadata).where(SearchMetadata.chunk_id == material.id))
            terms = [seed % 3 + 1, 100 - seed % 5, 50]
            await session.execute(
                insert(SearchMetadata).values(tenant_id=organisation.tenant_id, chunk_id=material.id, terms=terms)
            )
        return material

    await write(0)  # the source and registry exist before the race
    written = await asyncio.gather(*(write(seed) for seed in range(1, 20)))
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(DocumentChunk).where(DocumentChunk.id.in_([m.id for m in written[:7]])))
    async with tenant_session(organisation.coach_a) as session:
        kept = dict((await session.execute(select(TermFrequency.term, TermFrequency.chunks))).tuples().all())
    async with tenant_session(organisation.system) as session:
        counted = dict(
            (await session.execute(text(
                "SELECT term, count(*) FROM (SELECT unnest(terms) AS term FROM rag.search_metadata "
                "UNION ALL SELECT 0 FROM rag.search_metadata) t GROUP BY term"
            ))).tuples().all()
        )  # fmt: skip
    assert kept == counted
    assert kept[0] == 13


async def test_overlapping_engagement_is_refused(organisation: Organisation) -> None:
    with pytest.raises(AlreadyStored):
        async with tenant_session(organisation.system) as session:
            await coaching.start_engagement(
                session,
                coach_id=organisation.coach_a.user_id,  # type: ignore[arg-type]  # people have ids
                client_id=organisation.client_a.user_id,  # type: ignore[arg-type]  # people have ids
            )


async def test_tenant_is_found_by_slug_only_while_active(organisation: Organisation) -> None:
    assert (await get_tenant_by_slug(organisation.slug)).id == organisation.tenant_id
    with pytest.raises(AlreadyStored):
        await found_tenant(organisation.slug, "Twin", tenant_id=uuid4())
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(status="suspended"))
    with pytest.raises(Exception, match="no active organisation"):
        await get_tenant_by_slug(organisation.slug)


async def test_client_sees_own_coaches_and_nobody_else(organisation: Organisation) -> None:
    async with tenant_session(organisation.client_a) as session:
        seen = set(await session.scalars(select(User.id)))
        assert seen == {organisation.client_a.user_id, organisation.coach_a.user_id}
        own = set(await session.scalars(select(Engagement.client_id)))
        assert own == {organisation.client_a.user_id}


async def test_ended_engagement_counts_at_the_next_transaction(organisation: Organisation) -> None:
    material = Material(uuid4(), "transcript", "coach_only", organisation.client_a.user_id, None)
    async with tenant_session(organisation.system) as session:
        await store_material(session, organisation.tenant_id, [material])
    async with tenant_session(organisation.coach_a) as session:
        assert await session.scalar(select(func.count()).select_from(DocumentChunk)) == 1
    async with tenant_session(organisation.system) as session:
        await coaching.end_engagement(
            session,
            coach_id=organisation.coach_a.user_id,  # type: ignore[arg-type]  # people have ids
            client_id=organisation.client_a.user_id,  # type: ignore[arg-type]  # people have ids
        )
    async with tenant_session(organisation.coach_a) as session:
        assert await session.scalar(select(func.count()).select_from(DocumentChunk)) == 0


async def test_system_principal_belongs_to_no_user(organisation: Organisation) -> None:
    forged = replace(organisation.coach_a, role="system")
    with pytest.raises(Exception, match="not active"):
        async with tenant_session(forged):
            pass
    assert organisation.coach_a.as_system() == Principal(organisation.tenant_id, "system")


async def test_tenant_goes_with_everything_it_has(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await store_material(
            session,
            organisation.tenant_id,
            [Material(uuid4(), kind, "client_visible", None, None) for kind in ("transcript", "document")],
        )
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Tenant))
    async with tenant_session(organisation.system) as session:
        for table in Base.metadata.tables.values():
            if "tenant_id" in table.columns and table.name not in OUTLIVING:
                assert await session.scalar(select(func.count()).select_from(table)) == 0, table.fullname
        ended = select(AuditLog.action).where(AuditLog.entity_id == organisation.tenant_id).order_by(AuditLog.sequence)
        assert "tenant_deleted" in list(await session.scalars(ended))
        assert (await check_chain(session)).fault is None
