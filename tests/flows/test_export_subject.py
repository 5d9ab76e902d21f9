"""The flow that copies a person's data, through a real Prefect server."""

import pytest

from db.session import tenant_session
from domain.exports import get_export, request_export
from flows.export_subject import export_subject
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id, store_session
from tests.flows.test_flows import _artifacts

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_copy_is_made_and_its_pages_hold_no_name(organisation: Organisation) -> None:
    person = organisation.client_a
    await name_people(organisation)
    await store_session(organisation, [("coach", "How was the week?"), ("client", "I handed over the pager.")])
    async with tenant_session(person) as session:
        row = await request_export(session, person, user_id=require_id(person))
    report = await export_subject(organisation.tenant_id, row.id)
    shown = await _artifacts(f"export {row.id}")
    assert shown["state"].type == "COMPLETED"
    assert shown["export-progress"] == 100.0
    assert f"{report.rows:,} records" in shown["export-summary"]
    assert not any("Amina" in str(one) or "client_a" in str(one) for one in shown.values())
    async with tenant_session(person) as session:
        assert (await get_export(session, row.id)).status == "ready"
    assert await export_subject(organisation.tenant_id, row.id) == report  # started again, it changes nothing
