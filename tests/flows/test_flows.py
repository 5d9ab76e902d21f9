"""Each flow once, through a real Prefect server: what it does, what its pages show, when it tries again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterName
from sqlalchemy import text

from core.errors import Unavailable
from db.session import tenant_session
from domain.usage import current_flow_run
from flows import starts
from flows.ingest_sources import RETRY_DELAYS, ingest_objects, ingest_sources
from flows.prepare_partitions import prepare_partitions
from flows.reembed_chunks import reembed_chunks
from flows.refresh_views import refresh_views
from flows.starts import MAX_STARTS, RunGivenUp, begin_run
from pipelines import ingest
from pipelines.ingest import ingest_source
from pipelines.sidecar import BadSidecar
from rag.embedding import Matrix
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation

pytestmark = pytest.mark.usefixtures("prefect_server")


class FlakyEmbedder(HashEmbedder):
    """Does not answer the first times."""

    refusals = 0

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Refuse, or embed."""
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("The embedding service does not answer; try again shortly.")
        return await super().embed(texts)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> FlakyEmbedder:
    """The embedder every flow of this test finds in the settings."""
    chosen = FlakyEmbedder(16)

    async def load(_: object) -> HashEmbedder:
        return chosen

    monkeypatch.setattr(ingest, "load_embedder", load)
    monkeypatch.setattr("flows.reembed_chunks.load_embedder", load)
    monkeypatch.setattr(ingest_objects, "retry_delay_seconds", 0)
    return chosen


async def _artifacts(name: str) -> dict[str, Any]:
    async with get_client() as client:
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        found = await client.read_artifacts(artifact_filter=wanted)
        return {str(one.key): one.data for one in found} | {"state": run.state}


async def test_ingest_shows_every_object_and_why_one_failed(
    organisation: Organisation, tmp_path: Path, embedder: FlakyEmbedder
) -> None:
    (tmp_path / "guide.md").write_text("# Guide\n\nBe kind.")
    (tmp_path / "empty.md").write_text("")
    client = f"client_a@{organisation.slug}.example"
    report = await ingest_sources(
        organisation.tenant_id, str(tmp_path), client=client, held_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    assert [(one.key, one.outcome, one.visibility) for one in report.outcomes] == [
        ("empty.md", "failed", None), ("guide.md", "indexed", "coach_only"),
    ]  # fmt: skip
    shown = await _artifacts(f"ingest {tmp_path}")
    assert shown["state"].type == "COMPLETED"
    assert shown["state"].message == report.summarize()
    assert "1 indexed, 1 failed" in shown["ingest-summary"]
    assert report.failed[0].error in shown["ingest-summary"]
    assert float(shown["ingest-progress"]) == 100
    assert "guide.md" in shown["ingest-objects"]
    async with tenant_session(organisation.system) as session:
        held = await session.scalar(text("SELECT held_at FROM rag.documents"))
        runs = set(await session.scalars(text("SELECT run_id FROM ingestion.ingestion_attempts")))
    assert held == datetime(2026, 3, 2, tzinfo=UTC)
    assert runs == {report.run_id}
    again = await ingest_sources(organisation.tenant_id, str(tmp_path))
    assert (again.count("unchanged"), again.count("failed")) == (1, 1)


async def test_an_outage_is_waited_out(organisation: Organisation, tmp_path: Path, embedder: FlakyEmbedder) -> None:
    (tmp_path / "guide.md").write_text("# Guide\n\nBe kind.")
    embedder.refusals = 2
    report = await ingest_sources(organisation.tenant_id, str(tmp_path))
    assert report.count("indexed") == 1
    async with tenant_session(organisation.system) as session:
        tries = "SELECT outcome FROM ingestion.ingestion_attempts WHERE stage = 'embed' ORDER BY attempt"
        assert list(await session.scalars(text(tries))) == ["failed", "failed", "succeeded"]


async def test_a_lasting_outage_is_reported_in_the_end(
    organisation: Organisation, tmp_path: Path, embedder: FlakyEmbedder
) -> None:
    (tmp_path / "guide.md").write_text("# Guide\n\nBe kind.")
    embedder.refusals = 100
    report = await ingest_sources(organisation.tenant_id, str(tmp_path))
    assert report.failed[0].retryable
    assert embedder.refusals == 100 - 1 - len(RETRY_DELAYS)


async def test_what_is_wrong_with_a_parameter_is_said_in_one_sentence(organisation: Organisation) -> None:
    with pytest.raises(BadSidecar, match="The parameter held_at can't be used: 'soon' is no ISO-8601 date"):
        await ingest_sources(organisation.tenant_id, "/nowhere", held_at="soon")


async def test_reembed_moves_to_the_model_of_the_settings(
    organisation: Organisation, tmp_path: Path, embedder: FlakyEmbedder
) -> None:
    (tmp_path / "guide.md").write_text("# Guide\n\nBe kind.")
    await ingest_source(organisation.tenant_id, str(tmp_path), embedder=HashEmbedder(8))
    report = await reembed_chunks(organisation.tenant_id, delete_old=True)
    assert (report.chunks, report.after) == (1, embedder.name)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(text("SELECT count(*) FROM rag.chunk_embeddings")) == 1


async def test_partitions_are_there_before_they_are_needed(organisation: Organisation) -> None:
    await prepare_partitions(months_ahead=14)
    assert await prepare_partitions(months_ahead=14) == 0


async def test_a_run_that_dies_again_and_again_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(times: int) -> SimpleNamespace:
        run = SimpleNamespace(id=uuid4(), run_count=times)
        return SimpleNamespace(get=lambda: SimpleNamespace(flow_run=run))

    monkeypatch.setattr(starts, "FlowRunContext", started(MAX_STARTS))
    await begin_run()
    current_flow_run.set(None)  # the context is this test's, which is no flow
    monkeypatch.setattr(starts, "FlowRunContext", started(MAX_STARTS + 1))
    with pytest.raises(RunGivenUp):
        await begin_run()


async def test_views_are_refreshed_and_say_how_long_it_took() -> None:
    taken = await refresh_views()
    assert set(taken) == {"admin_dashboard", "program_performance", "coaching_outcomes", "rag_usage"}
    assert all(seconds > 0 for seconds in taken.values())
