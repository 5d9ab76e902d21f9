"""Direct messages: between two people, readable to nobody else, encrypted with their organisation's key."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, Uuid, and_, case, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.crypto import FieldCipher
from core.errors import Forbidden, NotFound
from db.models import Block, Message, UserProfile
from db.session import Principal
from db.violations import refusing
from domain.comms import notify
from domain.keys import field_cipher
from domain.posts import READER, TENANT, name_id

_TABLE: Final = "community.messages"


class DirectMessageNotFound(NotFound):
    """There is no such message that you may see; list the conversation to find its messages."""


class MessagesNotTaken(Forbidden):
    """This person takes no messages from you; meet them in the community instead."""


class NobodyToBlock(NotFound):
    """There is no such person in your organisation that you could block; check the id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMessage:
    """A message as its two people read it."""

    id: UUID
    conversation_id: UUID
    sender_id: UUID
    recipient_id: UUID
    content: str
    attachments: list[dict[str, Any]]
    read_at: datetime | None
    created_at: datetime


async def send_message(
    session: AsyncSession,
    *,
    sender: Principal,
    recipient_id: UUID,
    content: str,
    attachments: Sequence[dict[str, Any]] = (),
    key: str | None = None,
) -> OpenMessage:
    """Store a message for the recipient; the same idempotency key returns the same one.

    The recipient is told at most once an hour for a conversation. Raises `MessagesNotTaken`, also where there is no
    such person, so that nobody learns who blocked whom.
    """
    if sender.user_id == recipient_id or not await session.scalar(select(func.community.may_message(recipient_id))):
        raise MessagesNotTaken
    message_id = name_id(sender, "message", key)
    cipher = await field_cipher(session)
    sealed = cipher.encrypt(content, table=_TABLE, column="content", row_id=message_id)
    files = (
        cipher.encrypt(json.dumps(list(attachments)), table=_TABLE, column="attachments", row_id=message_id)
        if attachments
        else None
    )
    with refusing({"messages_taken": MessagesNotTaken}):
        row = await session.scalar(
            insert(Message)
            .values(
                tenant_id=TENANT, id=message_id, sender_id=sender.user_id, recipient_id=recipient_id,
                content=sealed, attachments=files,
            )
            .on_conflict_do_nothing(index_elements=(Message.tenant_id, Message.id))
            .returning(Message)
        )  # fmt: skip
    if row is None:
        return open_message(cipher, await get_message(session, message_id))
    told = f"message:{row.conversation_id}:{recipient_id}:{row.created_at:%Y%m%d%H}"
    await notify(
        session, user_id=recipient_id, kind="message", title="New message",
        message="Someone wrote to you; open your messages to read it.", reference=("conversation", row.conversation_id),
        actor_id=sender.user_id, deduplication_key=told,
    )  # fmt: skip
    return open_message(cipher, row)


def open_message(cipher: FieldCipher, row: Message) -> OpenMessage:
    """Return the message in clear; raises `FieldUnreadable` where its row was altered."""
    sealed = row.attachments
    files = cipher.decrypt(sealed, table=_TABLE, column="attachments", row_id=row.id) if sealed else "[]"
    return OpenMessage(
        id=row.id, conversation_id=row.conversation_id, sender_id=row.sender_id, recipient_id=row.recipient_id,
        content=cipher.decrypt(row.content, table=_TABLE, column="content", row_id=row.id),
        attachments=json.loads(files), read_at=row.read_at, created_at=row.created_at,
    )  # fmt: skip


async def get_message(session: AsyncSession, message_id: UUID) -> Message:
    """Return the row, as sealed as it lies there; raises `DirectMessageNotFound`."""
    row: Message | None = await session.scalar(select(Message).where(Message.id == message_id))
    if row is None:
        raise DirectMessageNotFound
    return row


def select_messages(conversation_id: UUID) -> Select[Any]:
    """Return a conversation's messages that the reader sees; order it by `(created_at, id)`."""
    return select(Message).where(Message.conversation_id == conversation_id, _mine())


def _mine() -> Any:  # noqa: ANN401  # a condition
    # Said again although the database holds it: the planner finds both indexes by it.
    return or_(Message.sender_id == READER, Message.recipient_id == READER)


def select_conversations() -> Select[Any]:
    """Return the reader's conversations as one statement: the last message of each, with whom, how many are unread.

    Order it by the last message's `(created_at, id)`.
    """
    later, unread = aliased(Message), aliased(Message)
    partner = case((Message.sender_id == READER, Message.recipient_id), else_=Message.sender_id)
    unread_count = (
        select(func.count())
        .where(
            unread.recipient_id == READER, unread.conversation_id == Message.conversation_id, unread.is_read.is_(False)
        )
        .scalar_subquery()
    )  # fmt: skip
    return (
        select(
            Message,
            partner.label("partner_id"),
            UserProfile.display_name,
            UserProfile.profile_photo_url,
            unread_count.label("unread_count"),
        )
        .outerjoin(UserProfile, and_(UserProfile.tenant_id == Message.tenant_id, UserProfile.user_id == partner))
        .where(
            _mine(),
            ~exists(
                select(literal(1)).where(
                    later.tenant_id == Message.tenant_id,
                    later.conversation_id == Message.conversation_id,
                    tuple_(later.created_at, later.id) > tuple_(Message.created_at, Message.id),
                )
            ),
        )
    )


async def mark_read(session: AsyncSession, *, conversation_id: UUID, until: datetime | None = None) -> int:
    """Mark what the reader got in the conversation read, up to a moment; return how many were unread."""
    statement = update(Message).where(
        Message.conversation_id == conversation_id, Message.recipient_id == READER, Message.is_read.is_(False)
    )
    if until is not None:
        statement = statement.where(Message.created_at <= until)
    done = await session.execute(
        statement.values(is_read=True, read_at=func.now())
        .returning(Message.id)
        .execution_options(synchronize_session=False)
    )
    return len(done.all())


async def delete_message(session: AsyncSession, message_id: UUID) -> None:
    """Take the message from the reader's side; once both did, the row is gone. Raises `DirectMessageNotFound`."""
    if not await session.scalar(select(func.community.delete_message(message_id))):
        raise DirectMessageNotFound


async def block(session: AsyncSession, *, person_id: UUID) -> None:
    """Take no messages from the person, nor send them any; again changes nothing. Raises `NobodyToBlock`."""
    with refusing({"fk_blocks_tenant_id_blocked_id": NobodyToBlock, "ck_blocks_no_self_block": NobodyToBlock}):
        await session.execute(
            insert(Block)
            .values(tenant_id=TENANT, user_id=READER, blocked_id=literal(person_id, Uuid))
            .on_conflict_do_nothing()
        )


async def unblock(session: AsyncSession, *, person_id: UUID) -> None:
    """Take messages from the person again; where nobody is blocked nothing changes."""
    await session.execute(
        Block.__table__.delete().where(Block.user_id == READER, Block.blocked_id == person_id)  # type: ignore[attr-defined]  # a Table, which the mapper types as FromClause
    )
