"""Schema `accounting`: the ledger, which is only ever added to, and what its accounts stand at."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Numeric, String, func
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, one_of, tenant_fk

ACCOUNTS = (
    "cash", "receivable", "revenue", "discounts", "refunds", "tax", "platform_fees", "seller_payable",
)  # fmt: skip
"""The closed chart of accounts; a debit is positive, a credit negative."""


class LedgerEntry(TenantRow, Base):
    """One line of a posting: an amount moved on one account by one transaction; never changed (seed 003).

    A transaction's lines add up to zero at commit. Its currency is the transaction's, by foreign key. The line names no
    person: who paid stands in the transaction.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        tenant_fk(("transaction_id", "currency"), "commerce.transactions(id, currency)", ondelete="RESTRICT"),
        one_of("account", ACCOUNTS),
        CheckConstraint("amount <> 0", name="amount"),
        CheckConstraint("memo ~ '^[a-z][a-z_]{1,49}$'", name="memo"),
        Index("ix_ledger_entries_transaction_id", "tenant_id", "transaction_id"),
        Index("ix_ledger_entries_occurred_at", "tenant_id", "occurred_at", "id"),
        Index("ix_ledger_entries_account", "tenant_id", "account", "occurred_at"),
        {"schema": "accounting"},
    )

    transaction_id: Mapped[UUID]
    account: Mapped[str] = mapped_column(String(30))
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    currency: Mapped[str] = mapped_column(String(3))
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    memo: Mapped[str] = mapped_column(String(50))
