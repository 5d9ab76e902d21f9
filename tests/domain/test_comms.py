"""Telling people and promising messages, in the transaction that has reason to."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from db.models import AuditLog, Notification, Outbox, Webhook
from db.session import AlreadyStored, tenant_session
from domain.chat import KeyReused
from domain.comms import count_unread, mark_read, notify, notify_role, publish
from domain.outbox import count_states
from domain.webhooks import (
    MOST_WEBHOOKS,
    TooManyWebhooks,
    UnusableAddress,
    WebhookNotFound,
    check_url,
    create_webhook,
    disable,
    enable,
    get_webhook,
)
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def test_person_is_told_once_of_one_thing(organisation: Organisation) -> None:
    """Fifty repetitions at once make one notification."""

    async def tell() -> object:
        async with tenant_session(organisation.coach_a) as session:
            return await notify(
                session, user_id=require_id(organisation.client_a), kind="certificate", title="A certificate",
                message="You finished.", reference=("certificate", uuid4()), deduplication_key="certificate:1",
            )  # fmt: skip

    made = await asyncio.gather(*(tell() for _ in range(50)))
    assert sum(one is not None for one in made) == 1
    async with tenant_session(organisation.client_a) as session:
        (row,) = await session.scalars(select(Notification))
        assert await count_unread(session, user_id=require_id(organisation.client_a)) == 1
    assert row.actor_id == organisation.coach_a.user_id
    assert (row.delivery_method, row.delivered) == ("in_app", True)


async def test_nobody_speaks_in_anothers_name(organisation: Organisation) -> None:
    async with tenant_session(organisation.client_b) as session:
        await notify(
            session, user_id=require_id(organisation.client_a), kind="comment", title="A comment", message="Hello.",
            actor_id=organisation.admin.user_id,
        )  # fmt: skip
    async with tenant_session(organisation.client_a) as session:
        (row,) = await session.scalars(select(Notification))
    assert row.actor_id == organisation.client_b.user_id


async def test_what_is_undone_was_never_told(organisation: Organisation) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await notify(
            session, user_id=require_id(organisation.client_a), kind="comment", title="T", message="M", method="email"
        )
        await publish(session, "comment.created", {})
        await session.rollback()
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Notification)) == 0
        assert await count_states(session) == {"pending": 0, "failing": 0, "dead": 0}


async def test_everyone_of_a_role_is_told(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        assert await notify_role(session, role="coach", kind="news", title="T", message="M") == 2
    for coach in (organisation.coach_a, organisation.coach_b):
        async with tenant_session(coach) as session:
            assert await count_unread(session, user_id=require_id(coach)) == 1


async def test_reading_marks_ones_own_alone(organisation: Organisation) -> None:
    reader = require_id(organisation.client_a)
    people = [require_id(one) for one in (organisation.client_a, organisation.client_a, organisation.client_b)]
    async with tenant_session(organisation.system) as session:
        ids = [await notify(session, user_id=person, kind="news", title="T", message="M") for person in people]
    known = [one for one in ids if one is not None]
    async with tenant_session(organisation.client_a) as session:
        assert await mark_read(session, user_id=reader, ids=[known[0], known[2]]) == 1
        assert await mark_read(session, user_id=reader, ids=[known[0]]) == 0
        assert await mark_read(session, user_id=reader, until=datetime.now(UTC) - timedelta(hours=1)) == 0
        assert await mark_read(session, user_id=reader, until=datetime.now(UTC)) == 1
        assert await count_unread(session, user_id=reader) == 0
    async with tenant_session(organisation.client_b) as session:
        assert await count_unread(session, user_id=require_id(organisation.client_b)) == 1


@pytest.mark.parametrize("topic", ["", "Upper.case", "a b", "a..b", "x" * 101])
async def test_topics_have_one_shape(organisation: Organisation, topic: str) -> None:
    with pytest.raises(DBAPIError):
        async with tenant_session(organisation.client_a) as session:
            await publish(session, topic)


async def test_large_payload_is_refused(organisation: Organisation) -> None:
    with pytest.raises(DBAPIError):
        async with tenant_session(organisation.client_a) as session:
            await publish(session, "a.b", {"words": "x" * 9_000})


async def test_message_belongs_to_the_bound_tenant(organisation: Organisation) -> None:
    async with tenant_session(organisation.client_a) as session:
        message_id = await publish(session, "session.booked", {"id": uuid4()}, "k")
    async with tenant_session(organisation.admin) as session:
        (row,) = await session.scalars(select(Outbox))
    assert (row.id, row.tenant_id, row.key, row.attempts) == (message_id, organisation.tenant_id, "k", 0)


@pytest.mark.parametrize(
    "url",
    [
        "", "http://example.com", "ftp://example.com", "https://", "https://user:pass@example.com",
        "https://127.0.0.1/x",
        "https://[::1]/", "https://10.1.2.3", "https://localhost", "https://LOCALHOST./",
        "https://169.254.169.254/latest",
        "https://example.com/#part", "https://exa mple.com", "https://example.com:99999", "https://[bad",
        "javascript:1",
    ],
)  # fmt: skip
def test_addresses_that_can_not_be_a_webhooks(url: str) -> None:
    with pytest.raises(UnusableAddress):
        check_url(url)


def test_addresses_that_can() -> None:
    for url in ("https://example.com/hooks?a=b", "https://example.com:8443", "https://8.8.8.8/x"):
        assert check_url(url) == url
    assert check_url("http://127.0.0.1:9/x", allow_private=True)


async def make(
    organisation: Organisation, url: str = "https://example.com", key: str | None = None
) -> tuple[Webhook, str]:
    async with tenant_session(organisation.admin) as session:
        return await create_webhook(
            session, url=url, events=["*"], description=None, created_by=require_id(organisation.admin),
            idempotency_key=key,
        )  # fmt: skip


async def test_same_key_makes_one_webhook(organisation: Organisation) -> None:
    first, secret = await make(organisation, key="a")
    again, same = await make(organisation, key="a")
    assert (first.id, secret) == (again.id, same)
    with pytest.raises(KeyReused):
        await make(organisation, "https://other.example", key="a")
    made = await asyncio.gather(*(make(organisation, key="b") for _ in range(5)), return_exceptions=True)
    rows = {one[0].id for one in made if not isinstance(one, BaseException)}
    assert len(rows) == 1
    assert all(isinstance(one, AlreadyStored) for one in made if isinstance(one, BaseException))


async def test_webhooks_are_bounded_and_their_changes_audited(organisation: Organisation) -> None:
    row, secret = await make(organisation)
    assert secret.encode() not in row.secret
    async with tenant_session(organisation.admin) as session:
        assert await disable(session, row.id, "Not needed.")
        assert not await disable(session, row.id, "Again.")
    async with tenant_session(organisation.admin) as session:
        await enable(session, await get_webhook(session, row.id, lock=True))
        with pytest.raises(WebhookNotFound):
            await get_webhook(session, uuid4())
    async with tenant_session(organisation.compliance) as session:
        actions = list(await session.scalars(
            select(AuditLog.action).where(AuditLog.entity_type == "webhook").order_by(AuditLog.sequence)
        ))  # fmt: skip
        changes = str(list(await session.scalars(select(AuditLog.changes).where(AuditLog.entity_type == "webhook"))))
    assert actions == ["webhook_created", "webhook_updated", "webhook_updated"]
    assert "example.com" not in changes
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO comms.webhooks (tenant_id, url, events, secret) "
                "SELECT tenant_id, url, events, secret FROM comms.webhooks, generate_series(2, :most)"
            ),
            {"most": MOST_WEBHOOKS},
        )
    with pytest.raises(TooManyWebhooks):
        await make(organisation)
