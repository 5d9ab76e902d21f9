"""Webhooks against real receivers that behave and misbehave."""

import base64
import hashlib
import hmac
import json
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from core.settings import Settings, WebhookSettings
from db.models import Notification, Outbox, Webhook, WebhookDelivery
from db.session import tenant_session
from domain.comms import publish
from domain.webhooks import DeliveryNotFound, create_webhook, get_webhook, replay_deliveries, rotate_secret
from pipelines.outbox.addresses import AddressForbidden, HostUnknown, is_public, resolve
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.handlers import build_registry
from pipelines.outbox.webhooks import WAIT_AT_MOST, judge, read_retry_after, sign
from tests.factories.certificates import make_certificate
from tests.factories.http_receiver import Answer, Received, receive
from tests.factories.people import Organisation
from tests.factories.sessions import require_id
from tests.pipelines.outbox.conftest import HASTY, Build

GONE, BUSY, BROKEN, TAKEN = Answer(410), Answer(503), Answer(500), Answer(204)


async def add_webhook(organisation: Organisation, url: str, *events: str) -> tuple[UUID, str]:
    async with tenant_session(organisation.admin) as session:
        row, secret = await create_webhook(
            session, url=url, events=events or ("session.booked",), description=None,
            created_by=require_id(organisation.admin),
        )  # fmt: skip
        return row.id, secret


async def book(organisation: Organisation, key: str | None = None, **payload: object) -> UUID:
    async with tenant_session(organisation.client_a) as session:
        return await publish(session, "session.booked", payload, key)


async def read_deliveries(organisation: Organisation) -> list[WebhookDelivery]:
    async with tenant_session(organisation.admin) as session:
        return list(await session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


async def read_webhook(organisation: Organisation, webhook_id: UUID) -> Webhook:
    async with tenant_session(organisation.admin) as session:
        return await get_webhook(session, webhook_id)


def verify(received: Received, secret: str) -> bool:
    """Verify as the specification tells receivers to, by any of the signatures."""
    signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    return expected in received.headers["webhook-signature"].split()


def test_signature_is_that_of_the_specification() -> None:
    """The example of the specification's own reference libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_event_reaches_those_who_asked_for_it(organisation: Organisation, build: Build) -> None:
    async with receive() as asked, receive() as everything, receive() as other:
        _, secret = await add_webhook(organisation, asked.url, "session.booked", "payment.failed")
        await add_webhook(organisation, everything.url, "*")
        await add_webhook(organisation, other.url, "payment.failed")
        await book(organisation, session_id="1")
        await build().drain()
    (received,) = asked.received
    assert len(everything.received) == 1
    assert other.received == []
    body = json.loads(received.body)
    assert body["type"] == "session.booked"
    assert body["data"] == {"session_id": "1"}
    assert datetime.fromisoformat(body["timestamp"]) <= datetime.now(UTC)
    assert verify(received, secret)
    assert not verify(replace(received, body=received.body.replace(b"1", b"2")), secret)
    deliveries = {str(row.id): row for row in await read_deliveries(organisation)}
    row = deliveries[received.headers["webhook-id"]]
    assert (row.status, row.attempts, row.last_status_code, row.last_error) == ("delivered", 1, 200, None)
    assert row.response_ms is not None


async def test_trouble_is_tried_again_with_the_same_id_and_body(organisation: Organisation, build: Build) -> None:
    async with receive(BROKEN, Answer(hang_up=True), TAKEN) as receiver:
        webhook_id, _ = await add_webhook(organisation, receiver.url)
        await book(organisation)
        await build().drain()
    assert len(receiver.received) == 3
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
    assert len({received.body for received in receiver.received}) == 1
    (row,) = await read_deliveries(organisation)
    assert (row.status, row.attempts, row.last_status_code) == ("delivered", 3, 204)
    webhook = await read_webhook(organisation, webhook_id)
    assert (webhook.failure_count, webhook.failing_since) == (0, None)
    assert webhook.last_success_at is not None


@pytest.mark.parametrize(
    ("answer", "code", "says", "timeout_s"),
    [
        (Answer(302, (("location", "http://127.0.0.1/elsewhere"),)), 302, "redirects are not followed", 30),
        (Answer(silence=5), None, "did not answer within 1 seconds", 1),
        (Answer(404), 404, "answered 404", 30),
        (Answer(hang_up=True), None, "broke", 30),
    ],
)
async def test_what_never_works_is_given_up_and_replayed(
    organisation: Organisation, build: Build, answer: Answer, code: int | None, says: str
) -> None:
    async with receive(answer) as receiver:
        webhook_id, _ = await add_webhook(organisation, receiver.url)
        await book(organisation, session_id="7")
        report = await build(limits=replace(HASTY, attempts=2)).drain()
        (row,) = await read_deliveries(organisation)
        assert (row.status, row.attempts, row.last_status_code) == ("dead", 2, code)
        assert says in str(row.last_error)
        assert report.count("dead") == 1
        assert (await read_webhook(organisation, webhook_id)).failure_count == 2
        assert {received.path for received in receiver.received} == {"/hook"}

        receiver.answers = [TAKEN]
        async with tenant_session(organisation.system) as session:
            assert await replay_deliveries(session, webhook_id=webhook_id, since=datetime.now(UTC)) == 0
            since = datetime.now(UTC) - timedelta(minutes=5)
            assert await replay_deliveries(session, webhook_id=webhook_id, since=since) == 1
        await build().drain()
        (row,) = await read_deliveries(organisation)
        assert (row.status, row.attempts) == ("delivered", 3)
        async with tenant_session(organisation.admin) as session:
            assert list(await session.scalars(select(Outbox.id).where(Outbox.dead_at.is_not(None)))) == []


async def test_delivered_event_is_replayed_by_name_only(organisation: Organisation, build: Build) -> None:
    async with receive() as receiver:
        webhook_id, _ = await add_webhook(organisation, receiver.url)
        await book(organisation)
        await build().drain()
        (row,) = await read_deliveries(organisation)
        async with tenant_session(organisation.system) as session:
            assert await replay_deliveries(session, webhook_id=webhook_id) == 0
            assert await replay_deliveries(session, webhook_id=webhook_id, delivery_id=row.id) == 1
        async with tenant_session(organisation.system) as session:
            with pytest.raises(DeliveryNotFound):
                await replay_deliveries(session, webhook_id=webhook_id, delivery_id=webhook_id)
        await build().drain()
    assert [received.headers["webhook-id"] for received in receiver.received] == [str(row.id)] * 2


async def test_endless_body_is_cut(organisation: Organisation, build: Build) -> None:
    async with receive(Answer(endless=True)) as receiver:
        await add_webhook(organisation, receiver.url)
        await book(organisation)
        await build().drain()
    (row,) = await read_deliveries(organisation)
    assert row.status == "delivered"
    assert len(receiver.received) == 1


async def test_gone_receiver_is_told_nothing_more(organisation: Organisation, build: Build) -> None:
    async with receive(GONE) as receiver:
        webhook_id, _ = await add_webhook(organisation, receiver.url)
        await book(organisation)
        await build().drain()
        await book(organisation)
        await build().drain()
    assert len(receiver.received) == 1
    webhook = await read_webhook(organisation, webhook_id)
    assert not webhook.is_active
    assert "410" in str(webhook.disabled_reason)
    async with tenant_session(organisation.admin) as session:
        (told,) = await session.scalars(select(Notification))
    assert told.notification_type == "webhook_disabled"
    assert told.reference_id == webhook_id


async def test_webhook_that_fails_for_days_is_disabled(organisation: Organisation, build: Build) -> None:
    async with receive(BROKEN) as receiver:
        webhook_id, _ = await add_webhook(organisation, receiver.url)
        async with tenant_session(organisation.system) as session:
            await session.execute(
                update(Webhook).values(failure_count=9, failing_since=datetime.now(UTC) - timedelta(days=6))
            )
        await book(organisation, number=1)
        await book(organisation, number=2)
        await build().drain()
    webhook = await read_webhook(organisation, webhook_id)
    assert not webhook.is_active
    assert "5 days" in str(webhook.disabled_reason)
    assert {row.status for row in await read_deliveries(organisation)} == {"dead"}
    async with tenant_session(organisation.admin) as session:
        assert len(list(await session.scalars(select(Notification)))) == 1


async def test_both_secrets_sign_while_a_rotation_lasts(organisation: Organisation, build: Build) -> None:
    async with receive() as receiver:
        webhook_id, old = await add_webhook(organisation, receiver.url)
        async with tenant_session(organisation.admin) as session:
            new = await rotate_secret(session, await get_webhook(session, webhook_id, lock=True))
        await book(organisation)
        await build().drain()
        async with tenant_session(organisation.system) as session:
            await session.execute(text("UPDATE comms.webhooks SET previous_secret_until = now() - interval '1 second'"))
        await book(organisation)
        await build().drain()
    during, after = receiver.received
    assert verify(during, old)
    assert verify(during, new)
    assert verify(after, new)
    assert not verify(after, old)
    row = await read_webhook(organisation, webhook_id)
    assert new.encode() not in row.secret


async def test_order_of_a_key_is_kept_per_webhook(organisation: Organisation, build: Build) -> None:
    async with receive(BROKEN, TAKEN) as stumbling, receive() as steady:
        await add_webhook(organisation, stumbling.url)
        await add_webhook(organisation, steady.url)
        for number in range(4):
            await book(organisation, "client-1", number=number)
        await build().drain()
    for receiver, numbers in ((stumbling, [0, 0, 1, 2, 3]), (steady, [0, 1, 2, 3])):
        assert [json.loads(received.body)["data"]["number"] for received in receiver.received] == numbers


async def test_certificate_nobody_vouches_for_is_refused(
    organisation: Organisation, build: Build, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    async with receive(tls=context) as receiver:
        await add_webhook(organisation, receiver.url)
        await book(organisation)
        await build(limits=replace(HASTY, attempts=1)).drain()
    (row,) = await read_deliveries(organisation)
    assert "certificate" in str(row.last_error)
    assert receiver.received == []


async def test_private_addresses_are_never_called(organisation: Organisation, store: Settings) -> None:
    """By the product's own settings nothing goes to this machine, whatever name or number stands for it."""
    async with receive() as receiver:
        port = receiver.url.rsplit(":", 1)[1]
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254"):
            await add_webhook(organisation, f"https://{host}:{port}")
        await add_webhook(organisation, receiver.url)
        await book(organisation)
        settings = store.model_copy(update={"webhooks": WebhookSettings(timeout_s=1)})
        await Dispatcher(build_registry(settings), replace(HASTY, attempts=1), only={organisation.tenant_id}).drain()
    assert receiver.received == []
    rows = await read_deliveries(organisation)
    assert len(rows) == 5
    assert all(row.status == "dead" and row.last_status_code is None for row in rows)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700:4700::1111", True), ("10.0.0.1", False), ("172.16.5.5", False),
        ("192.168.1.1", False), ("127.0.0.1", False), ("0.0.0.0", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("224.0.0.1", False), ("::1", False), ("::", False), ("fe80::1%eth0", False),
        ("fd00::1", False), ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False), ("ff02::1", False), ("255.255.255.255", False), ("198.18.0.1", False),
    ],
)  # fmt: skip
def test_only_public_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_names_are_resolved_before_anything_is_sent() -> None:
    with pytest.raises(AddressForbidden):
        await resolve("localhost", 443)
    assert await resolve("localhost", 443, allow_private=True) in {"127.0.0.1", "::1"}
    with pytest.raises(HostUnknown):
        await resolve("nowhere.invalid", 443)
    with pytest.raises(HostUnknown):
        await resolve("a" * 300, 443)


def test_answers_say_when_to_come_again() -> None:
    assert judge(204, None).error is None
    assert judge(429, "30").retry_after == timedelta(seconds=30)
    assert judge(503, "99999999999").retry_after == WAIT_AT_MOST
    assert judge(500, "30").retry_after is None
    assert judge(410, None).give_up
    assert read_retry_after("soon") is None
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == timedelta()
    assert read_retry_after("Wed, 21 Oct 2099 07:28:00 GMT") == WAIT_AT_MOST
