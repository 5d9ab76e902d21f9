"""Proving archived months of the audit log: each row by its hash, each run of rows by the anchors the chain kept."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from db.models import Archive
from db.session import Principal, tenant_session
from pipelines.archives.columns import list_columns
from pipelines.archives.read import list_archives, list_rows, read_archive

LOG: Final = "governance.audit_logs"
ROWS_AT_ONCE: Final = 2_000
BLANKED: Final = ("ip_address", "user_agent", "description")
"""What an erasure takes out of the entries of whom it erases (see `governance.redact_entries`)."""

_ANCHORS: Final = text(
    "SELECT first_sequence, sequence, previous_hash, hash FROM governance.audit_anchors WHERE month = :month ORDER BY 1"
)
_ERASED: Final = text(
    "SELECT subject_kind, subject_id FROM governance.deletion_requests WHERE status IN ('running', 'completed') "
    "UNION SELECT subject_kind, subject_id FROM governance.deletion_records"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMonth:
    """What was found of one archived month: its rows, those of erased people that no hash can prove, and a fault."""

    month: date
    rows: int
    redacted: int
    fault: str | None


@dataclass(slots=True)
class _Reading:
    """Where the reading of one month stands: the unbroken runs of places so far, and the first fault."""

    runs: list[tuple[int, int, bytes, bytes]] = field(default_factory=list)
    rows: int = 0
    redacted: int = 0
    fault: str | None = None

    def take(self, row: dict[str, Any]) -> None:
        place, before, after = row["sequence"], bytes(row["previous_hash"]), bytes(row["hash"])
        if self.runs and self.runs[-1][1] + 1 == place:
            first, _, start, last = self.runs[-1]
            if last != before:
                self.blame(f"row {place} does not follow the one before it")
            self.runs[-1] = (first, place, start, after)
        else:
            if self.runs and place <= self.runs[-1][1]:
                self.blame(f"two rows stand at {place}")
            self.runs.append((place, place, before, after))
        self.rows += 1

    def blame(self, sentence: str) -> None:
        self.fault = self.fault or sentence


async def check_archived_log(tenant_id: UUID, *, month: date | None = None) -> list[LogMonth]:
    """Recompute the tenant's archived months of the log, or one of them, and say of each where it does not hold.

    A row stands if its hash is that of what it says and of the row before it; unbroken runs must be those that the
    anchors hold, which `domain.audit_chain.check_chain` proves in turn. Rows of people who were erased have blanks
    that no hash knows: they are counted, and stand by their neighbours and by the archive's own SHA-256.
    """
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        archives = await list_archives(session, table=LOG, month=month)
    return [await _check(system, archive) for archive in archives]


async def _check(system: Principal, archive: Archive) -> LogMonth:
    reading = _Reading()
    async with tenant_session(system) as session:
        erased = {(row.subject_kind, row.subject_id) for row in await session.execute(_ERASED)}
        statement = await _write_check(session)
    try:
        async for batch in read_archive(archive):
            rows = await asyncio.to_thread(lambda b: list(list_rows(b)), batch)
            for start in range(0, len(rows), ROWS_AT_ONCE):
                page = rows[start : start + ROWS_AT_ONCE]
                async with tenant_session(system) as session:
                    wrong = set(await session.scalars(text(statement), {"rows": _to_json(page)}))
                for row in page:
                    reading.take(row)
                    if row["sequence"] in wrong:
                        _judge(reading, row, erased)
    except AppError as error:
        reading.blame(error.message)
    if archive.dropped_at is not None and reading.fault is None:
        async with tenant_session(system) as session:
            anchors = [(a.first_sequence, a.sequence, bytes(a.previous_hash), bytes(a.hash))
                       for a in await session.execute(_ANCHORS, {"month": archive.month})]  # fmt: skip
        _compare(reading, anchors, narrowed=archive.narrowed_at is not None)
    return LogMonth(month=archive.month, rows=reading.rows, redacted=reading.redacted, fault=reading.fault)


def _judge(reading: _Reading, row: dict[str, Any], erased: set[tuple[str, UUID]]) -> None:
    of_erased = ("person", row["actor_id"]) in erased or ("tenant", row["tenant_id"]) in erased
    if of_erased and all(row[name] is None for name in BLANKED):
        reading.redacted += 1
    else:
        reading.blame(f"row {row['sequence']} does not have the hash of what it says")


def _compare(reading: _Reading, anchors: Sequence[tuple[int, int, bytes, bytes]], *, narrowed: bool) -> None:
    if narrowed:
        # only what is kept longer is left: each run must lie in an anchored one
        for first, last, _, _ in reading.runs:
            if not any(a[0] <= first and last <= a[1] for a in anchors):
                reading.blame(f"rows {first} to {last} stand outside of what was anchored")
        return
    if reading.runs != list(anchors):
        missing = [a for a in anchors if a not in reading.runs]
        place = missing[0][0] if missing else reading.runs[0][0]
        reading.blame(f"the rows from {place} on are not those that the chain's anchors hold")


async def _write_check(session: AsyncSession) -> str:
    """Return the statement that returns the places of rows, given as JSON, whose hash is not that of what they say."""
    values = ", ".join(
        f"decode(j ->> '{c.name}', 'hex')" if c.type == "bytea" else f"CAST(j ->> '{c.name}' AS {c.type})"
        for c in await list_columns(session, LOG)
    )
    return (
        f"SELECT (e).sequence FROM (SELECT CAST(ROW({values}) AS governance.audit_logs) AS e "
        "FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS j) AS r "
        "WHERE governance.hash_entry((e).previous_hash, e) IS DISTINCT FROM (e).hash"
    )


def _to_json(rows: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(
        [{name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows]
    ).decode()
