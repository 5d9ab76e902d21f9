"""Finds out, without a model, which part of what the reader may see a question is about."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal
from rag.passages import EVERYWHERE, Scope, SourceKind
from rag.understand_sessions import MEETING, SessionWords, find_session_words
from rag.understand_times import find_time_span, format_day

MAX_SESSIONS: Final = 5_000
"""Sessions looked through for an ordinal; a person has fewer."""

_TRANSCRIPTS_A_SESSION: Final = 20
"""More than a session has ever been uploaded as."""

EVERYTHING: Final = "everything you may see"

_SAYING: Final = (
    r"sa(?:y|id|ys|ying)|t(?:ell|old)|mention|talk|spoke|speak|commit|promise|agree|decide|describe|explain|express|admit|"
    r"feel|felt|think|thought|want|plan|ask|suggest|recommend|advise|offer|report|share|worr|complain|call|put it"
)
_TALKED: Final = re.compile(rf"\b(?:{_SAYING}|discuss|feedback|happen|{MEETING})", re.IGNORECASE)
_FUTURE: Final = re.compile(r"\b(?:will|won['’]t|going to|shall|happens|(?:is|are) \w+ing)\b", re.IGNORECASE)
_COACH_WORDS: Final = re.compile(rf"\b(?:the|my|her|his|their) coach\b[^?.]*\b(?:{_SAYING})", re.IGNORECASE)
_DOCUMENT_WORDS: Final = re.compile(
    r"\b(?:documents?|handbooks?|guides?|polic(?:y|ies)|worksheets?|manuals?|pdfs?|files?|slides?|notes?)\b",
    re.IGNORECASE,
)
_TRANSCRIPT_WORDS: Final = re.compile(
    r"\btranscripts?\b|"
    r"\b(?:in|across|over|from) (?:all |any |each |every |which |the |our |her |his |their |my )*sessions?\b",
    re.IGNORECASE,
)
_SAID: Final = re.compile(rf"\b(?:did|does|has|have|had)\b.*?\b({_SAYING})", re.IGNORECASE)
# Given names that are also words: at the start of a sentence, or in a question without capitals, they name nobody.
_WORD_NAMES: Final = frozenset(
    """
    will may mark grace hope rose art bill faith joy june april august dawn frank grant jack miles pat ray rob sue
    summer autumn ivy lily violet drew chase dean earnest ernest max mercy patience prudence sandy sky van wade an
    al ed has can did does do is are was what who when where why how the and
    """.split()  # noqa: SIM905  # a list would take a page
)


@dataclass(frozen=True, slots=True)
class Person:
    """Someone the reader may see, and the part of their name that a question used."""

    id: UUID
    name: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What a question is about: where to search, whose words count, and the same in words.

    `missing` says why nothing can be searched, such as a session that does not exist; then nothing is.
    """

    question: str
    scope: Scope
    speakers: tuple[Person, ...] = ()
    clients: tuple[Person, ...] = ()
    words: str = EVERYTHING
    missing: str | None = None
    soft_time: bool = False
    """The time named may be what the question is about, so it is given up where nothing was said then."""


@dataclass(frozen=True, slots=True)
class _Session:
    source_id: UUID
    coaching_session_id: UUID | None
    client_id: UUID | None
    held_at: datetime


_PEOPLE = text(
    r"""
    SELECT id, full_name, role FROM identity.users
    WHERE string_to_array(regexp_replace(normalize(lower(full_name), NFD), '[\u0300-\u036f]', '', 'g'), ' ')
          && CAST(:words AS text[])
    ORDER BY full_name, id LIMIT 200
    """
)
_SESSIONS = text(
    """
    SELECT id, coaching_session_id, client_id, held_at FROM rag.transcripts
    WHERE held_at IS NOT NULL AND (CAST(:clients AS uuid[]) = '{}' OR client_id = ANY (CAST(:clients AS uuid[])))
    ORDER BY held_at DESC, id LIMIT :most
    """
)


async def list_named_people(session: AsyncSession, *texts: str) -> list[Person]:
    """Return the people whom the reader may see and one of whose names is a word of the texts, by name."""
    words = sorted({word.lower() for given in texts for word in _list_names(given)})
    if not words:
        return []
    rows = (await session.execute(_PEOPLE, {"words": words})).mappings()
    return [Person(row["id"], row["full_name"], row["role"]) for row in rows]


async def understand(
    session: AsyncSession,
    question: str,
    *,
    reader: Principal,
    people: Sequence[Person],
    now: datetime,
    client_id: UUID | None = None,
) -> Understanding:
    """Return which part of what the reader may see is asked about.

    `people` are those `list_named_people` found for the question; `client_id` is whom the conversation is about
    where the question names nobody. Reads the database only for questions that speak of a session.
    """
    named = match_people(question, people)
    clients = tuple(person for person in named if person.role == "client")
    understanding = Understanding(
        question=question,
        clients=clients,
        speakers=_find_speakers(question, named, reader),
        scope=Scope(
            client_ids=tuple(person.id for person in clients) or ((client_id,) if client_id else ()),
            source_kinds=_find_kinds(question),
        ),
    )
    said = [_name_clients(clients)] if clients else ["the client of this conversation"] if client_id else []
    if reference := find_session_words(question):
        understanding = await _narrow_to_sessions(session, understanding, reference)
        said.append(understanding.words)
    # "What will she do in May?" is about May; "What did she say in May?" was said then; else it may be either
    if not _FUTURE.search(question) and (span := find_time_span(question, now)) is not None:
        scope = replace(
            understanding.scope,
            held_from=_latest(understanding.scope.held_from, span.start),
            held_until=_earliest(understanding.scope.held_until, span.end),
        )
        understanding = replace(understanding, scope=scope, soft_time=not (reference or _TALKED.search(question)))
        said.append(span.words)
    if understanding.scope.source_kinds:
        said.append({"transcript": "sessions only", "document": "documents only"}[understanding.scope.source_kinds[0]])
    return replace(understanding, words="; ".join(said) or EVERYTHING)


def give_up_time(understanding: Understanding) -> Understanding:
    """Return the understanding without its limits in time, and say so in its words."""
    return replace(
        understanding,
        scope=replace(understanding.scope, held_from=None, held_until=None),
        words=f"{understanding.words} (nothing was held then, so any time was searched)",
        soft_time=False,
    )


def keep_within(understanding: Understanding, within: Scope) -> Understanding:
    """Return it narrowed to what the reader chose; `missing` where the question names what lies outside."""
    if within == EVERYWHERE or understanding.missing:
        return understanding
    scope = narrow(within, understanding.scope)
    if scope is None:
        words = f"Your filters leave out {understanding.words}, so there is nothing to search; widen them."
        return replace(understanding, missing=words)
    return replace(understanding, scope=scope, words=f"{understanding.words}, within your filters")


def _list_names(given: str) -> list[str]:
    """Return the words that may be names, in order: without possessives and accents."""
    return [re.sub(r"['’]s?$", "", word) for word in re.findall(r"[^\W\d_][\w'’-]*", _strip_accents(given))][:2_000]


def _strip_accents(given: str) -> str:
    if given.isascii():
        return given
    return "".join(c for c in unicodedata.normalize("NFD", given) if not unicodedata.combining(c))


def match_people(question: str, people: Sequence[Person]) -> tuple[Person, ...]:
    """Return the people whom the question means: full names first, else everyone who shares the name used."""
    words = _list_names(question)
    has_capitals = any(word[0].isupper() for word in words[1:])
    used = {
        word.lower()
        for position, word in enumerate(words)
        if word.lower() not in _WORD_NAMES or (word[0].isupper() and position > 0)
        if word[0].isupper() or not has_capitals
    }
    scores = {person: len(used.intersection(_strip_accents(person.name).lower().split())) for person in people}
    chosen: list[Person] = []
    for person, score in scores.items():
        mine = used.intersection(_strip_accents(person.name).lower().split())
        # "Amina Diallo" means her alone, though "Amina" would mean two
        outdone = any(
            score < theirs and mine < used.intersection(_strip_accents(other.name).lower().split())
            for other, theirs in scores.items()
        )
        if score and not outdone:
            chosen.append(person)
    return tuple(chosen)


def _find_speakers(question: str, named: Sequence[Person], reader: Principal) -> tuple[Person, ...]:
    """Return whose own words are asked for: the one before a verb of saying."""
    speakers = []
    for person in named:
        for name in {person.name, person.name.split()[0], person.name.split()[-1]}:
            if re.search(rf"\b{re.escape(name)}\b(?!['’]s)[^?.,;]{{0,40}}?\b(?:{_SAYING})", question, re.IGNORECASE):
                speakers.append(person)
                break
    if not speakers and _COACH_WORDS.search(question):
        return tuple(person for person in named if person.role == "coach")
    if (
        not speakers
        and reader.user_id
        and re.search(rf"\b(?:did|have|had) I\b[^?.,;]{{0,40}}?\b(?:{_SAYING})", question)
    ):
        return (Person(reader.user_id, "you", reader.role),)
    return tuple(speakers)


def _find_kinds(question: str) -> tuple[SourceKind, ...]:
    documents, transcripts = _DOCUMENT_WORDS.search(question), _TRANSCRIPT_WORDS.search(question)
    # "What did she say about the handbook?" asks what a person said; "What does the handbook say?" asks the handbook
    said = _SAID.search(question)
    if documents and not transcripts and not (said and said.start(1) < documents.start()):
        return ("document",)
    return ("transcript",) if transcripts and not documents else ()


def _name_clients(clients: Sequence[Person]) -> str:
    names = [person.name for person in clients]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one and other else one or other


async def _narrow_to_sessions(session: AsyncSession, base: Understanding, spoken: SessionWords) -> Understanding:
    """Return the understanding narrowed to the sessions spoken of, each client's own; or with what is missing."""
    apart = len(base.scope.client_ids) > 1
    # the last sessions of one client, or of everybody, are among the newest transcripts
    newest = -spoken.first * _TRANSCRIPTS_A_SESSION if spoken.first < 0 and not apart else MAX_SESSIONS
    limits = {"clients": list(base.scope.client_ids), "most": min(newest, MAX_SESSIONS)}
    rows = (await session.execute(_SESSIONS, limits)).mappings()
    by_client = _group_sessions(rows.all(), apart=apart)
    chosen = [meeting for sessions in by_client for meeting in _choose(sessions, spoken)]
    if not chosen:
        count = max(
            (len({s.coaching_session_id or s.source_id for s in sessions}) for sessions in by_client), default=0
        )
        whose = f" of {_name_clients(base.clients)}" if base.clients else ""
        there = (
            f"There {'is' if count == 1 else 'are'} {count or 'no'} session{'s' * (count != 1)}{whose} that you may see"
        )
        return replace(base, words=spoken.words, missing=f"{there}, so there is nothing to search for {spoken.words}.")
    days = sorted({meeting.held_at for meeting in chosen})
    words = f"{spoken.words} ({' and '.join(format_day(day) for day in days[:3])}{' …' if len(days) > 3 else ''})"
    match spoken.relation:
        case "since" | "after":  # that session itself is the baseline, not news
            scope = replace(base.scope, held_from=days[-1] + timedelta(microseconds=1))
            words = f"after {words}"
        case "before" | "until":
            scope = replace(base.scope, held_until=days[0])
            words = f"before {words}"
        case _:
            scope = _limit_to(base.scope, chosen)
    return replace(base, scope=scope, words=words)


def _limit_to(scope: Scope, chosen: Sequence[_Session]) -> Scope:
    # the session's id also covers notes on it; a transcript outside any session only has its own
    ids = tuple({s.coaching_session_id: None for s in chosen if s.coaching_session_id})
    if ids and all(s.coaching_session_id for s in chosen):
        return replace(scope, coaching_session_ids=ids)
    return replace(scope, source_ids=tuple(s.source_id for s in chosen))


def _group_sessions(rows: Sequence[RowMapping], *, apart: bool) -> list[list[_Session]]:
    """Return sessions from the first to the last, a list for each client where several are asked about."""
    groups: dict[UUID | None, list[_Session]] = {}
    for row in reversed(rows):
        found = _Session(row["id"], row["coaching_session_id"], row["client_id"], row["held_at"])
        groups.setdefault(found.client_id if apart else None, []).append(found)
    return list(groups.values())


def _choose(sessions: Sequence[_Session], spoken: SessionWords) -> list[_Session]:
    """Return the sessions at the positions; several transcripts of one session count once."""
    meetings: dict[UUID, list[_Session]] = {}
    for found in sessions:
        meetings.setdefault(found.coaching_session_id or found.source_id, []).append(found)
    ordered = list(meetings.values())
    first = spoken.first if spoken.first >= 0 else len(ordered) + spoken.first
    last = spoken.last if spoken.last >= 0 else len(ordered) + spoken.last
    if last < 0 or first >= len(ordered) or (spoken.first == spoken.last and first < 0):
        return []
    return [found for meeting in ordered[max(first, 0) : last + 1] for found in meeting]


def narrow(asked: Scope, understood: Scope) -> Scope | None:
    """Return what lies in both scopes, None where nothing can."""
    both: dict[str, tuple[object, ...]] = {}
    for name in ("client_ids", "coaching_session_ids", "source_ids", "speakers", "source_kinds"):
        one, other = getattr(asked, name), getattr(understood, name)
        both[name] = tuple(item for item in one if item in other) if one and other else one or other
        if one and other and not both[name]:
            return None
    return replace(
        asked,
        **both,  # type: ignore[arg-type]  # each field from its own two
        held_from=_latest(asked.held_from, understood.held_from),
        held_until=_earliest(asked.held_until, understood.held_until),
    )
