"""Corrections on the wire."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict
from domain.corrections import MOST_TURN

CorrectionStatus = Literal["requested", "applied", "refused", "withdrawn"]
Reason = Annotated[CleanText, Field(min_length=1, max_length=2_000)]


class CorrectionIn(Strict):
    """What is wrong: a turn of a transcript, by its words or its speaker, or a claim that says what you hold."""

    transcript_id: UUID | None = None
    segment_index: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    proposed_text: Annotated[CleanText, Field(max_length=MOST_TURN)] | None = Field(
        None, description="what the turn should say"
    )
    speaker_id: UUID | None = Field(None, description="who says it instead")
    claim_id: UUID | None = Field(None, description="a claim of yours that you dispute; it is taken back at once")
    reason: Reason | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.claim_id is not None:
            if self.reason is None or (self.transcript_id, self.segment_index) != (None, None):
                raise ValueError("a claim is disputed with a reason and nothing else")
        elif self.transcript_id is None or self.segment_index is None:
            raise ValueError("name a transcript and the place of a turn in it, or a claim")
        return self


class CorrectionOut(Stored):
    """One request, as those see it who made it or may decide it."""

    id: UUID
    kind: Literal["turn_words", "turn_speaker", "claim"]
    status: CorrectionStatus
    requested_by: UUID
    client_id: UUID
    object_id: UUID | None
    segment_index: int | None
    proposed_text: str | None = Field(description="null once the request was refused or withdrawn")
    speaker_id: UUID | None
    claim_id: UUID | None
    reason: str | None
    decided_by: UUID | None
    decision: str | None
    requested_at: datetime
    decided_at: datetime | None


class DecisionIn(Strict):
    """Why it was decided so."""

    decision: Reason
