"""Taking sentences out of what other people asked and were answered: what cites erased sources, or names the erased."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from pipelines.privacy.subjects import Scope, list_words, write_pattern

_LIST: Final = text(
    'SELECT m.id, m.content, m."references" FROM chat.chat_messages m WHERE m.id = ANY (:ids) ORDER BY m.id'
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_REDACT: Final = text("SELECT governance.redact_messages(:request, CAST(:changes AS jsonb))")
_END: Final = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|\n+")
AT_ONCE: Final = 500


async def redact_answers(session: AsyncSession, request_id: UUID, scope: Scope) -> int:
    """Take out of the scope's `answers` what is of or about the subject; return how many messages were changed."""
    ids = scope["answers"]
    pattern = write_pattern(await list_words(session, scope["persons"]))
    named = re.compile(pattern, re.IGNORECASE) if pattern else None
    sources = frozenset(map(str, (*scope["transcripts"], *scope["documents"], *scope["spoken"])))
    derived = frozenset(map(str, (*scope["claims"], *scope["patterns"])))
    changed = 0
    for first in range(0, len(ids), AT_ONCE):
        rows = (await session.execute(_LIST, {"ids": list(ids[first : first + AT_ONCE])})).all()
        changes = []
        for row in rows:
            kept, facts = redact(row.content, row.references, sources=sources, derived=derived, named=named)
            if facts.get("pack_id") in set(map(str, scope["packs"])):
                facts["pack_id"] = None
            if (" ".join(kept), facts) != (row.content, row.references):
                changes.append({"id": str(row.id), "kept": kept, "facts": facts})
        if changes:
            await session.execute(_REDACT, {"request": request_id, "changes": json.dumps(changes)})
        changed += len(changes)
    return changed


def redact(
    content: str, references: Mapping[str, Any], *, sources: Collection[str], derived: Collection[str],
    named: re.Pattern[str] | None,
) -> tuple[list[str], dict[str, Any]]:  # fmt: skip
    """Return the pieces of a message that stay, in order, and its references without what went.

    Numbers of citations stay as they are, so that the sentences that stay still bear their own.
    """
    facts = dict(references)
    if named and named.search(str(facts.get("understood") or "")):
        facts["understood"] = ""
    if "sentences" not in facts:
        if named is None or not named.search(content):
            return [content], facts
        return [one for one in split_sentences(content) if not named.search(one)], facts
    gone = {one["ordinal"] for one in facts.get("citations", ()) if one["source_id"] in sources}
    facts["citations"] = [one for one in facts.get("citations", ()) if one["ordinal"] not in gone]
    facts["sentences"] = [
        one
        for one in facts["sentences"]
        if not gone & set(one["citations"])
        and not set(one.get("evidence", ())) & set(derived)
        and not (named and named.search(one["text"]))
    ]
    used = {ordinal for one in facts["sentences"] for ordinal in one["citations"]}
    facts["citations"] = [one for one in facts["citations"] if one["ordinal"] in used]
    return [one["text"] for one in facts["sentences"]], facts


def split_sentences(words: str) -> list[str]:
    """Return the sentences, without the blanks between them."""
    return [stripped for one in _END.split(words) if (stripped := one.strip())]
