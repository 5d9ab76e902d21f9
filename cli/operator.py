"""What whoever runs commands on this machine may do: anything, one organisation at a time, for they own the store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@asynccontextmanager
async def operator_session(tenant_slug: str) -> "AsyncIterator[AsyncSession]":
    """Open one transaction that may do everything in the tenant; raises `TenantNotFound`."""
    from db.session import Principal, tenant_session
    from domain.platform import get_tenant_by_slug

    tenant = await get_tenant_by_slug(tenant_slug)
    async with tenant_session(Principal(tenant.id, "system")) as session:
        yield session


async def get_user_id(session: "AsyncSession", email: str) -> UUID:
    """Return the id of the tenant's user with this address; raises `UserNotFound`."""
    from domain.identity import UserNotFound, find_user_id

    found = await find_user_id(session, email)
    if found is None:
        raise UserNotFound(f"There is no user {email!r} in this organisation; `regenesis users list` names them.")
    return found
