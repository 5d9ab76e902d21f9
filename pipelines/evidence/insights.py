"""Drafts of insights: what a coach might make of the patterns and commitments of one client, and a question to ask.

Templates over stored rows, without a model. A draft is a proposal: nothing is ever derived from it. What a coach
accepted or rejected is not drafted again, as a draft's id comes from its template and its matter alone.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy import RowMapping, delete, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Derivation, Insight, InsightReview
from domain.identity import bound_tenant
from domain.insights import LONGEST_BODY, LONGEST_TITLE
from pipelines.evidence.merge_stems import list_stems
from pipelines.evidence.patterns_history import shorten
from pipelines.evidence.store import Written
from rag.lexical import list_words
from rag.understand_times import format_day

TEMPLATES_VERSION: Final = "1"
MOST_DRAFTS: Final = 10
"""Open drafts of one client: more than a coach reads before a session are read by nobody."""
MOST_OF_A_TEMPLATE: Final = 3
_MOST_PATTERNS: Final = 200
_MOST_COMMITMENTS: Final = 200
_MOST_TOLD: Final = 5  # broken commitments named in one body
_FULL_STOP: Final = re.compile(r"\.+(?=”?$)")
_JUDGED: Final = frozenset({"client_visible", "coach_only"})
"""What stands on anything else no coach may read, so none could judge it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One insight as the templates word it; `matter` is what it is about, the same however the evidence grows."""

    template: str
    matter: str
    title: str
    body: str
    patterns: tuple[UUID, ...] = ()
    claims: tuple[tuple[UUID, str], ...] = ()
    """Claims it stands on besides, with their role."""
    coach_id: UUID | None = None

    def identify(self, client_id: UUID) -> UUID:
        """Return the id of this template's insight on this matter."""
        return uuid5(client_id, f"insight:{self.template}:{self.matter}")

    @property
    def method(self) -> str:
        """The template's name and version."""
        return f"template.{self.template}/{TEMPLATES_VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A pattern as far as the templates look at it."""

    id: UUID
    kind: str
    subject: str | None
    statement: str
    visibility: str
    coach_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Under:
    """A claim under an insight as far as the templates look at it."""

    id: UUID
    claim_type: str
    statement: str
    holder: str | None
    status: str
    valid_to: date | None
    visibility: str
    coach_id: UUID | None
    held_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    title: str
    body: str
    status: str
    stale: bool
    edited: bool
    reason: str | None
    decided_by: UUID | None
    decided_at: datetime | None
    parents: frozenset[tuple[UUID, str]]


_STORED: Final = text(
    """
    SELECT i.id, i.title, i.body, i.status, i.stale_at IS NOT NULL AS stale, i.reason, i.decided_by, i.decided_at,
           EXISTS (SELECT FROM evidence.insight_reviews r
                   WHERE r.tenant_id = i.tenant_id AND r.insight_id = i.id AND r.verdict = 'edited') AS edited,
           ARRAY(SELECT ROW(coalesce(e.parent_pattern_id, e.parent_claim_id)::text, e.role)::text
                 FROM evidence.derivations e
                 WHERE e.tenant_id = i.tenant_id AND e.child_insight_id = i.id) AS parents
    FROM evidence.insights i WHERE i.client_id = :client_id AND i.method LIKE 'template.%' FOR UPDATE OF i
    """
)


async def draft_insights(session: AsyncSession, client_id: UUID) -> Written:
    """Write the client's drafts where they differ from those stored; needs a session of the pipelines.

    An edited draft is left as its coach worded it. What has gone stale is drafted anew if its matter still stands, a
    rejected one as rejected, and removed if not. A second call changes no row.
    """
    wanted = {draft.identify(client_id): draft for draft in await _list_drafts(session, client_id)}
    rows = (await session.execute(_STORED, {"client_id": client_id})).mappings()
    stored = {row["id"]: _read_stored(row) for row in rows}
    kept = {key for key, row in stored.items() if not row.stale and (row.status != "draft" or row.edited)}
    # a rejected one that went stale is worded anew, without the words that are gone, and stays rejected
    again = {key for key, row in stored.items() if row.stale and row.status == "rejected"} & wanted.keys()
    chosen = {key: wanted[key] for key in again} | _choose(
        {key: draft for key, draft in wanted.items() if key not in kept | again}
    )
    gone = [key for key, row in stored.items() if key not in kept and not _is_same(row, chosen.get(key))]
    new = [key for key in chosen if key in gone or key not in stored]
    if gone:
        await session.execute(delete(Insight).where(Insight.id.in_(gone)))
    if new:
        await _insert(session, client_id, {key: chosen[key] for key in new}, stored)
    changed = len(set(gone) & set(new))
    return Written(added=len(new) - changed, changed=changed, removed=len(gone) - changed)


def _choose(drafts: Mapping[UUID, Draft]) -> dict[UUID, Draft]:
    """Return the first of each template, as many as a coach will read."""
    taken: Counter[str] = Counter()
    chosen: dict[UUID, Draft] = {}
    for key, draft in drafts.items():
        taken[draft.template] += 1
        if taken[draft.template] <= MOST_OF_A_TEMPLATE and len(chosen) < MOST_DRAFTS:
            chosen[key] = draft
    return chosen


def _is_same(row: _Stored, draft: Draft | None) -> bool:
    if draft is None or row.stale or (row.title, row.body) != (draft.title, draft.body):
        return False
    return row.parents == {(key, "supporting") for key in draft.patterns} | set(draft.claims)


async def _insert(
    session: AsyncSession, client_id: UUID, drafts: Mapping[UUID, Draft], stored: Mapping[UUID, _Stored]
) -> None:
    tenant_id = await bound_tenant(session)
    rejected = {
        key: row for key, row in stored.items() if key in drafts and row.status == "rejected" and row.decided_by
    }
    rows = []
    for key, draft in drafts.items():
        verdict = rejected.get(key)
        rows.append({
            "tenant_id": tenant_id, "id": key, "title": draft.title, "body": draft.body, "method": draft.method,
            "status": "rejected" if verdict else "draft", "reason": verdict and verdict.reason,
            "decided_by": verdict and verdict.decided_by, "decided_at": verdict and verdict.decided_at,
            "visibility": "coach_only", "client_id": client_id, "coach_id": draft.coach_id,
        })  # fmt: skip
    await session.execute(insert(Insight), rows)
    edges = [
        {
            "tenant_id": tenant_id, "child_insight_id": key, "role": role,
            "parent_pattern_id": parent if parent in draft.patterns else None,
            "parent_claim_id": None if parent in draft.patterns else parent,
        }
        for key, draft in drafts.items()
        for parent, role in (*((pattern, "supporting") for pattern in draft.patterns), *draft.claims)
    ]  # fmt: skip
    await session.execute(insert(Derivation), edges)
    reviews = [
        {"tenant_id": tenant_id, "insight_id": key, "reviewer_id": row.decided_by, "verdict": "rejected",
         "reason": row.reason}
        for key, row in rejected.items()
    ]  # fmt: skip
    if reviews:
        await session.execute(insert(InsightReview), reviews)


def _read_stored(row: RowMapping) -> _Stored:
    parents = (parent.strip("()").split(",") for parent in row["parents"])
    return _Stored(
        parents=frozenset((UUID(key), role) for key, role in parents),
        **{name: row[name] for name in _Stored.__slots__ if name != "parents"},
    )


_PATTERNS: Final = text(
    """
    SELECT id, kind, subject, statement, visibility, coach_id FROM evidence.patterns
    WHERE client_id = :client_id AND stale_at IS NULL
    ORDER BY coalesce(last_seen, created_at) DESC, id LIMIT :most
    """
)
_CLAIM = "c.id, c.claim_type, c.statement, c.holder, c.status, c.valid_to, c.visibility, c.coach_id, t.held_at"
_UNDER: Final = text(
    f"""
    SELECT pc.pattern_id, {_CLAIM} FROM evidence.pattern_claims pc
    JOIN evidence.claims c ON c.tenant_id = pc.tenant_id AND c.id = pc.claim_id AND c.stale_at IS NULL
    LEFT JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id
    WHERE pc.pattern_id = ANY (CAST(:pattern_ids AS uuid[])) ORDER BY t.held_at NULLS FIRST, c.id
    """
)
# A session without a day is no session after the promise.
_UNANSWERED: Final = text(
    f"""
    SELECT {_CLAIM} FROM evidence.claims c
    JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id
    WHERE c.client_id = :client_id AND c.stale_at IS NULL AND c.claim_type = 'commitment' AND c.status = 'asserted'
      AND c.valid_to < (SELECT max(l.held_at)::date FROM rag.transcripts l WHERE l.client_id = :client_id)
    ORDER BY c.valid_to DESC, c.id LIMIT :most
    """
)


async def _list_drafts(session: AsyncSession, client_id: UUID) -> list[Draft]:
    """Return what the templates make of the client's evidence, the most telling first."""
    patterns = (await session.execute(_PATTERNS, {"client_id": client_id, "most": _MOST_PATTERNS})).mappings()
    found = {row["id"]: Pattern(**row) for row in patterns}
    under: dict[UUID, list[Under]] = {key: [] for key in found}
    for row in (await session.execute(_UNDER, {"pattern_ids": list(found)})).mappings():
        under[row["pattern_id"]].append(_read_claim(row))
    waiting = (await session.execute(_UNANSWERED, {"client_id": client_id, "most": _MOST_COMMITMENTS})).mappings()
    drafts = [draft for key, pattern in found.items() if (draft := draft_pattern(pattern, under[key]))]
    drafts += [draft for row in waiting if (draft := draft_unanswered(_read_claim(row)))]
    order = {name: place for place, name in enumerate((*_TEMPLATES, "unanswered"))}
    return sorted(drafts, key=lambda draft: order[draft.template])  # stable: the last seen first inside a template


def _read_claim(row: RowMapping) -> Under:
    return Under(**{name: row[name] for name in Under.__slots__})


def draft_pattern(pattern: Pattern, under: Sequence[Under]) -> Draft | None:
    """Return what to make of one pattern and the claims under it, by time; None where no coach could read it."""
    if pattern.visibility not in _JUDGED or not under:
        return None
    title, more, question = _TEMPLATES[pattern.kind](pattern, under)
    return Draft(
        template=pattern.kind, matter=_name_matter(pattern, under), title=_cut(title, LONGEST_TITLE),
        body=_cut("\n\n".join(part for part in (pattern.statement, more, f"Ask: {question}") if part), LONGEST_BODY),
        patterns=(pattern.id,), coach_id=pattern.coach_id,
    )  # fmt: skip


def _name_matter(pattern: Pattern, under: Sequence[Under]) -> str:
    """Return what the pattern is about, the same as its sessions grow in number: its subject, else how it began."""
    stems = sorted(set(list_stems(pattern.subject or "")))
    if stems or pattern.kind == "commitment_record":
        return " ".join(stems)
    return str(under[0].id)


Wording = tuple[str, str, str]
"""Title, what to say besides the pattern's statement ("" for nothing), and the question for the coach to ask."""


def _word_record(_: Pattern, under: Sequence[Under]) -> Wording:
    commitments = [one for one in under if one.claim_type == "commitment"]
    kept = sum(one.status == "kept" for one in commitments)
    broken = [one for one in commitments if one.status == "broken"]
    title = f"{kept} of {kept + len(broken)} commitments kept"
    if not broken:
        return title, "", "What is it about these promises that made them hold?"
    told = [_tell(one) for one in broken[:_MOST_TOLD]]
    more = "Not kept: " + "; ".join(told) + (f"; and {len(broken) - _MOST_TOLD} more." if broken[_MOST_TOLD:] else ".")
    theme = find_theme(broken, [one for one in commitments if one not in broken])
    if theme:
        return (
            title,
            f"{more} What was not kept has “{theme}” in common.",
            (f"What stands in the way when it comes to “{theme}”?"),
        )
    return title, more, "What got in the way, and which of these still matters?"


def _word_contradiction(pattern: Pattern, _: Sequence[Under]) -> Wording:
    title = f"Two accounts of {pattern.subject}" if pattern.subject else "Two accounts that do not fit together"
    return title, "", "How do these two fit together, and which of them holds today?"


def _word_change(pattern: Pattern, _: Sequence[Under]) -> Wording:
    title = f"A change: {pattern.subject}" if pattern.subject else "A change of course"
    return title, "", "What made the difference, and what has it changed since?"


def _word_trend(pattern: Pattern, _: Sequence[Under]) -> Wording:
    title = f"A direction: {pattern.subject}" if pattern.subject else "A direction across sessions"
    return title, "", "What is behind this, and is it the direction you want?"


def _word_recurrence(pattern: Pattern, under: Sequence[Under]) -> Wording:
    title = f"It comes back: {pattern.subject}" if pattern.subject else "It comes back"
    return title, f"Last: {_tell(under[-1])}.", "What would have to be different for this not to come up again?"


_TEMPLATES: Final[Mapping[str, Callable[[Pattern, Sequence[Under]], Wording]]] = {
    "commitment_record": _word_record, "contradiction": _word_contradiction, "change": _word_change,
    "trend": _word_trend, "recurrence": _word_recurrence,
}  # fmt: skip
"""One a kind of pattern, the most telling kind first."""


def draft_unanswered(waiting: Under) -> Draft | None:
    """Return what to make of a commitment that was due before the last session and that none speaks of since."""
    if waiting.visibility not in _JUDGED or waiting.valid_to is None:
        return None
    said, day = waiting.statement, format_day(waiting.valid_to)
    return Draft(
        template="unanswered", matter=str(waiting.id), title=_cut(f"No word since: {said}", LONGEST_TITLE),
        body=_cut(
            f"{said}\n\nIt was due on {day}; no later session says what became of it.\n\n"
            "Ask: What became of this, and is it still wanted?", LONGEST_BODY,
        ),
        claims=((waiting.id, "supporting"),), coach_id=waiting.coach_id,
    )  # fmt: skip


def find_theme(broken: Sequence[Under], others: Sequence[Under]) -> str | None:
    """Return the word that two or more broken commitments all share and no other one has, if there is one.

    The word as the last of them has it; of several the longest, which says most. People's own names are no theme.
    """
    if len(broken) < 2:
        return None
    names = {stem for one in (*broken, *others) for stem in list_stems(one.holder or "")}
    shared = frozenset.intersection(*(frozenset(list_stems(one.statement)) for one in broken)) - names
    shared -= {stem for one in others for stem in list_stems(one.statement)}
    told = {stem: word for word in list_words(broken[-1].statement) for stem in list_stems(word)}
    return max((told[stem] for stem in shared if stem in told), key=lambda word: (len(word), word), default=None)


def _tell(claim: Under) -> str:
    day = f" ({format_day(claim.held_at)})" if claim.held_at else ""
    return f"{_FULL_STOP.sub('', shorten(claim.statement))}{day}"


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 2].rsplit(" ", 1)[0] + " …"
