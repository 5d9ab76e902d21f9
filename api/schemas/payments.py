"""Payments, refunds, gateways and the ledger on the wire; amounts are decimal strings."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas.text import CleanText
from db.models import Transaction
from db.session import Principal

PaymentType = Literal["subscription", "course", "event", "merchandise", "coaching", "donation", "refund"]
PaymentStatus = Literal["pending", "processing", "success", "failed", "refunded", "cancelled"]
AccountName = Literal[
    "cash", "receivable", "revenue", "discounts", "refunds", "tax", "platform_fees", "seller_payable"
]  # fmt: skip

Money = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
Method = Annotated[str, Field(pattern=r"^[a-z0-9_]{2,30}$", description="such as mpesa, card, bank_transfer or cash")]
CouponCode = Annotated[CleanText, Field(min_length=3, max_length=50)]
Reason = Annotated[CleanText, Field(min_length=1, max_length=500)]
GatewayReference = Annotated[CleanText, Field(min_length=1, max_length=255)]


class TransactionOut(BaseModel):
    """One payment or refund; what the platform and the seller share is for them only."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    seller_id: UUID | None
    amount: Decimal
    tax_amount: Decimal
    currency: str
    transaction_type: PaymentType
    reference_type: str | None
    reference_id: UUID | None
    refund_of: UUID | None
    refunded_amount: Decimal
    payment_method: str
    gateway_name: str | None
    gateway_transaction_id: str | None
    status: PaymentStatus
    created_at: datetime
    expires_at: datetime | None = Field(description="a pending payment is given up then")
    processed_at: datetime | None
    failed_at: datetime | None
    cancelled_at: datetime | None
    refunded_at: datetime | None
    failure_reason: str | None
    refund_reason: str | None
    platform_fee_amount: Decimal | None
    seller_payout_amount: Decimal | None

    @classmethod
    def show(cls, row: Transaction, reader: Principal) -> "TransactionOut":
        """Return the payment as this reader may see it."""
        shown = cls.model_validate(row)
        if reader.role != "admin" and (row.seller_id is None or row.seller_id != reader.user_id):
            shown.platform_fee_amount = shown.seller_payout_amount = None
        return shown


class PurchaseIn(BaseModel):
    """How a program is to be paid."""

    model_config = ConfigDict(extra="forbid")

    payment_method: Method
    coupon_code: CouponCode | None = None


class PaymentIn(BaseModel):
    """Money that reached the organisation without a gateway; with a program, its payer is enrolled."""

    model_config = ConfigDict(extra="forbid")

    user_id: UUID
    amount: Annotated[Money, Field(gt=0)]
    currency: Currency
    payment_method: Method
    reference: GatewayReference = Field(description="the receipt's or transfer's number; recorded once only")
    program_id: UUID | None = None
    coupon_code: CouponCode | None = Field(None, description="the coupon that lowered the program's price")
    transaction_type: Literal["event", "coaching", "donation", "merchandise"] | None = Field(
        None, description="what it was for, where it was no program"
    )


class ArrivalIn(BaseModel):
    """The money of an open payment arrived, or that of an open refund was paid out, without a gateway's callback."""

    model_config = ConfigDict(extra="forbid")

    amount: Money = Field(description="as it stands in the payment, to be sure it is the right one")
    currency: Currency
    reference: GatewayReference = Field(description="the receipt's or transfer's number")


class RefundIn(BaseModel):
    """What goes back of a payment."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[Money, Field(gt=0)] | None = Field(None, description="left out: all that is left")
    reason: Reason
    paid_out: bool = Field(description="whether it went back already; false: the gateway will report it")
    reference: GatewayReference | None = Field(None, description="of what was paid out: the transfer's number")


class CallbackTold(BaseModel):
    """Which payment or refund of ours it is about."""

    transaction_id: UUID
    gateway_transaction_id: GatewayReference = Field(description="the gateway's own id; the key to repeats")
    amount: Money
    currency: Currency
    reference: GatewayReference | None = None
    reason: Reason | None = Field(None, description="why it failed")


class CallbackIn(BaseModel):
    """A gateway's signed report."""

    type: Literal["payment.succeeded", "payment.failed", "refund.succeeded", "refund.failed"]
    data: CallbackTold


class CallbackOut(BaseModel):
    """Where the payment stands now."""

    transaction_id: UUID
    status: PaymentStatus


class GatewayOut(BaseModel):
    """One gateway whose callbacks are accepted."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class NewGatewayOut(BaseModel):
    """A gateway with its new secret, which is shown this once."""

    name: str
    secret: str = Field(description="what the gateway signs with, as Standard Webhooks has it")
    callback_path: str


class LedgerEntryOut(BaseModel):
    """One line of the ledger: a debit is positive, a credit negative."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    transaction_id: UUID
    account: AccountName
    amount: Decimal
    currency: str
    occurred_at: datetime
    memo: str


class BalanceOut(BaseModel):
    """What one account stands at in one currency."""

    model_config = ConfigDict(from_attributes=True)

    account: AccountName
    currency: str
    balance: Decimal
    entries: int


class BalancesOut(BaseModel):
    """All accounts; for who may see no single payment, only those that five payers or more stand behind."""

    items: list[BalanceOut]


Moment = AwareDatetime
