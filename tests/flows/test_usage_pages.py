"""What a flow run used reaches the organisation's usage under its id, and Prefect's page of it."""

from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from db.session import tenant_session
from domain.usage import current_flow_run, list_usage
from flows.ingest_sources import ingest_sources
from tests.factories.people import Organisation


async def test_a_run_tells_what_it_used(prefect_server: str, organisation: Organisation, tmp_path: Path) -> None:
    assert prefect_server
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\nEveryone here meets their coach every second week.\n")
    report = await ingest_sources(organisation.tenant_id, str(tmp_path))
    assert report.count("indexed") == 2
    assert current_flow_run.get() is None
    from datetime import UTC, datetime, timedelta

    today = datetime.now(UTC).date()
    async with tenant_session(organisation.admin) as session:
        rows = await list_usage(
            session, since=today - timedelta(days=1), until=today + timedelta(days=1), by="flow"
        )  # fmt: skip
    assert [(row.flow_run_id, row.ingestions) for row in rows] == [(UUID(report.run_id), 2)]
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["usage"])))
    (page,) = [one for one in found if one.flow_run_id == UUID(report.run_id)]
    assert '"feature": "ingestion"' in str(page.data)
    assert '"files": 2' in str(page.data)
