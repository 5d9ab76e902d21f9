"""The flows about time do what is due everywhere, and start the erasures that retention asked for."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select, update

from core.settings import Settings
from db.models import DeletionRequest, Notification, User
from db.session import tenant_session
from domain.objects import tenant_store
from flows import erasures
from flows.apply_retention import apply_retention
from flows.archive_months import archive_months
from flows.reconcile_store import reconcile_store
from tests.factories.months import keep_for, make_month, moment, notify_in
from tests.factories.people import Organisation

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked of the flow server."""
    asked: list[dict[str, Any]] = []

    async def start(name: str, **options: Any) -> None:  # those of Prefect
        asked.append({"name": name, **options})

    monkeypatch.setattr(erasures, "arun_deployment", start)
    return asked


async def test_retention_goes_and_its_erasures_begin(
    organisation: Organisation, store: Settings, started: list[dict[str, Any]]
) -> None:
    month = date(2014, 1, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(User)
            .where(User.id == organisation.client_c.user_id)
            .values(status="deleted", deleted_at=moment(month))
        )
    rehearsed = await apply_retention(organisation.tenant_id, dry_run=True)
    assert started == []
    assert await apply_retention(organisation.tenant_id) == rehearsed
    assert (rehearsed["notifications"], rehearsed["accounts_deleted"]) == (3, 1)
    async with tenant_session(organisation.system) as session:
        request_id = await session.scalar(select(DeletionRequest.id))
    (asked,) = started
    assert asked["name"] == "erase-subject/erase-subject"
    assert asked["parameters"] == {"tenant_id": str(organisation.tenant_id), "request_id": str(request_id)}
    assert str(request_id) in asked["idempotency_key"]


async def test_months_leave_and_the_store_agrees(organisation: Organisation, store: Settings) -> None:
    month = date(2014, 2, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    assert (await archive_months(organisation.tenant_id))["archived"] == 1
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Notification)) == 0
    assert await reconcile_store(organisation.tenant_id) == {"found": 0, "repaired": 0}
    archives = await tenant_store(organisation.tenant_id)
    assert len([one async for one in archives.list(f"tenants/{organisation.tenant_id}/archives/")]) == 1
