"""Posts, and the truth that the kept counts are held against."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.counters import COUNTERS
from db.session import Principal, tenant_session
from domain import posts
from tests.factories.people import Organisation


async def write_post(author: Principal, **given: Any) -> UUID:
    """Store a post, published unless said otherwise."""
    values: dict[str, Any] = {"title": "A first step", "content": "I spoke up in the meeting.", "category": "story"}
    async with tenant_session(author) as session:
        return await posts.create_post(session, author=author, **(values | given))


async def list_wrong_counts(organisation: Organisation, *schemas: str) -> list[tuple[str, Any, int, int]]:
    """Return every kept number of the schemas that differs from a recount: name, row, kept, counted."""
    wrong = []
    async with tenant_session(organisation.system) as session:
        for counter in COUNTERS:
            schema, table, column = counter.column.split(".")
            if schema not in schemas and counter.column != "identity.user_profiles.post_count":
                continue
            rows = await session.execute(
                text(
                    f"SELECT to_jsonb(t) ->> 'id', t.{column}, ({counter.truth}) FROM {schema}.{table} t "
                    f"WHERE t.{column} <> ({counter.truth})"
                )
            )
            wrong += [(counter.column, *row) for row in rows]
    return wrong
