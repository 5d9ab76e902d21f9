"""Notifications, webhooks and the outbox over HTTP."""

from uuid import uuid4

import pytest
from httpx import AsyncClient

from db.session import tenant_session
from domain.comms import notify, publish
from domain.identity import SCOPES, issue_api_key
from domain.outbox import Message
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.messages import Handled, Registry
from pipelines.outbox.webhooks import handle_event
from tests.api.conftest import Connect
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

HOOK = {"url": "https://receiver.example/hook", "events": ["session.booked"]}


async def tell(organisation: Organisation, count: int, kind: str = "news") -> None:
    async with tenant_session(organisation.system) as session:
        for number in range(count):
            await notify(
                session, user_id=require_id(organisation.client_a), kind=kind, title=f"News {number}", message="Words."
            )


@pytest.fixture
async def admin(organisation: Organisation, connect: Connect) -> AsyncClient:
    """The administrator with a key for administration."""
    async with tenant_session(organisation.system) as session:
        user_id = require_id(organisation.admin)
        _, key = await issue_api_key(session, user_id=user_id, name="administration", scopes=SCOPES)
    return connect(key)


async def refuse(_: Message) -> Handled:
    return Handled(error="Nobody answers.", give_up=True)


async def test_notifications_are_listed_read_and_counted(organisation: Organisation, connect: Connect) -> None:
    await tell(organisation, 3)
    await tell(organisation, 1, "certificate")
    me, someone = connect("client_a"), connect("client_b")
    first = (await me.get("/v1/notifications", params={"limit": 3})).json()
    rest = (await me.get("/v1/notifications", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert first["unread"] == 4
    assert len({one["id"] for one in (*first["items"], *rest["items"])}) == 4
    assert rest["next_cursor"] is None
    of_type = (await me.get("/v1/notifications", params={"type": "certificate"})).json()["items"]
    assert [one["type"] for one in of_type] == ["certificate"]
    assert (await someone.get("/v1/notifications")).json()["items"] == []

    ids = [of_type[0]["id"]]
    assert (await someone.post("/v1/notifications/read", json={"ids": ids})).json()["marked"] == 0
    assert (await me.post("/v1/notifications/read", json={"ids": ids})).json() == {"marked": 1, "unread": 3}
    unread = (await me.get("/v1/notifications", params={"unread": True})).json()["items"]
    assert len(unread) == 3
    until = unread[0]["created_at"]
    assert (await me.post("/v1/notifications/read", json={"until": until})).json()["unread"] == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": []}, {"ids": ["x"]}, {"until": "2026-01-01T00:00:00"}, {"ids": [str(uuid4())] * 201}, {"more": 1}],
)
async def test_unusable_marks_are_refused(connect: Connect, body: dict[str, object]) -> None:
    reply = await connect("client_a").post("/v1/notifications/read", json=body)
    assert reply.status_code == 422
    assert reply.json()["detail"]


async def test_webhook_lives_through_its_routes(organisation: Organisation, admin: AsyncClient) -> None:
    made = await admin.post("/v1/webhooks", json=HOOK, headers={"Idempotency-Key": "one"})
    assert made.status_code == 201
    webhook = made.json()
    assert webhook["secret"].startswith("whsec_")
    again = (await admin.post("/v1/webhooks", json=HOOK, headers={"Idempotency-Key": "one"})).json()
    assert again == webhook
    path = f"/v1/webhooks/{webhook['id']}"
    assert "secret" not in (await admin.get(path)).json()
    assert [one["id"] for one in (await admin.get("/v1/webhooks")).json()["items"]] == [webhook["id"]]

    changed = (await admin.patch(path, json={"events": ["*"], "description": "Ours", "rotate_secret": True})).json()
    assert changed["secret"] != webhook["secret"]
    assert changed["previous_secret_until"] is not None
    assert (changed["events"], changed["description"]) == (["*"], "Ours")
    stopped = (await admin.patch(path, json={"is_active": False})).json()
    assert (stopped["is_active"], stopped["secret"]) == (False, None)
    assert (await admin.patch(path, json={"is_active": True})).json()["disabled_at"] is None

    async with tenant_session(organisation.client_a) as session:
        await publish(session, "session.booked", {"session_id": "1"})
    registry = Registry(by_topic={"webhook_delivery": refuse}, otherwise=handle_event)
    await Dispatcher(registry, only={organisation.tenant_id}).drain()
    (delivery,) = (await admin.get(f"{path}/deliveries", params={"status": "pending"})).json()["items"]
    assert delivery["payload"] == {"session_id": "1"}
    listed = (await admin.get("/v1/outbox", params={"state": "dead"})).json()
    assert (listed["dead"], listed["pending"]) == (1, 0)
    dead = listed["items"][0]
    assert dead["last_error"] == "Nobody answers."
    assert (await admin.post(f"/v1/outbox/{dead['id']}/replay")).json() == {"replayed": 1}
    assert (await admin.post(f"/v1/outbox/{dead['id']}/replay")).status_code == 409
    assert (await admin.get("/v1/outbox", params={"topic": "webhook_delivery"})).json()["pending"] == 1

    assert (await admin.post(f"{path}/replay", json={})).json() == {"replayed": 0}
    gone = await admin.post(f"{path}/replay", json={"delivery_id": str(uuid4())})
    assert gone.status_code == 404
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.get(path)).status_code == 404
    assert (await admin.get(f"{path}/deliveries")).status_code == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://receiver.example"}, {"url": "https://127.0.0.1/"}, {"events": []}, {"events": ["Bad Topic"]},
        {"events": ["a.b"] * 101}, {"url": "https://x.example/" + "a" * 2000}, {"surprise": 1},
        {"description": "x" * 501},
    ],
)  # fmt: skip
async def test_unusable_webhooks_are_refused_in_one_sentence(admin: AsyncClient, changed: dict[str, object]) -> None:
    reply = await admin.post("/v1/webhooks", json=HOOK | changed)
    assert reply.status_code == 422
    assert reply.json()["detail"].endswith(".")


async def test_only_administrators_see_what_leaves(admin: AsyncClient, connect: Connect) -> None:
    for person in ("client_a", "coach_a", "executive", "compliance", "evaluator"):
        client = connect(person)
        for path in ("/v1/webhooks", "/v1/outbox", f"/v1/webhooks/{uuid4()}"):
            assert (await client.get(path)).status_code == 403, (person, path)
        assert (await client.post("/v1/webhooks", json=HOOK)).status_code == 403
        assert (await client.post(f"/v1/outbox/{uuid4()}/replay")).status_code == 403
        assert (await client.post(f"/v1/webhooks/{uuid4()}/replay", json={})).status_code == 403
    assert (await admin.post(f"/v1/outbox/{uuid4()}/replay")).status_code == 404
    assert (await admin.post(f"/v1/webhooks/{uuid4()}/replay", json={})).status_code == 404
    assert (await connect(None).get("/v1/notifications")).status_code == 401
