"""What a tenant lets models cost in a month, what they cost so far, and the promise to stop there.

What was spent is a counter that `domain/usage.py` keeps, so a budget is read at the same cost after a hundred thousand
runs. A run's request is reserved at the most it may cost before it is sent (`domain/quotas.py`).

Every function wants a session of the pipelines (`Principal.as_system()`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from domain import quotas, usage
from domain.quotas import LAPSE, BudgetExhausted, ModelPriceUnknown
from domain.usage import Used

__all__ = ["LAPSE", "Budget", "BudgetExhausted", "ModelPriceUnknown", "get_budget", "reserve", "settle"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One calendar month (UTC) in USD: the limit, None where there is none; what they cost; what is reserved.

    Calls whose price is not known count as nothing.
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
        month = quotas.Quota(
            kind="usd", limit=self.limit_usd, used=self.spent_usd, reserved=self.reserved_usd, resets_at=None
        )
        quotas.check_forecast([month], tokens=0, usd=cost_usd, model=model)


_KEEP_COST = text(
    "UPDATE chat.agent_runs SET metadata = metadata || jsonb_build_object("
    "'cost_usd', coalesce((metadata->>'cost_usd')::numeric, 0) + CAST(:cost AS numeric)) WHERE id = :run"
)


async def get_budget(session: AsyncSession) -> Budget:
    """Return the tenant's budget of this calendar month."""
    month = next(one for one in await quotas.list_quotas(session) if one.kind == "usd")
    return Budget(month.limit, month.used, month.reserved)


async def reserve(
    session: AsyncSession, run_id: UUID, cost_usd: Decimal | None, *, model: str, tokens: int = 0
) -> None:
    """Set the most that one request of a started run may take aside; send it after the commit, then `settle`.

    Where there is a limit it holds the tenant's lock until the commit, so keep the transaction short. Raises
    `BudgetExhausted`, `ModelPriceUnknown`, `TokensUsedUp`.
    """
    await quotas.reserve(session, run_id, tokens=tokens, usd=cost_usd, model=model, always=True)


async def settle(
    session: AsyncSession,
    run_id: UUID,
    *,
    reserved_usd: Decimal | None,
    cost_usd: Decimal | None,
    reserved_tokens: int = 0,
    used: Sequence[Used] | None = None,
) -> None:
    """Put what the request did take in the place of what was reserved for it; an unknown cost adds nothing.

    `used` says what it was for and in how many tokens; the run keeps its cost itself, too.
    """
    if cost_usd:
        await session.execute(_KEEP_COST, {"run": run_id, "cost": cost_usd})
    if used is None:
        used = [Used(feature="evidence", cost_usd=cost_usd)] if cost_usd is not None else []
    await usage.settle(session, used, partly=run_id, tokens=reserved_tokens, usd=reserved_usd or Decimal(0))
