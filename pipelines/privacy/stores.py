"""Every table of a tenant: which of its rows are about a subject, and what an erasure does with them.

One entry a table, or several where its rows are treated differently. `tests/architecture/test_erasure.py` fails with
the name of a table that has none, and of a column of a kept row that holds words, neither blanked nor explained.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncSession

from pipelines.privacy.store import Store
from pipelines.privacy.store_list import WORDS
from pipelines.privacy.store_list_people import PEOPLE
from pipelines.privacy.subjects import Scope, bind

__all__ = ["STORES", "Count", "Store", "count_store", "list_stores", "pick_values", "select_rows"]

STORES: Final = WORDS + PEOPLE
"""In the order of deletion: what refers to others goes before them."""
EMPTY: Final = hashlib.sha256(b"").hexdigest()


def list_stores(scope: Scope, *, left: bool = False) -> Iterator[Store]:
    """Iterate over the stores that may hold rows about the subject, or rows still to be erased."""
    return (store for store in STORES if store.condition(scope, left=left) is not None)


def select_rows(store: Store, scope: Scope, columns: str = "t.*", *, left: bool = False) -> TextClause:
    """Return the statement that reads the store's rows about the subject; run it with `pick_values`."""
    return bind(f"SELECT {columns} FROM {store.table} t WHERE {store.condition(scope, left=left) or 'false'}")


def pick_values(clause: TextClause, scope: Scope) -> dict[str, Any]:
    """Return those of the scope's values that the statement names."""
    values = scope.values()
    return {name: values[name] for name in clause.compile().params}


_HASHED: Final = (
    "count(*) AS rows, encode(sha256(convert_to("
    "coalesce(string_agg({0}, E'\\n' ORDER BY {0} COLLATE \"C\"), ''), 'UTF8')), 'hex') AS sha256"
)


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows a store holds about a subject, and the SHA-256 of their keys, sorted, one a line."""

    rows: int
    sha256: str


async def count_store(session: AsyncSession, store: Store, scope: Scope, *, left: bool = False) -> Count:
    """Count the store's rows about the subject, or those still to be erased; needs a system session."""
    if store.condition(scope, left=left) is None:
        return Count(0, EMPTY)
    columns = "count(*) AS rows, NULL AS sha256" if left else _HASHED.format(store.key())
    clause = select_rows(store, scope, columns, left=left)
    row = (await session.execute(clause, pick_values(clause, scope))).one()
    return Count(row.rows, row.sha256 or EMPTY)
