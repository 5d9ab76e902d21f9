"""What `regenesis db check` and a drill read in the tenants' rows: audit chain, kept counters, ledger, guards.

It goes tenant by tenant as that tenant's system principal. Only the list of tenants and a repair need the owner.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import text

from core.findings import Finding

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.settings import Settings
    from db.counters import Counter

AT_ONCE = 4
"""Tenants looked at at the same time."""
MOST_NAMED = 5
"""Faults a finding names; the rest are counted."""

LEDGER = """
    SELECT transaction_id, currency, sum(amount) AS total FROM accounting.ledger_entries
    GROUP BY transaction_id, currency HAVING sum(amount) <> 0 ORDER BY transaction_id, currency LIMIT :most
"""

OnTenant = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that does not hold, in words that name its place."""

    tenant_id: UUID
    said: str


def list_all_tenants(settings: "Settings", slug: str | None) -> list[UUID]:
    """Return the ids of all tenants, also of those gone whose log is still there; raises `TenantNotFound`."""
    import psycopg

    from db.locate import owner_url
    from db.provision import OWNER, to_libpq_url
    from domain.platform import TenantNotFound

    query = "SELECT id FROM platform.tenants UNION SELECT tenant_id FROM governance.audit_heads ORDER BY 1"
    with psycopg.connect(to_libpq_url(owner_url(settings))) as connection:
        connection.execute(f"SET ROLE {OWNER}")
        if slug is not None:
            query = "SELECT id FROM platform.tenants WHERE slug = %s"
        tenants = [found for (found,) in connection.execute(query, None if slug is None else [slug]).fetchall()]
    if slug is not None and not tenants:
        raise TenantNotFound(f"There is no organisation {slug!r}; `regenesis tenants list` shows those there are.")
    return tenants


async def _look(
    tenants: Sequence[UUID], look: "Callable[[AsyncSession, UUID], Awaitable[list[Wrong]]]", on_tenant: OnTenant
) -> list[Wrong]:
    """Return what is wrong in any tenant, in the tenants' order."""
    from db.session import Principal, tenant_session

    free = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(tenant_id: UUID) -> list[Wrong]:
        nonlocal done
        async with free, tenant_session(Principal(tenant_id, "system")) as session:
            # A check may read for as long as it takes; nobody waits for it.
            await session.execute(text("SET LOCAL statement_timeout = 0"))
            wrong = await look(session, tenant_id)
        done += 1
        on_tenant(done, len(tenants))
        return wrong

    return [wrong for found in await asyncio.gather(*map(one, tenants)) for wrong in found]


def _conclude(name: str, wrong: list[Wrong], good: str, cure: str) -> Finding:
    if not wrong:
        return Finding(name, "ok", good)
    more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
    named = "; ".join(f"tenant {one.tenant_id}: {one.said}" for one in wrong[:MOST_NAMED])
    return Finding(name, "fail", named + more, cure)


async def check_audit_chains(tenants: Sequence[UUID], on_tenant: OnTenant) -> Finding:
    """Recompute every tenant's chain; the first row of each that does not hold is named."""
    from domain.audit_chain import check_chain

    rows = dropped = 0

    async def look(session: "AsyncSession", tenant_id: UUID) -> list[Wrong]:
        nonlocal rows, dropped
        state = await check_chain(session)
        rows += state.checked
        dropped += state.dropped_until > 0
        return [Wrong(tenant_id, f"{state.fault.wrong}: {state.fault.detail}")] if state.fault else []

    wrong = await _look(tenants, look, on_tenant)
    cure = "someone wrote the log with its guards off: compare it with a backup and find out who could"
    good = f"{rows:,} rows of {len(tenants)} chains hold"
    if dropped:
        good += f"; {dropped} of them from the anchor of their newest dropped month on"
    return _conclude("audit log", wrong, good, cure)


async def check_ledger(tenants: Sequence[UUID], on_tenant: OnTenant) -> Finding:
    """Add up every transaction's entries, by currency."""

    async def look(session: "AsyncSession", tenant_id: UUID) -> list[Wrong]:
        rows = await session.execute(text(LEDGER), {"most": MOST_NAMED + 1})
        return [
            Wrong(tenant_id, f"transaction {row.transaction_id} is off by {row.total} {row.currency}") for row in rows
        ]

    wrong = await _look(tenants, look, on_tenant)
    cure = "someone wrote the ledger with its guards off: compare it with a backup, then post a correcting entry"
    return _conclude("ledger", wrong, f"every transaction of {len(tenants)} tenants adds up to zero", cure)


def _compare(counter: "Counter") -> str:
    """Return the query of the rows whose kept number is not the truth."""
    from db.base import Base

    table, _, column = counter.column.rpartition(".")
    keys = [key.name for key in Base.metadata.tables[table].primary_key.columns if key.name != "tenant_id"]
    named = " || '/' || ".join(f"t.{key}" for key in keys)
    return (
        f"SELECT * FROM (SELECT '{counter.column}' AS counter, ({named})::text AS row_key, "
        f"t.{column}::numeric AS kept, ({counter.truth})::numeric AS truth FROM {table} t) c "
        "WHERE kept IS DISTINCT FROM truth"
    )


async def check_counters(
    tenants: Sequence[UUID], on_tenant: OnTenant, *, repair: Callable[[UUID], int] | None
) -> Finding:
    """Count anew what triggers keep; with `repair`, write the truth where it differs and look again."""
    import db.models  # noqa: F401  # fills the metadata
    from db.counters import COUNTERS

    if not COUNTERS:
        return Finding("counters", "ok", "none is kept")
    query = text(" UNION ALL ".join(_compare(counter) for counter in COUNTERS) + f" LIMIT {MOST_NAMED + 1}")

    async def look(session: "AsyncSession", tenant_id: UUID) -> list[Wrong]:
        return [
            Wrong(tenant_id, f"{row.counter} of {row.row_key} says {_plain(row.kept)}, counted are {_plain(row.truth)}")
            for row in await session.execute(query)
        ]

    wrong = await _look(tenants, look, on_tenant)
    repaired = 0
    if repair is not None:
        broken = sorted({one.tenant_id for one in wrong})
        for tenant_id in broken:
            repaired += await asyncio.to_thread(repair, tenant_id)
        wrong = await _look(broken, look, on_tenant)
    good = f"{len(COUNTERS)} counters of {len(tenants)} tenants agree with what they count"
    return _conclude(
        "counters", wrong, f"{good}; {repaired} rows were repaired" if repaired else good,
        "run `regenesis db check --repair`, and report it: a trigger was off or counts wrongly",
    )  # fmt: skip


def _plain(value: Any) -> str:  # noqa: ANN401  # a number or nothing
    return "nothing" if value is None else f"{value.normalize():f}"


def repair_counters(settings: "Settings", tenant_id: UUID) -> int:
    """Write the truth into the tenant's counters and return how many rows changed.

    Each table is locked against other writers while its rows are counted, so nothing counted meanwhile is lost.
    """
    import psycopg
    from psycopg import sql

    from db.counters import COUNTERS
    from db.locate import owner_url
    from db.provision import OWNER, to_libpq_url

    repaired = 0
    with psycopg.connect(to_libpq_url(owner_url(settings))) as connection:
        for counter in COUNTERS:
            table, _, column = counter.column.rpartition(".")
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE {OWNER}")
                connection.execute("SELECT platform.bind_reader(%s, null, 'system')", [tenant_id])
                connection.execute("SELECT set_config('app.action', 'counter_repaired', true)")
                names = {
                    "table": sql.Identifier(*table.split(".")), "column": sql.Identifier(column),
                    "truth": sql.SQL(counter.truth),
                }  # fmt: skip
                connection.execute(sql.SQL("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE").format(**names))
                changed = connection.execute(
                    sql.SQL(
                        "UPDATE {table} AS t SET {column} = ({truth}) WHERE t.{column} IS DISTINCT FROM ({truth})"
                    ).format(**names)
                )
                repaired += changed.rowcount
    return repaired


async def check_guards() -> Finding:
    """Look whether the triggers that write and keep the log are switched on."""
    from db.session import unbound_session

    query = """
        SELECT count(*) FILTER (WHERE tgenabled <> 'D'),
               string_agg(DISTINCT tgrelid::regclass::text || '.' || tgname, ', ') FILTER (WHERE tgenabled = 'D')
        FROM pg_trigger WHERE NOT tgisinternal AND tgname IN ('audit', 'link', 'keep', 'keep_all', 'immutable')
    """
    async with unbound_session() as session:
        on, off = (await session.execute(text(query))).one()
    if off:
        cure = "switch them on again (ALTER TABLE … ENABLE TRIGGER …), then look at what was done meanwhile"
        return Finding("guards", "fail", f"switched off: {off}", cure)
    return Finding("guards", "ok", f"all {on} triggers that write and keep the records are on")
