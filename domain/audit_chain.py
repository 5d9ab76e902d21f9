"""Proving that nothing was altered, removed, moved or slipped into a tenant's audit log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

Wrong = Literal["altered", "removed", "inserted", "reordered", "unlinked"]

BATCH = 50_000
"""Rows checked by one statement: a second or two, and as much memory in the server as they take."""

_HEAD = text("""
    SELECT coalesce(max(h.sequence), 0) AS length, coalesce(max(h.hash), '') AS hash,
           (SELECT min(a.sequence) FROM governance.audit_logs a
            WHERE a.sequence > coalesce(max(h.sequence), 0) OR a.sequence < 1) AS beyond,
           (SELECT count(*) FROM governance.audit_pending p WHERE NOT p.waits) AS unlinked
    FROM governance.audit_heads h
""")
_BATCH = text("""
    WITH placed AS MATERIALIZED (
        SELECT a.sequence, a.hash, a.previous_hash, governance.hash_entry(a.previous_hash, a) = a.hash AS is_sound,
               lag(a.sequence, 1, CAST(:after AS bigint)) OVER chain AS sequence_before,
               lag(a.hash, 1, CAST(:hash AS bytea)) OVER chain AS hash_before,
               lead(a.sequence, 1, 0) OVER chain = a.sequence AS is_double
        FROM governance.audit_logs a WHERE a.sequence > :after AND a.sequence <= :until
        WINDOW chain AS (ORDER BY a.sequence, a.occurred_at, a.id)
    )
    (SELECT * FROM placed
     WHERE NOT is_sound OR sequence <> sequence_before + 1 OR previous_hash <> hash_before OR is_double
     ORDER BY sequence, sequence_before LIMIT 1)
    UNION ALL (SELECT * FROM placed ORDER BY sequence DESC LIMIT 1) LIMIT 1
""")
_NEXT = text("SELECT min(sequence) FROM governance.audit_logs WHERE sequence > :after AND sequence <= :length")
_SUCCESSOR = text("SELECT sequence FROM governance.audit_logs WHERE hash = :hash LIMIT 1")
_ANCHOR = text("SELECT hash FROM governance.audit_logs WHERE sequence = :sequence LIMIT 1")


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first place where a chain does not hold, and what was done to it there."""

    sequence: int
    wrong: Wrong
    detail: str


@dataclass(frozen=True, slots=True)
class ChainState:
    """What a check found: the chain's length and last hash, how much of it was read, and the first fault, if any."""

    length: int
    hash: bytes
    checked: int
    fault: ChainFault | None


async def check_chain(
    session: AsyncSession, *, newest: int | None = None, on_progress: Callable[[int, int], None] | None = None
) -> ChainState:
    """Recompute the bound tenant's chain, or its `newest` rows, and say where it first breaks.

    The reader must see the log: compliance or system. Rows added meanwhile are not looked at. `on_progress` gets the
    rows done and the rows there are. What the newest row's hash must be stands in `audit_heads`; who could rewrite
    that as well is found out only by a hash kept elsewhere, hence it is returned.
    """
    head = (await session.execute(_HEAD)).one()
    after, before = 0, b""
    if newest is not None and head.length > newest:
        after = head.length - newest
        before = await session.scalar(_ANCHOR, {"sequence": after}) or b""
    start = after
    fault = None
    while fault is None and after < head.length:
        until = min(after + BATCH, head.length)
        row = (await session.execute(_BATCH, {"after": after, "until": until, "hash": before})).one_or_none()
        if row is None:
            fault = await _find_gap(session, after, head.length)
            break
        fault = await _judge(session, row)
        after, before = row.sequence, row.hash
        if on_progress is not None:
            on_progress(after - start, head.length - start)
    if fault is None:
        fault = _judge_end(head, before)
    return ChainState(head.length, head.hash, max(after - start, 0), fault)


async def _find_gap(session: AsyncSession, after: int, length: int) -> ChainFault:
    following = await session.scalar(_NEXT, {"after": after, "length": length})
    return _removed(after + 1, (following or length + 1) - 1)


def _removed(first: int, last: int) -> ChainFault:
    rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
    return ChainFault(first, "removed", f"{rows} missing")


async def _judge(session: AsyncSession, row: Row[Any]) -> ChainFault | None:
    """Say what is wrong with this row: the first of its batch that does not hold, or else the last."""
    place: int = row.sequence
    if row.is_double or place == row.sequence_before:
        return ChainFault(place, "inserted", f"two rows stand at {place}")
    if place > row.sequence_before + 1:
        return _removed(row.sequence_before + 1, place - 1)
    if not row.is_sound:
        return ChainFault(place, "altered", f"row {place} does not have the hash of what it says")
    if row.previous_hash == row.hash_before:
        return None
    if await session.scalar(_SUCCESSOR, {"hash": row.previous_hash}) is not None:
        return ChainFault(place, "reordered", f"row {place} follows another row than the one before it")
    return ChainFault(place, "removed", f"the row that row {place} follows is missing or was replaced")


def _judge_end(head: Row[Any], last: bytes) -> ChainFault | None:
    if head.beyond is not None:
        return ChainFault(head.beyond, "inserted", f"row {head.beyond} stands outside the chain's {head.length} rows")
    if bytes(last) != bytes(head.hash):
        return ChainFault(head.length, "altered", f"row {head.length} is not the one the chain ended with")
    if head.unlinked:
        return ChainFault(head.length + 1, "unlinked", f"{head.unlinked} rows were written and never linked")
    return None
