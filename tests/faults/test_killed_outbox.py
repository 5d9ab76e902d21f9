"""A dispatcher that is killed with signal 9 at any point loses nothing: others deliver it once its claims run out."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import func, select

from core.settings import Settings, WebhookSettings
from db.models import Outbox, WebhookDelivery
from db.session import tenant_session
from domain.comms import publish
from domain.webhooks import create_webhook
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.handlers import build_registry
from tests.factories.http_receiver import receive
from tests.factories.people import Organisation
from tests.factories.sessions import require_id
from tests.faults import killed_outbox
from tests.faults.killed_outbox import POINTS
from tests.faults.killing import run_and_die

EVENTS = 6


async def count_pending(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        query = select(func.count(Outbox.id)).where(Outbox.delivered_at.is_(None))
        return int(await session.scalar(query) or 0)


@pytest.mark.parametrize("point", POINTS)
async def test_what_a_killed_dispatcher_had_is_delivered_by_the_next(
    organisation: Organisation, store: Settings, point: str
) -> None:
    async with receive() as receiver:
        async with tenant_session(organisation.admin) as session:
            await create_webhook(
                session, url=receiver.url, events=["session.booked"], description=None,
                created_by=require_id(organisation.admin),
            )  # fmt: skip
        async with tenant_session(organisation.client_a) as session:
            for number in range(EVENTS):
                await publish(session, "session.booked", {"number": number})
        await run_and_die(killed_outbox.main, str(organisation.tenant_id), point)
        assert await count_pending(organisation) > 0
        settings = store.model_copy(update={"webhooks": WebhookSettings(allow_private=True)})
        async with asyncio.timeout(180):
            while await count_pending(organisation):
                await Dispatcher(build_registry(settings), only={organisation.tenant_id}).drain()
                await asyncio.sleep(0.1)
    told = Counter(received.headers["webhook-id"] for received in receiver.received)
    assert len(told) == EVENTS, "every event is told, a repetition under the same id"
    assert max(told.values()) <= 2
    async with tenant_session(organisation.admin) as session:
        states = Counter(await session.scalars(select(WebhookDelivery.status)))
    assert states == {"delivered": EVENTS}
