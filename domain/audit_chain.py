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
_DROPPED = """
    FROM governance.audit_anchors x
    WHERE NOT EXISTS (SELECT FROM governance.audit_logs l WHERE l.sequence BETWEEN x.first_sequence AND x.sequence)
"""
"""A run of rows that were dropped counts as one row of the chain, as soon as none of them is there any more."""
_BATCH = text(f"""
    WITH told AS MATERIALIZED (  -- what is left of redacted rows, by rows that stand in the chain themselves
        SELECT CAST(r.key AS bigint) AS sequence, r.value AS remains, c.metadata ->> 'subject' AS subject
        FROM governance.audit_logs c CROSS JOIN LATERAL jsonb_each_text(
            CASE WHEN jsonb_typeof(c.metadata -> 'remains') = 'object' THEN c.metadata -> 'remains' END) AS r
        WHERE c.action = 'entries_redacted' AND governance.hash_entry(c.previous_hash, c) = c.hash
          AND CASE WHEN r.key ~ '^[0-9]{{1,18}}$' THEN CAST(r.key AS bigint) > :after
                   AND CAST(r.key AS bigint) <= :until AND CAST(r.key AS bigint) < c.sequence ELSE false END
          AND (EXISTS (SELECT FROM governance.deletion_requests q WHERE q.id = c.entity_id)
               OR EXISTS (SELECT FROM governance.deletion_records q WHERE q.request_id = c.entity_id))
    ), there AS (
        SELECT a.sequence AS first, a.sequence, a.hash, a.previous_hash, a.occurred_at, a.id, false AS is_dropped,
               CASE WHEN governance.hash_entry(a.previous_hash, a) = a.hash THEN true
                    WHEN a.ip_address IS NOT NULL OR a.user_agent IS NOT NULL OR a.description IS NOT NULL THEN false
                    ELSE coalesce((a.sequence, governance.hash_remains(a), CAST(a.actor_id AS text)) IN (
                             SELECT t.sequence, t.remains, t.subject FROM told t WHERE t.subject IS NOT NULL), false)
                      OR coalesce((a.sequence, governance.hash_remains(a)) IN (
                             SELECT t.sequence, t.remains FROM told t WHERE t.subject IS NULL), false)
               END AS is_sound
        FROM governance.audit_logs a WHERE a.sequence > :after AND a.sequence <= :until
        UNION ALL
        SELECT x.first_sequence, x.sequence, x.hash, x.previous_hash, NULL, NULL, true,
               EXISTS (SELECT FROM governance.audit_anchors n WHERE n.first_sequence = x.sequence + 1)
               OR EXISTS (SELECT FROM governance.audit_logs e
                          WHERE e.action = 'audit_month_anchored' AND e.sequence > x.sequence
                            AND e.metadata @> jsonb_build_object('first', x.first_sequence, 'last', x.sequence,
                                                                 'hash', encode(x.hash, 'hex'))
                            AND governance.hash_entry(e.previous_hash, e) = e.hash)
        {_DROPPED} AND x.first_sequence > :after AND x.first_sequence <= :until
    ), placed AS MATERIALIZED (
        SELECT there.*, lag(sequence, 1, CAST(:after AS bigint)) OVER chain AS sequence_before,
               lag(hash, 1, CAST(:hash AS bytea)) OVER chain AS hash_before,
               lead(first, 1, 0) OVER chain = first AS is_double
        FROM there WINDOW chain AS (ORDER BY first, occurred_at, id)
    )
    (SELECT * FROM placed
     WHERE NOT is_sound OR first <> sequence_before + 1 OR previous_hash <> hash_before OR is_double
     ORDER BY first, sequence_before LIMIT 1)
    UNION ALL (SELECT * FROM placed ORDER BY sequence DESC LIMIT 1) LIMIT 1
""")
_NEXT = text("SELECT min(sequence) FROM governance.audit_logs WHERE sequence > :after AND sequence <= :length")
_SUCCESSOR = text("SELECT sequence FROM governance.audit_logs WHERE hash = :hash LIMIT 1")
_PLACE = text("SELECT hash FROM governance.audit_logs WHERE sequence = :sequence LIMIT 1")
_RUN_AROUND = text(f"SELECT x.sequence, x.hash {_DROPPED} AND :sequence BETWEEN x.first_sequence AND x.sequence")
_DROPPED_UNTIL = text(f"""
    SELECT coalesce(max(x.sequence), 0) AS place, coalesce(sum(x.sequence - x.first_sequence + 1) FILTER (
        WHERE x.sequence > :start AND x.sequence <= :after), 0) AS passed {_DROPPED}
""")


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first place where a chain does not hold, and what was done to it there."""

    sequence: int
    wrong: Wrong
    detail: str


@dataclass(frozen=True, slots=True)
class ChainState:
    """What a check found: the chain's length and last hash, how much of it was read, and the first fault, if any.

    `dropped_until` is the newest place whose row was dropped after its time, 0 where none was: rows up to there are
    held by anchors, those after it are all there.
    """

    length: int
    hash: bytes
    checked: int
    dropped_until: int
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
        run = (await session.execute(_RUN_AROUND, {"sequence": after})).one_or_none()
        after, before = run or (after, await session.scalar(_PLACE, {"sequence": after}) or b"")
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
    dropped = (await session.execute(_DROPPED_UNTIL, {"start": start, "after": after})).one()
    checked = max(after - start - int(dropped.passed), 0)
    return ChainState(head.length, head.hash, checked, dropped.place, fault)


async def _find_gap(session: AsyncSession, after: int, length: int) -> ChainFault:
    following = await session.scalar(_NEXT, {"after": after, "length": length})
    return _removed(after + 1, (following or length + 1) - 1)


def _removed(first: int, last: int) -> ChainFault:
    rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
    return ChainFault(first, "removed", f"{rows} missing")


async def _judge(session: AsyncSession, row: Row[Any]) -> ChainFault | None:
    """Say what is wrong with this row: the first of its batch that does not hold, or else the last."""
    place: int = row.first
    if row.is_double or place <= row.sequence_before:
        return ChainFault(place, "inserted", f"two rows stand at {place}")
    if place > row.sequence_before + 1:
        return _removed(row.sequence_before + 1, place - 1)
    if row.is_dropped and not row.is_sound:
        return _removed(place, row.sequence)  # an anchor says they were dropped, and the log tells of no drop
    if not row.is_sound:
        return ChainFault(place, "altered", f"row {place} does not have the hash of what it says")
    return None if row.previous_hash == row.hash_before else await _judge_link(session, row)


async def _judge_link(session: AsyncSession, row: Row[Any]) -> ChainFault:
    """Say why a row that is sound itself does not follow the one before it."""
    place: int = row.first
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
