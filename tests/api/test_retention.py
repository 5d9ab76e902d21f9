"""Retention over HTTP: compliance alone reads and sets it, within what the database allows."""

from datetime import date

import pytest
from sqlalchemy import insert

from db.models import Archive, DataRetentionJob
from db.session import tenant_session
from pipelines.retention.apply import apply_retention
from tests.api.conftest import Connect
from tests.factories.people import Organisation

PATHS = ("/v1/privacy/retention", "/v1/privacy/retention/jobs", "/v1/privacy/archives")


@pytest.mark.parametrize("path", PATHS)
async def test_only_compliance_reads_it(organisation: Organisation, connect: Connect, path: str) -> None:
    for person in organisation.people:
        reply = await connect(person).get(path)
        assert reply.status_code == (200 if person == "compliance" else 403), (person, path)


async def test_policies_are_read_set_and_removed(organisation: Organisation, connect: Connect) -> None:
    officer, path = connect("compliance"), "/v1/privacy/retention/notifications/delete"
    before = (await officer.get("/v1/privacy/retention")).json()
    assert before["retention_days"] is None
    assert {"data_type", "action", "days", "updated_at"} == before["policies"][0].keys()
    reply = await officer.put(path, json={"days": 30})
    assert (reply.status_code, reply.json()["days"]) == (200, 30)
    after = (await officer.get("/v1/privacy/retention")).json()["policies"]
    assert [p["days"] for p in after if (p["data_type"], p["action"]) == ("notifications", "delete")] == [30]
    assert len(after) == len(before["policies"])
    assert (await officer.delete(path)).status_code == 204
    assert (await officer.delete(path)).status_code == 404
    assert (await connect("admin").put(path, json={"days": 30})).status_code == 403


@pytest.mark.parametrize(
    ("kind", "days"),
    [("transactions/delete", 9000), ("audit_logs/delete", 365), ("messages/archive", 30), ("material/archive", 30)],
)
async def test_money_and_the_log_stay(organisation: Organisation, connect: Connect, kind: str, days: int) -> None:
    reply = await connect("compliance").put(f"/v1/privacy/retention/{kind}", json={"days": days})
    assert reply.status_code == 422, reply.text
    assert "money is never deleted" in reply.json()["detail"]


@pytest.mark.parametrize("body", [{"days": 0}, {"days": 40000}, {"days": "many"}, {}, {"days": 3, "more": 1}])
async def test_unusable_days_are_refused(organisation: Organisation, connect: Connect, body: dict[str, object]) -> None:
    assert (await connect("compliance").put("/v1/privacy/retention/usage/delete", json=body)).status_code == 422


async def test_jobs_and_archives_are_listed(organisation: Organisation, connect: Connect) -> None:
    await apply_retention(organisation.tenant_id, dry_run=True)
    officer = connect("compliance")
    page = (await officer.get("/v1/privacy/retention/jobs", params={"dry_run": True, "limit": 3})).json()
    assert len(page["items"]) == 3
    assert page["next_cursor"]
    assert (await officer.get("/v1/privacy/retention/jobs", params={"dry_run": False})).json()["items"] == []
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(DataRetentionJob).values(tenant_id=organisation.tenant_id, data_type="usage", action="delete")
        )
        await session.execute(
            insert(Archive).values(
                tenant_id=organisation.tenant_id, table_name="comms.notifications", month=date(2020, 1, 1),
                object_key="x", rows=1, size_bytes=2, sha256=b"\0" * 32, columns=[],
            )
        )  # fmt: skip
    (archive,) = (await officer.get("/v1/privacy/archives", params={"table": "comms.notifications"})).json()["items"]
    assert (archive["month"], archive["rows"], archive["dropped_at"]) == ("2020-01-01", 1, None)
    assert "object_key" not in archive
    assert (await officer.get("/v1/privacy/archives", params={"table": "analytics.events"})).json()["items"] == []
