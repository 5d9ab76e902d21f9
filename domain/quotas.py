"""What a tenant may use a day, a month and in all: set aside before work begins, and counted once it is done.

What work may take at most is reserved in one statement that only one transaction of the tenant can be in, so that
requests side by side can't together pass a limit; `domain/usage.py` puts what it really took in its place. A
reservation whose process died lapses after `LAPSE`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import QuotaExceeded
from db.models import TenantQuota
from db.session import BOUND_TO, Principal
from domain.identity import bound_tenant

LAPSE: Final = timedelta(minutes=15)
"""Longer than a request can take with its retries: three times two minutes."""
UPLOAD_LAPSE: Final = timedelta(hours=6)
"""How long an uploaded file keeps its turn until the flow takes it up."""
WAIT_S: Final = 5
"""Seconds until what is only reserved may be free again."""

Kind = Literal["tokens", "ingestions", "storage", "usd"]


class TokensUsedUp(QuotaExceeded):
    """Today's tokens of your organisation are used up; wait until tomorrow or ask an administrator for more."""


class IngestionsUsedUp(QuotaExceeded):
    """Your organisation took in as many files today as it may; wait until tomorrow or ask an administrator for more."""


class StorageFull(QuotaExceeded):
    """Your organisation's storage is full; delete files that nobody needs, or ask an administrator for more."""


class BudgetExhausted(QuotaExceeded):
    """This month's budget for models is used up; wait for the next month or ask an administrator to raise it."""


class ModelPriceUnknown(BudgetExhausted):
    """The price of this model is not known, so the budget can't be promised; choose another or lift the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a tenant may use; None is no limit."""

    tokens: int | None = None
    ingestions: int | None = None
    storage: int | None = None
    usd: Decimal | None = None

    @property
    def asks_models(self) -> bool:
        """Whether models are limited at all."""
        return self.tokens is not None or self.usd is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One limit as it stands: `resets_at` is when it begins anew, None for storage, which is freed by deleting."""

    kind: Kind
    limit: Decimal | None
    used: Decimal
    reserved: Decimal
    resets_at: datetime | None

    @property
    def left(self) -> Decimal | None:
        """What may still be asked for, never below 0; None where there is no limit."""
        return None if self.limit is None else max(self.limit - self.used - self.reserved, Decimal(0))


_LIMITS: Final = text(
    "SELECT max_tokens_per_day AS tokens, max_ingestions_day AS ingestions, max_storage_bytes AS storage, "
    "max_model_usd_month AS usd FROM platform.tenant_quotas"
)
_QUOTAS: Final = text(
    """
    SELECT k.kind, k.most, coalesce(c.used, 0) AS used, k.held, platform.end_period(k.kind) AS resets_at
    FROM (
        SELECT coalesce(sum(tokens), 0) AS tokens, coalesce(sum(ingestions), 0) AS ingestions,
               coalesce(sum(bytes), 0) AS bytes, coalesce(sum(usd), 0) AS usd
        FROM platform.quota_reservations WHERE lapses_at >= clock_timestamp()
    ) h
    LEFT JOIN platform.tenant_quotas q ON true
    CROSS JOIN LATERAL (VALUES
        (1, 'tokens', q.max_tokens_per_day::numeric, h.tokens::numeric),
        (2, 'ingestions', q.max_ingestions_day, h.ingestions), (3, 'storage', q.max_storage_bytes, h.bytes),
        (4, 'usd', q.max_model_usd_month, h.usd)
    ) AS k (place, kind, most, held)
    LEFT JOIN platform.quota_counters c ON c.kind = k.kind AND c.period = platform.name_period(k.kind)
    ORDER BY k.place
    """
)
_RESERVE: Final = "platform.reserve_usage(:id, :tokens, :ingestions, :bytes, CAST(:usd AS numeric), :lapse, :always)"
_AS_SYSTEM: Final = """
WITH bound AS MATERIALIZED (SELECT platform.bind_reader(:tenant, NULL, 'system')),
done AS MATERIALIZED (SELECT {call} AS r FROM bound),
again AS MATERIALIZED (SELECT platform.bind_reader(:tenant, :user, :role) FROM done)
SELECT {columns} FROM done, again
"""
"""A call as the pipelines inside a person's transaction, in one round trip: each step reads the one before it."""
_OBJECTS: Final = text("SELECT * FROM platform.reserve_objects(:ids, :sizes, :lapse)").bindparams(
    bindparam("ids", type_=ARRAY(Uuid)), bindparam("sizes", type_=ARRAY(BigInteger))
)


async def call_as_system(session: AsyncSession, call: str, given: Mapping[str, Any], *, columns: str = "1") -> Any:  # noqa: ANN401  # a row
    """Return the row of one of the counting functions, which only the pipelines may call.

    In a person's session they are bound for that one statement; that the person may do the whole, the caller checked.
    """
    principal: Principal = session.info[BOUND_TO]
    if principal.role == "system":
        statement, values = f"SELECT {columns} FROM (SELECT {call} AS r OFFSET 0) done", dict(given)
    else:
        statement = _AS_SYSTEM.format(call=call, columns=columns)
        reader = {"tenant": principal.tenant_id, "user": principal.user_id, "role": principal.role}
        values = {**given, **reader}
    return (await session.execute(text(statement), values)).one()


async def get_limits(session: AsyncSession) -> Limits:
    """Return what the tenant may use, as anyone of the tenant."""
    row = (await session.execute(_LIMITS)).one_or_none()
    return Limits(**row._mapping) if row is not None else Limits()  # noqa: SLF001  # SQLAlchemy's public name for it


async def set_limits(session: AsyncSession, limits: Limits) -> None:
    """Set what the tenant may use from now on, as its administrator; what is used already counts."""
    values = {
        "max_tokens_per_day": limits.tokens, "max_ingestions_day": limits.ingestions,
        "max_storage_bytes": limits.storage, "max_model_usd_month": limits.usd,
    }  # fmt: skip
    stored = insert(TenantQuota).values(tenant_id=await bound_tenant(session), **values)
    await session.execute(stored.on_conflict_do_update(index_elements=["tenant_id"], set_=values))


async def list_quotas(session: AsyncSession) -> list[Quota]:
    """Return tokens, ingestions, storage and usd as they stand, limited or not; nothing is summed but reservations."""
    return [
        Quota(kind=row.kind, limit=row.most, used=row.used, reserved=row.held, resets_at=row.resets_at)
        for row in await session.execute(_QUOTAS)
    ]


async def reserve(
    session: AsyncSession,
    reservation_id: UUID,
    *,
    tokens: int = 0,
    ingestions: int = 0,
    stored_bytes: int = 0,
    usd: Decimal | None = Decimal(0),
    model: str = "this model",
    lapse: timedelta = LAPSE,
    always: bool = False,
) -> bool:
    """Set aside the most that work may take; asked again under the same id, it is added. False where nothing limits it.

    `usd` None is a price that is not known. Where there is a limit it holds the tenant's lock until the commit: let it
    be the transaction's last statement, and begin the work after the commit. `always` keeps it also without a limit.
    Raises `TokensUsedUp`, `IngestionsUsedUp`, `StorageFull`, `BudgetExhausted`, `ModelPriceUnknown`.
    """
    given = {
        "id": reservation_id, "tokens": tokens, "ingestions": ingestions, "bytes": stored_bytes, "usd": usd,
        "lapse": lapse, "always": always,
    }  # fmt: skip
    row = await call_as_system(session, _RESERVE, given, columns="(done.r).*")
    if row.refused is not None:
        raise refuse(row.refused, row.cap, row.used, row.reserved, row.resets_at, more=usd, model=model)
    return bool(row.held)


async def reserve_objects(
    session: AsyncSession, sizes: Mapping[UUID, int], *, lapse: timedelta = LAPSE
) -> dict[UUID, QuotaExceeded]:
    """Set a turn and its bytes aside for each object, in order, and return why for those that do not fit.

    `sizes` are the bytes that each will add to what is stored; one that has a turn already, from its upload, keeps it.
    In a session of the pipelines.
    """
    if not sizes:
        return {}
    rows = await session.execute(_OBJECTS, {"ids": list(sizes), "sizes": list(sizes.values()), "lapse": lapse})
    return {row.object_id: refuse(row.refused, row.cap, row.used, row.reserved, row.resets_at) for row in rows}


async def hand_over_upload(session: AsyncSession, object_id: UUID) -> None:
    """Count an upload's bytes by its row from now on, and keep its turn for the flow; in the row's transaction."""
    await session.execute(text("SELECT platform.hand_over_upload(:id)"), {"id": object_id})


def refuse(
    kind: str, cap: Decimal, used: Decimal, reserved: Decimal, resets_at: datetime | None, *,
    more: Decimal | None = None, model: str = "this model",
) -> QuotaExceeded:  # fmt: skip
    """Return the error of a limit that is reached, with what a program needs to know of it in its context."""
    left = max(cap - used - reserved, Decimal(0))
    # what is only reserved may be free in a moment
    again = WAIT_S if used < cap or resets_at is None else max(int((resets_at - datetime.now(UTC)).total_seconds()), 1)
    context: dict[str, Any] = {
        "quota": "usd" if kind == "price" else kind, "limit": cap, "used": used, "left": left, "resets_at": resets_at,
        "retry_after": again,
    }  # fmt: skip
    day = "wait until tomorrow (UTC) or ask an administrator for more"
    match kind:
        case "tokens":
            return TokensUsedUp(
                f"Today's {cap:,} tokens of your organisation are used or reserved ({left:,} left); {day}.", **context
            )
        case "ingestions":
            return IngestionsUsedUp(
                f"Your organisation takes in {cap:,} files a day and {left:,} are left today; {day}.", **context
            )
        case "storage":
            return StorageFull(
                f"Your organisation may store {cap:,} bytes and {left:,} are left, which is too little for this; "
                "delete files that nobody needs, or ask an administrator for more.", **context,
            )  # fmt: skip
        case "price":
            return ModelPriceUnknown(
                f"The price of {model} is not known, so the budget of ${cap:,.2f} a month can't be promised; set its "
                "price, choose a model whose price is known, or lift the limit.", **context,
            )  # fmt: skip
    return BudgetExhausted(
        f"${more or 0:,.4f} more does not fit into this month's budget for models: ${left:,.4f} of ${cap:,.2f} is "
        "left; wait for the next month or ask an administrator to raise it.", **context,
    )  # fmt: skip


def check_forecast(quotas: Sequence[Quota], *, tokens: int, usd: Decimal | None, model: str = "this model") -> None:
    """Raise where work that is foretold to take so much does not fit into what is left; nothing is set aside."""
    for one in quotas:
        if one.limit is None or one.left is None:
            continue
        if one.kind == "tokens" and tokens > one.left:
            raise refuse("tokens", one.limit, one.used, one.reserved, one.resets_at)
        if one.kind == "usd" and (usd is None or usd > one.left):
            kind = "price" if usd is None else "usd"
            raise refuse(kind, one.limit, one.used, one.reserved, one.resets_at, more=usd, model=model)
