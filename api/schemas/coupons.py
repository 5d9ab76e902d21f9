"""Coupons on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api.schemas.learning import Tier
from api.schemas.payments import CouponCode, Currency, Money
from api.schemas.text import CleanText

DiscountType = Literal["percentage", "fixed_amount"]
AppliesTo = Literal["all", "subscription", "course", "event", "merchandise", "coaching"]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{2,49}$"), AfterValidator(str.upper)]
Uses = Annotated[int, Field(ge=1, le=10_000_000)]
Note = Annotated[CleanText, Field(max_length=2_000)]


class CouponPatch(BaseModel):
    """What to change of a coupon; what it takes off stays, so that its uses can be understood."""

    model_config = ConfigDict(extra="forbid")

    applicable_tiers: Annotated[list[Tier], Field(min_length=1, max_length=4)] | None = None
    applicable_items: Annotated[list[UUID], Field(min_length=1, max_length=500)] | None = Field(
        None, description="ids of the programs, events, plans or products it is for; null: any"
    )
    max_uses: Uses | None = Field(None, description="null: no limit")
    max_uses_per_user: Uses | None = 1
    valid_from: AwareDatetime | None = Field(None, description="null: from now on")
    valid_until: AwareDatetime | None = None
    is_active: bool = True
    description: Note | None = None
    internal_notes: Note | None = None

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent, as rows keep them."""
        sent = self.model_dump(exclude_unset=True)
        if sent.get("applicable_items") is not None:
            sent["applicable_items"] = [str(item) for item in sent["applicable_items"]]
        if "valid_from" in sent and sent["valid_from"] is None:
            del sent["valid_from"]
        return sent


class CouponIn(CouponPatch):
    """A coupon to issue."""

    code: Code
    discount_type: DiscountType
    discount_value: Money = Field(description="percent, or an amount of the currency")
    currency: Currency | None = Field(None, description="needed for a fixed amount")
    applies_to: AppliesTo

    @model_validator(mode="after")
    def _check_discount(self) -> "CouponIn":
        if self.discount_type == "percentage" and self.discount_value > 100:
            raise ValueError("a percentage is at most 100")
        if self.discount_type == "fixed_amount" and self.currency is None:
            raise ValueError("a fixed amount needs its currency")
        return self


class CouponOut(BaseModel):
    """One coupon."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    code: str
    discount_type: DiscountType
    discount_value: Decimal
    currency: str | None
    applies_to: AppliesTo
    applicable_tiers: list[str] | None
    applicable_items: list[UUID] | None
    max_uses: int | None
    max_uses_per_user: int | None
    current_uses: int
    valid_from: datetime
    valid_until: datetime | None
    is_active: bool
    description: str | None
    internal_notes: str | None
    created_at: datetime


class CouponCheckIn(BaseModel):
    """What is to be bought with a code."""

    model_config = ConfigDict(extra="forbid")

    code: CouponCode
    transaction_type: Literal["subscription", "course", "event", "merchandise", "coaching"]
    amount: Money
    currency: Currency
    tier: Tier | None = None
    items: Annotated[list[UUID], Field(max_length=50)] = []


class QuoteOut(BaseModel):
    """What would be to pay; nothing is used up by asking."""

    model_config = ConfigDict(from_attributes=True)

    original_amount: Decimal
    discount_amount: Decimal
    final_amount: Decimal
    currency: str
