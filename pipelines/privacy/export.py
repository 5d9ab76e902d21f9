"""Making a copy of all data about a person: one zip file, streamed into the object store with the tenant's key."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, update

from core.errors import AppError, Conflict
from core.logging import get_logger
from core.settings import Settings, get_settings
from core.storage import ObjectMissing, ObjectStore
from db.holds import hold
from db.models import DataExport
from db.session import Principal, tenant_session
from domain.exports import KEPT, get_export, require_not_erased
from domain.objects import tenant_store
from pipelines.privacy.export_write import Copy, Progress, write_copy

_log = get_logger("privacy")


class ExportBusy(Conflict):
    """This copy of data is being made already; wait until it is ready."""


class ExportGone(Conflict):
    """This copy of data was taken back while it was made; ask for a new one."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What a finished copy holds."""

    export_id: UUID
    object_key: str
    size_bytes: int
    rows: int
    originals: int
    expires_at: datetime


def name_object(tenant_id: UUID, export_id: UUID) -> str:
    """Return the key of the copy in the object store."""
    return f"tenants/{tenant_id}/exports/{export_id}.zip"


async def make_export(
    tenant_id: UUID, export_id: UUID, *, settings: Settings | None = None, on_progress: Progress | None = None
) -> ExportReport:
    """Make the copy that was asked for, from the beginning; one that is ready stays as it is.

    Raises `ExportNotFound`, `ExportBusy`, `ExportGone`, `PersonErased`, and what the store raises, whose sentence the
    row then tells.
    """
    settings = settings or get_settings()
    async with hold(tenant_id, f"export/{export_id}", busy=ExportBusy()):
        system = Principal(tenant_id, "system")
        async with tenant_session(system) as session:
            row = await get_export(session, export_id)
            if row.status == "ready":
                return _report(row)
            if row.status == "expired":
                raise ExportGone
            await require_not_erased(session, row.user_id)
            row.status, row.error = "running", None
        store = await tenant_store(tenant_id, settings)
        try:
            return await _make(row, store, settings, on_progress)
        except BaseException as error:
            await _fail(system, row, store, error)
            raise


async def _make(
    row: DataExport, store: ObjectStore, settings: Settings, on_progress: Progress | None
) -> ExportReport:  # fmt: skip
    system = Principal(row.tenant_id, "system")
    key = name_object(system.tenant_id, row.id)
    expires_at = datetime.now(UTC) + KEPT
    # One snapshot for all tables: what refers to another row finds it in the same file.
    async with tenant_session(system, isolation="REPEATABLE READ") as session:
        copy = Copy(session, store, settings, row.user_id, made_at=datetime.now(UTC), expires_at=expires_at)
        await store.write_stream(key, write_copy(copy, on_progress))
    async with tenant_session(system) as session:
        # an erasure that began meanwhile has taken its scope without this file
        await require_not_erased(session, row.user_id)
        changed = await session.scalar(
            update(DataExport)
            .where(DataExport.id == row.id, DataExport.status == "running")
            .values(
                status="ready", object_key=key, size_bytes=copy.size, sha256=copy.sha256, counts=copy.counts,
                completed_at=func.now(), expires_at=expires_at,
            )
            .returning(DataExport)
        )  # fmt: skip
        if changed is None:
            raise ExportGone
        return _report(changed)


async def _fail(system: Principal, row: DataExport, store: ObjectStore, error: BaseException) -> None:
    """Leave nothing in the object store and say in the row what went wrong, as far as that can still be done."""
    sentence = error.message if isinstance(error, AppError) else "Something broke on our side; ask for a new copy."
    try:
        await store.purge(name_object(system.tenant_id, row.id))
        async with tenant_session(system) as session:
            await session.execute(
                update(DataExport)
                .where(DataExport.id == row.id, DataExport.status == "running")
                .values(status="failed", error=sentence)
            )
    except AppError as failure:
        _log.warning("export_failure_not_stored", export_id=str(row.id), code=failure.code)


def _report(row: DataExport) -> ExportReport:
    assert row.object_key is not None  # noqa: S101  # a check of the table says so of one that is ready
    assert row.expires_at is not None  # noqa: S101  # as above
    return ExportReport(
        row.id, row.object_key, row.size_bytes or 0, row.counts.get("rows", 0), row.counts.get("originals", 0),
        row.expires_at,
    )  # fmt: skip


async def open_export(row: DataExport, *, settings: Settings | None = None) -> AsyncIterator[bytes]:
    """Return the copy's bytes as they come, the first of them read already; raises `ObjectMissing`.

    `row` is of `domain.exports.open_link`, or of a reader who may see it.
    """
    store = await tenant_store(row.tenant_id, settings or get_settings())
    if row.object_key is None:
        raise ObjectMissing
    pieces = store.read_stream(row.object_key)
    first = await anext(pieces, b"")

    async def read() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return read()


async def expire_exports(tenant_id: UUID, *, settings: Settings | None = None) -> int:
    """Delete the tenant's copies that are out of their time, every version of them, and return how many.

    Safe to repeat: the object goes before the row says so.
    """
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        due = list(
            await session.scalars(
                select(DataExport).where(DataExport.status == "ready", DataExport.expires_at <= func.now())
            )
        )
    if not due:
        return 0
    store = await tenant_store(tenant_id, settings or get_settings())
    for row in due:
        await store.purge(row.object_key or name_object(tenant_id, row.id))
    async with tenant_session(system) as session:
        await session.execute(
            update(DataExport)
            .where(DataExport.id.in_([row.id for row in due]), DataExport.status == "ready")
            .values(status="expired", object_key=None)
        )
    return len(due)
