"""Direct messages: conversations between two people."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, status
from sqlalchemy import select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.community import AuthorOut, ConversationOut, MessageIn, MessageOut, ReadIn, ReadOut
from db.models import Block, Message
from domain import messages
from domain.keys import field_cipher

router = APIRouter(prefix="/v1", tags=["messages"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("client", "coach", "admin")]


@router.get("/conversations", operation_id="listConversations", dependencies=READ, responses=list_problem_responses())
async def list_conversations(
    session: SessionDep, limit: LimitQuery = 20, cursor: CursorQuery = None
) -> Page[ConversationOut]:
    """List your conversations by their last message, the newest first."""
    rows, following = await fetch_page(
        session, messages.select_conversations(), order=(Message.created_at, Message.id), limit=limit, cursor=cursor
    )
    cipher = await field_cipher(session)
    return Page(
        items=[
            ConversationOut(
                id=row.Message.conversation_id, unread_count=row.unread_count,
                partner=AuthorOut(
                    id=row.partner_id, display_name=row.display_name, photo_url=row.profile_photo_url
                ),
                last_message=MessageOut.model_validate(messages.open_message(cipher, row.Message)),
            )
            for row in rows
        ],
        next_cursor=following,
    )  # fmt: skip


@router.get(
    "/conversations/{conversation_id}/messages", operation_id="listConversationMessages", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_messages(
    conversation_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[MessageOut]:
    """Read a conversation of yours, the newest message first; a conversation of others is empty."""
    rows, following = await fetch_page(
        session, messages.select_messages(conversation_id), order=(Message.created_at, Message.id), limit=limit,
        cursor=cursor,
    )  # fmt: skip
    cipher = await field_cipher(session)
    shown = [MessageOut.model_validate(messages.open_message(cipher, row.Message)) for row in rows]
    return Page(items=shown, next_cursor=following)


@router.post(
    "/conversations/{conversation_id}/read", operation_id="markConversationRead", dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def mark_read(conversation_id: UUID, body: ReadIn, session: SessionDep) -> ReadOut:
    """Mark what you got in a conversation as read; the sender sees when."""
    return ReadOut(marked=await messages.mark_read(session, conversation_id=conversation_id, until=body.until))


@router.post(
    "/messages", operation_id="sendMessage", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def send_message(
    body: MessageIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> MessageOut:
    """Write to a person who takes your messages."""
    sent = await messages.send_message(
        session, sender=principal, recipient_id=body.recipient_id, content=body.content,
        attachments=[item.model_dump(mode="json") for item in body.attachments], key=key,
    )  # fmt: skip
    return MessageOut.model_validate(sent)


@router.get(
    "/messages/{message_id}", operation_id="getMessage", dependencies=READ, responses=list_problem_responses(404)
)
async def get_message(message_id: UUID, session: SessionDep) -> MessageOut:
    """Read one message of yours."""
    row = await messages.get_message(session, message_id)
    return MessageOut.model_validate(messages.open_message(await field_cipher(session), row))


@router.delete(
    "/messages/{message_id}", operation_id="deleteMessage", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def delete_message(message_id: UUID, session: SessionDep) -> None:
    """Delete a message from your side; once both sides did, nothing is left of it."""
    await messages.delete_message(session, message_id)


@router.get("/blocks", operation_id="listBlocks", dependencies=READ, responses=list_problem_responses())
async def list_blocks(session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[UUID]:
    """List the ids of the people whose messages you don't take, the newest block first."""
    rows, following = await fetch_page(
        session, select(Block), order=(Block.created_at, Block.id), limit=limit, cursor=cursor
    )
    return Page(items=[row.Block.blocked_id for row in rows], next_cursor=following)


@router.put(
    "/blocks/{person_id}", operation_id="blockPerson", dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404),
)  # fmt: skip
async def block(person_id: UUID, session: SessionDep) -> None:
    """Exchange no messages with a person from now on."""
    await messages.block(session, person_id=person_id)


@router.delete(
    "/blocks/{person_id}", operation_id="unblockPerson", dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404),
)  # fmt: skip
async def unblock(person_id: UUID, session: SessionDep) -> None:
    """Take messages from a person again."""
    await messages.unblock(session, person_id=person_id)
