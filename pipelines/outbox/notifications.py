"""Takes notifications out of the app, as the person wants it."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid
from db.session import Principal, tenant_session
from domain.outbox import Message
from pipelines.outbox.channels import Channel, ChannelMissing, Notice
from pipelines.outbox.messages import Handled, Settlement

_HERE: Final = "tenant_id = (SELECT current_setting('app.tenant_id')::uuid)"
_READ = text(f"""
SELECT n.id, n.notification_type, n.title, n.message, n.action_url, n.delivery_method, n.delivered,
       n.expires_at <= now() AS expired, u.email, u.full_name, u.status,
       CASE n.delivery_method WHEN 'email' THEN s.email_notifications WHEN 'sms' THEN s.sms_notifications
           ELSE s.push_notifications END AS wishes
FROM comms.notifications n JOIN identity.users u ON u.tenant_id = n.tenant_id AND u.id = n.user_id
LEFT JOIN identity.user_settings s ON s.tenant_id = n.tenant_id AND s.user_id = n.user_id
WHERE n.{_HERE} AND n.id = :id AND n.created_at = :created_at
""")
_RECORD = text(f"""
UPDATE comms.notifications
SET delivered = CAST(:error AS text) IS NULL, delivered_at = CASE WHEN CAST(:error AS text) IS NULL THEN now() END,
    delivery_error = :error
WHERE {_HERE} AND id = :id AND created_at = :created_at
""")


async def handle_notification(channels: Mapping[str, Channel], message: Message) -> Handled:
    """Hand one notification to its channel; it stays in the app whatever comes of it.

    A wish of the person, or that no mail server is configured, is an answer: it is noted and the message is done.
    """
    async with tenant_session(Principal(message.tenant_id, "system")) as session:
        row = (await session.execute(_READ, _place(message))).one_or_none()
    if row is None or row.delivered:
        return Handled()
    write = partial(_record, message)
    if (obstacle := _find_obstacle(row)) is not None:
        return Handled(write=partial(write, obstacle))
    notice = Notice(
        id=row.id, address=row.email, name=row.full_name, title=row.title, message=row.message, link=row.action_url
    )
    try:
        await channels[row.delivery_method].deliver(notice)
    except Invalid as refused:
        missing_mail = isinstance(refused, ChannelMissing) and row.delivery_method == "email"
        error = None if missing_mail else refused.message
        return Handled(error=error, give_up=not missing_mail, write=partial(write, refused.message))
    return Handled(write=partial(write, None))


def _find_obstacle(row: Row[Any]) -> str | None:
    """Return why the person is not to be reached outside the app, None where they are."""
    if row.status != "active" or row.expired:
        return "It came too late for this person, so it stays in the app."
    if not is_wanted(row.wishes, row.notification_type):
        return f"This person does not want it by {row.delivery_method}, so it stays in the app."
    return None


def is_wanted(wishes: Mapping[str, Any] | None, kind: str) -> bool:
    """Tell whether the person wants this kind: what they say of it, else of `all`, else yes."""
    wishes = wishes or {}
    return bool(wishes.get(kind, wishes.get("all", True)))


async def _record(message: Message, error: str | None, session: AsyncSession, settlement: Settlement) -> None:
    if settlement.outcome != "failed":
        await session.execute(_RECORD, {**_place(message), "error": error})


def _place(message: Message) -> dict[str, Any]:
    """Return the notification's key; its time tells the partition."""
    created_at = datetime.fromisoformat(message.payload["created_at"])
    return {"id": UUID(message.payload["notification_id"]), "created_at": created_at}
