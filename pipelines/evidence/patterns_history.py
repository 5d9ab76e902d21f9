"""One client's claims as patterns are looked for in them, and the sentences that tell of patterns."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

from pipelines.evidence.lifecycle_match import Read, Weights, read_all
from pipelines.evidence.lifecycle_signs import is_dropped
from pipelines.evidence.records import FoundPattern, Method, PatternKind, SessionClaim
from rag.understand_times import format_day

PATTERNS_VERSION: Final = "1"
"""Raise it when the same claims give other patterns."""
_WITHOUT_NAME: Final = "The client"


@dataclass(frozen=True)
class History:
    """Claims in the order they were said, how much each word says, and what the statements call the client."""

    claims: Sequence[SessionClaim]
    sessions_in_scope: int
    sessions_examined: int
    name: str | None = None

    @cached_property
    def read(self) -> list[Read]:
        """All claims, by time."""
        return read_all(self.claims)

    @cached_property
    def weights(self) -> Weights:
        """How rare each word is."""
        return Weights(self.read)

    @cached_property
    def by_id(self) -> dict[UUID, Read]:
        """The claims by id."""
        return {one.claim.claim_id: one for one in self.read}

    @cached_property
    def own(self) -> list[Read]:
        """The claims of whom the sessions are about: who holds most of them, a coach's left out."""
        holders = Counter(_holder(one.claim) for one in self.read if one.claim.claim_type != "feedback")
        if not holders:
            return []
        main = holders.most_common(1)[0][0]
        return [one for one in self.read if _holder(one.claim) == main]

    @cached_property
    def ended(self) -> list[Read]:
        """The client's claims that say something was stopped."""
        return [one for one in self.own if is_dropped(one.wording.text)]

    @cached_property
    def answers(self) -> frozenset[UUID]:
        """The claims by which a commitment is known to be kept or broken."""
        return frozenset(
            one.claim.superseded_by
            for one in self.read
            if one.claim.superseded_by and one.claim.status in ("kept", "broken")
        )

    @cached_property
    def who(self) -> str:
        """The client's name as the sessions give it, where one of them does."""
        if self.name:
            return self.name
        labels = Counter(one.claim.holder for one in self.own if one.claim.holder and " " in one.claim.holder)
        return labels.most_common(1)[0][0] if labels else _WITHOUT_NAME

    def make(
        self,
        kind: PatternKind,
        rule: str,
        statement: str,
        supporting: Iterable[Read],
        counter: Iterable[Read] = (),
        *,
        subject: str | None = None,
        score: float | None = None,
    ) -> FoundPattern | None:
        """Return the pattern, None below its minimum of two claims from two sessions."""
        stands = sorted({one.claim.claim_id: one for one in supporting}.values(), key=lambda one: one.order)
        standing = {one.claim.claim_id for one in stands}
        others = {one.claim.claim_id: one for one in counter if one.claim.claim_id not in standing}
        against = sorted(others.values(), key=lambda one: one.order)
        sessions = {one.session for one in stands}
        if len(stands) < 2 or len(sessions) < 2:
            return None
        times = [one.claim.held_at for one in stands if one.claim.held_at]
        return FoundPattern(
            kind=kind,
            subject=subject,
            statement=statement[:2000],
            supporting=tuple(one.claim.claim_id for one in stands),
            counter=tuple(one.claim.claim_id for one in against),
            sessions_in_scope=self.sessions_in_scope,
            sessions_examined=self.sessions_examined,
            sessions_supporting=min(len(sessions), self.sessions_examined),
            first_seen=min(times, default=None),
            last_seen=max(times, default=None),
            method=Method(name=f"{rule}/{PATTERNS_VERSION}"),
            support_score=score,
            scorer=f"{rule}/{PATTERNS_VERSION}" if score is not None else None,
        )  # fmt: skip


def _holder(claim: SessionClaim) -> object:
    return claim.holder_id or claim.holder


def say_when(times: Iterable[datetime | None]) -> str:
    """Return "on 7 July 2026" or "between 13 January and 7 July 2026", "" where nothing is known."""
    days = sorted({moment for moment in times if moment})
    if not days:
        return ""
    first, last = days[0], days[-1]
    if first.date() == last.date():
        return f"on {format_day(first)}"
    begin = format_day(first)
    if first.year == last.year:
        begin = begin.removesuffix(f" {first.year}")
    return f"between {begin} and {format_day(last)}"


def say_day(moment: datetime | None) -> str:
    """Return "on 7 July 2026", or "in an undated session"."""
    return f"on {format_day(moment)}" if moment else "in an undated session"


def shorten(words: str, most: int = 240) -> str:
    """Return the words on one line, cut between words when longer than `most` characters."""
    line = " ".join(words.split())
    return line if len(line) <= most else f"{line[:most].rsplit(' ', 1)[0]} …"


def quote(one: Read) -> str:
    """Return when something was said, and its words; their full stop is left to the sentence around them."""
    return f"{say_day(one.claim.held_at)}: “{shorten(one.claim.quotes[0][0].exact).removesuffix('.')}”"


def name_subject(one: Read, other: Read) -> str | None:
    """Return what both claims are about, as one of them calls it."""
    return one.claim.subject if one.wording.topic & other.wording.told else other.claim.subject or one.claim.subject
