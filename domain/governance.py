"""What the audit log is told beyond the changes of rows, which the database notes by itself."""

import json
from functools import cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

import db.models  # noqa: F401  # fills the metadata
from db.base import SCHEMAS, Base
from db.policies import name_row

Severity = Literal["debug", "info", "warning", "error", "critical"]

_RECORD = text(
    "SELECT governance.record_event(:action, CAST(:entity_schema AS text), CAST(:entity_type AS text), "
    "CAST(:entity_id AS uuid), CAST(:description AS text), CAST(:metadata AS jsonb), :severity)"
)


def find_schema(entity_type: str | None) -> str | None:
    """Return the schema of a kind of row by its noun in the log; None of what is no row."""
    return _list_schemas().get(entity_type or "")


@cache
def _list_schemas() -> dict[str, str]:
    """Return the schema of each kind of row, by its noun in the log."""
    # An event that people attend comes before an event that was tracked.
    tables = sorted(Base.metadata.tables.values(), key=lambda table: -SCHEMAS.index(str(table.schema)))
    return {name_row(table.name): str(table.schema) for table in tables}


async def name_action(session: AsyncSession, action: str) -> None:
    """Give every change this transaction makes from here on the one name, such as `payment_processed`."""
    await session.execute(select(func.set_config("app.action", action, True)))


async def record_event(
    session: AsyncSession,
    *,
    action: str,
    entity_type: str | None = None,
    entity_id: UUID | None = None,
    description: str | None = None,
    metadata: dict[str, Any] | None = None,
    severity: Severity = "info",
) -> None:
    """Note what changes no row (a sign-in, a reading of personal data, an export), as done by the session's reader.

    The log outlives an erasure: `description` and `metadata` must hold no names, addresses or words of a person.
    """
    await session.execute(
        _RECORD,
        {
            "action": action, "entity_schema": find_schema(entity_type), "entity_type": entity_type,
            "entity_id": entity_id, "description": description,
            "metadata": None if metadata is None else json.dumps(metadata, default=str), "severity": severity,
        },
    )  # fmt: skip
