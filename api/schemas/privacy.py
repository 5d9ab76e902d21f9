"""Requests of data subjects, legal holds, receipts and exports on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from api.pagination import Page
from api.schemas.text import clean_text
from api.schemas.users import Stored, Strict
from domain.privacy import Method, SubjectKind

RequestStatus = Literal["requested", "verified", "running", "completed", "failed", "refused"]
ExportStatus = Literal["requested", "running", "ready", "failed", "expired"]
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True), BeforeValidator(clean_text)
]


class ErasureIn(Strict):
    """What is to be erased; without anything, yourself."""

    subject_kind: SubjectKind = "person"
    subject_id: UUID | None = Field(
        None, description="a person's, session's, document's or the organisation's id; left out: your own"
    )
    reason: Reason | None = Field(None, description="why; the person may read it")

    @model_validator(mode="after")
    def _named(self) -> "ErasureIn":
        if self.subject_id is None and self.subject_kind not in ("person", "tenant"):
            raise ValueError(f"name the {self.subject_kind} by its id in subject_id")
        return self


class VerifyIn(Strict):
    """How it was made sure who asks."""

    method: Method = Field(
        description="signed_in: they asked while signed in; document: they showed a paper; in_person; call_back: they "
        "were called at a known number; court_order"
    )


class RefuseIn(Strict):
    """Why a request is refused."""

    reason: Reason = Field(description="the person may read it")


class HoldIn(Strict):
    """What must be kept, and why."""

    subject_kind: SubjectKind
    subject_id: UUID
    reason: Reason = Field(
        description="only compliance officers read it; yet where it stops an erasure that runs, its request tells it"
    )


class CoveringHoldOut(Stored):
    """An open hold in the way of an erasure."""

    id: UUID
    subject_kind: SubjectKind
    subject_id: UUID
    reason: str
    placed_at: datetime


class RequestOut(Stored):
    """One demand to erase."""

    id: UUID
    subject_kind: SubjectKind
    subject_id: UUID
    status: RequestStatus = Field(
        description="requested, then verified by a compliance officer, running, and completed or failed; or refused"
    )
    requested_by: UUID | None = Field(
        description="who asked; null where they are gone, or nobody but the product asked"
    )
    requested_at: datetime
    due_at: datetime = Field(description="when it must be answered")
    overdue: bool = Field(description="whether it should have been answered by now")
    reason: str | None
    verified_at: datetime | None
    verified_by: UUID | None
    verification_method: str | None
    completed_at: datetime | None
    refused_at: datetime | None
    refused_by: UUID | None
    refusal_reason: str | None


class RequestDetailOut(RequestOut):
    """One demand to erase, with what stands in its way."""

    holds: list[CoveringHoldOut] = Field(description="open legal holds that cover it; only compliance sees them")


class RequestPage(Page[RequestOut]):
    """Requests, and how many of all that you may see are overdue."""

    overdue: int


class StartedErasureOut(Stored):
    """A verified request whose erasure was started."""

    request: RequestOut
    flow_run_id: UUID


class HoldOut(Stored):
    """One legal hold."""

    id: UUID
    subject_kind: SubjectKind
    subject_id: UUID
    reason: str
    placed_by: UUID | None
    placed_at: datetime
    released_by: UUID | None
    released_at: datetime | None


class ExportIn(Strict):
    """Whose data is to be copied; without anything, your own."""

    user_id: UUID | None = Field(None, description="only compliance names others")


class ExportOut(Stored):
    """One copy of a person's data."""

    id: UUID
    user_id: UUID
    requested_by: UUID | None
    status: ExportStatus
    requested_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None = Field(description="when the copy is deleted from the server")
    size_bytes: int | None
    sha256: str | None = Field(description="of the zip file, in hexadecimal")
    counts: dict[str, Any] = Field(description="rows and originals in all, and rows by table")
    error: str | None = Field(description="why it failed")

    @field_validator("sha256", mode="before")
    @classmethod
    def _in_hexadecimal(cls, value: bytes | str | None) -> str | None:
        return value.hex() if isinstance(value, bytes) else value


class ExportLinkOut(Stored):
    """A link that fetches a copy without signing in, for an hour."""

    url: str = Field(description="fetches the zip file; whoever has it can read everything, so don't pass it on")
    expires_at: datetime


class ReceiptOut(Stored):
    """One receipt of an erasure, as it is listed."""

    id: UUID
    request_id: UUID | None
    subject_kind: SubjectKind
    subject_id: UUID
    started_at: datetime
    completed_at: datetime
    signing_key: str = Field(description="the id of the key that signed it")


class VerificationOut(Stored):
    """What a look at a receipt and at all stores found today."""

    receipt_id: UUID
    request_id: UUID
    holds: bool = Field(description="whether it was signed here and nothing is left anywhere")
    is_signed: bool = Field(description="whether the document is as it was signed")
    is_ours: bool = Field(description="whether this installation signed it")
    left: dict[str, int] = Field(description="what is left, by store, with the zeroes")
