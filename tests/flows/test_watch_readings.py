"""The flow that watches readings, by a real Prefect server: what waits is linked, bulk reads are on a page, by ids."""

from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import func, select

from core.errors import Unavailable
from core.settings import AuditSettings
from db.models import AuditPending
from db.session import tenant_session
from domain import bulk_reads
from domain.reading import record_reading
from flows.watch_readings import watch_readings
from tests.factories.people import Organisation, found_organisation

pytestmark = pytest.mark.usefixtures("prefect_server")


async def page_through(organisation: Organisation) -> None:
    for _ in range(2 * AuditSettings().hour_transcripts + 1):  # too many also where the hour ends meanwhile
        async with tenant_session(organisation.coach_a) as session:
            await record_reading(session, "transcript_read", {"transcript": [uuid4()]})


async def test_a_look_links_and_tells(organisation: Organisation) -> None:
    await page_through(organisation)
    counts = await watch_readings(organisation.tenant_id)
    assert counts["told"] == 1
    assert (await watch_readings(organisation.tenant_id))["told"] == 0
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(AuditPending)) == 0
    async with get_client() as client:
        pages = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["bulk-reads"])))
    (page,) = [str(one.data) for one in pages if organisation.slug in str(one.data)]
    assert str(organisation.coach_a.user_id) in page
    assert "coach_a@" not in page


async def test_one_organisation_s_trouble_is_not_another_s(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubled = await found_organisation()
    await page_through(organisation)
    looked = bulk_reads.watch_readings

    async def fail(tenant_id: object, *given: object, **named: object) -> object:
        if tenant_id == troubled.tenant_id:
            raise Unavailable("It is away.")
        return await looked(tenant_id, *given, **named)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(bulk_reads, "watch_readings", fail)
    with pytest.raises(RuntimeError, match="of 1 organisations were not looked at"):
        await watch_readings()
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(AuditPending)) == 0
