"""Changing a tenant's data keys while everybody goes on reading and writing.

A new version is added, which all processes write with from then on; then what older versions encrypted is read and
written anew, page by page, each replaced only where it still is what was read. Killed at any point, a rotation that is
started again goes on where it was: what is done is told by the version that each ciphertext names. At the end older
versions are retired, which the database refuses for as long as one value needs them.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import DataKeyDestroyed, FieldCipher, FieldUnreadable
from core.errors import Conflict
from core.settings import Settings, get_settings
from db.holds import hold
from db.session import Principal, WritesMet, tenant_session
from domain.governance import record_event
from domain.keys import (
    FRESH_SECONDS,
    PURPOSES,
    Purpose,
    add_key_version,
    field_cipher,
    find_object_keys,
    forget_keys,
)
from domain.rotation_objects import count_objects, renew_objects

PAGE: Final = 5_000
"""Values of one column that are encrypted anew in one transaction."""
SETTLE_SECONDS: Final = 30.0
"""How long a rotation waits for transactions that began before the new key, and may still write with the old one."""
GRACE: Final = timedelta(days=1)
"""How long a retired key of objects stays before it may be destroyed: an upload that began before may still go on."""
_PASSES: Final = 5

OnProgress = Callable[[str, int, int], None]
"""Told of what (`table.column`, or `objects`), how much is done and how much there is."""

_NEWEST = text(
    "SELECT id, version, reencrypted FROM platform.encryption_keys WHERE purpose = :purpose "
    "ORDER BY version DESC LIMIT 1"
)
_OLDER = text(
    "SELECT count(*) FROM platform.encryption_keys "
    "WHERE purpose = :purpose AND version < :version AND retired_at IS NULL AND destroyed_at IS NULL"
)
_COUNTS = text("SELECT table_name, column_name, version, amount FROM platform.count_fields()")
_COLUMNS = text("SELECT table_name, column_name, bound_to FROM platform.list_encrypted_columns()")
_RENEW = text(
    "SELECT platform.reencrypt_fields(:table, :column, CAST(:ids AS uuid[]), CAST(:before AS bytea[]), "
    "CAST(:after AS bytea[]))"
)
_BEGAN_BEFORE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user "
    "AND xact_start < :since AND pid <> pg_backend_pid()"
)


class RotationRunning(Conflict):
    """This organisation's keys are being rotated already; wait for that to end."""


@dataclass(slots=True)
class Rotation:
    """What became of one tenant's keys for one purpose."""

    purpose: Purpose
    version: int | None = None
    """The version everything is written with; None where there is nothing to encrypt yet."""
    is_new: bool = False
    renewed: int = 0
    """Values or objects that this run encrypted anew."""
    unreadable: int = 0
    """What does not open and so stays as it is; its key is not retired."""
    left: int = 0
    """What is still encrypted with an older key, or an object not at all."""
    is_settled: bool = True
    """Whether no transaction is left that may still write with an older key."""
    retired: int = 0
    destroyed: int = 0
    by_column: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def describe(self) -> str:
        """Return what became of the keys in one sentence."""
        if self.version is None:
            return f"{self.purpose}: nothing is encrypted yet"
        parts = [f"{self.renewed:,} encrypted anew with version {self.version}"]
        for amount, what in (
            (self.unreadable, "unreadable"), (self.left, "left for the next run"), (self.retired, "older keys retired"),
            (self.destroyed, "destroyed"),
        ):  # fmt: skip
            if amount:
                parts.append(f"{amount:,} {what}")
        if not self.is_settled:
            parts.append("older keys wait for transactions that still run")
        return f"{self.purpose}: {', '.join(parts)}; {self.seconds:.1f} s"


async def rotate_keys(
    tenant_id: UUID, *, destroys: bool = False, on_progress: OnProgress | None = None, settings: Settings | None = None
) -> list[Rotation]:
    """Rotate a tenant's keys of every purpose and return what became of them; an unfinished rotation is ended first.

    With `destroys`, versions that nothing needs any more are destroyed, those of objects a day after they were retired.
    Raises `RotationRunning`, `DataKeyDestroyed`, and the errors of keyring and object store.
    """
    settings = settings or get_settings()
    done = []
    async with hold(tenant_id, "rotate keys", busy=RotationRunning()):
        for purpose in PURPOSES:
            started = time.perf_counter()
            rotation = await _begin(tenant_id, purpose)
            if purpose == "objects":
                await _renew_objects(tenant_id, rotation, settings, on_progress)
            elif rotation.version is not None:
                await _renew_fields(tenant_id, rotation, on_progress)
            await _end(tenant_id, rotation, settings, destroys=destroys)
            rotation.seconds = round(time.perf_counter() - started, 3)
            done.append(rotation)
    return done


async def count_fields(session: AsyncSession) -> Mapping[tuple[str, int], int]:
    """Return how many values there are by `table.column` and version, in a session of the pipelines."""
    rows = await session.execute(_COUNTS)
    return {(f"{row.table_name}.{row.column_name}", row.version): row.amount for row in rows}


async def destroy_retired(tenant_id: UUID, purpose: Purpose, settings: Settings) -> int:
    """Destroy versions that nothing needs any more and return how many; everything is counted again before."""
    if purpose == "objects":
        async with tenant_session(Principal(tenant_id, "system")) as session:
            newest = (await session.execute(_NEWEST, {"purpose": purpose})).one_or_none()
        if newest is None or set(await count_objects(tenant_id, settings)) - {newest.version}:
            return 0
    grace = GRACE if purpose == "objects" else timedelta(0)
    async with tenant_session(Principal(tenant_id, "system")) as session:
        call = text("SELECT platform.destroy_retired_keys(:purpose, now() - CAST(:grace AS interval))")
        return int(await session.scalar(call, {"purpose": purpose, "grace": grace}) or 0)


async def _begin(tenant_id: UUID, purpose: Purpose) -> Rotation:
    """Add a version, unless older ones still wait for their end."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        newest = (await session.execute(_NEWEST, {"purpose": purpose})).one_or_none()
        if newest is None:
            return Rotation(purpose)
        if await session.scalar(_OLDER, {"purpose": purpose, "version": newest.version}):
            return Rotation(purpose, newest.version)
        version = await add_key_version(session, purpose)
        await record_event(
            session, action="key_rotation_started", entity_type="encryption_key",
            metadata={"purpose": purpose, "version": version},
        )  # fmt: skip
    forget_keys(tenant_id)
    return Rotation(purpose, version, is_new=True)


async def _end(tenant_id: UUID, rotation: Rotation, settings: Settings, *, destroys: bool) -> None:
    """Retire what nothing needs any more, and say once in the log what was done."""
    if rotation.version is None:
        return
    if not rotation.left and not rotation.unreadable and rotation.is_settled:
        async with tenant_session(Principal(tenant_id, "system")) as session:
            call = text("SELECT platform.retire_data_keys(:purpose)")
            rotation.retired = int(await session.scalar(call, {"purpose": rotation.purpose}) or 0)
        if destroys:
            rotation.destroyed = await destroy_retired(tenant_id, rotation.purpose, settings)
    async with tenant_session(Principal(tenant_id, "system")) as session:
        key = (await session.execute(_NEWEST, {"purpose": rotation.purpose})).one()
        said: dict[str, Any] = {
            "purpose": rotation.purpose, "version": rotation.version, "renewed": rotation.renewed,
            "unreadable": rotation.unreadable, "left": rotation.left, "retired": rotation.retired,
            "destroyed": rotation.destroyed,
        }  # fmt: skip
        if rotation.purpose == "fields":  # also what runs did that were killed before they could say it
            said |= {"renewed_by_all_runs": key.reencrypted, "by_column": rotation.by_column}
        await record_event(
            session, action="values_reencrypted", entity_type="encryption_key", entity_id=key.id, metadata=said
        )


async def _renew_fields(tenant_id: UUID, rotation: Rotation, on_progress: OnProgress | None) -> None:
    system = Principal(tenant_id, "system")
    for number in range(_PASSES):
        rotation.unreadable = 0
        async with tenant_session(system) as session:
            columns = (await session.execute(_COLUMNS)).all()
            counts = await count_fields(session)
        for column in columns:
            name = f"{column.table_name}.{column.column_name}"
            old = sum(amount for (of, version), amount in counts.items() if of == name and version != rotation.version)
            if old:
                await _renew_column(system, rotation, column, _show(on_progress, name, old))
        if number == 0:
            rotation.is_settled = await _wait_for_older(system)
        async with tenant_session(system) as session:
            counts = await count_fields(session)
        old = sum(amount for (_, version), amount in counts.items() if version != rotation.version)
        rotation.left = max(0, old - rotation.unreadable)
        if not rotation.left:
            return


async def _renew_column(system: Principal, rotation: Rotation, column: Any, on_seen: Callable[[int], None]) -> None:  # noqa: ANN401  # a row of _COLUMNS
    name = f"{column.table_name}.{column.column_name}"
    place = {"table": column.table_name, "column": column.column_name}
    # The names come from the database's own catalogue.
    page = text(
        f"SELECT {column.bound_to} AS id, {column.column_name} AS value FROM {column.table_name} "
        f"WHERE tenant_id = current_setting('app.tenant_id')::uuid AND {column.bound_to} > :after "
        f"AND platform.read_key_version({column.column_name}) <> :version ORDER BY {column.bound_to} LIMIT :page"
    )
    after, seen = UUID(int=0), 0
    while True:
        changed = 0
        try:
            async with tenant_session(system) as session:
                wanted = {"after": after, "version": rotation.version, "page": PAGE}
                found = (await session.execute(page, wanted)).all()
                if not found:
                    return
                cipher = await field_cipher(session)
                ids, before, renewed = await asyncio.to_thread(_renew_page, cipher, found, place)
                if ids:
                    values = {"ids": ids, "before": before, "after": renewed, **place}
                    changed = int(await session.scalar(_RENEW, values) or 0)
        except WritesMet:
            changed = 0  # somebody else's write got in between; the next pass finds what was left
        rotation.renewed += changed
        rotation.by_column[name] = rotation.by_column.get(name, 0) + changed
        rotation.unreadable += len(found) - len(ids)
        seen += len(found)
        after = found[-1].id
        on_seen(seen)


def _show(on_progress: OnProgress | None, what: str, total: int) -> Callable[[int], None]:
    def show(seen: int) -> None:
        if on_progress is not None:
            on_progress(what, min(seen, total), total)

    return show


def _renew_page(
    cipher: FieldCipher, rows: Sequence[Any], place: Mapping[str, str]
) -> tuple[list[UUID], list[bytes], list[bytes]]:
    """Return ids, ciphertexts and new ciphertexts of the rows that open."""
    ids, before, after = [], [], []
    for row in rows:
        try:
            renewed = cipher.renew(row.value, row_id=row.id, table=place["table"], column=place["column"])
        except (FieldUnreadable, DataKeyDestroyed):
            continue
        ids.append(row.id)
        before.append(row.value)
        after.append(renewed)
    return ids, before, after


async def _wait_for_older(system: Principal) -> bool:
    """Wait until no transaction runs that began before this moment; return False where one goes on for too long."""
    async with tenant_session(system) as session:
        since = await session.scalar(text("SELECT clock_timestamp()"))
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        async with tenant_session(system) as session:
            if not await session.scalar(_BEGAN_BEFORE, {"since": since}):
                return True
        await asyncio.sleep(0.05)
    return False


async def _renew_objects(
    tenant_id: UUID, rotation: Rotation, settings: Settings, on_progress: OnProgress | None
) -> None:
    for _ in range(_PASSES):
        counts = await count_objects(tenant_id, settings)
        old = sum(amount for version, amount in counts.items() if version != rotation.version or version is None)
        if not old:
            rotation.left = 0
            return
        show = _show(on_progress, "objects", old)
        done = await renew_objects(tenant_id, settings, version=rotation.version, on_seen=show)
        if rotation.version is None:  # the first that was written made the first key
            async with tenant_session(Principal(tenant_id, "system")) as session:
                keys = await find_object_keys(session)
            rotation.version = keys.newest if keys else None
        counts = await count_objects(tenant_id, settings)
        rotation.renewed += done.renewed
        rotation.unreadable = done.unreadable
        still = sum(amount for version, amount in counts.items() if version != rotation.version or version is None)
        rotation.left = max(0, still - done.unreadable)
        if not rotation.left:
            return
        await asyncio.sleep(FRESH_SECONDS)  # until no process writes with the key it found before
