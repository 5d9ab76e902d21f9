"""Paid work in one shape, whoever does it: its most is set aside, it is done, what it took is counted."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal, tenant_session
from domain import quotas, usage
from domain.budget import Budget
from domain.prices import PriceTable, load_prices
from domain.usage import Feature
from rag.costs import add_costs, price, tally
from rag.embedding.counting import PaidEmbedder, counting, is_paid
from rag.embedding.memory import RememberingEmbedder, VectorMemory
from rag.embedding.openai_compatible import estimate_tokens
from rag.embedding.protocol import Embedder, Matrix
from rag.providers.protocol import Usage


@dataclass(slots=True)
class Spending:
    """One piece of paid work under way; tell it each call as it ends."""

    prices: PriceTable
    calls: list[Usage] = field(default_factory=list)
    costs: list[Decimal | None] = field(default_factory=list)

    def tell(self, *calls: Usage) -> None:
        """Note calls, at the tenant's prices."""
        self.calls += calls
        self.costs += [price(one, prices=self.prices) for one in calls]

    def tell_cost(self, calls: Sequence[Usage], cost_usd: Decimal | None) -> None:
        """Note calls whose cost somebody else worked out."""
        self.calls += calls
        self.costs.append(cost_usd)

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost so far; None where a price is not known."""
        return add_costs(self.costs)


@asynccontextmanager
async def spending(
    system: Principal, feature: Feature, *, tokens: int, usd: Decimal | None, model: str, prices: PriceTable
) -> AsyncIterator[Spending]:
    """Set the most that work may take aside while the block runs, and count what it tells, also where it fails.

    In short transactions of its own: call it while none is open. Raises `TokensUsedUp`, `BudgetExhausted`,
    `ModelPriceUnknown` before anything is done.
    """
    reservation = uuid4()
    async with tenant_session(system) as session:
        await quotas.reserve(session, reservation, tokens=tokens, usd=usd, model=model)
    spent = Spending(prices)
    try:
        yield spent
    finally:
        async with tenant_session(system) as session:
            calls = [tally(feature, spent.calls, spent.costs)] if spent.calls or spent.costs else []
            await usage.settle(session, calls, finished=[reservation])


async def check_fits(session: AsyncSession, *, tokens: int, usd: Decimal | None, model: str) -> Budget:
    """Return the month's budget if work foretold to take so much fits into what is left, before any of it is begun.

    What derives, embeds anew and evaluates asks this first, and reserves call by call as it goes. Raises
    `TokensUsedUp`, `BudgetExhausted`, `ModelPriceUnknown`.
    """
    found = await quotas.list_quotas(session)
    quotas.check_forecast(found, tokens=tokens, usd=usd, model=model)
    month = next(one for one in found if one.kind == "usd")
    return Budget(month.limit, month.used, month.reserved)


async def embed_within_quota(system: Principal, embedder: Embedder, texts: Sequence[str], feature: Feature) -> Matrix:
    """Return the texts' vectors; where a service is paid for them, within the tenant's limits and counted.

    Call it while no transaction is open. Raises what the embedder does, and what `spending` does.
    """
    if not texts or not is_paid(embedder):
        return await embedder.embed(texts)
    async with tenant_session(system) as session:
        prices = await load_prices(session)
    tokens = sum(map(estimate_tokens, texts))
    usd = price_embedding(embedder, tokens, prices)
    async with spending(system, feature, tokens=tokens, usd=usd, model=embedder.model, prices=prices) as spent:
        told: list[Usage] = []
        try:
            with counting(told):
                return await embedder.embed(texts)
        finally:
            spent.tell(*told)


class _WithinQuota:
    """A paid embedder that asks for nothing beyond the tenant's limits and counts what it takes."""

    def __init__(self, system: Principal, embedder: Embedder, feature: Feature) -> None:
        self._system, self._embedder, self._feature = system, embedder, feature
        self.name, self.dimensions = embedder.name, embedder.dimensions

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, dimensions) float32."""
        return await embed_within_quota(self._system, self._embedder, texts, self._feature)


async def prepare_question(
    system: Principal, embedder: Embedder | None, question: str, *, memory: VectorMemory
) -> Embedder | None:
    """Return the embedder to search with; a paid one has embedded the question by now, within the tenant's limits.

    An embedder that costs nothing comes back as it is. Call it while no transaction is open.
    """
    if not is_paid(embedder):
        return embedder
    remembering = RememberingEmbedder(_WithinQuota(system, embedder, "search"), memory, system.tenant_id)
    await remembering.embed([question])
    return remembering


def price_embedding(embedder: PaidEmbedder, tokens: int, prices: PriceTable) -> Decimal | None:
    """Return what embedding so many tokens costs; None where the model's price is not known."""
    return price(Usage(embedder.model, tokens, 0, service=embedder.service), prices=prices)
