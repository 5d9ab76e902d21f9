"""Consents of the organisation's people on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.users import Code, ConsentOut, Purpose, Stored, Strict


class ConsentTextIn(Strict):
    """A version of what people agree to."""

    purpose: Purpose
    version: Code
    text_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its words, in hex")]
    is_required: bool = Field(
        False, description="clients must have agreed before this is done; else it is done until they withdraw"
    )


class ConsentTextOut(Stored):
    """One version that was published."""

    id: UUID
    purpose: str
    version: str
    text_hash: str
    is_required: bool
    published_at: datetime


class PersonConsentOut(ConsentOut):
    """One person's consent."""

    user_id: UUID


class WithheldOut(Stored):
    """One purpose for which one person's material may not be processed."""

    user_id: UUID
    purpose: str
    since: datetime


class ProcessingOut(BaseModel):
    """What may be done with your material now."""

    assistant: bool = Field(description="sources about you are searched and answered from")
    evidence: bool = Field(description="quotes, claims, patterns and insights are derived from them")
    analytics: bool = Field(description="what you do is counted")
    external_model: bool = Field(description="words of yours or about you may go to models outside this installation")
