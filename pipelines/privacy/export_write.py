"""Writes a copy of a person's data as the bytes of a zip file, table by table, a thousand rows at a time."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Uuid, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from core.settings import Settings
from core.storage import ObjectStore
from db.base import Base
from db.models import DataSource, User
from db.session import BOUND_TO, Principal, ReaderUnknown, tenant_session
from domain.keys import field_cipher
from domain.objects import find_own_store
from domain.roles import PersonNotFound
from pipelines.privacy.export_archives import read_archived
from pipelines.privacy.export_pages import TableFacts, page_name, render_index, render_table
from pipelines.privacy.export_rows import WHY, Reader, Record, is_computed, read_store
from pipelines.privacy.export_titles import AREAS, TITLES
from pipelines.privacy.export_zip import ZipStream
from pipelines.privacy.stores import STORES, Store
from pipelines.privacy.subjects import Scope, collect_scope, list_words, write_pattern

FORMAT: Final = 1
"""Raise it when what programs read of the file changes."""
PART_ROWS: Final = 1_000
FILES: Final[Mapping[str, str]] = {"ingestion.ingested_objects": "key", "content.media_assets": "filename"}
"""Tables whose rows have a file in the object store, by the column of its name."""

Progress = Callable[[int, int], Awaitable[None]]

_NAMES: Final = text(
    """
    SELECT t.id::text, t.title FROM rag.transcripts t WHERE t.id = ANY (:transcripts)
    UNION ALL SELECT d.id::text, d.title FROM rag.documents d WHERE d.id = ANY (:documents)
    UNION ALL SELECT c.id::text, coalesce(c.title, 'Conversation of ' || to_char(c.created_at, 'FMDD FMMonth YYYY'))
    FROM chat.chat_sessions c WHERE c.id = ANY (:chats)
    UNION ALL SELECT s.id::text, 'Session of ' || to_char(s.scheduled_at AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY')
    FROM coaching.coaching_sessions s WHERE s.id = ANY (:sessions)
    """
).bindparams(*(bindparam(name, type_=ARRAY(Uuid)) for name in ("transcripts", "documents", "chats", "sessions")))
_PEOPLE: Final = text("SELECT user_id::text AS id, display_name FROM identity.user_profiles LIMIT 10000")


@dataclass(slots=True)
class Copy:
    """One copy in the making: a system session with one snapshot, the object store, whose, and when it goes."""

    session: AsyncSession
    store: ObjectStore
    settings: Settings
    user_id: UUID
    made_at: datetime
    expires_at: datetime | None
    size: int = 0
    sha256: bytes = b""
    counts: dict[str, Any] = field(default_factory=dict)
    """What the row says of the copy when it is whole: rows by table, and how many rows and files in all."""


@dataclass(slots=True)
class _Original:
    """A file that the person's records came from."""

    record_id: str
    name: str
    key: str | None
    storage_key: str | None
    size: int | None
    file: str | None = None
    left_out: str | None = None
    uploaded_to: str | None = None
    """The source of an upload that was never copied, as it failed or was not read yet."""

    def show(self) -> dict[str, Any]:
        return {
            "record_id": self.record_id, "name": self.name, "file": self.file, "size": self.size,
            "left_out": self.left_out,
        }  # fmt: skip


async def write_copy(copy: Copy, on_progress: Progress | None = None) -> AsyncIterator[bytes]:
    """Iterate over the bytes of the zip file; raises `PersonNotFound`, and what reading the store raises."""
    session = copy.session
    user = await session.scalar(select(User).where(User.id == copy.user_id))
    if user is None:
        raise PersonNotFound
    scope = await collect_scope(session, "person", copy.user_id)
    pattern = write_pattern(await list_words(session, (copy.user_id,)))
    reader = Reader(scope, re.compile(pattern, re.IGNORECASE) if pattern else None, await field_cipher(session))
    names = await _name_things(session, scope, user)
    zipped = ZipStream(copy.made_at)
    tables: list[TableFacts] = []
    originals: list[_Original] = []
    stores = _list_stores()
    for number, (table, parts) in enumerate(stores.items()):
        if on_progress is not None:
            await on_progress(number, len(stores))
        about = TableFacts(table)
        async with aclosing(_read_table(copy, reader, parts)) as records:
            async for content in _write_table(
                zipped, about, records, names, originals=originals, reader=str(copy.user_id)
            ):
                yield content
        if about.rows:
            tables.append(about)
    async for content in _write_originals(copy, zipped, originals):
        yield content
    tables.sort(key=_rank)
    shown = [one.show() for one in originals]
    zipped.add("index.json", orjson.dumps(_describe(copy, tables, shown), option=orjson.OPT_INDENT_2))
    zipped.add(
        "index.html",
        render_index(
            name=user.full_name, made_at=copy.made_at, expires_at=copy.expires_at, tables=tables, originals=shown
        ).encode(),
    )
    zipped.close()
    yield zipped.take()
    copy.size, copy.sha256 = zipped.size, zipped.sha256
    copy.counts = {
        "tables": {about.table: about.rows for about in tables}, "rows": sum(about.rows for about in tables),
        "originals": sum(one.file is not None for one in originals),
    }  # fmt: skip


def _list_stores() -> dict[str, list[Store]]:
    """Return the stores of rows about a person, by table."""
    found: dict[str, list[Store]] = {}
    for store in STORES:
        if store.about and store.table in Base.metadata.tables:
            found.setdefault(store.table, []).append(store)
    return found


async def _read_table(copy: Copy, reader: Reader, parts: Sequence[Store]) -> AsyncGenerator[Record, None]:
    for store in parts:
        async for record in read_store(copy.session, store, reader, batch=PART_ROWS):
            yield record
    async for record in read_archived(copy.session, copy.store, parts[0], reader):
        yield record


async def _write_table(
    zipped: ZipStream, about: TableFacts, records: AsyncIterator[Record], names: Mapping[str, str],
    *, originals: list[_Original], reader: str,
) -> AsyncIterator[bytes]:  # fmt: skip
    """Write the rows as lines of JSON and as pages, a part at a time, and note which of them have a file."""
    part: list[Record] = []
    async for record in records:
        if len(part) == PART_ROWS:
            _write_part(zipped, about, part, names, reader, more=True)
            part.clear()
            yield zipped.take()
        part.append(record)
        if about.table in FILES:
            originals.append(_find_original(about.table, record))
    if part:
        _write_part(zipped, about, part, names, reader, more=False)
        yield zipped.take()


def _write_part(
    zipped: ZipStream,
    about: TableFacts,
    records: Sequence[Record],
    names: Mapping[str, str],
    reader: str,
    *,
    more: bool,
) -> None:
    number = len(about.files) + 1
    about.files.append(f"data/{about.table}{'' if number == 1 else f'.{number}'}.jsonl")
    about.note(records)
    with zipped.open(about.files[-1]) as entry:
        for record in records:
            entry.write(record.as_json())
    if about.area != "machinery":
        name = page_name(about.table, number)
        about.pages.append(name)
        page = render_table(about, records, names, reader=reader, page=number, more=more)
        zipped.add(f"pages/{name}", page.encode())


def _find_original(table: str, record: Record) -> _Original:
    values = record.values
    named = values.get(FILES[table])
    name = re.split(r"[/\\]", str(named))[-1] if named else "a file of somebody else's"
    size = values.get("size_bytes") or values.get("file_size_bytes")
    found = _Original(str(values["id"]), name, values.get("key"), values.get("storage_key"), size)
    if not record.is_whole:
        found.storage_key, found.left_out = None, "it holds other people's words"
    elif found.storage_key is None:
        found.left_out, found.uploaded_to = "no copy of it is kept here", values.get("data_source_id")
    return found


async def _write_originals(copy: Copy, zipped: ZipStream, originals: Sequence[_Original]) -> AsyncIterator[bytes]:
    for one in originals:
        pieces = await _open_original(copy, one)
        if pieces is None:
            continue
        name = re.sub(r"[^\w.()+@ -]", "_", one.name).strip(". ")[-100:] or "file"
        async with aclosing(pieces):
            try:
                first = await anext(pieces, b"")
            except (NotFound, Invalid):
                one.left_out = "it is not in the store any more"
                continue
            one.file, one.size, one.left_out = f"originals/{one.record_id}/{name}", len(first), None
            with zipped.open(one.file) as entry:
                entry.write(first)
                async for piece in pieces:
                    entry.write(piece)
                    one.size += len(piece)
                    if zipped.is_full:
                        yield zipped.take()
        yield zipped.take()


async def _open_original(copy: Copy, one: _Original) -> AsyncGenerator[bytes, None] | None:
    if one.storage_key is not None:
        return copy.store.read_stream(one.storage_key)
    if one.uploaded_to is None or one.key is None:
        return None
    address = await copy.session.scalar(select(DataSource.uri).where(DataSource.id == UUID(one.uploaded_to)))
    own = find_own_store(copy.session.info[BOUND_TO].tenant_id, address, copy.settings) if address else None
    return None if own is None else own.read_stream(one.key)


async def _name_things(session: AsyncSession, scope: Scope, user: User) -> dict[str, str]:
    """Return names by id: of the person's sessions and conversations, and of people as the person sees them."""
    values = {name: list(scope[name]) for name in ("transcripts", "documents", "chats", "sessions")}
    names = {row[0]: row[1] for row in await session.execute(_NAMES, values)}
    tenant_id = session.info[BOUND_TO].tenant_id
    try:
        async with tenant_session(Principal(tenant_id, user.role, user.id)) as own:  # type: ignore[arg-type]  # a role of the closed list
            names |= {row.id: row.display_name for row in await own.execute(_PEOPLE)}
    except ReaderUnknown:
        pass  # who may not sign in sees nobody
    return names | {str(user.id): user.full_name}


def _rank(about: TableFacts) -> tuple[int, int, str]:
    titled = list(TITLES)
    place = titled.index(about.table) if about.table in titled else len(titled)
    return list(AREAS).index(about.area), place, about.table


def _describe(copy: Copy, tables: Sequence[TableFacts], originals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `index.json` says."""
    return {
        "format": "regenesis-person", "version": FORMAT, "person_id": str(copy.user_id),
        "made_at": copy.made_at.isoformat(), "deleted_from_server_at": copy.expires_at and copy.expires_at.isoformat(),
        "tables": [
            {
                "table": about.table, "title": about.title, "area": AREAS[about.area], "rows": about.rows,
                "files": about.files, "left_out": about.left_out,
                "computed": [c.name for c in Base.metadata.tables[about.table].columns if is_computed(c)],
            }
            for about in tables
        ],
        "originals": list(originals), "left_out": dict(WHY),
    }  # fmt: skip
