"""Reads retrieval suites: folders of turns or passages, questions, and which turns answer which question."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from core.errors import Invalid
from pipelines.parsed import Turn

GROUP_FIELDS: Final = ("meeting", "conversation", "collection", "session_id")
MOST_LINES: Final = 5_000_000
_DATE_FORMATS: Final = ("%I:%M %p on %d %B, %Y", "%d %B %Y", "%Y-%m-%d")


class UnusableSuite(Invalid):
    """This folder is no retrieval suite; it needs turns.jsonl or corpus.jsonl, queries.jsonl and qrels.tsv."""


@dataclass(frozen=True, slots=True)
class SuiteSource:
    """One session, or one passage of a corpus (then without speakers and `kind` document).

    `ids` name the turns in order; those without words are left out, as they are in the store.
    """

    key: str
    group: str
    kind: str
    title: str | None
    held_at: datetime | None
    turns: tuple[Turn, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SuiteQuery:
    """One question and the ids of the turns that answer it."""

    id: str
    group: str
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Suite:
    """A whole suite; `words` counts each turn's words, `left_out` the questions that are not asked, by reason."""

    name: str
    sources: tuple[SuiteSource, ...]
    queries: tuple[SuiteQuery, ...]
    words: dict[str, int]
    left_out: dict[str, int]


def load_suite(folder: Path, *, every_kind: bool = False) -> Suite:
    """Read the suite; questions of a `kind` other than "specific" are left out unless asked for.

    Raises `UnusableSuite` naming the file and line.
    """
    name = next((name for name in ("turns.jsonl", "corpus.jsonl") if (folder / name).is_file()), None)
    if name is None:
        raise UnusableSuite(f"{folder} holds neither turns.jsonl nor corpus.jsonl; give a retrieval suite's folder.")
    rows = [row for row in _read_lines(folder / name) if str(_take(row, "text", folder / name)).strip()]
    group_field = _find_group_field(rows, folder / name)
    sources = tuple(_gather_sessions(rows, group_field) if name == "turns.jsonl" else _list_passages(rows, group_field))
    words = {
        id_: len(turn.text.split()) for source in sources for id_, turn in zip(source.ids, source.turns, strict=True)
    }
    queries, left_out = _select_queries(folder, group_field, set(words), every_kind=every_kind)
    groups = {source.group for source in sources}
    if lost := next((query for query in queries if query.group not in groups), None):
        raise UnusableSuite(f"{folder}: question {lost.id!r} belongs to {lost.group!r}, of which there is no turn.")
    return Suite(folder.resolve().name, sources, tuple(queries), words, left_out)


def _gather_sessions(rows: list[dict[str, Any]], group_field: str) -> Iterator[SuiteSource]:
    """Yield one source a session: the group's, or its numbered sessions where it has such."""
    sessions: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        sessions[str(row[group_field]), str(row.get("session", ""))].append(row)
    for (group, session), turns in sessions.items():
        yield SuiteSource(
            key=f"{group}/{session}" if session else group, group=group, kind="transcript",
            title=None, held_at=_read_date(turns[0].get("date_time")),
            turns=tuple(Turn(row.get("speaker"), row["text"]) for row in turns), ids=tuple(row["id"] for row in turns),
        )  # fmt: skip


def _list_passages(rows: list[dict[str, Any]], group_field: str) -> Iterator[SuiteSource]:
    for row in rows:
        yield SuiteSource(
            key=row["id"], group=str(row[group_field]), kind="document", title=row.get("title"), held_at=None,
            turns=(Turn(None, row["text"]),), ids=(row["id"],),
        )  # fmt: skip


def _select_queries(
    folder: Path, group_field: str, known: set[str], *, every_kind: bool
) -> tuple[list[SuiteQuery], dict[str, int]]:
    relevant = _read_judgements(folder / "qrels.tsv", known)
    path = folder / "queries.jsonl"
    queries, left_out = [], {"other kind": 0, "nothing relevant": 0}
    for row in _read_lines(path):
        if not every_kind and row.get("kind", "specific") != "specific":
            left_out["other kind"] += 1
        elif not relevant[_take(row, "id", path)]:
            left_out["nothing relevant"] += 1
        else:
            group, words = _take(row, group_field, path), _take(row, "query", path)
            queries.append(SuiteQuery(row["id"], str(group), words, frozenset(relevant[row["id"]])))
    if not queries:
        raise UnusableSuite(f"{path} holds no question with a relevant turn; check it against qrels.tsv.")
    return queries, left_out


def _read_judgements(path: Path, known: set[str]) -> dict[str, set[str]]:
    relevant: dict[str, set[str]] = defaultdict(set)
    if not path.is_file():
        raise UnusableSuite(f"{path} is missing; it says which turns answer which question.")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split("\t")
        if (number == 1 and fields[-1] == "score") or not line:
            continue
        if len(fields) != 3 or not fields[2].lstrip("-").isdigit():
            raise UnusableSuite(f"{path}:{number} is not query id, turn id and score with tabs between; correct it.")
        if int(fields[2]) > 0 and fields[1] in known:
            relevant[fields[0]].add(fields[1])
    return relevant


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise UnusableSuite(f"{path} is missing; give a whole retrieval suite.")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if number > MOST_LINES:
                raise UnusableSuite(f"{path} has more than {MOST_LINES:,} lines; split the suite.")
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UnusableSuite(f"{path}:{number} is not JSON; correct the line.") from error
            if not isinstance(row, dict) or "id" not in row:
                raise UnusableSuite(f"{path}:{number} is no object with an id; correct the line.")
            yield row


def _find_group_field(rows: list[dict[str, Any]], path: Path) -> str:
    field = next((field for field in GROUP_FIELDS if rows and all(field in row for row in rows)), None)
    if field is None:
        raise UnusableSuite(f"{path} needs one of the fields {', '.join(GROUP_FIELDS)} in every line.")
    return field


def _take(row: dict[str, Any], field: str, path: Path) -> Any:  # noqa: ANN401  # a JSON value
    if field not in row:
        raise UnusableSuite(f"{path} has no {field!r} in the line with id {row['id']!r}; add it.")
    return row[field]


def _read_date(said: object) -> datetime | None:
    """Return the moment a suite's author wrote, None where it is in no known form."""
    for format_ in _DATE_FORMATS:
        try:
            return datetime.strptime(str(said), format_).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
