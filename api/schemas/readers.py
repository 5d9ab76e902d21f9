"""Who may read a source, on the wire."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict


class StandingOut(Stored):
    """How much stands on a source: all of it becomes stale when its readers change, and is derived anew."""

    claims: int
    patterns: int
    insights: int
    packs: int = Field(description="answers prepared for somebody")


class ReadersOut(Stored):
    """Who reads a source, and what stands on it."""

    visibility: str
    client_id: UUID | None
    coach_id: UUID | None
    may_change: bool = Field(description="whether you may change it")
    standing: StandingOut = Field(description="what becomes, or just became, stale")


class ReadersIn(Strict):
    """Who is to read a source: its visibility, and whom it is about."""

    visibility: Literal["client_visible", "coach_only", "admin_aggregate"]
    client: CleanText | None = Field(None, max_length=255, description="e-mail of the client it is about")
    coach: CleanText | None = Field(None, max_length=255, description="e-mail of the coach; a coach's own by default")
