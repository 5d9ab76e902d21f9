"""All months at once: what is due is archived and goes, what is needed stays, and a killed run is gone on with."""

import asyncio
import json
import os
import sys
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from core.storage import open_store
from core.storage_encrypted import HEADER_BYTES, read_version
from db.models import Archive, ChatMessage, ChatSession, Notification
from db.session import tenant_session, unbound_session
from domain.objects import tenant_store
from pipelines.archives.read import list_archives, list_rows, read_archive
from pipelines.archives.run import MonthLine, archive_months, to_rows
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.verify import verify_receipt
from pipelines.reconcile import Finding
from pipelines.reconcile import to_rows as list_findings
from pipelines.retention.apply import Line
from pipelines.retention.apply import to_rows as list_lines
from tests.factories.erasure import verify_request
from tests.factories.months import (
    age_payment,
    as_owner,
    has_month,
    keep_for,
    make_month,
    moment,
    notify_in,
    place_hold,
    track_in,
)
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER, require_id

pytestmark = pytest.mark.whole_store


def of(lines: list[MonthLine], table: str, month: date) -> list[tuple[str, int]]:
    return [(line.did, line.rows) for line in lines if (line.table, line.month) == (table, month)]


async def count(organisation: Organisation, model: type) -> int:
    async with tenant_session(organisation.system) as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def test_a_rehearsal_says_what_a_run_does(organisation: Organisation, store: Settings) -> None:
    month = date(2018, 1, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month, 4)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 100)
    planned = of(await archive_months(dry_run=True), "comms.notifications", month)
    assert planned == [("archived", 4), ("dropped", 4)]
    assert (await count(organisation, Notification), await count(organisation, Archive)) == (4, 0)
    assert has_month(store, "comms.notifications", month)
    assert of(await archive_months(), "comms.notifications", month) == planned
    assert not has_month(store, "comms.notifications", month)
    assert of(await archive_months(), "comms.notifications", month) == []


async def test_whose_time_is_over_goes_from_a_month_others_need(organisation: Organisation, store: Settings) -> None:
    month, other = date(2018, 2, 1), await found_organisation()
    make_month(store, "analytics.events", month)
    for one in (organisation, other):
        await track_in(one, month)
        await keep_for(one, "analytics_events", "delete", 36500)
    await keep_for(organisation, "analytics_events", "archive", 30)
    lines = await archive_months()
    assert of(lines, "analytics.events", month) == [("archived", 3), ("cleared", 3)]
    assert has_month(store, "analytics.events", month)
    await keep_for(other, "analytics_events", "delete", 90)
    assert of(await archive_months(), "analytics.events", month) == [("dropped", 3)]


async def test_messages_go_with_their_citations_only_if_the_tenant_says_so(
    organisation: Organisation, store: Settings
) -> None:
    month, user_id = date(2018, 3, 1), require_id(organisation.coach_a)
    make_month(store, "chat.chat_messages", month)
    async with tenant_session(organisation.system) as session:
        chat = ChatSession(tenant_id=organisation.tenant_id, user_id=user_id)
        session.add(chat)
        await session.flush()
        for number in range(3):
            await session.execute(
                insert(ChatMessage).values(
                    tenant_id=organisation.tenant_id, session_id=chat.id, user_id=user_id, role="user",
                    content=f"What now? {number}", created_at=moment(month, number), references={"sentences": []},
                )
            )  # fmt: skip
    assert of(await archive_months(), "chat.chat_messages", month) == []
    await keep_for(organisation, "conversations", "archive", 60)
    with pytest.raises(DBAPIError, match=r"its retention keeps it|not archived|may refer"):
        async with unbound_session() as session:
            await session.execute(select(func.platform.drop_month("chat.chat_messages", month)))
    lines = of(await archive_months(), "chat.chat_messages", month)
    assert lines == [("archived", 3), ("cleared", 3), ("dropped", 0)]
    assert not has_month(store, "chat.chat_messages", month)
    assert (await count(organisation, ChatMessage), await count(organisation, ChatSession)) == (0, 1)


async def test_money_is_copied_and_stays(organisation: Organisation, store: Settings) -> None:
    await age_payment(organisation, store)
    month = date(2018, 4, 1)
    lines = await archive_months(only=[organisation.tenant_id])
    assert of(lines, "commerce.transactions", month) == [("archived", 1)]
    assert of(await archive_months(only=[organisation.tenant_id]), "commerce.transactions", month) == []
    async with tenant_session(organisation.system) as session:
        archive = (await session.scalars(select(Archive))).one()
    assert (archive.rows, archive.dropped_at) == (1, None)


async def test_archived_money_outlives_its_organisation_without_its_keys(
    organisation: Organisation, store: Settings
) -> None:
    await age_payment(organisation, store, failure_reason="Amina forgot it")
    await archive_months(only=[organisation.tenant_id])
    sealed = await tenant_store(organisation.tenant_id)
    (before,) = await list_kept(organisation)
    left_behind = before.object_key.replace("2018-04", "2018-05")
    await sealed.write(left_behind, b"of a run that was killed")
    assert read_version(await sealed.read_start(before.object_key, count=HEADER_BYTES)) is not None
    request = await verify_request(organisation, "tenant", organisation.tenant_id)
    await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    assert await sealed.find(left_behind) is None
    (after,) = await list_kept(organisation)
    (batch,) = [one async for one in read_archive(after, open_store(store.storage_url, store.storage))]
    (row,) = list_rows(batch)
    assert (row["user_id"], str(row["amount"])) == (require_id(organisation.client_a), "100.00")
    assert (row["failure_reason"], row["metadata"]) == (None, None)
    strict = store.model_copy(update={"crypto": store.crypto.model_copy(update={"read_plain_objects": False})})
    for settings in (store, strict):
        found = await verify_receipt(request, tenant_id=organisation.tenant_id, settings=settings)
        assert found.holds, found.to_json()
        assert found.receipt.stores["archives:unnamed"]["items"] == 1


async def list_kept(organisation: Organisation) -> list[Archive]:
    async with tenant_session(organisation.system) as session:
        return await list_archives(session, table="commerce.transactions")


async def test_archives_expire_unless_held(organisation: Organisation, store: Settings) -> None:
    month = date(2018, 5, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    await archive_months(only=[organisation.tenant_id])
    await archive_months()
    await keep_for(organisation, "notifications", "delete", 90)
    objects = await tenant_store(organisation.tenant_id)
    folder = f"tenants/{organisation.tenant_id}/archives/"
    held = await place_hold(organisation, "person", require_id(organisation.client_c))
    assert of(await archive_months(), "comms.notifications", month) == [("stays", 3)]
    assert len([one async for one in objects.list(folder)]) == 1
    with as_owner(store, organisation.tenant_id) as connection:
        connection.execute("UPDATE governance.legal_holds SET released_at = now() WHERE id = %s", [held])
    assert of(await archive_months(), "comms.notifications", month) == [("expired", 3)]
    assert [one async for one in objects.list(folder)] == []
    assert await count(organisation, Archive) == 0


KILLED = """
import asyncio, os, signal, sys
from uuid import UUID
from datetime import date
import pipelines.archives.write as write
from pipelines.archives.months import get_monthly
from pipelines.archives.run import archive_months

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def die_soon(*_, **__):
    die()

setattr(write, sys.argv[2], die_soon)
asyncio.run(archive_months(only=[UUID(sys.argv[1])]))
"""


@pytest.mark.parametrize("place", ["store_file", "prove", "_note"])
async def test_a_killed_run_is_gone_on_with(organisation: Organisation, store: Settings, place: str) -> None:
    month = {"store_file": date(2018, 6, 1), "prove": date(2018, 7, 1), "_note": date(2018, 8, 1)}[place]
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month, 5)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(organisation.tenant_id), place,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert await child.wait() == -9
    assert (await count(organisation, Notification), await count(organisation, Archive)) == (5, 0)
    lines = of(await archive_months(), "comms.notifications", month)
    assert lines == [("archived", 5), ("dropped", 5)]
    objects = await tenant_store(organisation.tenant_id)
    keys = [one.key async for one in objects.list(f"tenants/{organisation.tenant_id}/archives/")]
    assert len(keys) == 1


def test_what_flows_show_is_json() -> None:
    lines = [
        MonthLine(table="comms.notifications", month=date(2018, 9, 1), tenant_id=tenant_id, did="archived", rows=3)
        for tenant_id in (uuid4(), None)
    ]
    shown = json.loads(json.dumps(to_rows(lines)))
    assert [row["month"] for row in shown] == ["2018-09", "2018-09"]
    assert shown[1]["tenant_id"] is None
    line = Line(data_type="usage", action="delete", noun="days of use", goes="deleted", days=3)
    assert json.loads(json.dumps(list_lines("acme", [line])))[0]["organisation"] == "acme"
    found = Finding(kind="wrong word counts", found=2, named=["1", "2"])
    assert json.loads(json.dumps(list_findings("acme", [found])))[0]["named"] == "1, 2"
