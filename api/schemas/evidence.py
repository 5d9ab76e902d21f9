"""Claims, patterns, quotes and packs on the wire."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.chat import CitationOut
from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict
from domain.citations import SourceKind
from domain.evidence import CommitmentState, PatternDetail
from domain.evidence_views import ClaimRole, QuoteRole
from domain.packs import MOST_QUESTION

ClaimType = Literal["goal", "commitment", "obstacle", "belief", "emotion", "progress", "decision", "feedback"]
ClaimStatus = Literal["asserted", "retracted", "superseded", "kept", "broken"]
PatternKind = Literal["recurrence", "trend", "change", "contradiction", "commitment_record"]


class QuoteOut(Stored):
    """Verbatim words of one speaker that a claim stands on, or that speak against it."""

    id: UUID
    role: QuoteRole
    exact: str = Field(description="the words, character for character as in the source")
    prefix: str = Field(description="what comes right before them")
    suffix: str = Field(description="what comes right after them")
    speaker: str | None
    speaker_id: UUID | None
    source_kind: SourceKind
    source_id: UUID = Field(description="the transcript's or document's id")
    content_hash: str = Field(description="SHA-256 of the source's text")
    char_start: int
    char_end: int
    segment_first: int | None = Field(description="first turn quoted, counted from 0")
    segment_last: int | None = Field(description="last turn quoted, inclusive")
    started_s: float | None = Field(description="where in the recording, seconds")
    ended_s: float | None
    link: str = Field(description="opens the source at these words")


class ClaimOut(Stored):
    """One proposition from one session, with the quotes it stands on."""

    id: UUID
    claim_type: ClaimType
    statement: str
    holder: str | None = Field(description="whose claim it is")
    holder_id: UUID | None
    subject: str | None
    polarity: Literal["positive", "negative", "neutral"]
    modality: Literal["stated", "reported", "inferred"]
    valid_from: date | None
    valid_to: date | None = Field(description="of a commitment: the day it is due")
    status: ClaimStatus
    superseded_by: UUID | None = Field(description="the later claim that keeps, breaks, retracts or replaces this one")
    source_kind: SourceKind
    source_id: UUID
    title: str | None = Field(description="of the session or document")
    held_at: datetime | None
    client_id: UUID | None
    coach_id: UUID | None
    visibility: str
    method: str = Field(description="the rule and its version, or how a model was asked")
    model_name: str | None
    prompt_hash: str | None
    support_score: float | None
    scorer: str | None
    created_at: datetime
    quotes: list[QuoteOut]


class ClaimRefOut(Stored):
    """A claim under a pattern, by id."""

    id: UUID
    role: ClaimRole


class PatternOut(Stored):
    """What shows across sessions, with the claims under it by id."""

    id: UUID
    kind: PatternKind
    subject: str | None
    statement: str
    sessions_in_scope: int = Field(description="sessions there were")
    sessions_examined: int = Field(description="those of them that were read")
    sessions_supporting: int = Field(description="those of them that show it")
    first_seen: datetime | None
    last_seen: datetime | None
    client_id: UUID | None
    coach_id: UUID | None
    cohort_id: UUID | None
    visibility: str
    method: str
    support_score: float | None
    scorer: str | None
    created_at: datetime
    claims: list[ClaimRefOut]


class PatternClaimOut(Stored):
    """A claim under a pattern, with its quotes."""

    role: ClaimRole
    claim: ClaimOut


class PatternDetailOut(PatternOut):
    """A pattern with everything under it: claims, and under each its quotes."""

    pyramid: list[PatternClaimOut]


class CommitmentOut(Stored):
    """A commitment and what became of it."""

    claim: ClaimOut
    state: CommitmentState
    due: date | None
    settled_by: ClaimOut | None = Field(description="the claim whose quotes say what became of it")


class SessionEvidenceOut(Stored):
    """How much evidence stands on one session."""

    transcript_id: UUID
    title: str
    held_at: datetime | None
    examined: bool = Field(description="whether claims were looked for in this version of it")
    claims: int
    quotes: int
    commitments: int
    visibility: str


class EvidenceSummaryOut(Stored):
    """How much evidence of a client you may see."""

    sessions_in_scope: int = Field(description="transcripts of theirs that you may see")
    sessions_examined: int = Field(description="those of them in which claims were looked for")
    sessions_supporting: int = Field(description="those of them that claims stand on")
    first_held_at: datetime | None
    last_held_at: datetime | None
    quotes: int
    claims: dict[str, int] = Field(description="by type")
    commitments: dict[str, int] = Field(description="by state")
    patterns: dict[str, int] = Field(description="by kind")
    insights: dict[str, int] = Field(description="by status")


class PackCoverageOut(Stored):
    """How much was searched and how much of it supports the pack."""

    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int


class PackIn(Strict):
    """What to gather evidence for: a client, a question, or a question about a client."""

    client_id: UUID | None = None
    question: Annotated[CleanText, Field(min_length=1, max_length=MOST_QUESTION)] | None = None


class PackSummaryOut(Stored):
    """One of your packs, without its items."""

    id: UUID
    client_id: UUID | None
    question: str | None
    content_hash: str = Field(description="SHA-256 of the content as it was stored")
    created_at: datetime
    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int
    patterns: int
    claims: int
    passages: int


class PackOut(Stored):
    """One of your packs as you may see it now."""

    id: UUID
    client_id: UUID | None
    question: str | None
    content_hash: str = Field(description="SHA-256 of the content as it was stored")
    created_at: datetime
    coverage: PackCoverageOut | None = Field(description="null where it was shared and anything of it is withheld")
    patterns: list[PatternOut] = Field(description="their claims by id")
    claims: list[ClaimOut] = Field(description="by time, with their quotes")
    passages: list[CitationOut] = Field(description="ranges of sources the pack was asked to hold besides")
    withheld: int = Field(description="items it held that are gone or no longer yours to see")
    changed: list[UUID] = Field(description="patterns and claims that say something else now than then")


def show_pattern(detail: PatternDetail) -> PatternDetailOut:
    """Return a pattern and what is under it for the wire."""
    shown = PatternOut.model_validate(detail.pattern)
    return PatternDetailOut(
        **shown.model_dump(), pyramid=[PatternClaimOut.model_validate(one) for one in detail.claims]
    )
