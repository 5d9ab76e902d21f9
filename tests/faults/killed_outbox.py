"""A dispatcher that is killed at a chosen point, run as a process of its own by test_killed_outbox.py."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from core.settings import WebhookSettings, get_settings
from pipelines.outbox import dispatcher, webhooks
from pipelines.outbox.dispatcher import Dispatcher, Limits
from pipelines.outbox.handlers import build_registry
from tests.faults.killed_ingest import die_after

POINTS: dict[str, tuple[Any, str, int]] = {
    "claimed": (dispatcher, "claim", 1),
    "sent": (webhooks, "send", 2),
    "settled": (dispatcher, "settle", 6),
    "recorded": (webhooks, "record_attempt", 2),
}
"""Where to die: right after the n-th call of this function."""

LEASE = timedelta(seconds=2)
"""Short enough that the next dispatcher need not wait long for it to end."""


async def _drain(tenant_id: UUID) -> None:
    settings = get_settings().model_copy(update={"webhooks": WebhookSettings(allow_private=True)})
    await Dispatcher(build_registry(settings), Limits(lease=LEASE, batch=4), only={tenant_id}).drain()


def main(tenant: str, point: str) -> None:
    """Deliver what waits."""
    die_after(*POINTS[point])
    asyncio.run(_drain(UUID(tenant)))
