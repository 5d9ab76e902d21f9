"""Who speaks in a transcript, on the wire."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints

from api.schemas.text import CleanText, clean_text
from api.schemas.users import Stored, Strict
from domain.speakers import LONGEST_LABEL, MOST_LABELS

Label = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_LABEL, strip_whitespace=True), BeforeValidator(clean_text)
]


class SpeakerOut(Stored):
    """One label of a transcript, and who it is, where that is known."""

    label: str = Field(description="as in the source")
    turns: int
    first_words: str = Field(description="how the first turn under it begins")
    user_id: UUID | None
    is_said: bool = Field(description="whether a person said here who this is, or that it is nobody known here")
    suggested: Literal["client", "coach"] | None = Field(description="whom the label names, where nothing is known yet")


class SpeakersOut(Stored):
    """Who speaks in a transcript, by the order of their first turns; the hundred labels that most is said under."""

    transcript_id: UUID
    client_id: UUID | None
    coach_id: UUID | None
    may_say: bool = Field(description="whether you may say who speaks")
    is_asked: bool = Field(description="whether somebody should: nobody did, and no turn is known to be the client's")
    speakers: list[SpeakerOut]


class SpeakersIn(Strict):
    """Who speaks under these labels."""

    speakers: dict[Label, Annotated[CleanText, Field(max_length=255)] | None] = Field(
        min_length=1, max_length=MOST_LABELS,
        description="by label: `client`, `coach`, the e-mail of somebody you see, or null for nobody known here",
    )  # fmt: skip
