"""Rows of months long past, in partitions of their own as if they had been written then."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from core.settings import Settings
from db.locate import owner_url
from db.models import LegalHold, RetentionPolicy
from db.provision import OWNER, to_libpq_url
from db.session import tenant_session
from tests.factories.commerce import pay
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


@contextmanager
def as_owner(settings: Settings, tenant_id: UUID | None = None) -> Iterator[psycopg.Connection]:
    """Open a transaction of the owner's, bound to the pipelines of a tenant where one is named."""
    with psycopg.connect(to_libpq_url(owner_url(settings))) as connection:
        connection.execute(f"SET ROLE {OWNER}")
        if tenant_id is not None:
            connection.execute("SELECT platform.bind_reader(%s, null, 'system')", [tenant_id])
        yield connection


def make_month(settings: Settings, table: str, month: date) -> None:
    """Make the partition of a month, as the flow would have at that time."""
    following = (month + timedelta(days=32)).replace(day=1)
    with as_owner(settings) as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table}_p{month:%Y_%m} PARTITION OF {table} "
            f"FOR VALUES FROM ('{month}') TO ('{following}')"
        )


def has_month(settings: Settings, table: str, month: date) -> bool:
    """Tell whether the partition is there."""
    with as_owner(settings) as connection:
        row = connection.execute("SELECT to_regclass(%s)", [f"{table}_p{month:%Y_%m}"]).fetchone()
    return row is not None and row[0] is not None


def moment(month: date, number: int = 0) -> datetime:
    """Return a moment within the month."""
    return datetime(month.year, month.month, 3, tzinfo=UTC) + timedelta(minutes=number)


def notify_in(settings: Settings, organisation: Organisation, month: date, count: int = 3) -> list[UUID]:
    """Write notifications of that month to client_a and return their ids."""
    ids = [uuid4() for _ in range(count)]
    with as_owner(settings, organisation.tenant_id) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO comms.notifications (tenant_id, id, created_at, user_id, notification_type, title, message) "
            "VALUES (%s, %s, %s, %s, 'reminder', %s, %s)",
            [
                (
                    organisation.tenant_id,
                    one,
                    moment(month, n),
                    require_id(organisation.client_a),
                    f"Tag {n}",
                    f"Grüße {n} ☀",
                )
                for n, one in enumerate(ids)
            ],
        )
    return ids  # fmt: skip


async def track_in(organisation: Organisation, month: date, count: int = 3) -> None:
    """Write analytics events of that month, with JSON in them."""
    async with tenant_session(organisation.system) as session:
        for number in range(count):
            await session.execute(
                text(
                    "INSERT INTO analytics.events (tenant_id, user_id, occurred_at, event_type, event_data) "
                    "VALUES (:tenant, :user, :at, 'lesson.opened', CAST(:data AS jsonb))"
                ),
                {
                    "tenant": organisation.tenant_id, "user": require_id(organisation.client_a),
                    "at": moment(month, number), "data": f'{{"n": {number}, "ß": [1.50, null]}}',
                },
            )  # fmt: skip


async def keep_for(organisation: Organisation, data_type: str, action: str, days: int) -> None:
    """Set one retention policy."""
    async with tenant_session(organisation.system) as session:
        await session.execute(
            upsert(RetentionPolicy)
            .values(tenant_id=organisation.tenant_id, data_type=data_type, action=action, days=days)
            .on_conflict_do_update(
                index_elements=(RetentionPolicy.tenant_id, RetentionPolicy.data_type, RetentionPolicy.action),
                set_={"days": days},
            )
        )


async def place_hold(organisation: Organisation, kind: str, subject_id: UUID) -> UUID:
    """Place a legal hold and return its id."""
    hold_id = uuid4()
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(LegalHold).values(
                tenant_id=organisation.tenant_id, id=hold_id, subject_kind=kind, subject_id=subject_id,
                reason="a court asked for it",
            )
        )  # fmt: skip
    return hold_id


async def release_hold(organisation: Organisation, hold_id: UUID) -> None:
    """Release it."""
    async with tenant_session(organisation.system) as session:
        await session.execute(update(LegalHold).where(LegalHold.id == hold_id).values(released_at=text("now()")))


async def age_payment(organisation: Organisation, settings: Settings, *, failure_reason: str | None = None) -> None:
    """Make one payment of April 2018."""
    paid = await pay(organisation, status="pending")
    with as_owner(settings, organisation.tenant_id) as connection:
        connection.execute("ALTER TABLE commerce.transactions DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE commerce.transactions SET created_at = '2018-04-05', failure_reason = %s WHERE id = %s",
            [failure_reason, paid.id],
        )
        connection.execute("ALTER TABLE commerce.transactions ENABLE TRIGGER USER")
