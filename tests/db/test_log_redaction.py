"""A person's traces leave the audit log with them, and the log still proves everything else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.locate import owner_url
from db.models import AuditLog, DeletionRecord, DeletionRequest
from db.provision import to_libpq_url
from db.session import Principal, request_context, tenant_session
from domain import audit_chain
from domain.audit_chain import ChainState, check_chain
from domain.governance import record_event
from domain.redaction import redact_entries
from tests.db.test_audit_chain import forgotten, unsealed
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

__all__ = ["forgotten"]

CONTEXT = {"request_id": str(uuid4()), "ip_address": "203.0.113.9", "user_agent": "Amina's own phone"}


async def act(person: Principal, times: int = 1) -> None:
    """Leave entries that tell where and with what the person did something."""
    before = request_context.set(CONTEXT)
    try:
        async with tenant_session(person) as session:
            for number in range(times):
                await record_event(
                    session, action="export_read", description="Amina read it",
                    metadata={"address": "amina@example.org", "number": number},
                )  # fmt: skip
    finally:
        request_context.reset(before)


ENDED: dict[str, dict[str, object]] = {
    "completed": {"completed_at": text("now()")},
    "refused": {"refused_at": text("now()"), "refusal_reason": "none"},
}


async def demand(organisation: Organisation, person: UUID, kind: str = "person", status: str = "running") -> UUID:
    """Store a request and take it step by step to this status."""
    values: dict[str, object] = {
        "tenant_id": organisation.tenant_id,
        "user_id": None,
        "subject_kind": kind,
        "subject_id": person,
    }
    if status != "requested":
        values |= {"status": "verified", "verified_at": text("now()")}
    async with tenant_session(organisation.system) as session:
        found = await session.scalar(insert(DeletionRequest).values(values).returning(DeletionRequest.id))
        steps = {"running": ("running",), "completed": ("running", "completed"), "refused": ("refused",)}
        for step in steps.get(status, ()):
            ended = ENDED.get(step, {})
            change = update(DeletionRequest).where(DeletionRequest.id == found).values(status=step, **ended)
            await session.execute(change)
    assert found is not None
    return found


async def check(organisation: Organisation) -> ChainState:
    async with tenant_session(organisation.compliance) as session:
        return await check_chain(session)


async def list_entries(organisation: Organisation, action: str = "export_read") -> list[AuditLog]:
    async with tenant_session(organisation.system) as session:
        rows = await session.scalars(select(AuditLog).where(AuditLog.action == action).order_by(AuditLog.sequence))
        return list(rows)


@pytest.fixture
async def erased(organisation: Organisation) -> tuple[Organisation, UUID]:
    """An organisation of which client A was redacted, with the request's id."""
    await act(organisation.client_a, 3)
    await act(organisation.client_b, 2)
    person = require_id(organisation.client_a)
    request_id = await demand(organisation, person)
    assert await redact_entries(organisation.system, subject=person, request_id=request_id) == 3
    return organisation, request_id


async def test_traces_go_and_the_rest_stays(erased: tuple[Organisation, UUID]) -> None:
    organisation, request_id = erased
    entries = await list_entries(organisation)
    person = require_id(organisation.client_a)
    theirs = [one for one in entries if one.actor_id == person]
    assert [(e.ip_address, e.user_agent, e.description, e.metadata_) for e in theirs] == [
        (None, None, None, {"number": number}) for number in range(3)
    ]
    assert {e.request_id for e in theirs} == {UUID(CONTEXT["request_id"])}
    others = [one for one in entries if one.actor_id != person]
    assert len(others) == 2
    assert all(e.ip_address and e.user_agent and e.description and "address" in (e.metadata_ or {}) for e in others)
    (cover,) = await list_entries(organisation, "entries_redacted")
    assert cover.metadata_ is not None
    assert (cover.entity_id, cover.metadata_["entries"]) == (request_id, 3)
    assert [int(key) for key in sorted(cover.metadata_["remains"], key=int)] == [e.sequence for e in theirs]
    state = await check(organisation)
    assert state.fault is None
    assert state.checked == state.length
    again = await redact_entries(organisation.system, subject=person, request_id=request_id)
    assert again == 0
    assert len(await list_entries(organisation, "entries_redacted")) == 1


async def test_rows_that_waited_are_redacted_too(organisation: Organisation) -> None:
    before = request_context.set(CONTEXT)
    async with tenant_session(organisation.client_a, isolation="SERIALIZABLE") as session:
        await record_event(session, action="export_read")
    request_context.reset(before)
    person = require_id(organisation.client_a)
    request_id = await demand(organisation, person)
    assert await redact_entries(organisation.system, subject=person, request_id=request_id) == 1
    assert (await check(organisation)).fault is None


async def test_many_entries_go_in_batches(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.redaction.AT_ONCE", 700)
    await act(organisation.client_a, 1_500)
    person = require_id(organisation.client_a)
    request_id = await demand(organisation, person)
    ongoing = asyncio.gather(*(act(organisation.coach_a) for _ in range(10)))
    assert await redact_entries(organisation.system, subject=person, request_id=request_id) == 1_500
    await ongoing
    covers = await list_entries(organisation, "entries_redacted")
    assert [(c.metadata_ or {})["entries"] for c in covers] == [500, 200, 500, 200, 100]
    monkeypatch.setattr(audit_chain, "BATCH", 400)
    assert (await check(organisation)).fault is None


async def test_a_whole_organisation_is_redacted(organisation: Organisation) -> None:
    await act(organisation.client_a)
    await act(organisation.coach_b)
    request_id = await demand(organisation, organisation.tenant_id, kind="tenant")
    assert await redact_entries(organisation.system, subject=None, request_id=request_id) == 2
    assert (await check(organisation)).fault is None
    assert not [e for e in await list_entries(organisation) if e.ip_address or e.description]


REFUSALS = ("requested", "refused", "completed", "of another", "of nobody", "as a coach", "as compliance", "unnamed")


@pytest.mark.parametrize("case", REFUSALS)
async def test_nothing_is_redacted_without_a_running_request(organisation: Organisation, case: str) -> None:
    await act(organisation.client_a)
    subject: UUID | None = require_id(organisation.client_a)
    assert subject is not None
    whose = require_id(organisation.client_b) if case == "of another" else subject
    status = case if case in ("requested", "refused", "completed") else "running"
    request_id = await demand(organisation, whose, status=status)
    if case == "of nobody":
        request_id = uuid4()
    if case == "unnamed":
        subject = None
    principal = {"as a coach": organisation.coach_a, "as compliance": organisation.compliance}.get(
        case, organisation.system
    )
    with pytest.raises(DBAPIError) as refusal:
        async with tenant_session(principal) as session:
            await session.execute(
                text("SELECT governance.redact_entries(:subject, :request)"),
                {"subject": subject, "request": request_id},
            )
    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)
    assert all(e.ip_address for e in await list_entries(organisation))


async def test_another_organisation_s_request_redacts_nothing(organisation: Organisation) -> None:
    other = await found_organisation()
    await act(organisation.client_a)
    person = require_id(organisation.client_a)
    request_id = await demand(other, person)
    with pytest.raises(DBAPIError, match="only while their person is erased"):
        await redact_entries(organisation.system, subject=person, request_id=request_id)
    assert await redact_entries(other.system, subject=person, request_id=request_id) == 0
    assert all(e.ip_address for e in await list_entries(organisation))


@pytest.mark.parametrize("action", ["entries_redacted", "audit_month_anchored"])
async def test_nobody_tells_of_what_was_not_done(organisation: Organisation, action: str) -> None:
    with pytest.raises(DBAPIError) as refusal:
        async with tenant_session(organisation.system) as session:
            await record_event(session, action=action, metadata={"remains": {"3": "00"}})
    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)


@contextmanager
def owning(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        connection.execute("SET ROLE regenesis_owner")
        yield connection


@pytest.mark.parametrize(
    "change",
    [
        "ip_address = NULL, user_agent = NULL, description = NULL, metadata = governance.without_traces(metadata)",
        "ip_address = NULL", "description = 'fine'", "metadata = '{}'",
    ],
)  # fmt: skip
async def test_the_owner_blanks_nothing_by_hand(store: Settings, organisation: Organisation, change: str) -> None:
    await act(organisation.client_a)
    with owning(store) as connection, pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
        connection.execute(
            f"UPDATE governance.audit_logs SET {change} WHERE tenant_id = %s AND action = 'export_read'",
            [organisation.tenant_id],
        )


ATTACKS = {
    "a redacted row altered": ("UPDATE governance.audit_logs SET action = 'nothing' WHERE {theirs}", "altered"),
    "a redacted row given an address": (
        "UPDATE governance.audit_logs SET ip_address = '10.0.0.1' WHERE {theirs}", "altered",
    ),
    "a redacted row given another person": (
        "UPDATE governance.audit_logs SET actor_id = uuidv7() WHERE {theirs}", "altered",
    ),
    "a redacted row's number altered": (
        "UPDATE governance.audit_logs SET metadata = '{{\"number\": 9}}' WHERE {theirs}", "altered",
    ),
    "a redacted row's hash altered": ("UPDATE governance.audit_logs SET hash = sha256('x') WHERE {theirs}", "removed"),
    "a redacted row removed": ("DELETE FROM governance.audit_logs WHERE {theirs}", "removed"),
    "blanked without an entry": (
        ("UPDATE governance.audit_logs SET ip_address = NULL, user_agent = NULL, description = NULL, "
        "metadata = governance.without_traces(metadata) WHERE {others}"), "altered",
    ),
    "the entry that tells removed": (
        "DELETE FROM governance.audit_logs WHERE action = 'entries_redacted' AND tenant_id = %(tenant)s", "altered",
    ),
    "the entry that tells altered to cover it": (
        ("UPDATE governance.audit_logs SET action = 'nothing' WHERE {theirs}; "
        "UPDATE governance.audit_logs c SET metadata = jsonb_set(metadata, '{{remains}}', (SELECT jsonb_object_agg("
        "a.sequence, governance.hash_remains(a)) FROM governance.audit_logs a WHERE {theirs})) "
        "WHERE c.action = 'entries_redacted' AND c.tenant_id = %(tenant)s"), "altered",
    ),
    "the request it names gone": (
        "DELETE FROM governance.deletion_requests WHERE tenant_id = %(tenant)s", "altered",
    ),
}  # fmt: skip
THEIRS = "action = 'export_read' AND tenant_id = %(tenant)s AND actor_id = %(person)s"


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("batch", [4, 50_000])
async def test_check_tells_a_redaction_from_an_alteration(
    store: Settings, forgotten: Organisation, attack: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = forgotten
    monkeypatch.setattr(audit_chain, "BATCH", batch)
    await act(organisation.client_a)
    await act(organisation.client_b)
    await act(organisation.client_b)
    person, other = require_id(organisation.client_a), require_id(organisation.client_b)
    request_id = await demand(organisation, person)
    assert await redact_entries(organisation.system, subject=person, request_id=request_id) == 1
    await act(organisation.client_b)
    assert (await check(organisation)).fault is None
    statement, wrong = ATTACKS[attack]
    with unsealed(store) as connection:
        connection.execute("SET session_replication_role = replica")
        for part in statement.format(theirs=THEIRS, others=THEIRS.replace("person", "other")).split("; "):
            values = {"tenant": organisation.tenant_id, "person": person, "other": other}
            assert connection.execute(part, values).rowcount > 0
    fault = (await check(organisation)).fault
    assert fault is not None
    assert fault.wrong == wrong, fault.detail
    entries = await list_entries(organisation)
    places = {e.sequence for e in entries}
    assert fault.sequence in places | {place + 1 for place in places} | {min(places, default=1) - 1}


async def test_a_forged_entry_is_no_cover(store: Settings, forgotten: Organisation) -> None:
    """Not even one that the chain holds, as it names no request to erase that there ever was."""
    organisation = forgotten
    await act(organisation.client_a)
    (entry,) = await list_entries(organisation)
    with unsealed(store) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE governance.audit_logs a SET (ip_address, user_agent, description, metadata, action) = "
            "(NULL, NULL, NULL, NULL, 'nothing') WHERE tenant_id = %s AND sequence = %s",
            [organisation.tenant_id, entry.sequence],
        )
        found = connection.execute(
            "SELECT governance.hash_remains(a) FROM governance.audit_logs a WHERE tenant_id = %s AND sequence = %s",
            [organisation.tenant_id, entry.sequence],
        ).fetchone()
        assert found is not None
    with psycopg.connect(to_libpq_url(owner_url(store))) as connection:
        told = {"subject": str(entry.actor_id), "entries": 1, "remains": {str(entry.sequence): found[0]}}
        connection.execute(
            "INSERT INTO governance.audit_pending (tenant_id, transaction_id, actor_role, action, entity_id, metadata, "
            "waits) VALUES (%s, txid_current(), 'system', 'entries_redacted', %s, %s, false)",
            [organisation.tenant_id, uuid4(), Jsonb(told)],
        )
    fault = (await check(organisation)).fault
    assert fault is not None
    assert (fault.sequence, fault.wrong) == (entry.sequence, "altered")


async def test_receipt_takes_the_place_of_the_request(store: Settings, erased: tuple[Organisation, UUID]) -> None:
    organisation, request_id = erased
    async with tenant_session(organisation.system) as session:
        session.add(
            DeletionRecord(
                tenant_id=organisation.tenant_id, request_id=request_id, subject_kind="person",
                subject_id=require_id(organisation.client_a), stores={}, started_at=text("now()"),
                completed_at=text("now()"), signing_key="k", signature=b"s",
            )
        )  # fmt: skip
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM governance.deletion_requests WHERE id = %s", [request_id])
    assert (await check(organisation)).fault is None


async def test_app_reaches_no_part_of_it(organisation: Organisation) -> None:
    for statement in (
        "UPDATE governance.audit_logs SET ip_address = NULL",
        (
            "INSERT INTO governance.audit_anchors (tenant_id, sequence, first_sequence, month, previous_hash, hash) "
            "VALUES (current_setting('app.tenant_id')::uuid, 3, 1, '2020-01-01', '', '')"
        ),
        "DELETE FROM governance.audit_anchors",
        "SELECT governance.anchor_month('2020-01-01')",
    ):
        person = organisation.compliance if "anchor_month" in statement else organisation.system
        with pytest.raises(DBAPIError) as refusal:
            async with tenant_session(person) as session:
                await session.execute(text(statement))
        assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege), statement
