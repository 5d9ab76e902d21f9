"""What is known of every object that was ever ingested: where it came from, what became of it, and each try."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, ColumnElement, any_, bindparam, func, literal, not_, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.errors import Conflict
from db.holds import hold
from db.models import DataSource, ErasedKey, IngestedObject, IngestionAttempt, User
from domain.decisions import DECIDED, NAMED
from domain.identity import bound_tenant

Stage = Literal["read", "parse", "chunk", "embed", "index"]

Value = TypeVar("Value", str, UUID)


class SourceBusy(Conflict):
    """Another run is ingesting this source; wait for it to finish, then start again."""


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object as the last run left it."""

    id: UUID
    key: str
    size: int
    version: str | None
    checksum: str | None
    sidecar: Mapping[str, Any]
    sidecar_hash: str | None
    pipeline_version: str | None
    status: str
    storage_key: str | None


@dataclass(frozen=True, slots=True)
class StageEnd:
    """How one try of one stage on one object went."""

    object_id: UUID
    started_at: datetime
    finished_at: datetime
    pieces: int | None = None
    error_code: str | None = None
    error: str | None = None


def hold_source(tenant_id: UUID, uri: str, *, wait_s: float = 300) -> AbstractAsyncContextManager[None]:
    """Keep every other run off this source of this tenant; raises `SourceBusy` after waiting so long."""
    busy = SourceBusy(f"Another run is ingesting {uri}; wait for it to finish, then start again.")
    return hold(tenant_id, uri, busy=busy, wait_s=wait_s)


async def ensure_source(session: AsyncSession, uri: str) -> UUID:
    """Return the id of the tenant's source at this address, remembered now where it is new."""
    name = uri.rstrip("/").rpartition("/")[2] or uri
    values = {"tenant_id": await bound_tenant(session), "name": name, "uri": uri}
    await session.execute(insert(DataSource).values(values).on_conflict_do_nothing())
    found = await session.scalar(select(DataSource.id).where(DataSource.uri == uri))
    return UUID(str(found))


def _is_among(column: InstrumentedAttribute[Value], values: Collection[Value]) -> ColumnElement[bool]:
    """Compare with one array parameter: IN would take a parameter a value, and 65,535 are the most."""
    return column == any_(literal(list(values), ARRAY(column.type)))


async def list_known(
    session: AsyncSession, source_id: UUID, keys: Collection[str] | None = None
) -> dict[str, KnownObject]:
    """Return the source's objects by key, vanished ones included; `keys` narrows to these."""
    o = IngestedObject
    query = select(
        o.id, o.key, o.size_bytes, o.version, o.checksum, o.sidecar, o.sidecar_hash, o.pipeline_version,
        o.ingestion_status, o.storage_key,
    ).where(o.data_source_id == source_id)  # fmt: skip
    if keys is not None:
        query = query.where(_is_among(o.key, keys))
    return {row[1]: KnownObject(*row) for row in await session.execute(query)}


def hash_address(address: str) -> bytes:
    """Return what an erased object's source or key is remembered by: it can be compared, and not read."""
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).digest()


async def list_erased(session: AsyncSession, uri: str, keys: Collection[str]) -> frozenset[str]:
    """Return those of the source's keys whose objects were erased and are not to be ingested again."""
    query = select(ErasedKey.key_hash).where(ErasedKey.source_hash == hash_address(uri))
    hashes = set(await session.scalars(query))
    return frozenset(key for key in keys if hash_address(key) in hashes) if hashes else frozenset()


async def receive_objects(session: AsyncSession, source_id: UUID, sizes: Mapping[str, int]) -> None:
    """Remember objects seen for the first time, by key; nobody may read one before it is indexed."""
    if not sizes:
        return
    tenant_id = await bound_tenant(session)
    connection = await session.connection()
    await connection.execute(
        insert(IngestedObject.__table__).on_conflict_do_nothing(),  # type: ignore[arg-type]  # declared as FromClause
        [
            {
                "tenant_id": tenant_id, "data_source_id": source_id, "key": key, "size_bytes": size,
                "visibility": "system_internal",
            }
            for key, size in sizes.items()
        ],
    )  # fmt: skip


async def remember_said(session: AsyncSession, source_id: UUID, sidecars: Mapping[str, Mapping[str, Any]]) -> None:
    """Store what is said about objects, by key; it holds until something else is said.

    Of an object about whose readers or speakers somebody decided since `sidecars` were made, what is stored stays.
    """
    if not sidecars:
        return
    table, decisions = IngestedObject.__table__, (DECIDED, NAMED)
    connection = await session.connection()
    await connection.execute(
        update(table)  # type: ignore[arg-type]  # declared as FromClause
        .where(table.c.data_source_id == source_id, table.c.key == bindparam("object_key"))
        .where(*(or_(bindparam(f"knows_{n}", type_=Boolean), not_(table.c.sidecar.has_key(n))) for n in decisions))
        .values(sidecar=bindparam("said")),
        [
            {"object_key": key, "said": said} | {f"knows_{n}": n in said for n in decisions}
            for key, said in sidecars.items()
        ],
    )


def hash_said(said: Mapping[str, Any]) -> str:
    """Return a hash that changes whenever anything said about an object changes."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


async def map_emails(session: AsyncSession, emails: Collection[str]) -> dict[str, UUID]:
    """Return the ids of the tenant's users with these addresses; unknown ones are left out."""
    rows = await session.execute(select(User.email, User.id).where(_is_among(User.email, emails)))
    return {email: user_id for email, user_id in rows}  # noqa: C416  # a Row is no tuple to mypy


async def close_interrupted(session: AsyncSession, source_id: UUID, *, error_code: str | None = None) -> int:
    """Close what a dead run left running, and return how many tries those were; hold the source while calling.

    `error_code` says that the run was ended on purpose, which no object is to blame for.
    """
    a = IngestionAttempt
    closed = await session.execute(
        update(a)
        .where(a.outcome == "running", a.object_id == IngestedObject.id, IngestedObject.data_source_id == source_id)
        .values(outcome="interrupted", finished_at=func.greatest(func.now(), a.started_at), error_code=error_code)
        .returning(a.id)
        .execution_options(synchronize_session=False)
    )
    return len(closed.all())


async def count_interruptions(session: AsyncSession, object_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return how often a run died over each of these objects since it was last indexed, failed or vanished."""
    a, o = IngestionAttempt, IngestedObject
    rows = await session.execute(
        select(a.object_id, func.count())
        .join(o, (o.tenant_id == a.tenant_id) & (o.id == a.object_id))
        .where(_is_among(a.object_id, object_ids), a.outcome == "interrupted", a.error_code.is_(None))
        .where(a.started_at > o.updated_at)
        .group_by(a.object_id)
    )
    return {object_id: count for object_id, count in rows}  # noqa: C416  # a Row is no tuple to mypy


async def begin_stage(session: AsyncSession, run_id: str, stage: Stage, object_ids: Sequence[UUID]) -> None:
    """Note that this run now tries this stage on these objects."""
    a = IngestionAttempt
    before = select(a.object_id, func.count().label("tries")).where(
        _is_among(a.object_id, object_ids), a.run_id == run_id, a.stage == stage
    ).group_by(a.object_id).subquery()  # fmt: skip
    tries = {object_id: count for object_id, count in await session.execute(select(before))}  # noqa: C416
    tenant_id = await bound_tenant(session)
    connection = await session.connection()
    await connection.execute(
        insert(a.__table__),  # type: ignore[arg-type]  # declared as FromClause
        [
            {
                "tenant_id": tenant_id, "object_id": object_id, "run_id": run_id, "stage": stage,
                "attempt": tries.get(object_id, 0) + 1,
            }
            for object_id in object_ids
        ],
    )  # fmt: skip


async def finish_stage(session: AsyncSession, run_id: str, stage: Stage, ends: Sequence[StageEnd]) -> None:
    """Note how this run's running tries of this stage went."""
    if not ends:
        return
    table = IngestionAttempt.__table__
    connection = await session.connection()
    await connection.execute(
        update(table)  # type: ignore[arg-type]  # declared as FromClause
        .where(
            table.c.object_id == bindparam("object"),
            table.c.run_id == run_id,
            table.c.stage == stage,
            table.c.outcome == "running",
        )
        .values(
            started_at=bindparam("started"),
            finished_at=bindparam("finished"),
            outcome=bindparam("ended"),
            pieces=bindparam("counted"),
            error_code=bindparam("code"),
            error=bindparam("sentence"),
        ),
        [
            {
                "object": end.object_id, "started": end.started_at, "finished": end.finished_at,
                "ended": "failed" if end.error else "succeeded", "counted": end.pieces, "code": end.error_code,
                "sentence": end.error,
            }
            for end in ends
        ],
    )  # fmt: skip


async def touch_object(session: AsyncSession, object_id: UUID, *, size: int, version: str) -> None:
    """Remember a new version of an object whose bytes turned out to be the same."""
    await session.execute(
        update(IngestedObject)
        .where(IngestedObject.id == object_id)
        .values(size_bytes=size, version=version, updated_at=func.now())
    )


async def settle_object(session: AsyncSession, object_id: UUID, **values: Any) -> None:  # noqa: ANN401  # columns
    """Record that the object is indexed, with the columns that say as what."""
    await session.execute(
        update(IngestedObject)
        .where(IngestedObject.id == object_id)
        .values(ingestion_status="indexed", error=None, indexed_at=func.now(), **values),
        execution_options={"synchronize_session": False},
    )


async def fail_object(session: AsyncSession, object_id: UUID, error: str) -> None:
    """Record that the object can't be indexed as it is, so nothing of it is searchable."""
    await session.execute(
        update(IngestedObject)
        .where(IngestedObject.id == object_id)
        .values(ingestion_status="failed", error=error, pieces=0, indexed_at=None)
    )


async def refuse_object(session: AsyncSession, object_id: UUID, sentence: str) -> None:
    """Record why the object was not taken in for now; what is indexed of an earlier version stays as it is."""
    await session.execute(
        update(IngestedObject)
        .where(IngestedObject.id == object_id, IngestedObject.ingestion_status != "indexed")
        .values(ingestion_status="refused", error=sentence)
    )


async def vanish_objects(session: AsyncSession, object_ids: Collection[UUID]) -> None:
    """Record that these objects are no longer in their source."""
    await session.execute(
        update(IngestedObject)
        .where(_is_among(IngestedObject.id, object_ids))
        .values(ingestion_status="vanished", error=None, pieces=0, indexed_at=None)
    )
