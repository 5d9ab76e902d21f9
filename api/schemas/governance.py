"""The audit log on the wire."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator


class AuditEntryOut(BaseModel):
    """One thing that was done."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    sequence: int = Field(description="its place in the chain, counted from 1")
    occurred_at: datetime
    actor_id: UUID | None = Field(description="who did it; null for the pipelines and for maintenance")
    actor_role: str = Field(description="as what: a person's role, system, or owner for maintenance")
    action: str = Field(description="such as payment_processed or coaching_session_updated")
    entity_schema: str | None
    entity_type: str | None = Field(description="such as transaction or coaching_session")
    entity_id: UUID | None
    description: str | None
    changes: dict[str, Any] | None = Field(description="by column: before and after, or `changed` where words stood")
    metadata: dict[str, Any] | None = Field(validation_alias="metadata_")
    ip_address: str | None
    user_agent: str | None
    request_id: UUID | None
    severity: str
    hash: str = Field(description="SHA-256 of the hash before it and of this entry, in hexadecimal")

    @field_validator("hash", mode="before")
    @classmethod
    def _in_hexadecimal(cls, value: bytes | str) -> str:
        return value if isinstance(value, str) else value.hex()

    @field_validator("ip_address", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> str | None:
        return None if value is None else str(value)


class ChainFaultOut(BaseModel):
    """The first place where the chain does not hold."""

    model_config = ConfigDict(from_attributes=True)

    sequence: int
    wrong: str = Field(description="altered, removed, inserted, reordered or unlinked")
    detail: str


class ChainOut(BaseModel):
    """The state of the organisation's audit log."""

    length: int = Field(description="entries there are")
    hash: str = Field(description="the last entry's hash, in hexadecimal; keep it elsewhere to prove the end later")
    checked: int = Field(description="newest entries recomputed just now")
    dropped_until: int = Field(
        description="the newest place whose entry was archived and dropped after its time; 0: all entries are there"
    )
    verified: bool = Field(description="whether these hold")
    fault: ChainFaultOut | None
