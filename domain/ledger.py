"""The double-entry ledger: what each payment and refund moved, and what the accounts stand at.

A debit is positive, a credit negative. Lines are only added; what was wrong is put right by further lines. The database
refuses a transaction whose lines do not add up to zero, and a successful payment without them.
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import LedgerEntry, Transaction
from domain.money import ZERO

SMALLEST_GROUP = 5
"""Payers an aggregate must stand on before someone without sight of single payments may read it."""


async def post_payment(session: AsyncSession, payment: Transaction, *, discount: Decimal = ZERO) -> None:
    """Post a payment that succeeded: cash in, and what it is made of.

    Own sales are revenue before the discount, which has an account of its own; of a seller's sale the payout is owed to
    them and the fee is ours.
    """
    net = payment.amount - payment.tax_amount
    lines = {"cash": payment.amount, "tax": -payment.tax_amount}
    if payment.seller_payout_amount is not None and payment.platform_fee_amount is not None:
        lines |= {"seller_payable": -payment.seller_payout_amount, "platform_fees": -payment.platform_fee_amount}
    else:
        lines |= {"revenue": -(net + discount), "discounts": discount}
    await _post(session, payment, lines, memo="payment")


async def post_refund(session: AsyncSession, refund: Transaction) -> None:
    """Post a refund that succeeded: cash out, and the shares that it takes back."""
    lines = {"cash": -refund.amount, "tax": refund.tax_amount}
    if refund.seller_payout_amount is not None and refund.platform_fee_amount is not None:
        lines |= {"seller_payable": refund.seller_payout_amount, "platform_fees": refund.platform_fee_amount}
    else:
        lines["refunds"] = refund.amount - refund.tax_amount
    await _post(session, refund, lines, memo="refund")


async def _post(session: AsyncSession, transaction: Transaction, lines: dict[str, Decimal], *, memo: str) -> None:
    rows = [
        {
            "tenant_id": transaction.tenant_id, "transaction_id": transaction.id, "currency": transaction.currency,
            "account": account, "amount": amount, "memo": memo,
        }
        for account, amount in lines.items()
        if amount
    ]  # fmt: skip
    if rows:
        await session.execute(insert(LedgerEntry), rows)


async def list_balances(session: AsyncSession, *, from_payers: int = 1) -> list[Any]:
    """Return (account, currency, balance, entries) of every account, those of too few payers left out.

    A reader who may see no single payment is given `SMALLEST_GROUP` as `from_payers`.
    """
    query = (
        select(
            LedgerEntry.account,
            LedgerEntry.currency,
            func.sum(LedgerEntry.amount).label("balance"),
            func.count().label("entries"),
        )
        .join(
            Transaction,
            (Transaction.tenant_id == LedgerEntry.tenant_id) & (Transaction.id == LedgerEntry.transaction_id),
        )
        .group_by(LedgerEntry.account, LedgerEntry.currency)
        .having(func.count(Transaction.user_id.distinct()) >= from_payers)
        .order_by(LedgerEntry.currency, LedgerEntry.account)
    )
    return list((await session.execute(query)).all())
