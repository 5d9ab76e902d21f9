"""What somebody decided in the product about an ingested object; it outweighs every manifest, earlier and later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import IngestedObject

DECIDED: Final = "decided"
"""In an object's sidecar: somebody decided who reads it."""
NAMED: Final = "named"
"""In an object's sidecar: who somebody said speaks, addresses by label; null for nobody known here."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who reads an object because somebody said so in the product."""

    visibility: str
    client_id: UUID | None
    coach_id: UUID | None


async def lock_decisions(
    session: AsyncSession, object_id: UUID
) -> tuple[Decision | None, Mapping[str, str | None] | None]:
    """Return who reads the object, and addresses by label of who speaks in it, each where somebody decided that.

    Nobody decides anew before this transaction ends.
    """
    o = IngestedObject
    query = select(o.visibility, o.client_id, o.coach_id, o.sidecar).where(o.id == object_id)
    row = (await session.execute(query.with_for_update())).one_or_none()
    if row is None:
        return None, None
    return Decision(*row[:3]) if row.sidecar.get(DECIDED) else None, row.sidecar.get(NAMED)
