"""Usage, quotas and prices on the wire."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas.text import CleanText

FeatureName = Literal["chat", "search", "embedding", "evidence", "evaluation", "ingestion"]
KindName = Literal["tokens", "ingestions", "storage", "usd"]
PerMillion = Annotated[Decimal, Field(ge=0, le=100_000, max_digits=14, decimal_places=6)]


class UsageSums(BaseModel):
    """What was used."""

    model_config = ConfigDict(from_attributes=True)

    requests: int = Field(description="questions, paid searches, requests to models, files: pieces of work")
    input_tokens: int
    output_tokens: int
    ingestions: int = Field(description="files taken in")
    stored_bytes: int = Field(description="bytes of these files")
    cost_usd: Decimal | None = Field(description="of the calls whose price is known; null where none is")
    unpriced: int = Field(description="calls whose price is not known; set it at /v1/prices")


class UsageRowOut(UsageSums):
    """What was used on one day, for one feature, or by one flow run; all null: by none."""

    date: date | None
    feature: str | None
    flow_run_id: UUID | None


class UsageOut(BaseModel):
    """What the organisation used in a range of days."""

    since: date = Field(serialization_alias="from")
    until: date = Field(description="the last day")
    group_by: Literal["day", "feature", "flow"]
    totals: UsageSums
    items: list[UsageRowOut]


class QuotaOut(BaseModel):
    """One limit as it stands."""

    model_config = ConfigDict(from_attributes=True)

    kind: KindName = Field(description="tokens and files a day, bytes in all, USD a month; days and months are UTC")
    limit: Decimal | None = Field(description="null: no limit")
    used: Decimal
    reserved: Decimal = Field(description="what work under way may take at most")
    left: Decimal | None = Field(description="null: no limit")
    resets_at: datetime | None = Field(description="when it begins anew; null for storage")


class QuotasOut(BaseModel):
    """What the organisation may use, and what is left of it."""

    items: list[QuotaOut]


class QuotasIn(BaseModel):
    """What the organisation may use from now on; null is no limit, and what is left out is null."""

    model_config = ConfigDict(extra="forbid")

    max_tokens_per_day: int | None = Field(None, ge=0, le=10**15)
    max_ingestions_day: int | None = Field(None, ge=0, le=10**9)
    max_storage_bytes: int | None = Field(None, ge=0, le=10**18)
    max_model_usd_month: Decimal | None = Field(None, ge=0, le=10**9, max_digits=16, decimal_places=6)


class PriceIn(BaseModel):
    """What a model costs from a moment on, in USD a million tokens."""

    model_config = ConfigDict(extra="forbid")

    model: CleanText = Field(min_length=1, max_length=200, description="its name; * stands for any characters")
    service: CleanText = Field(
        "*", min_length=1, max_length=300, description="the address it is asked at, such as https://llm.example/v1*"
    )
    input_usd: PerMillion
    output_usd: PerMillion
    cached_usd: PerMillion | None = Field(None, description="for input the service had read before; unset: as input")
    valid_from: AwareDatetime | None = Field(None, description="unset: from now on")


class PriceOut(BaseModel):
    """One price of the organisation's own; it wins over list prices."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    model: str
    service: str
    input_usd: Decimal
    output_usd: Decimal
    cached_usd: Decimal | None
    valid_from: datetime


class PricesOut(BaseModel):
    """The organisation's own prices, by model and address, the newest first."""

    items: list[PriceOut]
