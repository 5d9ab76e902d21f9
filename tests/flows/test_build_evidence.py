"""The flows of evidence, through a real Prefect server: what they do, and that no words of anybody reach its pages."""

from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterName,
)
from prefect.client.schemas.sorting import ArtifactSort
from sqlalchemy import text

from core.errors import Unavailable
from db.session import tenant_session
from domain.identity import UserNotFound
from flows.build_evidence import build_evidence, build_one
from flows.rederive_stale import rederive_stale
from pipelines.evidence import build as building
from pipelines.evidence import build_plan
from pipelines.evidence.store import list_client_claims
from rag.answer_models import ModelChoice
from tests.factories.people import Organisation
from tests.pipelines.evidence.test_build import client_of, store_sessions
from tests.pipelines.evidence.test_build_models import REPLY, calls, choose, limit
from tests.pipelines.evidence.test_rederive import withdraw

pytestmark = pytest.mark.usefixtures("prefect_server")


async def read_artifacts(name: str) -> dict[str, Any]:
    async with get_client() as client:
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        found = await client.read_artifacts(artifact_filter=wanted)
        return {str(one.key): one.data for one in found} | {"state": run.state}


async def list_words(organisation: Organisation) -> list[str]:
    async with tenant_session(organisation.system) as session:
        union = (
            "SELECT exact FROM evidence.quotes UNION SELECT statement FROM evidence.claims UNION SELECT statement FROM"
        )
        return list(await session.scalars(text(f"{union} evidence.patterns UNION SELECT title FROM evidence.insights")))


async def test_evidence_is_built_and_its_pages_lead_to_it(organisation: Organisation) -> None:
    await store_sessions(organisation)
    client = f"client_a@{organisation.slug}.example"
    report = await build_evidence(organisation.tenant_id, client=client)
    assert [one.outcome for one in report.sessions] == ["built"] * 3
    shown = await read_artifacts(f"evidence of {client}")
    assert shown["state"].type == "COMPLETED"
    assert shown["state"].message == report.summarize()
    assert float(shown["evidence-progress"]) == 100
    assert all(str(one.transcript_id) in shown["evidence-sessions"] for one in report.sessions)
    async with tenant_session(organisation.system) as session:
        patterns = list(await session.scalars(text("SELECT id FROM evidence.patterns")))
        quoted = await session.scalar(text("SELECT transcript_id || '?around=' || segment_first FROM evidence.quotes"))
    assert patterns
    assert all(f"/v1/patterns/{one})" in shown["evidence-pyramid"] for one in patterns)
    assert f"/v1/transcripts/{str(quoted).partition('?')[0]}?around=" in shown["evidence-pyramid"]
    pages = " ".join(str(page) for page in shown.values())
    assert [words for words in await list_words(organisation) if words in pages] == []


async def test_everyone_is_built_and_an_outage_is_waited_out(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_sessions(organisation, 1)
    monkeypatch.setattr(build_one, "retry_delay_seconds", 0)
    real, outages = list_client_claims, [Unavailable(), Unavailable()]

    async def flaky(*arguments: Any) -> Any:
        if outages:
            raise outages.pop()
        return await real(*arguments)

    monkeypatch.setattr(building, "list_client_claims", flaky)
    report = await build_evidence(organisation.tenant_id)
    assert (report.failures, [one.client_id for one in report.clients]) == ((), [client_of(organisation)])
    assert outages == []


async def test_an_unknown_client_is_one_sentence(organisation: Organisation) -> None:
    with pytest.raises(UserNotFound, match="There is no client nobody"):
        await build_evidence(organisation.tenant_id, client="nobody@x.example")


async def test_what_is_stale_goes_and_the_pages_count_it(organisation: Organisation) -> None:
    stored = await store_sessions(organisation)
    built = await rederive_stale(organisation.tenant_id)
    assert (built["built"], built["stale"]) == (3, 0)
    await withdraw(organisation, stored[1])
    counts = await rederive_stale(organisation.tenant_id)
    assert counts["stale"] == counts["rederived"] + counts["deleted"] > 0
    assert counts["left"] == 0
    assert (await rederive_stale(organisation.tenant_id))["stale"] == 0


async def test_the_forecast_stands_before_and_the_cost_after(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_sessions(organisation, 1)
    model = choose(REPLY)

    async def find(*_: Any) -> list[ModelChoice]:
        return [model]

    monkeypatch.setattr(build_plan, "list_models", find)
    client = f"client_a@{organisation.slug}.example"
    await limit(organisation, "0.00001")
    stopped = await build_evidence(organisation.tenant_id, client=client)
    shown = await read_artifacts(f"evidence of {client}")
    assert "does not fit into this month's budget" in shown["evidence-forecast"]
    assert "does not fit into this month's budget" in shown["state"].message
    assert (stopped.cost_usd, calls(model)) == (None, 0)
    await limit(organisation, "5")
    report = await build_evidence(organisation.tenant_id, client=client, force=True)
    assert (report.stopped, calls(model)) == (None, 1)
    assert report.cost_usd
    async with get_client() as prefect:
        found = await prefect.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["evidence-cost"])),
            sort=ArtifactSort.CREATED_DESC,
        )
    assert f"| this run, USD | {report.cost_usd:.4f} |" in str(found[0].data)
    assert "| limit of the month, USD | 5.0000 |" in str(found[0].data)
