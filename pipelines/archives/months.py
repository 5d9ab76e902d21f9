"""Which tables are archived by month, and under which keys."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from core.errors import Invalid


class NotMonthly(Invalid):
    """This table is not archived by month; `regenesis retention show` names those that are."""


@dataclass(frozen=True, slots=True)
class Monthly:
    """One table of which months are archived, as the database's `governance.monthly_tables` says too."""

    name: str
    data_type: str
    moment: str
    is_partitioned: bool = True

    @property
    def order(self) -> str:
        """The order of the rows in an archive: the log's is its chain's."""
        return "t.sequence, t.id" if self.name == "governance.audit_logs" else f"t.{self.moment}, t.id"

    @property
    def is_cleared(self) -> bool:
        """Whether one tenant's rows of a month may go while others' stay; the log goes by whole months alone."""
        return self.is_partitioned and self.name != "governance.audit_logs"


MONTHLY = (
    Monthly("governance.audit_logs", "audit_logs", "occurred_at"),
    Monthly("chat.chat_messages", "conversations", "created_at"),
    Monthly("comms.notifications", "notifications", "created_at"),
    Monthly("analytics.events", "analytics_events", "occurred_at"),
    Monthly("platform.usage_metrics", "usage", "date"),
    Monthly("commerce.transactions", "transactions", "created_at", is_partitioned=False),
)


def get_monthly(table: str) -> Monthly:
    """Return what is known of the table; raises `NotMonthly`."""
    for monthly in MONTHLY:
        if monthly.name == table:
            return monthly
    raise NotMonthly(f"{table} is not archived by month; those that are: {', '.join(m.name for m in MONTHLY)}.")


def archives_folder(tenant_id: UUID) -> str:
    """Return what the keys of all archives of the tenant begin with."""
    return f"tenants/{tenant_id}/archives/"


def archive_folder(tenant_id: UUID, table: str) -> str:
    """Return what the keys of a table's archives begin with."""
    return f"{archives_folder(tenant_id)}{table}/"


def archive_key(tenant_id: UUID, table: str, month: date, generation: int = 0) -> str:
    """Return an archive's key; every rewriting writes a new object before the old one goes."""
    ending = f"-{generation}" if generation else ""
    return f"{archive_folder(tenant_id, table)}{month:%Y-%m}{ending}.parquet"


def next_key(key: str, tenant_id: UUID, table: str, month: date) -> str:
    """Return the key that follows this one of the same month."""
    said = key.removesuffix(".parquet").removeprefix(archive_key(tenant_id, table, month).removesuffix(".parquet"))
    return archive_key(tenant_id, table, month, int(said.removeprefix("-") or 0) + 1)
