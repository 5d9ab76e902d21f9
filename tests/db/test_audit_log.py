"""What the audit log says of a change: enough to know what happened, never words that someone wrote."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.locate import owner_url
from db.models import (
    AuditLog,
    DataExport,
    DeletionRecord,
    DeletionRequest,
    Entitlement,
    LegalHold,
    RetentionPolicy,
    Tenant,
    TenantLlmConfig,
    TenantQuota,
    User,
)
from db.provision import to_libpq_url
from db.session import Principal, request_context, tenant_session
from domain.audit_chain import check_chain
from domain.governance import record_event
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def last(organisation: Organisation, count: int = 1) -> list[AuditLog]:
    async with tenant_session(organisation.system) as session:
        assert (await check_chain(session)).fault is None
        return list(await session.scalars(select(AuditLog).order_by(AuditLog.sequence.desc()).limit(count)))[::-1]


PERSONAL = (
    "Amina Wanjiku",
    "2001-09-11",
    "0198c0de-0000-7000-8000-000000000001",
    "2026-01-01T10:00:00+00:00",
    "42",
    "true",
)
"""Words, and words that look like the values the log keeps."""


@pytest.mark.parametrize("words", PERSONAL)
async def test_words_never_get_in(organisation: Organisation, words: str) -> None:
    person = require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == person).values(full_name=words, username=words))
        await session.execute(update(Tenant).values(name=words, metadata_={"about": words, words: [words]}))
        await session.execute(
            insert(Entitlement).values(
                tenant_id=organisation.tenant_id, tier="basic", feature="search", limits={"who": words}
            )
        )
    rows = await last(organisation, 3)
    assert [row.action for row in rows] == ["user_updated", "tenant_updated", "entitlement_created"]
    assert rows[0].changes == {"full_name": "changed", "username": "changed"}
    assert rows[1].changes == {"name": "changed", "metadata": "changed"}
    assert rows[2].changes is not None
    assert set(rows[2].changes) == {"tier", "feature", "enabled"}
    for row in rows:
        assert words not in json.dumps([row.description, row.metadata_]), "the log told it elsewhere"


async def test_ten_megabytes_leave_a_small_row(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(name="x" * 10_000_000))
        await session.execute(update(Tenant).values(name="y" * 10_000_000))
    for row in await last(organisation, 2):
        assert row.changes == {"name": "changed"}


async def test_values_that_tell_no_words_are_kept(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(status="suspended", retention_days=400))
        await session.execute(update(Tenant).values(status="suspended"))
        await session.execute(update(Tenant).values(updated_at=func.now()))
    (row,) = await last(organisation)
    assert row.action == "tenant_updated"
    assert row.entity_id == organisation.tenant_id
    assert row.changes == {"status": ["active", "suspended"], "retention_days": [None, 400]}
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(status="active"))


async def test_odd_numbers_and_empty_words(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        provider = await session.scalar(text("SELECT id FROM platform.llm_providers LIMIT 1"))
        await session.execute(
            insert(TenantLlmConfig).values(
                tenant_id=organisation.tenant_id, provider_id=provider, model_name="", priority=2**31 - 1
            )
        )
    (row,) = await last(organisation)
    assert row.changes is not None
    assert row.changes["model_name"] == [None, ""]
    assert row.changes["priority"] == [None, 2**31 - 1]


async def test_row_without_an_id_is_named_by_its_key(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(insert(TenantQuota).values(tenant_id=organisation.tenant_id, max_tokens_per_day=5))
        await session.execute(update(TenantQuota).values(max_tokens_per_day=None))
    made, changed = await last(organisation, 2)
    assert made.entity_id == changed.entity_id == organisation.tenant_id
    assert changed.changes == {"max_tokens_per_day": [5, None]}


async def test_cascade_names_what_went_with_it(organisation: Organisation) -> None:
    person = require_id(organisation.evaluator)
    async with tenant_session(organisation.system) as session:
        before = await session.scalar(select(func.max(AuditLog.sequence)))
        await session.execute(
            text(
                "INSERT INTO identity.api_keys (tenant_id, user_id, name, hashed_key) "
                "VALUES (:tenant, :person, 'mine', 'abc')"
            ),
            {"tenant": organisation.tenant_id, "person": person},
        )
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(User).where(User.id == person))
    async with tenant_session(organisation.compliance) as session:
        actions = list(await session.scalars(select(AuditLog.action).where(AuditLog.sequence > before)))
    assert {"user_deleted", "api_key_created", "api_key_deleted"} <= set(actions)


async def test_request_is_noted_and_never_in_the_way(organisation: Organisation) -> None:
    request = str(uuid4())
    good = {"request_id": request, "ip_address": "2001:db8::7", "user_agent": "curl/8"}
    for context in (
        good, {"request_id": "none of yours", "ip_address": "testclient", "user_agent": "x" * 100_000}, {},
    ):  # fmt: skip
        token = request_context.set(context)
        try:
            async with tenant_session(organisation.system) as session:
                await session.execute(update(Tenant).values(retention_days=func.coalesce(Tenant.retention_days, 0) + 1))
        finally:
            request_context.reset(token)
    noted, odd, none = await last(organisation, 3)
    assert (str(noted.request_id), str(noted.ip_address), noted.user_agent) == (request, "2001:db8::7", "curl/8")
    assert (odd.request_id, odd.ip_address) == (None, None)
    assert odd.user_agent == "x" * 500
    assert (none.request_id, none.ip_address, none.user_agent) == (None, None, None)


async def test_actor_is_who_is_bound(organisation: Organisation) -> None:
    async with tenant_session(organisation.compliance) as session:
        await record_event(
            session, action="pii_accessed", entity_type="user_profile", entity_id=uuid4(), severity="warning"
        )
    (row,) = await last(organisation)
    assert (row.actor_id, row.actor_role) == (organisation.compliance.user_id, "compliance")
    assert (row.entity_schema, row.entity_type, row.severity) == ("identity", "user_profile", "warning")
    with pytest.raises(DBAPIError, match="severity"):
        async with tenant_session(organisation.system) as session:
            await record_event(session, action="x", severity="dire")  # type: ignore[arg-type]  # on purpose


@pytest.fixture
def superuser(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        yield connection


async def test_maintenance_by_nobody_is_noted(superuser: psycopg.Connection, organisation: Organisation) -> None:
    """A superuser at the console binds no one; the change still goes through and into the chain."""
    superuser.execute("UPDATE platform.tenants SET retention_days = 77 WHERE id = %s", [organisation.tenant_id])
    superuser.execute("UPDATE identity.users SET phone_verified = true WHERE id = %s", [organisation.evaluator.user_id])
    tenant, user = await last(organisation, 2)
    assert (tenant.action, tenant.actor_role, tenant.actor_id) == ("tenant_updated", "owner", None)
    assert tenant.metadata_ == {"database_role": "postgres"}
    assert user.changes == {"phone_verified": [False, True]}


async def test_one_statement_over_tenants_notes_each_in_its_own_chain(
    superuser: psycopg.Connection, organisation: Organisation
) -> None:
    other = Principal(uuid4(), "system")
    async with tenant_session(other) as session:
        session.add(Tenant(id=other.tenant_id, slug=f"org-{other.tenant_id.hex[:12]}", name="Other"))
    superuser.execute(
        "UPDATE platform.tenants SET retention_days = 55 WHERE id = ANY (%s)",
        [[organisation.tenant_id, other.tenant_id]],
    )
    (row,) = await last(organisation)
    assert row.changes == {"retention_days": [None, 55]}
    async with tenant_session(other) as session:
        state = await check_chain(session)
        assert state.fault is None
        newest = await session.scalar(select(AuditLog).where(AuditLog.sequence == state.length))
        assert newest is not None
        assert newest.entity_id == other.tenant_id


async def test_bulk_load_as_replica_leaves_the_log_alone(
    superuser: psycopg.Connection, organisation: Organisation
) -> None:
    before = await last(organisation)
    superuser.execute("SET session_replication_role = replica")
    superuser.execute("UPDATE platform.tenants SET retention_days = 66 WHERE id = %s", [organisation.tenant_id])
    assert [row.sequence for row in await last(organisation)] == [row.sequence for row in before]


async def test_new_tenant_has_the_seed_s_retention(organisation: Organisation) -> None:
    async with tenant_session(organisation.compliance) as session:
        rows = {(row.data_type, row.action): row.days for row in await session.scalars(select(RetentionPolicy))}
        assert rows["messages", "delete"] == 365
        assert rows["notifications", "delete"] == 90
        assert ("transactions", "delete") not in rows
        await session.execute(update(RetentionPolicy).where(RetentionPolicy.data_type == "messages").values(days=30))
    for values in (
        {"data_type": "transactions", "action": "delete", "days": 9000},
        {"data_type": "coffee", "action": "delete", "days": 9},
    ):
        with pytest.raises(DBAPIError, match="check constraint"):
            async with tenant_session(organisation.compliance) as session:
                await session.execute(insert(RetentionPolicy).values(tenant_id=organisation.tenant_id, **values))
    with pytest.raises(DBAPIError, match="log_stays"):
        async with tenant_session(organisation.compliance) as session:
            await session.execute(
                update(RetentionPolicy).where(RetentionPolicy.data_type == "audit_logs").values(days=1)
            )
    async with tenant_session(organisation.admin) as session:
        assert await session.scalar(select(func.count()).select_from(RetentionPolicy)) == len(rows)
        changed = await session.execute(update(RetentionPolicy).values(days=9000))
        assert changed.rowcount == 0  # type: ignore[attr-defined]  # a cursor result
    async with tenant_session(organisation.coach_a) as session:
        assert await session.scalar(select(func.count()).select_from(RetentionPolicy)) == 0


def ask_erasure(person: Principal, subject: UUID, **more: Any) -> Any:
    return insert(DeletionRequest).values(
        tenant_id=person.tenant_id, user_id=subject, requested_by=person.user_id, subject_id=subject, **more
    )


async def test_people_ask_for_their_own_erasure_only(organisation: Organisation) -> None:
    me, other = require_id(organisation.client_a), require_id(organisation.client_b)
    async with tenant_session(organisation.client_a) as session:
        await session.execute(ask_erasure(organisation.client_a, me))
    for statement in (
        ask_erasure(organisation.client_a, other),
        ask_erasure(organisation.client_a, me, subject_kind="tenant"),
        ask_erasure(organisation.client_a, me, status="verified", verified_at=datetime.now(UTC)),
    ):
        with pytest.raises(DBAPIError, match=r"row-level security|for the tenant it is in|can not begin"):
            async with tenant_session(organisation.client_a) as session:
                await session.execute(statement)
    with pytest.raises(Exception, match="stored already"):
        async with tenant_session(organisation.client_a) as session:
            await session.execute(ask_erasure(organisation.client_a, me))
    seen = {}
    for name, person in organisation.people.items():
        async with tenant_session(person) as session:
            seen[name] = await session.scalar(select(func.count()).select_from(DeletionRequest))
            await session.execute(
                update(DeletionRequest).values(
                    status="verified", verified_at=func.now(), verified_by=person.user_id,
                    verification_method="signed_in",
                )
            )  # fmt: skip
    assert {name for name, count in seen.items() if count} == {"client_a", "compliance"}
    (row,) = await last(organisation)
    assert (row.action, row.actor_id) == ("deletion_request_updated", organisation.compliance.user_id)
    async with tenant_session(organisation.compliance) as session:
        request = (await session.scalars(select(DeletionRequest))).one()
    assert request.due_at - request.requested_at == timedelta(days=30)


async def test_receipts_stay_as_they_are(organisation: Organisation) -> None:
    receipt = {
        "tenant_id": organisation.tenant_id, "subject_kind": "person", "subject_id": uuid4(),
        "stores": {"rag": {"rows": 3, "sha256": "00"}}, "started_at": datetime.now(UTC),
        "completed_at": datetime.now(UTC), "signing_key": "k1", "signature": b"s",
    }  # fmt: skip
    async with tenant_session(organisation.system) as session:
        await session.execute(insert(DeletionRecord).values(receipt))
    for statement in (update(DeletionRecord).values(signature=b"x"), delete(DeletionRecord)):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with tenant_session(organisation.system) as session:
                await session.execute(statement)
    for name, person in organisation.people.items():
        async with tenant_session(person) as session:
            count = await session.scalar(select(func.count()).select_from(DeletionRecord))
            assert count == (1 if name == "compliance" else 0), name


async def test_holds_and_exports_have_their_readers(organisation: Organisation) -> None:
    client, officer = require_id(organisation.client_a), require_id(organisation.compliance)
    async with tenant_session(organisation.compliance) as session:
        await session.execute(
            insert(LegalHold).values(
                tenant_id=organisation.tenant_id, subject_kind="person", subject_id=client, reason="A court asked.",
                placed_by=officer,
            )
        )  # fmt: skip
    (row,) = await last(organisation)
    assert row.action == "legal_hold_created"
    assert "court" not in json.dumps(row.changes)
    async with tenant_session(organisation.client_a) as session:
        await session.execute(
            insert(DataExport).values(tenant_id=organisation.tenant_id, user_id=client, requested_by=client)
        )
        assert await session.scalar(select(func.count()).select_from(LegalHold)) == 0
    for person in (organisation.client_b, organisation.coach_a, organisation.admin):
        async with tenant_session(person) as session:
            assert await session.scalar(select(func.count()).select_from(DataExport)) == 0
            assert await session.scalar(select(func.count()).select_from(LegalHold)) == 0
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(organisation.coach_a) as session:
            await session.execute(
                insert(DataExport).values(tenant_id=organisation.tenant_id, user_id=client, requested_by=client)
            )
    with pytest.raises(DBAPIError, match="permission denied"):
        async with tenant_session(organisation.compliance) as session:
            await session.execute(delete(LegalHold))
