"""Shared links on the wire."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from api.schemas.chat import MessageOut, show_message
from api.schemas.evidence import PackOut
from api.schemas.users import Stored, Strict
from domain.shared_links import SharedView


class ShareIn(Strict):
    """What to share: one of your answers or one of your packs."""

    message_id: UUID | None = None
    pack_id: UUID | None = None
    reader_id: UUID | None = Field(None, description="the only colleague who may open it; else anyone who signs in")
    hours: Annotated[int, Field(ge=1, le=720, description="how long it can be opened")] = 168

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.message_id is None) == (self.pack_id is None):
            raise ValueError("name either message_id or pack_id")
        return self


class ShareOut(Stored):
    """One of your links, without its token."""

    id: UUID
    message_id: UUID | None
    pack_id: UUID | None
    reader_id: UUID | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    opened_count: int
    last_opened_at: datetime | None


class ShareMade(ShareOut):
    """The link just made."""

    token: str = Field(description="opens it at GET /v1/shares/{token}; shown this once")


class SharedOut(BaseModel):
    """What a link shows you now: what you may not read yourself is withheld."""

    shared_by: UUID
    expires_at: datetime
    question: str | None = Field(description="null where anything is withheld, as it may tell whom that is about")
    message: MessageOut | None
    pack: PackOut | None


def show_shared(view: SharedView) -> SharedOut:
    """Return what a link shows for the wire."""
    pack = PackOut.model_validate(view.pack) if view.pack else None
    if pack and pack.withheld:
        pack.coverage = None  # it counts sessions of which the reader may know nothing
    return SharedOut(
        shared_by=view.shared_by, expires_at=view.expires_at, question=view.question,
        message=show_message(view.message) if view.message else None, pack=pack,
    )  # fmt: skip
