"""Tenants: finding one before anyone is bound, and founding one."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.models import Tenant
from db.session import Principal, tenant_session, unbound_session


class TenantNotFound(NotFound):
    """There is no active organisation of this name; `regenesis doctor` lists the ones there are."""


@dataclass(frozen=True, slots=True)
class TenantRef:
    """What anyone may know of a tenant before signing in."""

    id: UUID
    slug: str
    name: str


async def get_tenant_by_slug(slug: str) -> TenantRef:
    """Return the active tenant of this slug; raises `TenantNotFound`."""
    async with unbound_session() as session:
        row = (await session.execute(text("SELECT * FROM platform.find_tenant(:slug)"), {"slug": slug})).one_or_none()
    if row is None:
        raise TenantNotFound(f"There is no active organisation {slug!r}; `regenesis doctor` lists the ones there are.")
    return TenantRef(*row)


async def list_tenants() -> list[TenantRef]:
    """Return every active tenant, by slug."""
    async with unbound_session() as session:
        return [TenantRef(*row) for row in await session.execute(text("SELECT * FROM platform.list_tenants()"))]


async def choose_tenants(tenant_id: UUID | None) -> list[TenantRef]:
    """Return every active tenant by slug, or the one that is named; raises `TenantNotFound`."""
    chosen = [one for one in await list_tenants() if tenant_id in {None, one.id}]
    if tenant_id is not None and not chosen:
        raise TenantNotFound(f"There is no active organisation {tenant_id}; `regenesis doctor` lists them.")
    return chosen


async def get_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant:
    """Return the bound tenant's row; raises `TenantNotFound`."""
    tenant = await session.get(Tenant, tenant_id)
    if tenant is None:
        raise TenantNotFound
    return tenant


async def found_tenant(slug: str, name: str, *, tenant_id: UUID) -> TenantRef:
    """Create a tenant, in a transaction of its own; raises `AlreadyStored` where the slug is taken."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        session.add(Tenant(id=tenant_id, slug=slug, name=name))
    return TenantRef(tenant_id, slug, name)
