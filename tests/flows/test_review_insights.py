"""A review ends its process while it waits, goes on where a verdict resumes it, and applies verdicts as that coach."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.types.entrypoint import EntrypointType
from sqlalchemy import text

from db.session import Principal, tenant_session
from domain.insights import accept_insight
from flows import starts
from flows.rederive_stale import rederive_stale
from flows.review_insights import resume_judged, review_insights
from pipelines.evidence.build import build_client
from tests.factories.people import Organisation
from tests.pipelines.evidence.test_build import client_of, store_sessions

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(autouse=True)
def keep_store_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployed run closes the store at its end; here it is the other tests' too."""
    monkeypatch.setattr(starts, "_is_deployed", lambda: False)


async def start(organisation: Organisation) -> FlowRun:
    """Have a run of the deployment scheduled, as the server's pages do it."""
    await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    deployment = await review_insights.ato_deployment(
        name="review-insights", entrypoint_type=EntrypointType.MODULE_PATH
    )
    async with get_client() as client:
        parameters = {"tenant_id": str(organisation.tenant_id), "client": f"client_a@{organisation.slug}.example"}
        return await client.create_flow_run_from_deployment(await deployment.aapply(), parameters=parameters)


async def execute(run: FlowRun) -> FlowRun:
    """Run it in this process, as a worker's child would, and return how it is afterwards."""
    async with get_client() as client:
        fresh = await client.read_flow_run(run.id)
        with suppress(Pause):  # ends the child's process
            await run_flow_async(review_insights, flow_run=fresh, parameters=parse(fresh), return_type="state")
        return await client.read_flow_run(run.id)


def parse(run: FlowRun) -> dict[str, Any]:
    return {**run.parameters, "tenant_id": UUID(str(run.parameters["tenant_id"]))}


async def resume(client: PrefectClient, run: FlowRun, **given: Any) -> None:
    answer = await client.resume_flow_run(run.id, run_input=given)
    assert answer.status.value == "ACCEPT", answer


async def list_insights(organisation: Organisation) -> dict[UUID, tuple[str, UUID | None]]:
    async with tenant_session(organisation.system) as session:
        query = "SELECT id, status, decided_by FROM evidence.insights ORDER BY created_at, id"
        return {row.id: (row.status, row.decided_by) for row in await session.execute(text(query))}


async def judge(reader: Principal, insight: UUID) -> None:
    async with tenant_session(reader) as session:
        await accept_insight(session, insight)


async def test_a_verdict_given_in_prefect_is_applied_as_that_coach(organisation: Organisation) -> None:
    run = await execute(await start(organisation))
    assert (run.state_name, run.state.type.value) == ("Suspended", "PAUSED")  # type: ignore[union-attr]  # it has one
    first, *others = await list_insights(organisation)
    verdicts: list[dict[str, Any]] = [{"insight": str(first), "verdict": "accept"}]
    verdicts += [{"insight": str(one), "verdict": "reject", "reason": "Not so."} for one in others]
    async with get_client() as client:
        await resume(client, run, coach=f"coach_a@{organisation.slug}.example", verdicts=verdicts)
    run = await execute(run)
    assert run.state_name == "Completed"
    coach = organisation.coach_a.user_id
    found = await list_insights(organisation)
    assert found == {first: ("accepted", coach)} | dict.fromkeys(others, ("rejected", coach))
    assert run.state.message == f"1 accepted{f', {len(others)} rejected' if others else ''}; 0 drafts left"  # type: ignore[union-attr]


async def test_the_verdict_of_somebody_elses_coach_is_refused(organisation: Organisation) -> None:
    run = await execute(await start(organisation))
    drafts = await list_insights(organisation)
    async with get_client() as client:
        verdicts = [{"insight": str(one), "verdict": "accept"} for one in drafts]
        await resume(client, run, coach=f"coach_b@{organisation.slug}.example", verdicts=verdicts)
    run = await execute(run)
    assert {status for status, _ in (await list_insights(organisation)).values()} == {"draft"}
    assert run.state.message == f"{len(drafts)} refused; {len(drafts)} drafts left"  # type: ignore[union-attr]


async def test_verdicts_without_a_name_are_nobodys(organisation: Organisation) -> None:
    run = await execute(await start(organisation))
    draft = next(iter(await list_insights(organisation)))
    async with get_client() as client:
        await resume(client, run, verdicts=[{"insight": str(draft), "verdict": "accept"}])
    run = await execute(run)
    assert run.state_name == "Failed"
    assert "name the e-mail address" in (run.state.message or "")  # type: ignore[union-attr]


async def test_verdicts_of_the_api_resume_the_run(organisation: Organisation) -> None:
    run = await execute(await start(organisation))
    drafts = await list_insights(organisation)
    async with get_client() as client:
        await resume_judged()
        assert (await client.read_flow_run(run.id)).state_name == "Suspended"
        for one in drafts:
            await judge(organisation.coach_a, one)
        assert (await rederive_stale(organisation.tenant_id))["resumed"] >= 1
        assert (await client.read_flow_run(run.id)).state_name == "Resuming"
    run = await execute(run)
    assert (run.state_name, run.state.message) == ("Completed", "no verdicts here; 0 drafts left")  # type: ignore[union-attr]


async def test_nothing_to_judge_waits_for_nobody(organisation: Organisation) -> None:
    run = await review_insights(organisation.tenant_id, f"client_c@{organisation.slug}.example")
    assert run.summarize() == "no verdicts here; 0 drafts left"
