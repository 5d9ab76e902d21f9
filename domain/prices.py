"""What a tenant pays for models: its own table, which wins over list prices and fills in where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from db.models import ModelPrice
from domain.identity import bound_tenant

MOST_PRICES: Final = 500
"""Rows of one tenant: they are read with its models, for every question."""
MILLION: Final = Decimal(1_000_000)


class PriceNotFound(NotFound):
    """There is no such price; list the prices to see their ids."""


class TooManyPrices(Invalid):
    """An organisation keeps 500 prices at most; delete those that were replaced, or use patterns with *."""


@dataclass(frozen=True, slots=True)
class Price:
    """What models whose address and name match cost from a moment on, in USD a million tokens; `*` matches anything."""

    service: str
    model: str
    input_usd: Decimal
    output_usd: Decimal
    cached_usd: Decimal | None
    valid_from: datetime

    def matches(self, model: str, service: str | None) -> bool:
        """Tell whether this is the price of a model at an address, None where nothing is asked over a network."""
        return fnmatchcase(model.lower(), self.model.lower()) and fnmatchcase(
            (service or "").rstrip("/").lower(), self.service.rstrip("/").lower()
        )

    def total(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> Decimal:
        """Return USD; cached tokens are part of the input, and cost as much as the rest where nothing else is said."""
        cached = min(max(cached_tokens, 0), max(input_tokens, 0))
        fresh = max(input_tokens, 0) - cached
        reread = self.input_usd if self.cached_usd is None else self.cached_usd
        return (fresh * self.input_usd + cached * reread + max(output_tokens, 0) * self.output_usd) / MILLION


@dataclass(frozen=True, slots=True)
class PriceTable:
    """One tenant's prices, the most exact first, then the newest."""

    prices: tuple[Price, ...] = ()

    def find(self, model: str, service: str | None, *, at: datetime | None = None) -> Price | None:
        """Return the price that holds at that moment (now), None where the table says nothing of the model."""
        if not self.prices:
            return None
        at = at or datetime.now(UTC)
        return next((one for one in self.prices if one.valid_from <= at and one.matches(model, service)), None)


NO_PRICES: Final = PriceTable()


async def load_prices(session: AsyncSession) -> PriceTable:
    """Return the tenant's table."""
    return make_table([_read(row) for row in await session.scalars(select(ModelPrice))])


def read_table(rows: Sequence[Sequence[str | None]] | None) -> PriceTable:
    """Return the table of rows as JSON: address, model, the three prices as text, and since when."""

    def read(row: Sequence[str | None]) -> Price:
        service, model, given, written, cached, since = row
        return Price(
            service or "", model or "", Decimal(given or 0), Decimal(written or 0), Decimal(cached) if cached else None,
            datetime.fromisoformat(since or ""),
        )  # fmt: skip

    return make_table([read(row) for row in rows]) if rows else NO_PRICES


def make_table(prices: Sequence[Price]) -> PriceTable:
    """Return the prices in the order in which they are looked through."""

    def exactness(one: Price) -> tuple[int, int, int, float]:
        wild = ("*" in one.model) + ("*" in one.service)
        return wild, -len(one.model.replace("*", "")), -len(one.service.replace("*", "")), -one.valid_from.timestamp()

    return PriceTable(tuple(sorted(prices, key=exactness)))


async def list_prices(session: AsyncSession) -> list[ModelPrice]:
    """Return the rows of the tenant's table, by model, address and the newest first."""
    query = select(ModelPrice).order_by(ModelPrice.model, ModelPrice.service, ModelPrice.valid_from.desc())
    return list(await session.scalars(query))


async def set_price(
    session: AsyncSession,
    *,
    model: str,
    input_usd: Decimal,
    output_usd: Decimal,
    cached_usd: Decimal | None = None,
    service: str = "*",
    valid_from: datetime | None = None,
) -> ModelPrice:
    """Say what a model costs from a moment on (now); said again for the same moment, it replaces. As an administrator.

    What was counted before keeps its price, or stays unpriced. Raises `TooManyPrices`.
    """
    if (await session.scalar(select(func.count()).select_from(ModelPrice)) or 0) >= MOST_PRICES:
        raise TooManyPrices
    values = {"input_usd": input_usd, "output_usd": output_usd, "cached_usd": cached_usd}
    stored = await session.scalar(
        insert(ModelPrice)
        .values(
            tenant_id=await bound_tenant(session), service=service, model=model,
            valid_from=valid_from or datetime.now(UTC), **values,
        )
        .on_conflict_do_update(index_elements=["tenant_id", "service", "model", "valid_from"], set_=values)
        .returning(ModelPrice)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    assert stored is not None  # noqa: S101  # one row is inserted or updated
    return stored


async def delete_price(session: AsyncSession, price_id: UUID) -> None:
    """Forget a price; raises `PriceNotFound`."""
    gone = await session.scalar(delete(ModelPrice).where(ModelPrice.id == price_id).returning(ModelPrice.id))
    if gone is None:
        raise PriceNotFound


def _read(row: ModelPrice) -> Price:
    return Price(row.service, row.model, row.input_usd, row.output_usd, row.cached_usd, row.valid_from)
