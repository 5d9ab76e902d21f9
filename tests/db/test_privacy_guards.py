"""Requests, holds and exports keep their rules against the app's own role, whatever the domain would ask first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from db.models import DataExport, DeletionRequest, LegalHold, Tenant, User
from db.session import Principal, tenant_session
from domain.privacy import list_covering_holds, place_hold, release_hold, request_erasure
from tests.factories.people import Organisation, found_organisation
from tests.factories.privacy import add_officer
from tests.factories.sessions import require_id, store_document, store_session

TURNS = [("coach", "How was the week?"), ("client", "I handed over the pager.")]


REFUSALS = (
    r"row-level security|check constraint|never changes|says (so|who)|can not (begin|go|take)|(for|on) the tenant|"
    r"begins as|once"
)


async def ask(
    organisation: Organisation, *, by: Principal | None = None, kind: str = "person", subject: UUID | None = None
) -> UUID:
    by = by or organisation.client_a
    async with tenant_session(by) as session:
        request = await request_erasure(session, by, kind=kind, subject_id=subject or require_id(by))  # type: ignore[arg-type]  # one of the kinds
        return request.id


async def hold(organisation: Organisation, kind: str, subject: UUID) -> UUID:
    async with tenant_session(organisation.compliance) as session:
        return (await place_hold(session, organisation.compliance, kind=kind, subject_id=subject, reason="Court.")).id  # type: ignore[arg-type]  # one of the kinds


async def change(by: Principal, request_id: UUID, **values: Any) -> int:
    async with tenant_session(by) as session:
        done = await session.execute(update(DeletionRequest).where(DeletionRequest.id == request_id).values(**values))
        return done.rowcount  # type: ignore[attr-defined, no-any-return]  # a cursor result


def verified(by: Principal, **values: Any) -> dict[str, Any]:
    return {
        "status": "verified", "verified_by": by.user_id, "verified_at": func.now(), "verification_method": "document",
        **values,
    }  # fmt: skip


@asynccontextmanager
async def refused(by: Principal, match: str = REFUSALS) -> AsyncIterator[AsyncSession]:
    with pytest.raises((DBAPIError, AppError), match=match):
        async with tenant_session(by) as session:
            yield session


async def test_steps_follow_one_another(organisation: Organisation) -> None:
    request_id = await ask(organisation)
    system, officer = organisation.system, organisation.compliance
    for status in ("running", "completed", "failed"):
        with pytest.raises(DBAPIError, match=r"can not go from|check constraint"):
            await change(system, request_id, status=status, completed_at=func.now())
    assert await change(officer, request_id, **verified(officer)) == 1
    for status in ("requested", "completed"):
        with pytest.raises(DBAPIError, match=r"can not go from|check constraint"):
            await change(system, request_id, status=status)
    for status in ("running", "failed", "running", "completed"):
        await change(system, request_id, status=status, completed_at=func.now() if status == "completed" else None)
    for status in ("requested", "running", "failed", "refused"):
        with pytest.raises(DBAPIError, match=r"can not go from|check constraint|never changes"):
            await change(system, request_id, status=status, completed_at=None)
    with pytest.raises(DBAPIError, match=REFUSALS):
        await change(officer, request_id, **verified(officer, completed_at=None))
    # what a restored backup brought back is erased again
    assert await change(system, request_id, status="verified", completed_at=None) == 1


async def test_officers_take_only_their_own_steps(organisation: Organisation) -> None:
    request_id = await ask(organisation)
    officer = organisation.compliance
    other = await add_officer(organisation)
    for values in (
        {"status": "running"},
        {"status": "completed", "completed_at": func.now()},
        verified(officer, verification_method="operator"),
        verified(officer, verification_method="retention"),
        verified(officer, verification_method=None, verified_at=None),
        verified(officer, verified_by=other.user_id),
        verified(officer, verified_by=None),
        verified(officer, subject_id=uuid4()),
        verified(officer, requested_by=other.user_id),
        verified(officer, due_at=func.now() + timedelta(days=365)),
        {"status": "refused", "refused_at": func.now(), "refusal_reason": "No."},
        {"status": "refused", "refused_at": func.now(), "refusal_reason": "No.", "refused_by": other.user_id},
        {"status": "refused", "refused_at": func.now(), "refused_by": officer.user_id},
        {
            "status": "refused", "refused_at": func.now(), "refused_by": officer.user_id, "refusal_reason": "No.",
            "verified_by": other.user_id, "verified_at": func.now(), "verification_method": "in_person",
        },
        {"refusal_reason": "No."},
        {"requested_by": None},
        {"user_id": None},
        {"reason": "They wanted it"},
        {"due_at": func.now() + timedelta(days=365)},
        {"requested_at": func.now() - timedelta(days=1)},
        {"verified_by": officer.user_id, "verified_at": func.now(), "verification_method": "in_person"},
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match=REFUSALS):
            await change(officer, request_id, **values)
    for name, person in organisation.people.items():
        if name != "compliance":
            assert await change(person, request_id, **verified(person)) == 0, name
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await change(officer, request_id, **verified(officer, verified_at=long_ago))
    async with tenant_session(officer) as session:
        row = (await session.scalars(select(DeletionRequest))).one()
    assert row.verified_at is not None
    assert row.verified_at > long_ago
    for values in ({"verified_by": None}, {"verified_by": other.user_id}, {"verification_method": "call_back"}):
        with pytest.raises(DBAPIError, match=REFUSALS):
            await change(officer, request_id, **values)
    await change(organisation.system, request_id, status="running")
    with pytest.raises(DBAPIError, match="can not take"):
        await change(
            officer, request_id, status="refused", refused_at=func.now(), refused_by=officer.user_id,
            refusal_reason="Stop.",
        )  # fmt: skip


async def test_officers_ask_in_their_own_name_and_begin_at_the_beginning(organisation: Organisation) -> None:
    officer, other = organisation.compliance, await add_officer(organisation)
    client = require_id(organisation.client_a)
    honest = {
        "tenant_id": organisation.tenant_id, "subject_kind": "person", "subject_id": client, "user_id": client,
        "requested_by": officer.user_id,
    }  # fmt: skip
    for values in (
        {"requested_by": other.user_id},
        {"requested_by": None},
        {"user_id": None},
        {"user_id": require_id(organisation.client_b)},
        {"verified_at": func.now(), "verification_method": "document"},
        {
            "status": "verified",
            "verified_at": func.now(),
            "verification_method": "document",
            "verified_by": other.user_id,
        },
        {"subject_kind": "tenant", "user_id": None},
        {"subject_kind": "tenant", "user_id": None, "subject_id": uuid4()},
    ):
        async with refused(officer) as session:
            await session.execute(insert(DeletionRequest).values(**honest | values))
    async with tenant_session(officer) as session:
        await session.execute(
            insert(DeletionRequest).values(**honest, due_at=func.now() + timedelta(days=900), requested_at=func.now())
        )
        row = (await session.scalars(select(DeletionRequest))).one()
        assert row.due_at - row.requested_at == timedelta(days=30)


@pytest.mark.parametrize("kind", ["person", "session", "document", "tenant"])
async def test_nobody_verifies_what_they_asked_for(organisation: Organisation, kind: str) -> None:
    officer, other = organisation.compliance, await add_officer(organisation)
    stored = await store_session(organisation, TURNS)
    async with tenant_session(organisation.system) as session:
        meeting = await session.scalar(text("SELECT id FROM coaching.coaching_sessions"))
    subject = {
        "person": require_id(organisation.client_a), "session": meeting, "document": stored.object_id,
        "tenant": organisation.tenant_id,
    }[kind]  # fmt: skip
    request_id = await ask(organisation, by=officer, kind=kind, subject=subject)
    with pytest.raises(DBAPIError, match="another than asked"):
        await change(officer, request_id, **verified(officer))
    # forgetting who asked does not help while they are there
    with pytest.raises(DBAPIError, match="never changes"):
        await change(officer, request_id, **verified(officer, requested_by=None))
    await change(other, request_id, **verified(other))


async def test_officers_do_not_verify_their_own_erasure(organisation: Organisation) -> None:
    officer, other = organisation.compliance, await add_officer(organisation)
    own = await ask(organisation, by=officer)
    of_other = await ask(organisation, by=other, subject=require_id(organisation.client_a))
    with pytest.raises(DBAPIError, match="another than asked"):
        await change(officer, own, **verified(officer))
    by_other = await ask(organisation, by=organisation.compliance, subject=require_id(other))
    with pytest.raises(DBAPIError, match="another than asked"):
        await change(other, by_other, **verified(other))
    await change(officer, of_other, **verified(officer))


async def test_people_who_go_leave_their_requests_without_a_name(organisation: Organisation) -> None:
    gone = await add_officer(organisation, "leaving")
    request_id = await ask(organisation, by=gone, subject=require_id(organisation.client_a))
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(User).where(User.id == gone.user_id))
    async with tenant_session(organisation.compliance) as session:
        row = (await session.scalars(select(DeletionRequest).where(DeletionRequest.id == request_id))).one()
        assert row.requested_by is None
    await change(organisation.compliance, request_id, **verified(organisation.compliance))


async def describe(organisation: Organisation) -> dict[str, tuple[str, UUID]]:
    """Store a session of coach_a with client_a, one of coach_b with client_c, and a document of client_a."""
    first = await store_session(organisation, TURNS, coach=organisation.coach_a, client=organisation.client_a)
    second = await store_session(organisation, TURNS, coach=organisation.coach_b, client=organisation.client_c)
    paper = await store_document(organisation, ["A plan."], client=organisation.client_a, coach=organisation.coach_a)
    async with tenant_session(organisation.system) as session:
        meetings = dict(
            (await session.execute(text("SELECT client_id, id FROM coaching.coaching_sessions"))).tuples().all()
        )
    return {
        "client": ("person", require_id(organisation.client_a)),
        "coach": ("person", require_id(organisation.coach_a)),
        "session": ("session", meetings[organisation.client_a.user_id]),
        "transcript": ("document", first.source_id),
        "object": ("document", first.object_id),
        "paper": ("document", paper.source_id),
        "other client": ("person", require_id(organisation.client_c)),
        "other coach": ("person", require_id(organisation.coach_b)),
        "other session": ("session", meetings[organisation.client_c.user_id]),
        "other transcript": ("document", second.source_id),
        "bystander": ("person", require_id(organisation.client_b)),
        "tenant": ("tenant", organisation.tenant_id),
    }


ALL_OF_A = {"client", "coach", "session", "transcript", "object", "tenant"}
ALL_OF_C = {"other client", "other coach", "other session", "other transcript", "tenant"}
COVERED = {
    "client": ALL_OF_A | {"paper"},
    "coach": ALL_OF_A | {"paper"},
    "session": ALL_OF_A,
    "transcript": ALL_OF_A,
    "object": ALL_OF_A,
    "paper": {"client", "coach", "paper", "tenant"},
    "other client": ALL_OF_C,
    "other coach": ALL_OF_C,
    "other session": ALL_OF_C,
    "other transcript": ALL_OF_C,
    "bystander": {"bystander", "tenant"},
}


async def test_holds_cover_what_their_subject_is_made_of(organisation: Organisation) -> None:
    subjects = await describe(organisation)
    covered = {**COVERED, "tenant": set(subjects)}
    for held, expected in covered.items():
        hold_id = await hold(organisation, *subjects[held])
        async with tenant_session(organisation.compliance) as session:
            found = {name for name, subject in subjects.items() if await list_covering_holds(session, *subject)}
            assert found == expected, held
            await release_hold(session, organisation.compliance, hold_id)


@pytest.mark.parametrize("subject", ["client", "session", "transcript", "paper", "tenant"])
@pytest.mark.parametrize("held", ["client", "coach", "session", "transcript", "tenant", "bystander"])
async def test_nothing_is_verified_or_begun_under_a_hold(organisation: Organisation, subject: str, held: str) -> None:
    subjects = await describe(organisation)
    kind, subject_id = subjects[subject]
    officer, other = organisation.compliance, await add_officer(organisation)
    request_id = await ask(organisation, by=other, kind=kind, subject=subject_id)
    hold_id = await hold(organisation, *subjects[held])
    is_covered = subject in {**COVERED, "tenant": set(subjects)}[held]
    if is_covered:
        with pytest.raises(DBAPIError, match="legal hold"):
            await change(officer, request_id, **verified(officer))
        with pytest.raises(DBAPIError, match="legal hold"):
            await change(organisation.system, request_id, status="verified")
        async with tenant_session(officer) as session:
            await release_hold(session, officer, hold_id)
    await change(officer, request_id, **verified(officer))
    if is_covered:
        await hold(organisation, *subjects[held])
        with pytest.raises(DBAPIError, match="legal hold"):
            await change(organisation.system, request_id, status="running")
    else:
        await change(organisation.system, request_id, status="running")


async def test_pipelines_meet_holds_too_when_they_ask(organisation: Organisation) -> None:
    client = require_id(organisation.client_a)
    await hold(organisation, "person", client)
    async with refused(organisation.system, "legal hold") as session:
        await session.execute(
            insert(DeletionRequest).values(
                tenant_id=organisation.tenant_id, subject_id=client, user_id=client, status="verified",
                verification_method="retention",
            )
        )  # fmt: skip


async def test_hold_and_verification_wait_for_each_other(organisation: Organisation) -> None:
    """Whichever comes second sees the first: never both a hold from before and a verified request."""
    officer = organisation.compliance
    for client in (organisation.client_a, organisation.client_b, organisation.client_c):
        request_id = await ask(organisation, by=client)
        entered, go = asyncio.Event(), asyncio.Event()

        async def place(client: Principal = client, entered: asyncio.Event = entered, go: asyncio.Event = go) -> None:
            async with tenant_session(officer) as session:
                await place_hold(session, officer, kind="person", subject_id=require_id(client), reason="Now.")
                entered.set()
                await go.wait()

        placing = asyncio.create_task(place())
        await entered.wait()
        verifying = asyncio.create_task(change(officer, request_id, **verified(officer)))
        await asyncio.sleep(0.2)
        assert not verifying.done()
        go.set()
        await placing
        with pytest.raises(DBAPIError, match="legal hold"):
            await verifying


async def test_holds_are_only_ever_released(organisation: Organisation) -> None:
    officer, other = organisation.compliance, await add_officer(organisation)
    client = require_id(organisation.client_a)
    hold_id = await hold(organisation, "person", client)
    values: dict[str, Any]
    for values in (
        {"reason": "Another"}, {"subject_id": require_id(organisation.client_b)}, {"subject_kind": "session"},
        {"placed_by": other.user_id}, {"placed_by": None}, {"placed_at": func.now() - timedelta(days=1)},
        {"released_at": func.now()}, {"released_at": func.now(), "released_by": other.user_id},
    ):  # fmt: skip
        async with refused(officer) as session:
            await session.execute(update(LegalHold).where(LegalHold.id == hold_id).values(**values))
    for name, person in organisation.people.items():
        if name != "compliance":
            async with tenant_session(person) as session:
                assert await session.scalar(select(func.count()).select_from(LegalHold)) == 0
                found = await session.scalar(
                    text("SELECT count(*) FROM governance.find_holds('person', :id)"), {"id": client}
                )
                assert found == 0, name
    for values in (
        {"placed_by": other.user_id}, {"placed_by": None},
        {"placed_by": officer.user_id, "released_by": officer.user_id, "released_at": func.now()},
        {"placed_by": officer.user_id, "subject_kind": "tenant"},
    ):  # fmt: skip
        async with refused(officer) as session:
            await session.execute(
                insert(LegalHold).values(
                    **{
                        "tenant_id": organisation.tenant_id,
                        "subject_kind": "person",
                        "subject_id": client,
                        "reason": "x",
                    }
                    | values
                )
            )
    async with tenant_session(officer) as session:
        await release_hold(session, officer, hold_id)
    for values in ({"released_at": None, "released_by": None}, {"released_by": None}, {"released_by": other.user_id}):
        async with refused(officer) as session:
            await session.execute(update(LegalHold).where(LegalHold.id == hold_id).values(**values))


async def test_open_hold_keeps_the_tenant_s_row(organisation: Organisation) -> None:
    hold_id = await hold(organisation, "person", require_id(organisation.client_a))
    async with refused(organisation.system, "legal hold") as session:
        await session.execute(delete(Tenant))
    async with tenant_session(organisation.compliance) as session:
        await release_hold(session, organisation.compliance, hold_id)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Tenant))


async def test_other_organisations_are_out_of_reach(organisation: Organisation) -> None:
    other = await found_organisation()
    client = require_id(other.client_a)
    await hold(other, "person", client)
    request_id = await ask(other)
    officer = organisation.compliance
    assert await change(officer, request_id, **verified(officer)) == 0
    async with tenant_session(officer) as session:
        assert not await list_covering_holds(session, "person", client)
        assert not await session.scalar(text("SELECT governance.subject_exists('person', :id)"), {"id": client})
    for table in (DeletionRequest, LegalHold):
        async with refused(officer, "row-level security|for the tenant|foreign key") as session:
            await session.execute(
                insert(table).values(
                    tenant_id=other.tenant_id, subject_kind="person", subject_id=client,
                    **({"reason": "x", "placed_by": officer.user_id} if table is LegalHold
                       else {"user_id": client, "requested_by": officer.user_id}),
                )
            )  # fmt: skip
    for function in ("list_material", "covering_holds"):
        async with refused(officer, "permission denied") as session:
            await session.execute(
                text(f"SELECT * FROM governance.{function}(:tenant, 'person', :id)"),
                {"tenant": other.tenant_id, "id": client},
            )


async def test_exports_begin_as_asked_for_and_are_made_by_the_pipelines(organisation: Organisation) -> None:
    officer, person = organisation.compliance, organisation.client_a
    client = require_id(person)
    honest = {"tenant_id": organisation.tenant_id, "user_id": client, "requested_by": client}
    values: dict[str, Any]
    ready: dict[str, Any] = {"status": "ready", "object_key": "x", "expires_at": func.now() + timedelta(days=1)}
    for by, values in (
        (person, ready), (person, {"user_id": require_id(organisation.client_b)}), (person, {"requested_by": None}),
        (person, {"object_key": "tenants/x"}), (person, {"expires_at": func.now()}), (officer, {}), (officer, ready),
        (organisation.coach_a, {"requested_by": require_id(organisation.coach_a)}), (organisation.system, ready),
    ):  # fmt: skip
        async with refused(by) as session:
            await session.execute(insert(DataExport).values(**honest | values))
    async with tenant_session(person) as session:
        await session.execute(insert(DataExport).values(**honest))
    async with refused(officer, "stored already") as session:
        await session.execute(insert(DataExport).values(**honest | {"requested_by": officer.user_id}))
    for by in (person, officer, organisation.admin):
        async with tenant_session(by) as session:
            done = await session.execute(update(DataExport).values(status="running"))
            assert done.rowcount == 0  # type: ignore[attr-defined]  # a cursor result
            gone = await session.execute(delete(DataExport))
            assert gone.rowcount == 0  # type: ignore[attr-defined]  # a cursor result
    async with tenant_session(organisation.system) as session:
        await session.execute(update(DataExport).values(status="running"))
        await session.execute(update(DataExport).values(**ready))
    for values in (
        {"status": "running"}, {"status": "requested"}, {"user_id": require_id(organisation.client_b)},
        {"expires_at": func.now() + timedelta(days=9)},
    ):  # fmt: skip
        async with refused(organisation.system) as session:
            await session.execute(update(DataExport).values(**values))
