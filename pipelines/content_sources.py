"""What people write inside the product, as sources: which rows, in which words, for whom."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.readers import CONTENT_URI
from pipelines.parsed import Block, ParsedDocument

SOURCE_URI: Final = CONTENT_URI
"""The data source all of it belongs to; its objects' keys are `kind/id`."""
CONTENT_VERSION: Final = "1"
"""Raise it when the same rows give other words."""

_HERE: Final = "tenant_id = (SELECT current_setting('app.tenant_id')::uuid)"
_ALL: Final = "CAST(NULL AS uuid) AS client_id, CAST(NULL AS uuid) AS coach_id"
_NO_PROGRAM: Final = "CAST(NULL AS uuid) AS program_id"
_NO_SESSION: Final = "CAST(NULL AS uuid) AS coaching_session_id"
_DAY: Final = "to_char(s.scheduled_at AT TIME ZONE s.timezone, 'FMDD FMMonth YYYY')"

# The conditions are those of the triggers in migration 0022, which tell when to read a row again.
_ROWS: Final = {
    "lesson": (
        f"""l.title, concat_ws(E'\\n\\n', l.description, l.text_content) AS words, CAST(NULL AS timestamptz) AS held_at,
        {_NO_SESSION}, CASE WHEN NOT l.is_preview THEN l.program_id END AS program_id, 'client_visible' AS visibility,
        {_ALL} FROM learning.lessons l WHERE l.is_visible AND l.text_content IS NOT NULL""",
        "l",
    ),
    "post": (
        f"""coalesce(nullif(p.title, ''), left(split_part(p.content, E'\\n', 1), 80)) AS title, p.content AS words,
        p.published_at AS held_at, {_NO_SESSION}, {_NO_PROGRAM}, p.visibility, p.client_id, p.coach_id
        FROM community.posts p WHERE p.status = 'published'""",
        "p",
    ),
    "faq": (
        f"""left(f.question, 200) AS title, concat_ws(E'\\n\\n', f.question, f.answer) AS words,
        CAST(NULL AS timestamptz) AS held_at, {_NO_SESSION}, {_NO_PROGRAM}, f.visibility, f.client_id, f.coach_id
        FROM content.faqs f WHERE f.is_published""",
        "f",
    ),
    "blog_post": (
        f"""b.title, concat_ws(E'\\n\\n', b.summary, b.content) AS words, b.published_at AS held_at, {_NO_SESSION},
        {_NO_PROGRAM}, b.visibility, b.client_id, b.coach_id
        FROM content.blog_posts b WHERE b.status = 'published'""",
        "b",
    ),
    "session": (
        f"""concat_ws(': ', 'Agreed in the session of ' || {_DAY}, nullif(s.topic, '')) AS title,
        concat_ws(E'\\n\\n', s.notes, CASE jsonb_typeof(s.action_items) WHEN 'array' THEN (
            SELECT 'Action items:' || E'\\n\\n' || string_agg(
                '- ' || coalesce(i #>> '{{item}}', i #>> '{{}}')
                || coalesce(', due ' || (i ->> 'due_date'), '') || coalesce(' (' || (i ->> 'status') || ')', ''),
                E'\\n')
            FROM jsonb_array_elements(s.action_items) AS i) END) AS words,
        s.scheduled_at AS held_at, s.id AS coaching_session_id, {_NO_PROGRAM}, s.visibility, s.client_id, s.coach_id
        FROM coaching.coaching_sessions s WHERE num_nonnulls(s.notes, s.action_items) > 0""",
        "s",
    ),
    "session_note": (
        f"""CASE n.kind WHEN 'coach_notes' THEN 'Coach''s notes on the session of ' ELSE 'Notes for the session of ' END
        || {_DAY} AS title, n.content AS words, s.scheduled_at AS held_at, n.session_id AS coaching_session_id,
        {_NO_PROGRAM}, n.visibility, n.client_id, n.coach_id
        FROM coaching.session_notes n
        JOIN coaching.coaching_sessions s ON s.tenant_id = n.tenant_id AND s.id = n.session_id WHERE true""",
        "n",
    ),
}
KINDS: Final = tuple(_ROWS)

_ROW: Final = {kind: f"SELECT {alias}.id AS row_id, {row} AND {alias}.{_HERE}" for kind, (row, alias) in _ROWS.items()}
_EVERY: Final = " UNION ALL ".join(
    f"SELECT '{kind}' AS kind, row_id FROM ({row}) AS rows" for kind, row in _ROW.items()
)
_PUBLISH_ALL: Final = text(f"""
SELECT count(comms.publish(
    'content_changed', jsonb_build_object('kind', kind, 'id', row_id), 'content:' || kind || '/' || row_id))
FROM (
    SELECT kind, row_id FROM ({_EVERY}) AS written
    UNION
    SELECT split_part(o.key, '/', 1), CAST(split_part(o.key, '/', 2) AS uuid)
    FROM ingestion.ingested_objects o
    JOIN ingestion.data_sources d ON d.tenant_id = o.tenant_id AND d.id = o.data_source_id
    WHERE o.{_HERE} AND d.uri = '{SOURCE_URI}'
) AS every
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One row somebody wrote: what kind it is of, and which."""

    kind: str
    row_id: UUID

    @property
    def key(self) -> str:
        """Its name among the objects of the source."""
        return f"{self.kind}/{self.row_id}"

    @property
    def object_id(self) -> UUID:
        """The id of its object, as the triggers of migration 0022 know it."""
        return UUID(hashlib.md5(self.key.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a row says and to whom; two that are equal are indexed the same."""

    title: str
    words: str
    held_at: datetime | None
    coaching_session_id: UUID | None
    program_id: UUID | None
    visibility: str
    client_id: UUID | None
    coach_id: UUID | None


async def find_written(session: AsyncSession, place: Place, *, lock: bool = False) -> Written | None:
    """Return what the row says now, None where nobody is to find it.

    `lock` keeps the row from being changed until the transaction ends, and waits for who is changing it.
    """
    row = (await session.execute(_find_statement(place.kind, lock), {"id": place.row_id})).one_or_none()
    if row is None or not row.words or not row.words.strip():
        return None
    return Written(**{field.name: getattr(row, field.name) for field in fields(Written)})


@lru_cache(maxsize=2 * len(_ROWS))
def _find_statement(kind: str, lock: bool) -> TextClause:  # arguments are its cache key
    alias = _ROWS[kind][1]
    return text(f"{_ROW[kind]} AND {alias}.id = :id{f' FOR SHARE OF {alias}' if lock else ''}")


async def publish_all(session: AsyncSession) -> int:
    """Have every row that may be found, or is, looked at again; return how many. Needs a system session."""
    return int(await session.scalar(_PUBLISH_ALL) or 0)


def write_document(kind: str, written: Written) -> ParsedDocument:
    """Return the row as a document of paragraphs, with its Markdown headings as headings."""
    return ParsedDocument(format=kind, title=written.title, blocks=tuple(_part(written.words)))


def _part(words: str) -> Iterator[Block]:
    for paragraph in re.split(r"\n[ \t]*\n", words.replace("\r\n", "\n")):
        stripped = paragraph.strip()
        heading = re.fullmatch(r"(#{1,6})[ \t]+([^\n]+)", stripped)
        if heading:
            yield Block(heading.group(2), "heading", level=len(heading.group(1)))
        elif stripped:
            yield Block(stripped)
