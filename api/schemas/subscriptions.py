"""Plans and memberships on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.learning import Tier
from api.schemas.payments import CouponCode, Currency, Method, Money, TransactionOut
from api.schemas.text import CleanText

Cycle = Literal["monthly", "annual"]
SubscriptionStatus = Literal["active", "cancelled", "expired", "suspended", "past_due"]


class PlanIn(BaseModel):
    """What a tier costs for a cycle."""

    model_config = ConfigDict(extra="forbid")

    tier: Tier
    billing_cycle: Cycle
    amount: Money
    currency: Currency = "USD"
    trial_days: Annotated[int, Field(ge=0, le=365)] = 0


class PlanPatch(BaseModel):
    """What to change of a plan; memberships that run keep the price they began with."""

    model_config = ConfigDict(extra="forbid")

    amount: Money = Decimal(0)
    trial_days: Annotated[int, Field(ge=0, le=365)] = 0
    is_active: bool = True


class PlanOut(BaseModel):
    """One plan."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    tier: Tier
    billing_cycle: Cycle
    amount: Decimal
    currency: str
    trial_days: int
    is_active: bool


class ChoiceIn(BaseModel):
    """The plan to have, and how it is to be paid."""

    model_config = ConfigDict(extra="forbid")

    plan_id: UUID
    payment_method: Method
    coupon_code: CouponCode | None = None


class CancellationIn(BaseModel):
    """How a membership is to end."""

    model_config = ConfigDict(extra="forbid")

    at_once: bool = Field(False, description="false: with the period that is paid")
    note: Annotated[CleanText, Field(max_length=1_000)] | None = None


class SubscriptionOut(BaseModel):
    """One membership."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    tier: Tier
    billing_cycle: Cycle
    amount: Decimal
    currency: str
    status: SubscriptionStatus
    started_at: datetime
    current_period_start: datetime
    current_period_end: datetime
    auto_renew: bool
    next_billing_date: datetime | None
    next_plan_id: UUID | None = Field(description="the plan it changes to at its next renewal")
    trial_end: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None
    cancellation_reason: str | None


class ChoiceOut(BaseModel):
    """What came of it: a membership that runs, a payment that is due for it, or both."""

    subscription: SubscriptionOut | None
    payment: TransactionOut | None = Field(description="pending: what you chose begins when it arrives")
