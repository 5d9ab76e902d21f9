"""What the steps of building evidence hand to each other: a session's words, what was proposed, what was let in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Literal
from uuid import UUID

ClaimType = Literal["goal", "commitment", "obstacle", "belief", "emotion", "progress", "decision", "feedback"]
Polarity = Literal["positive", "negative", "neutral"]
Modality = Literal["stated", "reported", "inferred"]
ClaimStatus = Literal["asserted", "retracted", "superseded", "kept", "broken"]
PatternKind = Literal["recurrence", "trend", "change", "contradiction", "commitment_record"]
QuoteRole = Literal["supporting", "opposing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of one speaker; `char_start:char_end` is its place in the transcript's text, times in seconds."""

    index: int
    text: str
    char_start: int
    char_end: int
    speaker: str | None = None
    """The label in the file."""
    speaker_id: UUID | None = None
    """The person, where the label is known to be one."""
    started_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class SessionText:
    """One transcript as evidence is taken from it: its turns in order, joined by a newline, are its text."""

    transcript_id: UUID
    content_hash: str
    """SHA-256 of the text, in hex."""
    turns: Sequence[Turn]
    visibility: str = "coach_only"
    client_id: UUID | None = None
    coach_id: UUID | None = None
    held_at: datetime | None = None
    title: str = ""
    names: Mapping[UUID, str] = field(default_factory=dict)
    """Full names of the people who speak."""

    @cached_property
    def text(self) -> str:
        """The words every offset counts into."""
        return "\n".join(turn.text for turn in self.turns)

    def find_role(self, turn: Turn) -> Literal["client", "coach"] | None:
        """Return whether the client or the coach of this session speaks; None where the speaker is not known."""
        if turn.speaker_id is None:
            return None
        return "client" if turn.speaker_id == self.client_id else "coach" if turn.speaker_id == self.coach_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Words that somebody says stand in a transcript: a rule, which knows where, or a model, which may be wrong."""

    exact: str
    speaker: str | None = None
    """The label or name of who is said to have spoken; None where nobody says."""
    turn_index: int | None = None
    """Where to look first; never believed."""


class RejectionReason(StrEnum):
    """Why words were not let in."""

    NOT_FOUND = "not_found"
    MISATTRIBUTED = "misattributed"
    """They are there, in another speaker's mouth."""
    STITCHED = "stitched"
    """Their parts are there, apart from each other."""
    EDITED = "edited"
    """Nearly these words are there, with others put in or changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A verbatim span of one speaker: `text[char_start:char_end] == exact`; turns from 0, both inclusive."""

    exact: str
    char_start: int
    char_end: int
    turn_first: int
    turn_last: int
    speaker: str | None
    speaker_id: UUID | None
    started_s: float | None
    ended_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Words that were not let in, and why; `nearest` is what does stand there."""

    reason: RejectionReason
    candidate: Candidate
    nearest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How something was derived: a rule's name and version, or a model and the hash of what it was told."""

    name: str
    model_name: str | None = None
    prompt_hash: str | None = None
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedClaim:
    """A claim as a rule or a model proposes it; nothing of it is believed before its quotes are located."""

    claim_type: ClaimType
    statement: str
    """One self-contained sentence in the third person, at most 2,000 characters."""
    modality: Modality
    quotes: Sequence[tuple[Candidate, QuoteRole]]
    method: Method
    holder: str | None = None
    """Whose claim it is, as a speaker label or full name."""
    subject: str | None = None
    """What it is about, in a few words as they were said: "release checklist"."""
    polarity: Polarity = "neutral"
    valid_from: date | None = None
    valid_to: date | None = None
    """For a commitment: the day it is due."""
    status: ClaimStatus = "asserted"
    support_score: float | None = None
    scorer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaim:
    """An L1 claim whose quotes were located, ready to be stored; the first quote is its main one."""

    claim_id: UUID
    claim_type: ClaimType
    statement: str
    modality: Modality
    quotes: Sequence[tuple[Located, QuoteRole]]
    method: Method
    transcript_id: UUID
    held_at: datetime | None
    holder: str | None
    holder_id: UUID | None
    subject: str | None
    polarity: Polarity
    valid_from: date | None
    valid_to: date | None
    support_score: float | None = None
    scorer: str | None = None
    status: ClaimStatus = "asserted"
    superseded_by: UUID | None = None


@dataclass(slots=True)
class Extraction:
    """What one session gave: its claims and what was refused, by reason."""

    claims: list[SessionClaim] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Proposed claims left without a supporting quote, or unusable for another reason, by that reason."""

    @property
    def rejections(self) -> Counter[str]:
        """Candidates refused, by reason."""
        return Counter(str(one.reason) for one in self.rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPattern:
    """An L2 pattern over claims of two or more sessions, ready to be stored."""

    kind: PatternKind
    subject: str | None
    statement: str
    supporting: Sequence[UUID]
    """Claims, by time."""
    counter: Sequence[UUID]
    """Claims that speak against it, looked for on purpose."""
    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int
    first_seen: datetime | None
    last_seen: datetime | None
    method: Method
    support_score: float | None = None
    scorer: str | None = None
