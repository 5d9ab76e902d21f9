"""A subject's rows in archived months: written out of the Parquet objects, and counted there."""

import hashlib
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from core.settings import Settings
from core.storage import ObjectStore
from db.session import Principal, tenant_session
from domain.objects import tenant_store
from pipelines.archives.months import archives_folder
from pipelines.archives.read import list_archives, match_ids, read_archive
from pipelines.archives.rewrite import rewrite_archive
from pipelines.archives.write import hold_archives
from pipelines.privacy.stores import Count
from pipelines.privacy.subjects import Scope

ROWS_GO: Final[Mapping[str, Mapping[str, str]]] = {
    "chat.chat_messages": {"session_id": "chats", "user_id": "persons"},
    "comms.notifications": {"user_id": "persons", "actor_id": "persons", "id": "notifications"},
    "analytics.events": {"user_id": "persons"},
}
"""By archived table: rows go whose column holds one of these roots."""
WORDS_GO: Final[Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]]] = {
    "commerce.transactions": (
        {"user_id": "persons", "seller_id": "persons"}, ("metadata", "failure_reason", "refund_reason"),
    ),
    "governance.audit_logs": ({"actor_id": "persons"}, ("ip_address", "user_agent", "description")),
    "chat.chat_messages": ({"id": "answers"}, ("content", "references")),
}  # fmt: skip
"""Rows that stay without these columns. Of others' archived messages that tell of the subject all goes: nobody reads
them any more, and there is no function that takes out a sentence."""
BLANKED: Final = {"content": "", "references": "{}"}
"""What stands in a blanked column that may not be null."""


def _match(batch: pa.RecordBatch, scope: Scope, columns: Mapping[str, str]) -> pa.BooleanArray:
    found = pa.array([scope.kind == "tenant" and bool(columns)] * batch.num_rows)
    for column, root in columns.items():
        if scope[root]:
            found = pc.or_(found, match_ids(batch, column, scope[root]))
    return found


def _blank(batch: pa.RecordBatch, scope: Scope, table: str) -> pa.RecordBatch:
    columns, names = WORDS_GO[table]
    mine = _match(batch, scope, columns)
    for name in names:
        place = batch.schema.get_field_index(name)
        kind = batch.schema.field(place).type
        empty = pa.scalar(BLANKED.get(name), type=kind)
        batch = batch.set_column(place, batch.schema.field(place), pc.if_else(mine, empty, batch.column(place)))
    return batch


def _holds_words(batch: pa.RecordBatch, scope: Scope, table: str) -> pa.BooleanArray:
    columns, names = WORDS_GO[table]
    filled = pa.array([False] * batch.num_rows)
    for name in names:
        column = batch.column(name)
        there = pc.is_valid(column)
        if name in BLANKED:
            there = pc.and_(there, pc.not_equal(column, pa.scalar(BLANKED[name], type=column.type)))
        filled = pc.or_(filled, there)
    return pc.and_(_match(batch, scope, columns), filled)


async def count_archived(system: Principal, scope: Scope, settings: Settings) -> dict[str, Count]:
    """Count the subject's rows in archives, by table, of those that would be taken out or blanked."""
    async with tenant_session(system) as session:
        archives = await list_archives(session)
    store = await tenant_store(system.tenant_id, settings, reads_plain=scope.kind == "tenant" or None)
    ids: dict[str, list[str]] = {}
    for archive in archives:
        table = archive.table_name
        found = ids.setdefault(f"archives:{table}", [])
        if table not in ROWS_GO and table not in WORDS_GO:
            continue
        async for batch in read_archive(archive, store):
            mine = _match(batch, scope, ROWS_GO.get(table, {}))
            if table in WORDS_GO:
                mine = pc.or_(mine, _holds_words(batch, scope, table))
            found += [UUID(bytes=one).hex for one in batch.column("id").filter(mine).to_pylist()]
    if scope.kind == "tenant":
        unnamed = await _list_unnamed(system, store)
        ids["archives:unnamed"] = [hashlib.sha256(key.encode()).hexdigest() for key in unnamed]
    return {
        name: Count(len(found), hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest())
        for name, found in ids.items()
    }


async def erase_archived(system: Principal, scope: Scope, settings: Settings) -> int:
    """Write the subject's rows out of every archive that has any; return how many. Safe to kill and to repeat.

    Of an organisation money, figures and the log stay, as in the database, and no longer encrypted: its keys will go.
    """
    whole = scope.kind == "tenant"
    async with tenant_session(system) as session:
        archives = await list_archives(session)
    touched = 0
    for archive in archives:
        table = archive.table_name
        if table not in ROWS_GO and table not in WORDS_GO and not whole:
            continue
        written = await rewrite_archive(
            system.tenant_id, archive.id, settings=settings, in_plain=whole,
            keep=None if table not in ROWS_GO
            else lambda batch, t=table: pc.invert(_match(batch, scope, ROWS_GO[t])),  # type: ignore[misc]
            change=None if table not in WORDS_GO else lambda batch, t=table: _blank(batch, scope, t),  # type: ignore[misc]
        )  # fmt: skip
        touched += written.removed + written.changed
    if whole:
        async with hold_archives(system.tenant_id):
            store = await tenant_store(system.tenant_id, settings)
            for key in await _list_unnamed(system, store):
                await store.purge(key)
    return touched


async def _list_unnamed(system: Principal, store: ObjectStore) -> list[str]:
    """Return the objects among the archives that no row names, which runs that were killed left behind."""
    async with tenant_session(system) as session:
        named = {archive.object_key for archive in await list_archives(session)}
    return sorted({one.key async for one in store.list_versions(archives_folder(system.tenant_id))} - named)
