"""Payments, refunds, the gateways' callbacks, and what the ledger says."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, status
from sqlalchemy import select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.payments import (
    AccountName,
    ArrivalIn,
    BalanceOut,
    BalancesOut,
    CallbackIn,
    CallbackOut,
    GatewayOut,
    LedgerEntryOut,
    Moment,
    NewGatewayOut,
    PaymentIn,
    PaymentStatus,
    PaymentType,
    PurchaseIn,
    RefundIn,
    TransactionOut,
)
from core.errors import Forbidden, Invalid
from db.models import LedgerEntry, PaymentGateway, Transaction
from db.session import Principal, tenant_session
from domain import checkout, fulfilment, gateways, ledger, payments
from domain.platform import TenantNotFound, get_tenant_by_slug

router = APIRouter(prefix="/v1", tags=["payments"])

READ: Any = [needs("read")]
WRITE: Any = [needs("write")]
ADMIN: Any = [needs("admin"), needs_role("admin")]
BY_HAND = "manual"
"""The gateway that stands for cash and transfers an administrator records."""

FromQuery = Annotated[Moment | None, Query(alias="from", description="made at or after")]
UntilQuery = Annotated[Moment | None, Query(alias="until", description="made before")]
GatewayPath = Annotated[str, Path(pattern=r"^[a-z0-9_]{2,50}$", description="the gateway's name, such as flutterwave")]

SignedHeader = Annotated[str, Header(min_length=1, max_length=1_000)]


class PersonNeeded(Forbidden):
    """Only a person can buy; call with the key or sign-in of one."""


class PurposeMissing(Invalid):
    """Say what the money was for: give program_id, or else transaction_type."""


def person_id(principal: Principal) -> UUID:
    """Return the caller's id; raises `PersonNeeded` where no person calls."""
    if principal.user_id is None:
        raise PersonNeeded
    return principal.user_id


@router.get("/transactions", operation_id="listTransactions", dependencies=READ, responses=list_problem_responses())
async def list_transactions(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    principal: PrincipalDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    state: Annotated[PaymentStatus | None, Query(alias="status")] = None,
    kind: Annotated[PaymentType | None, Query(alias="type")] = None,
    user_id: Annotated[UUID | None, Query(description="only this person's")] = None,
    reference_id: Annotated[UUID | None, Query(description="only those for this program, order, …")] = None,
    since: FromQuery = None,
    until: UntilQuery = None,
) -> Page[TransactionOut]:
    """List payments and refunds, the newest first: your own and those you are the seller of, an administrator's all."""
    query = select(Transaction)
    if principal.role != "admin":
        # What the policy says too; said here, the planner takes the indexes for it.
        query = query.where((Transaction.user_id == principal.user_id) | (Transaction.seller_id == principal.user_id))
    for column, wanted in (
        (Transaction.status, state), (Transaction.transaction_type, kind), (Transaction.user_id, user_id),
        (Transaction.reference_id, reference_id),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(Transaction.created_at >= since)
    if until is not None:
        query = query.where(Transaction.created_at < until)
    order = (Transaction.created_at, Transaction.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[TransactionOut.show(row.Transaction, principal) for row in rows], next_cursor=following)


@router.get(
    "/transactions/{transaction_id}", operation_id="getTransaction", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_transaction(transaction_id: UUID, session: SessionDep, principal: PrincipalDep) -> TransactionOut:
    """Read one payment or refund."""
    return TransactionOut.show(await payments.get_payment(session, transaction_id), principal)


@router.post(
    "/programs/{program_id}/purchase", operation_id="purchaseProgram", dependencies=WRITE,
    status_code=status.HTTP_201_CREATED, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def purchase_program(
    program_id: UUID, body: PurchaseIn, principal: PrincipalDep, session: SystemSessionDep, key: IdempotencyKey = None
) -> TransactionOut:
    """Open the payment for a program and learn what is to pay; the gateway's callback completes it and enrols."""
    payment = await checkout.buy_program(
        session, program_id=program_id, user_id=person_id(principal), payment_method=body.payment_method,
        coupon_code=body.coupon_code, idempotency_key=key,
    )  # fmt: skip
    return TransactionOut.show(payment, principal)


@router.post(
    "/payments", operation_id="recordPayment", dependencies=ADMIN, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def record_payment(body: PaymentIn, principal: PrincipalDep) -> TransactionOut:
    """Record cash or a transfer that arrived; the same reference again returns what it made."""
    if body.program_id is not None:
        bought = await checkout.pay_and_enroll(
            principal, user_id=body.user_id, program_id=body.program_id, amount=body.amount, currency=body.currency,
            payment_method=body.payment_method, gateway_name=BY_HAND, gateway_transaction_id=body.reference,
            coupon_code=body.coupon_code,
        )  # fmt: skip
        return TransactionOut.show(bought.payment, principal)
    if body.transaction_type is None:
        raise PurposeMissing
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        payment = await payments.record_payment(
            session, user_id=body.user_id, amount=body.amount, currency=body.currency, status="success",
            transaction_type=body.transaction_type, payment_method=body.payment_method, gateway_name=BY_HAND,
            gateway_transaction_id=body.reference,
        )  # fmt: skip
    return TransactionOut.show(payment, principal)


@router.post(
    "/transactions/{transaction_id}/complete", operation_id="completeTransaction", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def complete_transaction(transaction_id: UUID, body: ArrivalIn, principal: PrincipalDep) -> TransactionOut:
    """Record by hand that an open payment arrived, or that an open refund was paid out, and give what it was for."""
    payment = await fulfilment.complete_payment(
        principal, payment_id=transaction_id, amount=body.amount, currency=body.currency, gateway_name=BY_HAND,
        gateway_transaction_id=body.reference,
    )  # fmt: skip
    return TransactionOut.show(payment, principal)


@router.post(
    "/transactions/{transaction_id}/cancel", operation_id="cancelTransaction", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def cancel_transaction(transaction_id: UUID, principal: PrincipalDep) -> TransactionOut:
    """Give up a payment of your own before any money moved; an order it was for is cancelled."""
    async with tenant_session(principal) as session:
        payment = await payments.get_payment(session, transaction_id)
        if principal.role != "admin" and payment.user_id != principal.user_id:
            raise payments.PaymentNotFound
        if payment.status != "pending" or (payment.refund_of is not None and principal.role != "admin"):
            raise payments.PaymentStepRefused
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        return TransactionOut.show(await fulfilment.cancel_payment(session, payment_id=transaction_id), principal)


@router.post(
    "/transactions/{transaction_id}/refunds", operation_id="refundTransaction", dependencies=ADMIN,
    status_code=status.HTTP_201_CREATED, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def refund_transaction(
    transaction_id: UUID, body: RefundIn, principal: PrincipalDep, session: SystemSessionDep, key: IdempotencyKey = None
) -> TransactionOut:
    """Refund part or all of a payment; all of it takes back what it gave."""
    refund = await fulfilment.give_back(
        session, payment_id=transaction_id, reason=body.reason, amount=body.amount, paid_out=body.paid_out,
        gateway_name=BY_HAND if body.reference else None, gateway_transaction_id=body.reference, idempotency_key=key,
    )  # fmt: skip
    return TransactionOut.show(refund, principal)


@router.get("/ledger", operation_id="listLedger", dependencies=ADMIN, responses=list_problem_responses())
async def list_ledger(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    transaction_id: UUID | None = None,
    account: AccountName | None = None,
    since: FromQuery = None,
    until: UntilQuery = None,
) -> Page[LedgerEntryOut]:
    """List the ledger's lines, the newest first."""
    query = select(LedgerEntry)
    if transaction_id is not None:
        query = query.where(LedgerEntry.transaction_id == transaction_id)
    if account is not None:
        query = query.where(LedgerEntry.account == account)
    if since is not None:
        query = query.where(LedgerEntry.occurred_at >= since)
    if until is not None:
        query = query.where(LedgerEntry.occurred_at < until)
    order = (LedgerEntry.occurred_at, LedgerEntry.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[LedgerEntryOut.model_validate(row.LedgerEntry) for row in rows], next_cursor=following)


@router.get(
    "/balances", operation_id="listBalances", dependencies=[needs("read"), needs_role("admin", "executive")],
    responses=list_problem_responses(),
)  # fmt: skip
async def list_balances(principal: PrincipalDep, session: SystemSessionDep) -> BalancesOut:
    """Read what the accounts stand at; executives see those that at least five payers stand behind."""
    fewest = 1 if principal.role == "admin" else ledger.SMALLEST_GROUP
    rows = await ledger.list_balances(session, from_payers=fewest)
    return BalancesOut(items=[BalanceOut.model_validate(row) for row in rows])


@router.get(
    "/payment-gateways", operation_id="listPaymentGateways", dependencies=ADMIN, responses=list_problem_responses()
)
async def list_gateways(
    session: SystemSessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[GatewayOut]:
    """List the gateways whose callbacks are accepted."""
    order = (PaymentGateway.created_at, PaymentGateway.id)
    rows, following = await fetch_page(session, select(PaymentGateway), order=order, limit=limit, cursor=cursor)
    return Page(items=[GatewayOut.model_validate(row.PaymentGateway) for row in rows], next_cursor=following)


@router.put(
    "/payment-gateways/{gateway}", operation_id="setPaymentGateway", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def set_gateway(gateway: GatewayPath, session: SystemSessionDep) -> NewGatewayOut:
    """Accept a gateway's callbacks, with a new secret that is shown this once and ends the former one."""
    secret = await gateways.set_gateway(session, name=gateway)
    return NewGatewayOut(name=gateway, secret=secret, callback_path=f"/v1/payments/events/{{organisation}}/{gateway}")


@router.delete(
    "/payment-gateways/{gateway}", operation_id="removePaymentGateway", dependencies=ADMIN,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def remove_gateway(gateway: GatewayPath, session: SystemSessionDep) -> None:
    """Accept a gateway's callbacks no more."""
    await gateways.remove_gateway(session, name=gateway)


@router.post(
    "/payments/events/{organisation}/{gateway}", operation_id="receivePaymentEvent",
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def receive_event(  # noqa: PLR0917  # FastAPI passes them by name
    organisation: Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")],
    gateway: GatewayPath,
    event: CallbackIn,
    request: Request,
    webhook_id: SignedHeader,
    webhook_timestamp: SignedHeader,
    webhook_signature: SignedHeader,
) -> CallbackOut:
    """Take a gateway's report of a payment or refund, signed as Standard Webhooks are; repeats change nothing."""
    try:
        tenant = await get_tenant_by_slug(organisation)
    except TenantNotFound as error:  # whoever can't sign learns nothing of who is here
        raise gateways.CallbackNotSigned from error
    system = Principal(tenant.id, "system")
    async with tenant_session(system) as session:
        await gateways.check_callback(
            session, gateway=gateway, body=await request.body(), now=datetime.now(UTC),
            headers={
                "webhook-id": webhook_id, "webhook-timestamp": webhook_timestamp,
                "webhook-signature": webhook_signature,
            },
        )  # fmt: skip
    told = gateways.GatewayEvent(
        kind=event.type, transaction_id=event.data.transaction_id, amount=event.data.amount,
        gateway_transaction_id=event.data.gateway_transaction_id, currency=event.data.currency,
        gateway_reference=event.data.reference, reason=event.data.reason,
    )  # fmt: skip
    payment = await fulfilment.take_event(system, told, gateway=gateway)
    return CallbackOut(transaction_id=payment.id, status=payment.status)
