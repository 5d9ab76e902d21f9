"""The audit log over HTTP: for compliance alone, by filter and page, and reading it leaves a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import select

from core.settings import Settings
from db.locate import owner_url
from db.models import AuditLog
from db.provision import to_libpq_url
from db.session import tenant_session
from domain import coaching
from tests.api.conftest import Connect
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


async def read(connect: Connect, path: str = "/v1/audit", **query: Any) -> dict[str, Any]:
    reply = await connect("compliance").get(path, params=query)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


async def test_only_compliance_reads_the_log(organisation: Organisation, connect: Connect) -> None:
    for person in organisation.people:
        for path in ("/v1/audit", "/v1/audit/chain"):
            reply = await connect(person).get(path)
            assert reply.status_code == (200 if person == "compliance" else 403), (person, path)


async def test_pages_hold_every_entry_once_in_order(organisation: Organisation, connect: Connect) -> None:
    await found_organisation()
    async with tenant_session(organisation.compliance) as session:
        there = list(await session.scalars(select(AuditLog.sequence).order_by(AuditLog.sequence.desc())))
    page = await read(connect, limit=7)
    seen = [entry["sequence"] for entry in page["items"]]
    assert seen == there[:7]
    while page["next_cursor"]:
        page = await read(connect, limit=7, cursor=page["next_cursor"])
        seen += [entry["sequence"] for entry in page["items"]]
    assert seen == there
    assert seen[-1] == 1


async def test_filters_narrow_the_list(organisation: Organisation, connect: Connect) -> None:
    coach, client = require_id(organisation.coach_a), require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await coaching.end_engagement(session, coach_id=coach, client_id=client)
    page = await read(connect, action="engagement_updated")
    assert len(page["items"]) == 1
    entry = page["items"][0]
    assert (entry["entity_schema"], entry["entity_type"]) == ("coaching", "engagement")
    assert entry["actor_role"] == "system"
    assert list(entry["changes"]) == ["ended_at"]
    assert entry["changes"]["ended_at"][0] is None
    assert len(entry["hash"]) == 64
    narrowed = await read(connect, entity_type="engagement", entity_id=entry["entity_id"])
    assert [one["action"] for one in narrowed["items"]] == ["engagement_updated", "engagement_created"]
    assert (await read(connect, severity="critical"))["items"] == []
    assert (await read(connect, actor_id=str(uuid4())))["items"] == []
    now = datetime.now(UTC)
    assert (await read(connect, until=(now - timedelta(hours=1)).isoformat()))["items"] == []
    assert (await read(connect, **{"from": (now + timedelta(hours=1)).isoformat()}))["items"] == []
    recent = await read(connect, **{"from": (now - timedelta(hours=1)).isoformat(), "action": "user_created"})
    assert len(recent["items"]) == 9


async def test_reading_leaves_an_entry(organisation: Organisation, connect: Connect) -> None:
    wanted = str(uuid4())
    await read(connect, entity_id=wanted, action="Amina was here")
    latest = (await read(connect, action="audit_log_read"))["items"][0]
    assert latest["actor_id"] == str(organisation.compliance.user_id)
    assert latest["metadata"] == {
        "filters": ["action", "entity_id"], "actor_id": None, "entity_id": wanted, "client_id": None, "read_id": None,
        "entries": 0,
    }  # fmt: skip
    assert latest["entity_schema"] == "governance"
    assert latest["request_id"] is not None


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"actor_id": "me"}, {"severity": "bad"}, {"from": "yesterday"},
        {"from": "2026-01-01T00:00:00"}, {"action": "x" * 101}, {"action": "a\x00b"}, {"entity_type": ""},
    ],
)  # fmt: skip
async def test_unusable_queries_are_refused(connect: Connect, query: dict[str, Any]) -> None:
    reply = await connect("compliance").get("/v1/audit", params=query)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"


@contextmanager
def altered(settings: Settings, organisation: Organisation) -> Iterator[None]:
    """Alter the third entry as only a superuser can, and put it back."""
    with psycopg.connect(to_libpq_url(owner_url(settings)), autocommit=True) as connection:
        where = "WHERE tenant_id = %s AND sequence = 3"
        before = connection.execute(
            f"SELECT actor_role FROM governance.audit_logs {where}", [organisation.tenant_id]
        ).fetchone()
        assert before is not None
        connection.execute("ALTER TABLE governance.audit_logs DISABLE TRIGGER keep")
        change = f"UPDATE governance.audit_logs SET actor_role = %s {where}"
        connection.execute(change, ["nobody", organisation.tenant_id])
        try:
            yield
        finally:
            connection.execute(change, [*before, organisation.tenant_id])
            connection.execute("ALTER TABLE governance.audit_logs ENABLE ALWAYS TRIGGER keep")


async def test_chain_is_verified(api_settings: Settings, organisation: Organisation, connect: Connect) -> None:
    chain = await read(connect, "/v1/audit/chain")
    assert chain["verified"] is True
    assert chain["checked"] == chain["length"] > 20
    newest = (await read(connect))["items"][1]
    assert chain["hash"] == newest["hash"]
    with altered(api_settings, organisation):
        chain = await read(connect, "/v1/audit/chain")
    assert chain["verified"] is False
    assert (chain["fault"]["sequence"], chain["fault"]["wrong"]) == (3, "altered")
    alarm = (await read(connect, severity="critical"))["items"]
    assert [entry["action"] for entry in alarm] == ["audit_chain_checked"]
