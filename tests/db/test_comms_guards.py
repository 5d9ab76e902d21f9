"""What the app's own role may and may not do in the schema comms."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError, ProgrammingError

from db.models import Notification, NotificationKey, Outbox, Webhook, WebhookDelivery
from db.session import Principal, tenant_session, unbound_session
from domain.comms import notify, publish
from domain.outbox import list_due_tenants
from domain.webhooks import create_webhook
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

TABLES = (Notification, NotificationKey, Outbox, Webhook, WebhookDelivery)


async def fill(organisation: Organisation) -> UUID:
    """Put a row into every table, and return the webhook's id."""
    async with tenant_session(organisation.admin) as session:
        webhook, _ = await create_webhook(
            session, url="https://example.com", events=["*"], description=None,
            created_by=require_id(organisation.admin),
        )  # fmt: skip
    async with tenant_session(organisation.coach_a) as session:
        await notify(
            session, user_id=require_id(organisation.client_a), kind="news", title="T", message="M",
            deduplication_key="k",
        )  # fmt: skip
        message = await publish(session, "session.booked")
    async with tenant_session(organisation.system) as session:
        session.add(
            WebhookDelivery(
                tenant_id=organisation.tenant_id,
                webhook_id=webhook.id,
                outbox_id=message,
                topic="session.booked",
                payload={},
                occurred_at=await session.scalar(select(func.now())),
            )
        )
    return webhook.id


async def count_seen(reader: Principal) -> list[int]:
    async with tenant_session(reader) as session:
        return [int(await session.scalar(select(func.count()).select_from(table)) or 0) for table in TABLES]


async def test_everyone_sees_their_own(organisation: Organisation) -> None:
    await fill(organisation)
    other = await found_organisation()
    seen: dict[str, Sequence[int]] = {
        name: await count_seen(reader)
        for name, reader in {**organisation.people, "system": organisation.system}.items()
    }
    nothing = [0, 0, 0, 0, 0]
    assert seen.pop("client_a") == [1, 0, 0, 0, 0]
    assert seen.pop("admin") == [0, 0, 1, 1, 1]
    assert seen.pop("system") == [1, 1, 1, 1, 1]
    assert set(map(tuple, seen.values())) == {tuple(nothing)}
    for reader in (*other.people.values(), other.system):
        assert await count_seen(reader) == nothing


async def test_rows_are_made_by_functions_only(organisation: Organisation) -> None:
    await fill(organisation)
    for statement in (
        "INSERT INTO comms.outbox (tenant_id, topic) SELECT current_setting('app.tenant_id')::uuid, 'a.b'",
        "INSERT INTO comms.notifications SELECT * FROM comms.notifications",
        "INSERT INTO comms.notification_keys SELECT * FROM comms.notification_keys",
        "UPDATE comms.notifications SET message = 'other words'",
        "UPDATE comms.notifications SET user_id = actor_id",
        "TRUNCATE comms.outbox",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with tenant_session(organisation.system) as session:
                await session.execute(text(statement))


async def test_others_rows_are_out_of_reach(organisation: Organisation) -> None:
    webhook_id = await fill(organisation)
    other = await found_organisation()
    for reader in (organisation.client_b, organisation.coach_a, organisation.executive, other.admin, other.system):
        async with tenant_session(reader) as session:
            for statement in (
                update(Notification).values(is_read=True, read_at=func.now()),
                delete(Notification),
                update(Outbox).values(attempts=9),
                delete(Outbox),
                update(Webhook).values(url="https://elsewhere.example"),
                delete(Webhook),
                update(WebhookDelivery).values(attempts=9),
            ):
                done = await session.execute(statement.execution_options(synchronize_session=False))
                assert getattr(done, "rowcount", None) == 0, statement
        with pytest.raises(DBAPIError):
            async with tenant_session(reader) as session:
                await session.execute(
                    text(
                        "INSERT INTO comms.webhooks (tenant_id, url, events, secret) "
                        "VALUES (:tenant, 'https://x.example', ARRAY['*'], '')"
                    ),
                    {"tenant": organisation.tenant_id},
                )
    async with tenant_session(organisation.admin) as session:
        # an administrator sees what leaves, and changes none of it but through the domain
        assert getattr(await session.execute(update(Outbox).values(attempts=9)), "rowcount", None) == 0
        assert getattr(await session.execute(delete(WebhookDelivery)), "rowcount", None) == 0
        assert (await session.scalars(select(Webhook.id))).one() == webhook_id


async def test_person_of_another_tenant_can_not_be_told(organisation: Organisation) -> None:
    other = await found_organisation()
    with pytest.raises(DBAPIError, match="foreign key"):
        async with tenant_session(organisation.coach_a) as session:
            await notify(session, user_id=require_id(other.client_a), kind="news", title="T", message="M")


async def test_unbound_connection_learns_tenant_ids_only(organisation: Organisation) -> None:
    await fill(organisation)
    before = UUID(int=organisation.tenant_id.int - 1)
    assert (await list_due_tenants(after=before, most=1))[0] == organisation.tenant_id
    for statement in ("SELECT * FROM comms.outbox", "SELECT comms.publish('a.b', '{}')"):
        with pytest.raises(DBAPIError):
            async with unbound_session() as session:
                await session.execute(text(statement))


async def test_messages_go_with_their_tenant(organisation: Organisation) -> None:
    """Deleting a whole tenant must not fail on a trigger that promises a message about what is deleted."""
    await fill(organisation)
    async with tenant_session(organisation.system) as session:
        gone = await session.scalar(
            text("SELECT comms.publish('a.b', '{}') FROM set_config('app.tenant_id', :nobody, true)"),
            {"nobody": str(uuid4())},
        )
    assert gone is None
