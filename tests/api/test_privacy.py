"""Demands on one's data over HTTP: who may ask, who verifies, what a hold stops, and what is told to whom."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, text

from api.app import create_app
from core.settings import Settings
from db.models import AuditLog, DeletionRequest
from db.session import Principal, tenant_session
from domain.identity import issue_api_key
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer, Keys
from tests.factories.people import Organisation, found_organisation
from tests.factories.privacy import add_officer
from tests.factories.sessions import EMBEDDER, require_id, store_session

REQUESTS, HOLDS = "/v1/privacy/requests", "/v1/privacy/holds"
TURNS = [("coach", "How was the week?"), ("client", "I handed over the pager.")]


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


@pytest.fixture
async def second(organisation: Organisation, keys: Keys) -> Principal:
    """A second compliance officer, who calls as "second"."""
    officer = await add_officer(organisation, "second")
    async with tenant_session(organisation.system) as session:
        _, keys["second"] = await issue_api_key(session, user_id=require_id(officer), name="test")
    return officer


async def send(connect: Connect, person: str, path: str, expected: int = 200, **body: Any) -> dict[str, Any]:
    reply = await connect(person).post(path, json=body)
    assert reply.status_code == expected, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def read(connect: Connect, person: str, path: str, expected: int = 200, **query: Any) -> dict[str, Any]:
    reply = await connect(person).get(path, params=query)
    assert reply.status_code == expected, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_person_asks_and_officer_verifies(
    connect: Connect, organisation: Organisation, flow_server: FlowServer
) -> None:
    asked = await send(connect, "client_a", REQUESTS, 201)
    assert (asked["subject_kind"], asked["subject_id"]) == ("person", str(organisation.client_a.user_id))
    assert (asked["status"], asked["overdue"]) == ("requested", False)
    days = datetime.fromisoformat(asked["due_at"]) - datetime.fromisoformat(asked["requested_at"])
    assert days == timedelta(days=30)
    assert (await send(connect, "client_a", REQUESTS, 201))["id"] == asked["id"]
    path = f"{REQUESTS}/{asked['id']}"
    for person in ("client_a", "admin", "coach_a", "executive"):
        await send(connect, person, f"{path}/verify", 403, method="signed_in")
        await send(connect, person, f"{path}/refuse", 403, reason="No.")
        await send(connect, person, f"{path}/start", 403)
    await send(connect, "compliance", f"{path}/start", 409)
    assert not flow_server.started
    started = await send(connect, "compliance", f"{path}/verify", 202, method="signed_in")
    assert started["request"]["status"] == "verified"
    assert started["request"]["verified_by"] == str(organisation.compliance.user_id)
    assert started["request"]["verification_method"] == "signed_in"
    (run,) = flow_server.started
    assert run["parameters"] == {"tenant_id": str(organisation.tenant_id), "request_id": asked["id"]}
    # verifying again starts the same run, not another
    again = await send(connect, "compliance", f"{path}/verify", 202, method="signed_in")
    assert again["flow_run_id"] == started["flow_run_id"]
    anew = await send(connect, "compliance", f"{path}/start", 202)
    assert anew["flow_run_id"] != started["flow_run_id"]
    assert (await read(connect, "client_a", path))["status"] == "verified"
    async with tenant_session(organisation.compliance) as session:
        acts = list(
            await session.scalars(
                select(AuditLog.action).where(AuditLog.entity_id == UUID(asked["id"])).order_by(AuditLog.sequence)
            )
        )
    assert acts == ["erasure_requested", "erasure_verified"]


async def test_flow_server_away_keeps_what_was_verified(app: Any, connect: Connect, flow_server: FlowServer) -> None:
    asked = await send(connect, "client_a", REQUESTS, 201)
    flow_server.deployed = False
    path = f"{REQUESTS}/{asked['id']}"
    problem = await send(connect, "compliance", f"{path}/verify", 503, method="in_person")
    assert problem["code"] == "DeploymentMissing"
    assert (await read(connect, "compliance", path))["status"] == "verified"
    flow_server.deployed = True
    await send(connect, "compliance", f"{path}/verify", 202, method="in_person")
    assert len(flow_server.started) == 1


async def test_people_ask_for_themselves_only_and_see_only_theirs(connect: Connect, organisation: Organisation) -> None:
    other = str(organisation.client_b.user_id)
    for person in ("client_a", "coach_b", "admin"):
        problem = await send(connect, person, REQUESTS, 403, subject_id=other)
        assert problem["code"] == "OwnDataOnly"
        for kind, subject in (("tenant", None), ("session", str(uuid4())), ("document", str(uuid4()))):
            body = {"subject_kind": kind} | ({"subject_id": subject} if subject else {})
            await send(connect, person, REQUESTS, 403, **body)
    made = await send(connect, "compliance", REQUESTS, 201, subject_id=other, reason="A letter came.")
    mine = await send(connect, "client_a", REQUESTS, 201)
    assert [one["id"] for one in (await read(connect, "client_b", REQUESTS))["items"]] == [made["id"]]
    assert [one["id"] for one in (await read(connect, "client_a", REQUESTS))["items"]] == [mine["id"]]
    assert (await read(connect, "admin", REQUESTS))["items"] == []
    await read(connect, "client_a", f"{REQUESTS}/{made['id']}", 404)
    await read(connect, "admin", f"{REQUESTS}/{mine['id']}", 404)
    everyone = await read(connect, "compliance", REQUESTS)
    assert {one["id"] for one in everyone["items"]} == {mine["id"], made["id"]}


async def test_officer_asks_for_what_there_is(connect: Connect, organisation: Organisation) -> None:
    stored = await store_session(organisation, TURNS)
    async with tenant_session(organisation.system) as session:
        meeting = str(await session.scalar(text("SELECT id FROM coaching.coaching_sessions")))
    stranger = await found_organisation()
    for kind, subject in (
        ("person", str(uuid4())), ("person", str(stranger.client_a.user_id)), ("session", str(stored.object_id)),
        ("document", meeting), ("tenant", str(stranger.tenant_id)),
    ):  # fmt: skip
        problem = await send(connect, "compliance", REQUESTS, 404, subject_kind=kind, subject_id=subject)
        assert problem["code"] == "SubjectNotFound"
    for kind, subject in (
        ("session", meeting),
        ("document", str(stored.source_id)),
        ("document", str(stored.object_id)),
    ):
        await send(connect, "compliance", REQUESTS, 201, subject_kind=kind, subject_id=subject)
    whole = await send(connect, "compliance", REQUESTS, 201, subject_kind="tenant")
    assert whole["subject_id"] == str(organisation.tenant_id)
    assert len((await read(connect, "compliance", REQUESTS, subject_kind="document"))["items"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"subject_kind": "session"}, {"subject_kind": "document"}, {"subject_kind": "planet"}, {"subject_id": "me"},
        {"reason": "x" * 2001}, {"reason": "  "}, {"status": "verified"}, {"due_at": "2030-01-01T00:00:00Z"},
    ],
)  # fmt: skip
async def test_unusable_requests_are_refused(connect: Connect, body: dict[str, Any]) -> None:
    await send(connect, "compliance", REQUESTS, 422, **body)


async def test_four_eyes(
    connect: Connect, organisation: Organisation, second: Principal, flow_server: FlowServer
) -> None:
    for body in ({"subject_kind": "tenant"}, {"subject_id": str(organisation.client_a.user_id)}, {}):
        asked = await send(connect, "compliance", REQUESTS, 201, **body)
        path = f"{REQUESTS}/{asked['id']}/verify"
        problem = await send(connect, "compliance", path, 403, method="document")
        assert problem["code"] == "FourEyesNeeded"
        await send(connect, "second", path, 202, method="document")
    assert len(flow_server.started) == 3
    # whom it is about does not verify either, whoever asked
    about = await send(connect, "compliance", REQUESTS, 201, subject_id=str(second.user_id))
    await send(connect, "second", f"{REQUESTS}/{about['id']}/verify", 403, method="signed_in")


async def test_refusal_says_why(connect: Connect, organisation: Organisation, flow_server: FlowServer) -> None:
    asked = await send(connect, "client_a", REQUESTS, 201)
    path = f"{REQUESTS}/{asked['id']}"
    await send(connect, "compliance", f"{path}/refuse", 422)
    refused = await send(connect, "compliance", f"{path}/refuse", reason="We owe you a refund first.")
    assert (refused["status"], refused["refused_by"]) == ("refused", str(organisation.compliance.user_id))
    assert (await read(connect, "client_a", path))["refusal_reason"] == "We owe you a refund first."
    for step, body in (("verify", {"method": "signed_in"}), ("refuse", {"reason": "Again."}), ("start", {})):
        problem = await send(connect, "compliance", f"{path}/{step}", 409, **body)
        assert problem["code"] == "RequestStepRefused"
    assert not flow_server.started
    assert (await send(connect, "client_a", REQUESTS, 201))["id"] != asked["id"]


async def test_hold_stops_an_erasure_and_tells_compliance_why(
    connect: Connect, organisation: Organisation, flow_server: FlowServer
) -> None:
    client = str(organisation.client_a.user_id)
    asked = await send(connect, "client_a", REQUESTS, 201)
    path = f"{REQUESTS}/{asked['id']}"
    hold = await send(
        connect, "compliance", HOLDS, 201, subject_kind="person", subject_id=client, reason="Case 17 is open."
    )
    problem = await send(connect, "compliance", f"{path}/verify", 409, method="signed_in")
    assert problem["code"] == "SubjectHeld"
    assert "Case 17 is open." in problem["detail"]
    (shown,) = (await read(connect, "compliance", path))["holds"]
    assert (shown["id"], shown["reason"]) == (hold["id"], "Case 17 is open.")
    assert (await read(connect, "client_a", path))["holds"] == []
    assert not flow_server.started
    released = await send(connect, "compliance", f"{HOLDS}/{hold['id']}/release")
    assert released["released_by"] == str(organisation.compliance.user_id)
    await send(connect, "compliance", f"{HOLDS}/{hold['id']}/release", 409)
    await send(connect, "compliance", f"{path}/verify", 202, method="signed_in")
    await send(connect, "compliance", HOLDS, 201, subject_kind="tenant", subject_id=str(organisation.tenant_id),
               reason="All of it.")  # fmt: skip
    await send(connect, "compliance", f"{path}/start", 409)
    assert len(flow_server.started) == 1


async def test_only_compliance_sees_and_places_holds(connect: Connect, organisation: Organisation) -> None:
    body = {"subject_kind": "person", "subject_id": str(organisation.client_a.user_id), "reason": "A court asked."}
    for person in organisation.people:
        if person != "compliance":
            await send(connect, person, HOLDS, 403, **body)
            await read(connect, person, HOLDS, 403)
            await send(connect, person, f"{HOLDS}/{uuid4()}/release", 403)
    await send(connect, "compliance", HOLDS, 404, **(body | {"subject_id": str(uuid4())}))
    await send(connect, "compliance", HOLDS, 422, **(body | {"reason": ""}))
    await send(connect, "compliance", f"{HOLDS}/{uuid4()}/release", 404)
    made = [await send(connect, "compliance", HOLDS, 201, **body) for _ in range(3)]
    await send(connect, "compliance", f"{HOLDS}/{made[0]['id']}/release")
    page = await read(connect, "compliance", HOLDS, limit=2)
    rest = await read(connect, "compliance", HOLDS, limit=2, cursor=page["next_cursor"])
    assert [one["id"] for one in page["items"] + rest["items"]] == [one["id"] for one in reversed(made)]
    running = await read(connect, "compliance", HOLDS, open=True)
    assert {one["id"] for one in running["items"]} == {one["id"] for one in made[1:]}
    assert len((await read(connect, "compliance", HOLDS, open=False, subject_id=body["subject_id"]))["items"]) == 1
    async with tenant_session(organisation.compliance) as session:
        acts = list(
            await session.scalars(
                select(AuditLog.action).where(AuditLog.entity_id == UUID(made[0]["id"])).order_by(AuditLog.sequence)
            )
        )
    assert acts == ["legal_hold_placed", "legal_hold_released"]


async def test_overdue_requests_are_counted(connect: Connect, organisation: Organisation) -> None:
    await send(connect, "client_a", REQUESTS, 201)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    async with tenant_session(organisation.system) as session:
        for person, status in ((organisation.client_b, "requested"), (organisation.client_c, "verified")):
            await session.execute(
                insert(DeletionRequest).values(
                    tenant_id=organisation.tenant_id, user_id=require_id(person), subject_id=require_id(person),
                    requested_at=long_ago, due_at=long_ago + timedelta(days=30), status=status,
                )
            )  # fmt: skip
    everything = await read(connect, "compliance", REQUESTS)
    assert (len(everything["items"]), everything["overdue"]) == (3, 2)
    late = await read(connect, "compliance", REQUESTS, overdue=True, limit=1)
    assert (len(late["items"]), late["overdue"]) == (1, 2)
    more = await read(connect, "compliance", REQUESTS, overdue=True, limit=1, cursor=late["next_cursor"])
    assert all(one["overdue"] for one in late["items"] + more["items"])
    assert more["next_cursor"] is None
    in_time = await read(connect, "compliance", REQUESTS, overdue=False)
    assert [one["overdue"] for one in in_time["items"]] == [False]
    assert (await read(connect, "client_b", REQUESTS))["overdue"] == 1
    assert (await read(connect, "client_a", REQUESTS))["overdue"] == 0
    verified = await read(connect, "compliance", REQUESTS, status="verified")
    assert [one["verification_method"] for one in verified["items"]] == ["operator"]
