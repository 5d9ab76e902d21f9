"""Patterns in the store: written where they differ, kept in place where they only grew."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Pattern, PatternClaim
from pipelines.evidence.records import FoundPattern
from pipelines.evidence.store_rows import Written, delete_rows, insert_rows, update_rows

_COLUMNS: Final = (
    "subject", "statement", "sessions_in_scope", "sessions_examined", "sessions_supporting", "first_seen", "last_seen",
    "method", "model_name", "prompt_hash", "support_score", "scorer",
)  # fmt: skip
"""What may change of a pattern that stays the same one."""
_STORED: Final = text(f"""
SELECT p.id, p.stale_at IS NOT NULL AS stale, {", ".join(f"p.{name}" for name in _COLUMNS)},
    (SELECT json_object_agg(e.claim_id, e.role)::text FROM evidence.pattern_claims e
     WHERE e.tenant_id = p.tenant_id AND e.pattern_id = p.id) AS edges
FROM evidence.patterns p
WHERE p.client_id IS NOT DISTINCT FROM CAST(:client_id AS uuid)
  AND p.cohort_id IS NOT DISTINCT FROM CAST(:cohort_id AS uuid) FOR NO KEY UPDATE
""")


async def write_patterns(
    session: AsyncSession,
    patterns: Sequence[FoundPattern],
    *,
    client_id: UUID | None = None,
    cohort_id: UUID | None = None,
) -> Written:
    """Make the store hold these patterns of one client, or of one cohort, and no others.

    A pattern is known by its kind, its subject and the first claim it stands on. One that only grew is changed in
    place, so that insights over it stand; one that lost a claim or went stale is taken out and written anew.
    """
    owner = client_id or cohort_id
    if owner is None or (client_id and cohort_id):
        raise ValueError("patterns are about one client or one cohort")
    wanted = _identify(owner, patterns)
    rows = (await session.execute(_STORED, {"client_id": client_id, "cohort_id": cohort_id})).mappings()
    stored = {row["id"]: row for row in rows}
    before = {key: _read_edges(row["edges"]) for key, row in stored.items()}
    kept = {
        key for key, found in wanted.items()
        if key in stored and not stored[key]["stale"] and before[key].items() <= _list_edges(found).items()
    }  # fmt: skip
    await delete_rows(session, Pattern, stored.keys() - kept)
    new = {key: found for key, found in wanted.items() if key not in kept}
    await insert_rows(session, Pattern, [
        {
            "id": key, "kind": found.kind, "client_id": client_id, "cohort_id": cohort_id, **_make(found),
            "run_id": found.method.run_id, "visibility": "system_internal",
        }
        for key, found in new.items()
    ])  # fmt: skip
    changed = {
        key for key in kept
        if any(value != stored[key][name] for name, value in _make(wanted[key]).items())
        or len(before[key]) < len(_list_edges(wanted[key]))
    }  # fmt: skip
    await update_rows(session, Pattern, [{"id": key, **_make(wanted[key])} for key in sorted(changed)])
    await insert_rows(session, PatternClaim, [
        {"pattern_id": key, "claim_id": claim_id, "role": role}
        for key in sorted({*new, *changed})
        for claim_id, role in _list_edges(wanted[key]).items() if claim_id not in before.get(key, {}) or key in new
    ])  # fmt: skip
    again = len(stored.keys() & new.keys())
    return Written(
        added=len(new) - again, changed=len(changed) + again, removed=len(stored.keys() - wanted.keys())
    )  # fmt: skip


def _identify(owner: UUID, patterns: Sequence[FoundPattern]) -> dict[UUID, FoundPattern]:
    found: dict[UUID, FoundPattern] = {}
    for pattern in patterns:
        name = f"pattern:{pattern.kind}:{(pattern.subject or '').casefold()}:{pattern.supporting[0]}"
        number, key = 1, uuid5(owner, name)
        while key in found:
            number += 1
            key = uuid5(owner, f"{name}:{number}")
        found[key] = pattern
    return found


def _list_edges(pattern: FoundPattern) -> dict[UUID, str]:
    return dict.fromkeys(pattern.counter, "counter") | dict.fromkeys(pattern.supporting, "supporting")


def _read_edges(edges: str | None) -> Mapping[UUID, str]:
    return {UUID(key): role for key, role in orjson.loads(edges or "{}").items()}


def _make(pattern: FoundPattern) -> dict[str, Any]:
    values = {name: getattr(pattern, name) for name in _COLUMNS if not name.startswith(("method", "model", "prompt"))}
    method = pattern.method
    return values | {"method": method.name, "model_name": method.model_name, "prompt_hash": method.prompt_hash}
