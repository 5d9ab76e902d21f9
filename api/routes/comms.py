"""Your notifications; for administrators, webhooks and the outbox."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, status
from sqlalchemy import func, select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SettingsDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.comms import (
    DeliveryOut,
    DeliveryStatus,
    MarkReadIn,
    MarkReadOut,
    NotificationOut,
    NotificationPage,
    OutboxOut,
    OutboxPage,
    OutboxState,
    ReplayIn,
    ReplayOut,
    WebhookIn,
    WebhookMade,
    WebhookOut,
    WebhookPatch,
)
from db.models import Notification, Outbox, Webhook, WebhookDelivery
from domain import outbox
from domain.comms import count_unread, mark_read
from domain.governance import record_event
from domain.webhooks import (
    check_url,
    create_webhook,
    disable,
    enable,
    get_webhook,
    replay_deliveries,
    rotate_secret,
)

router = APIRouter(prefix="/v1", tags=["comms"])

ADMIN: Final = [needs("admin"), needs_role("admin")]


@router.get(
    "/notifications", operation_id="listNotifications", dependencies=[needs("read")], responses=list_problem_responses()
)
async def list_notifications(  # noqa: PLR0917  # FastAPI passes them by name
    principal: PrincipalDep,
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    unread: Annotated[bool, Query(description="only what you have not read")] = False,
    kind: Annotated[str | None, Query(alias="type", max_length=50, description="only this type")] = None,
) -> NotificationPage:
    """List what you were told and what still holds, the newest first."""
    n = Notification
    query = select(n).where(n.user_id == principal.user_id, n.expires_at.is_(None) | (n.expires_at > func.now()))
    if unread:
        query = query.where(n.is_read.is_(False))
    if kind is not None:
        query = query.where(n.notification_type == kind)
    rows, following = await fetch_page(session, query, order=(n.created_at, n.id), limit=limit, cursor=cursor)
    return NotificationPage(
        items=[NotificationOut.model_validate(row[0]) for row in rows], next_cursor=following,
        unread=await count_unread(session, user_id=_require_person(principal.user_id)),
    )  # fmt: skip


@router.post(
    "/notifications/read", operation_id="markNotificationsRead", dependencies=[needs("write")],
    responses=list_problem_responses(),
)  # fmt: skip
async def mark_notifications_read(body: MarkReadIn, principal: PrincipalDep, session: SessionDep) -> MarkReadOut:
    """Mark notifications as read; marking twice changes nothing."""
    user_id = _require_person(principal.user_id)
    marked = await mark_read(session, user_id=user_id, ids=body.ids, until=body.until)
    return MarkReadOut(marked=marked, unread=await count_unread(session, user_id=user_id))


@router.get("/webhooks", operation_id="listWebhooks", dependencies=ADMIN, responses=list_problem_responses())
async def list_webhooks(session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[WebhookOut]:
    """List the webhooks, the newest first."""
    rows, following = await fetch_page(
        session, select(Webhook), order=(Webhook.created_at, Webhook.id), limit=limit, cursor=cursor
    )
    return Page(items=[WebhookOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/webhooks", status_code=status.HTTP_201_CREATED, operation_id="createWebhook", dependencies=ADMIN,
    responses=list_problem_responses(409, 429),
)  # fmt: skip
async def add_webhook(
    body: WebhookIn, principal: PrincipalDep, session: SessionDep, settings: SettingsDep, key: IdempotencyKey = None
) -> WebhookMade:
    """Add a webhook; its secret is in this answer and in no other."""
    row, secret = await create_webhook(
        session, url=check_url(body.url, allow_private=settings.webhooks.allow_private), events=body.events,
        description=body.description, created_by=_require_person(principal.user_id), idempotency_key=key,
    )  # fmt: skip
    return _show_made(row, secret)


@router.get(
    "/webhooks/{webhook_id}", operation_id="getWebhook", dependencies=ADMIN, responses=list_problem_responses(404)
)
async def read_webhook(webhook_id: UUID, session: SessionDep) -> WebhookOut:
    """Read a webhook and how it does."""
    return WebhookOut.model_validate(await get_webhook(session, webhook_id))


@router.patch(
    "/webhooks/{webhook_id}", operation_id="updateWebhook", dependencies=ADMIN, responses=list_problem_responses(404)
)
async def update_webhook(
    webhook_id: UUID, body: WebhookPatch, session: SessionDep, settings: SettingsDep
) -> WebhookMade:
    """Change, enable or disable a webhook, or give it a new secret."""
    row = await get_webhook(session, webhook_id, lock=True)
    if body.url is not None:
        row.url = check_url(body.url, allow_private=settings.webhooks.allow_private)
    if body.events is not None:
        row.events = list(body.events)
    if "description" in body.model_fields_set:
        row.description = body.description
    secret = await rotate_secret(session, row) if body.rotate_secret else None
    if body.is_active is True and not row.is_active:
        await enable(session, row)
    await session.flush()
    if body.is_active is False:
        await disable(session, webhook_id, "An administrator disabled it.")
    await session.refresh(row)
    return _show_made(row, secret)


@router.delete(
    "/webhooks/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="deleteWebhook", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_webhook(webhook_id: UUID, session: SessionDep) -> None:
    """Delete a webhook with the record of its deliveries."""
    await session.delete(await get_webhook(session, webhook_id))


@router.get(
    "/webhooks/{webhook_id}/deliveries", operation_id="listWebhookDeliveries", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_deliveries(
    webhook_id: UUID,
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    wanted: Annotated[DeliveryStatus | None, Query(alias="status", description="only these")] = None,
) -> Page[DeliveryOut]:
    """List what was sent to a webhook and how that went, the newest first."""
    await get_webhook(session, webhook_id)
    d = WebhookDelivery
    query = select(d).where(d.webhook_id == webhook_id)
    if wanted is not None:
        query = query.where(d.status == wanted)
    rows, following = await fetch_page(session, query, order=(d.created_at, d.id), limit=limit, cursor=cursor)
    return Page(items=[DeliveryOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/webhooks/{webhook_id}/replay", status_code=status.HTTP_202_ACCEPTED, operation_id="replayWebhook",
    dependencies=ADMIN, responses=list_problem_responses(404),
)  # fmt: skip
async def replay_webhook(webhook_id: UUID, body: ReplayIn, session: SystemSessionDep) -> ReplayOut:
    """Send one delivery again, or all that were given up since a moment, each with its own id."""
    await get_webhook(session, webhook_id)
    replayed = await replay_deliveries(session, webhook_id=webhook_id, delivery_id=body.delivery_id, since=body.since)
    await record_event(
        session, action="webhook_replayed", entity_type="webhook", entity_id=webhook_id, metadata={"replayed": replayed}
    )
    return ReplayOut(replayed=replayed)


@router.get("/outbox", operation_id="listOutbox", dependencies=ADMIN, responses=list_problem_responses())
async def list_outbox(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    state: Annotated[OutboxState | None, Query(description="only these")] = None,
    topic: Annotated[str | None, Query(max_length=100, description="only this topic")] = None,
) -> OutboxPage:
    """List what leaves for the outside, the newest first, with the counts of what waits and what was given up."""
    o = Outbox
    pending = o.delivered_at.is_(None) & o.dead_at.is_(None)
    states = {
        "pending": pending, "failing": pending & o.last_error.is_not(None), "dead": o.dead_at.is_not(None),
        "delivered": o.delivered_at.is_not(None),
    }  # fmt: skip
    query = select(o)
    if state is not None:
        query = query.where(states[state])
    if topic is not None:
        query = query.where(o.topic == topic)
    rows, following = await fetch_page(session, query, order=(o.created_at, o.id), limit=limit, cursor=cursor)
    return OutboxPage(
        items=[OutboxOut.model_validate(row[0]) for row in rows], next_cursor=following,
        **await outbox.count_states(session),
    )  # fmt: skip


@router.post(
    "/outbox/{message_id}/replay", status_code=status.HTTP_202_ACCEPTED, operation_id="replayOutboxMessage",
    dependencies=ADMIN, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def replay_message(message_id: UUID, session: SystemSessionDep) -> ReplayOut:
    """Try a message again that was given up."""
    await outbox.replay(session, message_id)
    await record_event(session, action="outbox_replayed", entity_type="outbox", entity_id=message_id)
    return ReplayOut(replayed=1)


def _require_person(user_id: UUID | None) -> UUID:
    if user_id is None:
        raise ValueError("whoever calls the API is a person")
    return user_id


def _show_made(row: Webhook, secret: str | None) -> WebhookMade:
    # not read from the row, whose secret is ciphertext
    return WebhookMade(**WebhookOut.model_validate(row).model_dump(), secret=secret)
