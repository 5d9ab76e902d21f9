"""The flow that waits for a coach: it drafts insights, ends its process, and goes on where a verdict resumes it."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError, Invalid
from core.settings import get_settings
from db.models import Insight
from db.session import Principal, tenant_session
from domain.identity import get_principal
from domain.insights import accept_insight, reject_insight
from domain.platform import get_tenant
from flows.starts import begin_run, end_run
from pipelines.evidence.build_plan import get_client_id
from pipelines.evidence.insights import draft_insights

NAME = "review-insights"
MOST_DRAFTS = 100


class NobodysVerdict(Invalid):
    """These verdicts are nobody's; name the e-mail address of the coach beside them."""


class Verdict(BaseModel):
    """What a coach makes of one draft; a rejection says why."""

    model_config = ConfigDict(extra="forbid")

    insight: UUID
    verdict: Literal["accept", "reject"]
    reason: str | None = None
    share: bool | None = Field(None, description="show it to the client; unset: where all it stands on allows that")


class Verdicts(RunInput):
    """What resumes a review: whose verdicts, and what they are; without any, those given by the API count."""

    coach: str | None = Field(None, description="the coach's e-mail address")
    verdicts: list[Verdict] = Field(default_factory=list, max_length=MOST_DRAFTS)


class Reviewed(BaseModel):
    """What became of the drafts; `refused` says why a verdict could not be applied, a sentence each."""

    accepted: int = 0
    rejected: int = 0
    left: int = 0
    refused: list[str] = Field(default_factory=list)

    def summarize(self) -> str:
        """Return the counts in one line."""
        counts = ((self.accepted, "accepted"), (self.rejected, "rejected"), (len(self.refused), "refused"))
        said = ", ".join(f"{count} {name}" for count, name in counts if count) or "no verdicts here"
        return f"{said}; {self.left} drafts left"


@flow(name=NAME, flow_run_name="review insights of {client}", validate_parameters=True)
async def review_insights(tenant_id: UUID, client: str, hours: Annotated[int, Field(ge=1, le=168)] = 72) -> Reviewed:
    """Draft insights of a client, wait so many hours for a coach's verdicts, and apply them as that coach.

    The process ends while it waits. The run is resumed in Prefect with `Verdicts`, or by itself (see `resume_judged`)
    once the API has a verdict on every draft. The page shows drafts as links, which ask who opens them.
    """
    await begin_run()
    try:
        client_id = await get_client_id(tenant_id, client)
        system = Principal(tenant_id, "system")
        async with tenant_session(system) as session:
            await draft_insights(session, client_id)
            drafts = await _list_drafts(session, client_id)
        reviewed = Reviewed()
        if drafts:
            await acreate_markdown_artifact(_describe(drafts), key="insight-drafts")
            # Comes back here, from the start, once it is resumed; then it returns what was given instead of waiting.
            given = await asuspend_flow_run(wait_for_input=Verdicts, key="verdicts", timeout=hours * 3600)
            reviewed = await _apply(tenant_id, given)
        async with tenant_session(system) as session:
            reviewed.left = len(await _list_drafts(session, client_id))
    finally:
        await end_run()
    logger = get_run_logger()
    for sentence in reviewed.refused:
        logger.warning(sentence)
    logger.info(reviewed.summarize())
    return Completed(message=reviewed.summarize(), data=reviewed)  # type: ignore[return-value]  # Prefect unwraps it


async def resume_judged() -> int:
    """Resume every waiting review whose drafts the API has verdicts on, and return how many that were."""
    waiting = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Suspended"])))
    resumed = 0
    async with get_client() as client:
        flows = FlowFilter(name=FlowFilterName(any_=[NAME]))
        for run in await client.read_flow_runs(flow_filter=flows, flow_run_filter=waiting):
            tenant_id = UUID(str(run.parameters["tenant_id"]))
            client_id = await get_client_id(tenant_id, str(run.parameters["client"]))
            async with tenant_session(Principal(tenant_id, "system")) as session:
                if await _list_drafts(session, client_id):
                    continue
            await client.resume_flow_run(run.id, run_input={})
            resumed += 1
    return resumed


async def _list_drafts(session: AsyncSession, client_id: UUID) -> list[UUID]:
    found = select(Insight.id).where(
        Insight.client_id == client_id, Insight.status == "draft", Insight.stale_at.is_(None)
    )
    return list(await session.scalars(found.order_by(Insight.created_at, Insight.id).limit(MOST_DRAFTS)))


async def _apply(tenant_id: UUID, given: Verdicts) -> Reviewed:
    """Apply each verdict in a transaction of the coach; one that is refused leaves the others alone."""
    reviewed = Reviewed()
    if not given.verdicts:
        return reviewed
    if given.coach is None:
        raise NobodysVerdict
    async with tenant_session(Principal(tenant_id, "system")) as session:
        slug = (await get_tenant(session, tenant_id)).slug
    coach = await get_principal(slug, given.coach)
    for one in given.verdicts:
        try:
            async with tenant_session(coach) as session:
                if one.verdict == "accept":
                    await accept_insight(session, one.insight, share=one.share, reason=one.reason)
                else:
                    await reject_insight(session, one.insight, reason=one.reason or "")
        except AppError as error:
            reviewed.refused.append(f"{one.insight}: {error.message}")
        else:
            reviewed.accepted += one.verdict == "accept"
            reviewed.rejected += one.verdict == "reject"
    return reviewed


def _describe(drafts: Sequence[UUID]) -> str:
    api = get_settings().api
    lines = [f"- [{one}](http://{api.host}:{api.port}/v1/insights/{one})" for one in drafts]
    return "\n".join(["# Drafts to judge", "", *lines, "", "Resume this run with verdicts, or give them by the API."])
