"""What a tenant lets models cost in a month, what they cost so far, and the promise to stop there.

What was spent stands in the runs themselves (`chat.agent_runs`, metadata `cost_usd`). A request is reserved at the most
it may cost before it is sent, in a transaction that only one request of the tenant can be in: requests that run side by
side can't together pass the limit. A reservation whose process died lapses after `LAPSE`.

Every function wants a session of the pipelines (`Principal.as_system()`): a person sees only their own runs.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import QuotaExceeded

LAPSE: Final = timedelta(minutes=15)
"""Longer than a request can take with its retries: three times two minutes."""


class BudgetExhausted(QuotaExceeded):
    """This month's budget for models is used up; wait for the next month or ask an administrator to raise it."""


class ModelPriceUnknown(BudgetExhausted):
    """The price of this model is not known, so the budget can't be promised; choose another or lift the limit."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One calendar month (UTC) in USD: the limit, None where there is none; what runs cost; what others have reserved.

    Runs whose price is not known count as nothing.
    """

    limit_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal = Decimal(0)

    @property
    def left_usd(self) -> Decimal | None:
        """What may still be asked for, never below 0; None where there is no limit."""
        if self.limit_usd is None:
            return None
        return max(self.limit_usd - self.spent_usd - self.reserved_usd, Decimal(0))

    def check(self, cost_usd: Decimal | None, *, model: str = "this model") -> None:
        """Raise `BudgetExhausted` where this cost does not fit any more, `ModelPriceUnknown` where nobody can say."""
        if self.limit_usd is None or self.left_usd is None:
            return
        if cost_usd is None:
            raise ModelPriceUnknown(
                f"The price of {model} is not known, so the budget of ${self.limit_usd:,.2f} a month can't be "
                "promised; choose a model whose price is known, or lift the limit."
            )
        if cost_usd > self.left_usd:
            raise BudgetExhausted(
                f"${cost_usd:,.4f} more does not fit into this month's budget for models: ${self.left_usd:,.4f} of "
                f"${self.limit_usd:,.2f} is left; wait for the next month or ask an administrator to raise it."
            )


_BUDGET: Final = text(
    """
    SELECT (SELECT max_model_usd_month FROM platform.tenant_quotas) AS limit_usd,
           coalesce(sum((metadata->>'cost_usd')::numeric), 0) AS spent_usd,
           coalesce(sum((metadata->>'reserved_usd')::numeric)
                    FILTER (WHERE (metadata->>'reserved_until')::timestamptz > clock_timestamp()), 0) AS reserved_usd
    FROM chat.agent_runs WHERE started_at >= date_trunc('month', clock_timestamp(), 'UTC')
    """
)
_LIMIT: Final = text("SELECT max_model_usd_month FROM platform.tenant_quotas")
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('budget:' || current_setting('app.tenant_id'), 0))")
_RESERVE: Final = text(
    """
    UPDATE chat.agent_runs
    SET metadata = metadata || jsonb_build_object(
        'reserved_usd', coalesce((metadata->>'reserved_usd')::numeric, 0) + CAST(:cost AS numeric),
        'reserved_until', clock_timestamp() + CAST(:lapse AS interval))
    WHERE id = :run
    """
)
_SETTLE: Final = text(
    """
    UPDATE chat.agent_runs
    SET metadata = metadata || jsonb_build_object(
        'reserved_usd', greatest(coalesce((metadata->>'reserved_usd')::numeric, 0) - CAST(:reserved AS numeric), 0),
        'cost_usd', coalesce((metadata->>'cost_usd')::numeric, 0) + CAST(:cost AS numeric))
    WHERE id = :run
    """
)


async def get_budget(session: AsyncSession) -> Budget:
    """Return the tenant's budget of this calendar month."""
    row = (await session.execute(_BUDGET)).one()
    return Budget(row.limit_usd, row.spent_usd, row.reserved_usd)


async def reserve(session: AsyncSession, run_id: UUID, cost_usd: Decimal | None, *, model: str) -> None:
    """Set the most that one request of a started run may cost aside; send it after the commit, then `settle`.

    Where there is a limit it holds the tenant's lock until the commit, so keep the transaction short. Raises
    `BudgetExhausted`, `ModelPriceUnknown`.
    """
    if await session.scalar(_LIMIT) is not None:
        await session.execute(_LOCK)
        (await get_budget(session)).check(cost_usd, model=model)
    if cost_usd is not None:
        await session.execute(_RESERVE, {"run": run_id, "cost": cost_usd, "lapse": LAPSE})


async def settle(
    session: AsyncSession, run_id: UUID, *, reserved_usd: Decimal | None, cost_usd: Decimal | None
) -> None:
    """Put what the request did cost in the place of what was reserved for it; an unknown cost adds nothing."""
    costs = {"run": run_id, "reserved": reserved_usd or Decimal(0), "cost": cost_usd or Decimal(0)}
    if reserved_usd is not None or cost_usd is not None:
        await session.execute(_SETTLE, costs)
