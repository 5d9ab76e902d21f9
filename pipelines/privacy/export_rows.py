"""The rows about a person, as they are handed to them: decrypted, without proofs of identity or other people's words.

Whole are rows that are the person's or about them: those found by what hangs on the person, not by a mention. Of the
others, and of what tells another client's words, they get ids, figures, moments and the sentences that name them.
"""

import ipaddress
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cache
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, CheckConstraint, Column, LargeBinary, String, Table, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import INET, JSON, JSONB, TSVECTOR
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import FieldCipher, FieldUnreadable
from db.base import Base
from pipelines.privacy.store import CODES, Store
from pipelines.privacy.stores import STORES
from pipelines.privacy.subjects import ROOTS, Scope

OWN_ROOTS: Final = (
    "persons", "sessions", "notes", "posts", "projects", "articles", "questions", "objects", "transcripts", "documents",
    "chats", "runs", "media", "tags", "sources",
)  # fmt: skip
"""What hangs on the person; what other roots find only mentions or cites them."""

AUTHORS: Final = ("author_id", "speaker_id", "holder_id", "sender_id", "submitted_by", "uploaded_by")
"""Columns that name whose words a row holds."""
JUDGED: Final = ("reason", "notes", "scores", "verdict")
"""What a reviewer wrote of somebody else's work; the rest of such a row is the work itself."""
NEIGHBOURS: Final = ("prefix", "suffix")
"""What others said before and after a quote."""

CREDENTIAL: Final = "credential"
OTHERS: Final = "others"
UNREADABLE: Final = "unreadable"
WHY: Final[Mapping[str, str]] = {
    CREDENTIAL: "a proof of identity: it tells nothing about you, and would let whoever finds it sign in as you",
    OTHERS: "words of other people that are not about you; sentences that name you are given instead",
    UNREADABLE: "encrypted with a key that was destroyed or does not fit",
    "computed": "numbers computed from the words that are given here, for searching",
}
"""Why something is left out, by the code that stands in the data."""

_CREDENTIALS: Final = re.compile(
    r"(^|_)(password_hash|token_hash|hashed_key|code_hash|two_factor_secret|two_factor_last_step|access_token"
    r"|refresh_token|secret|verification_code)$"
)
_CITES_OTHERS: Final = """EXISTS (
    SELECT FROM jsonb_to_recordset({0}) AS c (source_id uuid) WHERE EXISTS (
        SELECT FROM rag.transcripts s WHERE s.id = c.source_id AND s.client_id <> :subject
        UNION ALL SELECT FROM rag.documents s WHERE s.id = c.source_id AND s.client_id <> :subject))"""
TELLS_OTHERS: Final[Mapping[str, str]] = {
    "chat.chat_messages": "t.role = 'assistant' AND " + _CITES_OTHERS.format("""t."references" -> 'citations'"""),
    "evidence.evidence_packs": "EXISTS (SELECT FROM unnest(t.client_ids) AS c WHERE c <> :subject)",
    "evaluation.rag_evaluations": _CITES_OTHERS.format(
        "CASE jsonb_typeof(t.details #> '{response,citations}') WHEN 'array' THEN t.details #> '{response,citations}' "
        "ELSE '[]' END"
    ),
    "evaluation.case_proposals": "EXISTS (SELECT FROM chat.chat_messages m WHERE m.id = t.message_id AND "
    + _CITES_OTHERS.format("""m."references" -> 'citations'""")
    + ")",
    "community.comments": "t.author_id <> :subject AND t.client_id IS DISTINCT FROM :subject",
    # a judgement of the coach, which no client reads (see db/models/coaching.py)
    "coaching.qa_reviews": "t.coach_id <> :subject AND t.reviewer_id <> :subject",
    # why something must be kept is for compliance alone
    "governance.legal_holds": "true",
}
"""Rows of a person that tell other people's words, by table."""
ABOUT: Final[Mapping[str, str]] = {"coaching.qa_reviews": "coach_id"}
"""Whom a table's rows are about, where it is not their client."""
NOT_TOLD: Final[Mapping[str, str]] = {"community.blocks": "t.user_id = :subject"}
"""Of these tables only such rows are given: by whom one is blocked is the other's secret."""
ORDER: Final[Mapping[str, str]] = {
    "rag.transcript_segments": "t.transcript_id, t.segment_index",
    "rag.document_chunks": "t.object_id, t.chunk_index",
    "chat.chat_messages": "t.session_id, t.created_at, t.id",
}
NAMED_BY_ID: Final = frozenset({"comms.outbox", "comms.webhook_deliveries"})
"""Tables whose JSON tells of one happening: it is about the person where it names them by their id."""
_MOMENTS: Final = ("created_at", "occurred_at", "scheduled_at", "held_at", "started_at", "granted_at", "requested_at")


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom rows are read for, and how: the whole scope, the words that name them, and the cipher of their fields."""

    scope: Scope
    pattern: re.Pattern[str] | None
    cipher: FieldCipher


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it is handed out: values by column, what was left out and why, and the sentences given instead."""

    values: Mapping[str, Any]
    left_out: Mapping[str, str] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all words of it are the person's or about them."""
        return OTHERS not in self.left_out.values()

    def as_json(self) -> bytes:
        """Return it as one line of JSON."""
        line: dict[str, Any] = dict(self.values)
        if self.left_out:
            line["_left_out"] = dict(self.left_out)
        if self.sentences:
            line["_sentences"] = list(self.sentences)
        return orjson.dumps(line) + b"\n"


async def read_store(session: AsyncSession, store: Store, reader: Reader, *, batch: int) -> AsyncIterator[Record]:
    """Iterate over the store's rows about the person, in bounded memory; needs a system session."""
    clause = _write_statement(store)
    values = {name: value for name, value in _bind_values(reader.scope).items() if name in clause.compile().params}
    table = Base.metadata.tables[store.table]
    stream = await session.stream(clause.execution_options(yield_per=batch), values)
    async for row in stream.mappings():
        yield show_row(store, table, dict(row), reader)


def list_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that are handed out: all but the tenant's, and those computed for searching."""
    return [column for column in table.columns if column.name != "tenant_id" and not is_computed(column)]


def is_computed(column: Column[Any]) -> bool:
    """Tell whether the column holds numbers computed from words: vectors, and words prepared for searching."""
    return isinstance(column.type, TSVECTOR) or type(column.type).__name__ in {"HALFVEC", "SPARSEVEC", "VECTOR"}


def show_row(store: Store, table: Table, row: dict[str, Any], reader: Reader) -> Record:
    """Return the row as it is handed out; `_own` and `_tells_others` say how it was found."""
    subject = reader.scope.subject_id
    is_own, tells_others = bool(row.pop("_own", True)), bool(row.pop("_tells_others", False))
    wrote = any(row.get(name) == subject for name in AUTHORS)
    about = row.get(ABOUT.get(table.fullname, "client_id"))
    of_other = about is not None and about != subject
    is_whole = (is_own or wrote) and not (of_other and not wrote) and not tells_others
    judged = not wrote and row.get("reviewer_id") == subject
    values: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    sentences: list[str] = []
    for column in list_columns(table):
        name, value = str(column.name), row[column.name]  # a plain str: orjson takes no other as a key
        if value is not None and _CREDENTIALS.search(name):
            left_out[name] = CREDENTIAL
            continue
        if isinstance(value, bytes | memoryview):
            value = _open_field(table, row, name, bytes(value), reader.cipher)
            if value is None:
                left_out[name] = UNREADABLE
                continue
        is_others = not is_whole or (store.part and store.kept.get(name, CODES) != CODES and not wrote)
        if judged and name in JUDGED:
            is_others = False
        if wrote and of_other and name in NEIGHBOURS:
            is_others = True
        if table.fullname in NAMED_BY_ID and str(subject) in _list_texts(value):
            is_others = False
        if is_others and value is not None and holds_words(column):
            left_out[name] = OTHERS
            sentences += find_sentences(value, reader.pattern)
            continue
        values[name] = _show(value)
    return Record(values, left_out, tuple(dict.fromkeys(sentences)))


@cache
def holds_words(column: Column[Any]) -> bool:
    """Tell whether somebody's words can stand in the column: text without a closed list, JSON, an address."""
    kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
    if isinstance(kind, JSON | JSONB | INET | LargeBinary):
        return True
    if not isinstance(kind, String):
        return False
    closed = re.compile(rf"^{re.escape(column.name)} IN \(")
    checks = (one for one in column.table.constraints if isinstance(one, CheckConstraint))
    return not any(closed.search(str(one.sqltext)) for one in checks)


def find_sentences(value: object, pattern: re.Pattern[str] | None) -> Iterator[str]:
    """Yield the sentences of a text, or of the texts in a JSON value, that name the person."""
    if pattern is None:
        return
    for words in _list_texts(value):
        for sentence in re.split(r"(?<=[.!?…])\s+|\n+", words):
            if pattern.search(sentence):
                yield sentence.strip()


def _list_texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for one in value.values():
                yield from _list_texts(one)
        case list() | tuple():
            for one in value:
                yield from _list_texts(one)


def _open_field(table: Table, row: Mapping[str, Any], name: str, value: bytes, cipher: FieldCipher) -> Any:  # noqa: ANN401  # any value of JSON
    """Return what an encrypted column holds, a hash in hexadecimal, or None where it does not open."""
    keys = [column.name for column in table.primary_key if column.name not in ("tenant_id", "created_at")]
    row_id = row.get("id") or (row[keys[0]] if len(keys) == 1 else None)
    if isinstance(row_id, UUID):
        try:
            opened = cipher.decrypt(value, table=table.fullname, column=name, row_id=row_id)
        except FieldUnreadable:
            pass
        else:
            try:
                return orjson.loads(opened) if opened[:1] in ("{", "[") else opened
            except orjson.JSONDecodeError:
                return opened
    return value.hex() if "hash" in name or name.startswith("sha") else None


def _show(value: object) -> Any:  # noqa: ANN401  # any value of JSON
    """Return the value as JSON has it; numbers that must stay exact, and what JSON has no type for, as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case list() | tuple():
            return [_show(one) for one in value]
        case Mapping():
            return {str(name): _show(one) for name, one in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value.ip if isinstance(value, ipaddress.IPv4Interface | ipaddress.IPv6Interface) else value)


def _write_statement(store: Store) -> TextClause:
    table = Base.metadata.tables[store.table]
    columns = ", ".join(f't."{column.name}"' for column in list_columns(table))
    named = "|".join((*ROOTS, "until"))
    own = re.sub(rf"(?<!:):({named})\b", r":own_\1", store.about)
    told = [f"({store.about})"]
    # rows of a part that the table's first entry finds too are given once, as that finds them
    told += [f"({one.about}) IS NOT TRUE" for one in STORES if one.table == store.table and store.part and not one.part]
    told += [f"({NOT_TOLD[store.table]})"] if store.table in NOT_TOLD else []
    others = TELLS_OTHERS.get(store.table, "false")
    clause = text(
        f"SELECT {columns}, ({own}) IS TRUE AS _own, ({others}) IS TRUE AS _tells_others "
        f"FROM {store.table} t WHERE {' AND '.join(told)} ORDER BY {_write_order(table)}"
    )
    return clause.bindparams(
        *(
            bindparam(name, type_=Uuid() if name == "subject" else ARRAY(Uuid))
            for name in clause.compile().params
            if not name.endswith("until")
        )
    )


def _write_order(table: Table) -> str:
    if table.fullname in ORDER:
        return ORDER[table.fullname]
    moment = next((name for name in _MOMENTS if name in table.columns), None)
    keys = [column.name for column in table.primary_key if column.name not in ("tenant_id", moment)]
    return ", ".join(f't."{name}"' for name in ([moment] if moment else []) + keys) or "1"


def _bind_values(scope: Scope) -> dict[str, Any]:
    everything = scope.values()
    own = {f"own_{name}": everything[name] if name in OWN_ROOTS else [] for name in ROOTS}
    return everything | own | {"subject": scope.subject_id, "own_until": scope.collected_at}
