"""The flow that delivers the outbox, through a real Prefect server."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import text

from db.session import tenant_session
from domain.comms import notify, publish
from flows.deliver_outbox import deliver_outbox
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_what_is_due_is_delivered_and_failures_are_shown(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await publish(session, "session.booked", {"session_id": "1"})
        await notify(
            session, user_id=require_id(organisation.client_a), kind="reminder", title="Soon", message="At ten.",
            method="push",
        )  # fmt: skip
    counts = await deliver_outbox(organisation.tenant_id)
    assert counts == {"delivered": 1, "failed": 0, "dead": 1, "cleared": 0}
    async with get_client() as client:
        shown = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["outbox-failures"]))
        )
    assert "No push service is configured" in str(shown[0].data)

    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE comms.outbox SET delivered_at = delivered_at - interval '8 days'"))
    assert await deliver_outbox(organisation.tenant_id) == {"delivered": 0, "failed": 0, "dead": 0, "cleared": 1}
