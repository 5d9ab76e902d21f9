"""The statements of an erasure, store by store: a few for each table, whatever the number of rows."""

from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from domain.governance import name_action
from pipelines.index import lock_index
from pipelines.privacy.redaction import redact_answers
from pipelines.privacy.store import Store
from pipelines.privacy.stores import STORES, pick_values
from pipelines.privacy.subjects import Scope, bind

TOLD: Final = "chat.chat_messages:told"
PHASES: Final[tuple[tuple[str, tuple[Store, ...]], ...]] = tuple(
    (f"rows {number}: {schema}", tuple(stores))
    for number, (schema, stores) in enumerate(groupby(STORES, key=lambda store: store.table.partition(".")[0]), 1)
)
"""What is done in one transaction each, in the order of deletion."""

_ERASE: Final = text("SELECT governance.erase_rows(:request, :store)")
_ACTIVE: Final = text("SELECT id FROM rag.embeddings_registry WHERE status = 'active'")


async def erase_phase(session: AsyncSession, request_id: UUID, scope: Scope, stores: tuple[Store, ...]) -> None:
    """Erase the subject's rows in these stores; needs a system session while the request runs."""
    await name_action(session, "subject_erased")
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    if any(store.table.startswith("rag.") for store in stores):
        registry_id = await session.scalar(_ACTIVE)
        if registry_id is not None:  # writers of the index meet on the counts of its terms
            await lock_index(session, UUID(str(registry_id)))
    for store in stores:
        await _erase_store(session, request_id, scope, store)


async def _erase_store(session: AsyncSession, request_id: UUID, scope: Scope, store: Store) -> None:
    condition = store.condition(scope, left=True)
    if condition is None or store.by == "cascade":
        return
    if store.name == TOLD:
        await redact_answers(session, request_id, scope)
    elif store.table == "governance.audit_logs":
        return  # by a step of its own, in transactions of its own
    elif store.by == "function" and store.table != "identity.users":
        await session.execute(_ERASE, {"request": request_id, "store": store.table})
    elif _treat(store, scope) == "delete":
        await _run(session, f"DELETE FROM {store.table} t WHERE {condition}", scope)
    else:
        values = ", ".join(f'"{column}" = {value}' for column, value in store.blank.items())
        extra = ", status = 'deleted', deleted_at = coalesce(t.deleted_at, now()), phone_verified = false, "
        extra += "two_factor_enabled = false, two_factor_last_step = NULL, email_verified = false, last_login_at = NULL"
        values += extra if store.table == "identity.users" else ""
        await _run(session, f"UPDATE {store.table} t SET {values} WHERE {condition}", scope)
        if store.table == "identity.users" and scope.kind == "person":
            await _drop_person(session, scope)


def _treat(store: Store, scope: Scope) -> str:
    return store.with_tenant if scope.kind == "tenant" else store.treatment


async def _run(session: AsyncSession, statement: str, scope: Scope) -> None:
    clause = bind(statement)
    await session.execute(clause, pick_values(clause, scope))


async def _drop_person(session: AsyncSession, scope: Scope) -> None:
    """Delete the row where nothing refers to it; money, the ledger and others' rows keep it as a tombstone."""
    try:
        async with session.begin_nested():
            await _run(session, "DELETE FROM identity.users t WHERE t.id = ANY (:persons)", scope)
    except IntegrityError:
        return
