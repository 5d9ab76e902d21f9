"""The service delivers beside its requests, for as long as it runs."""

import asyncio
from uuid import UUID, uuid4

from sqlalchemy import func, select

from api.app import create_app
from core.settings import Settings, WebhookSettings
from db.models import AuditPending
from db.session import tenant_session
from domain.comms import publish
from domain.reading import record_reading
from domain.webhooks import create_webhook
from rag.answer import Assistant
from tests.api.conftest import serve
from tests.factories.http_receiver import Receiver, receive
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id


async def book(organisation: Organisation) -> UUID:
    async with tenant_session(organisation.client_a) as session:
        return await publish(session, "session.booked", {})


async def wait_for(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(180):
        while len(receiver.received) < count:  # noqa: ASYNC110  # arrivals are counted, not signalled
            await asyncio.sleep(0.05)


async def test_served_app_delivers_what_requests_promise(organisation: Organisation, api_settings: Settings) -> None:
    settings = api_settings.model_copy(
        update={
            "webhooks": WebhookSettings(allow_private=True, timeout_s=60),
            "outbox": api_settings.outbox.model_copy(update={"dispatch": True, "poll_s": 600}),
        }
    )
    async with receive() as receiver:
        async with tenant_session(organisation.admin) as session:
            await create_webhook(
                session, url=receiver.url, events=["*"], description=None, created_by=require_id(organisation.admin)
            )
        await book(organisation)
        app = create_app(settings, Assistant(EMBEDDER))
        with serve(app):
            await wait_for(receiver, 1)  # what waited before it started
            await book(organisation)
            await wait_for(receiver, 2)  # what it heard of
        await book(organisation)
        await asyncio.sleep(0.5)
        assert len(receiver.received) == 2


async def test_served_app_links_what_was_read(organisation: Organisation, api_settings: Settings) -> None:
    audit = api_settings.audit.model_copy(update={"link": True, "link_s": 0.05})
    async with tenant_session(organisation.coach_a) as session:
        await record_reading(session, "transcript_read", {"transcript": [uuid4()]})
    with serve(create_app(api_settings.model_copy(update={"audit": audit}), Assistant(EMBEDDER))):
        async with asyncio.timeout(60):
            while await count_waiting(organisation):  # noqa: ASYNC110  # what is linked is counted, not signalled
                await asyncio.sleep(0.05)
    async with tenant_session(organisation.coach_a) as session:
        await record_reading(session, "transcript_read", {"transcript": [uuid4()]})
    await asyncio.sleep(0.3)
    assert await count_waiting(organisation) == 1


async def count_waiting(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        return await session.scalar(select(func.count()).select_from(AuditPending)) or 0
