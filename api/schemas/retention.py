"""Retention on the wire: policies, what their runs did, archived months."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from domain.retention import Action, DataType


class PolicyIn(BaseModel):
    """How long one kind of data is kept."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(ge=1, le=36_500, description="days after which it is archived or deleted")


class PolicyOut(BaseModel):
    """What happens to one kind of data after how many days."""

    model_config = ConfigDict(from_attributes=True)

    data_type: DataType
    action: Action
    days: int
    updated_at: datetime


class RetentionOut(BaseModel):
    """An organisation's retention; what has no policy is kept."""

    retention_days: int | None = Field(description="days of transcripts, documents, evidence and chats; null: for ever")
    policies: list[PolicyOut]


class RetentionJobOut(BaseModel):
    """What one run of a policy did, or would have done."""

    model_config = ConfigDict(from_attributes=True)

    data_type: DataType
    action: Action
    status: str = Field(description="scheduled, running, completed, failed or held (a legal hold kept all of it)")
    dry_run: bool
    counts: dict[str, Any] = Field(description="`gone` by what it was, `held` by legal holds, `days` of the policy")
    error: str | None
    scheduled_at: datetime
    executed_at: datetime | None


class ArchiveOut(BaseModel):
    """One archived month of one table."""

    model_config = ConfigDict(from_attributes=True)

    table_name: str
    month: date = Field(description="its first day")
    rows: int
    size_bytes: int
    archived_at: datetime
    dropped_at: datetime | None = Field(description="since when its rows are in the archive alone")
