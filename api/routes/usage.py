"""What the organisation used, what it may use, and what it pays for models."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.schemas.usage import (
    FeatureName,
    PriceIn,
    PriceOut,
    PricesOut,
    QuotaOut,
    QuotasIn,
    QuotasOut,
    UsageOut,
    UsageRowOut,
    UsageSums,
)
from core.errors import Invalid
from domain import prices, quotas, usage

router = APIRouter(prefix="/v1", tags=["usage"])

READERS: Final = [needs("read"), needs_role("admin", "executive")]
SETTERS: Final = [needs("write"), needs_role("admin")]
LONGEST: Final = timedelta(days=400)
USUAL: Final = timedelta(days=29)

SinceQuery = Annotated[date | None, Query(alias="from", description="first day (UTC); unset: 30 days to the last")]
UntilQuery = Annotated[date | None, Query(alias="until", description="last day (UTC); unset: today")]


class UsageRangeUnusable(Invalid):
    """These days can't be used; `from` must not lie after `until`, nor more than 400 days before it."""


@router.get("/usage", operation_id="getUsage", dependencies=READERS, responses=list_problem_responses())
async def get_usage(
    *,
    session: SessionDep,
    since: SinceQuery = None,
    until: UntilQuery = None,
    group_by: Annotated[Literal["day", "feature", "flow"], Query(description="a row for each")] = "day",
    feature: Annotated[FeatureName | None, Query(description="only of this feature")] = None,
    flow_run_id: Annotated[UUID | None, Query(alias="flow_run", description="only of this flow run")] = None,
) -> UsageOut:
    """Read tokens, USD and files by day, feature or flow run, and their sums; of flow runs, the dearest thousand."""
    last = until or datetime.now(UTC).date()
    try:
        first, after = since or last - USUAL, last + timedelta(days=1)
    except OverflowError as error:
        raise UsageRangeUnusable from error
    if not timedelta(0) <= last - first <= LONGEST:
        raise UsageRangeUnusable
    (totals,) = await usage.list_usage(
        session, since=first, until=after, by=None, feature=feature, flow_run_id=flow_run_id
    )
    rows = await usage.list_usage(
        session, since=first, until=after, by=group_by, feature=feature, flow_run_id=flow_run_id
    )
    return UsageOut(
        since=first, until=last, group_by=group_by, totals=UsageSums.model_validate(totals),
        items=[UsageRowOut.model_validate(row) for row in rows],
    )  # fmt: skip


@router.get("/quotas", operation_id="getQuotas", dependencies=[needs("read")], responses=list_problem_responses())
async def get_quotas(session: SessionDep) -> QuotasOut:
    """Read what your organisation may use and what is left of it: whoever is refused may see why."""
    return QuotasOut(items=[QuotaOut.model_validate(one) for one in await quotas.list_quotas(session)])


@router.put("/quotas", operation_id="setQuotas", dependencies=SETTERS, responses=list_problem_responses())
async def set_quotas(body: QuotasIn, session: SessionDep) -> QuotasOut:
    """Set all limits at once; they hold from the next piece of work on, and what is used already counts."""
    limits = quotas.Limits(
        tokens=body.max_tokens_per_day, ingestions=body.max_ingestions_day, storage=body.max_storage_bytes,
        usd=body.max_model_usd_month,
    )  # fmt: skip
    await quotas.set_limits(session, limits)
    return QuotasOut(items=[QuotaOut.model_validate(one) for one in await quotas.list_quotas(session)])


@router.get("/prices", operation_id="listPrices", dependencies=READERS, responses=list_problem_responses())
async def list_prices(session: SessionDep) -> PricesOut:
    """List your organisation's own prices of models."""
    return PricesOut(items=[PriceOut.model_validate(row) for row in await prices.list_prices(session)])


@router.post(
    "/prices", operation_id="setPrice", dependencies=SETTERS, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(),
)  # fmt: skip
async def set_price(body: PriceIn, session: SessionDep) -> PriceOut:
    """Say what a model costs from a moment on; said again for the same moment, it replaces."""
    return PriceOut.model_validate(await prices.set_price(session, **body.model_dump()))


@router.delete(
    "/prices/{price_id}", operation_id="deletePrice", dependencies=SETTERS, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_price(price_id: UUID, session: SessionDep) -> None:
    """Forget a price; what was counted by it stays as it was counted."""
    await prices.delete_price(session, price_id)
