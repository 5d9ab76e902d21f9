"""Messages: who takes whose, who reads what, and what is left when both deleted."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, text, update

from core.crypto import FieldUnreadable
from db.models import Message, Notification, UserConnection, UserSettings
from db.session import Principal, tenant_session
from domain import messages
from domain.keys import field_cipher
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def send(
    sender: Principal, recipient: Principal, content: str = "Hello", key: str | None = None
) -> messages.OpenMessage:
    async with tenant_session(sender) as session:
        return await messages.send_message(
            session, sender=sender, recipient_id=require_id(recipient), content=content, key=key
        )


async def read(reader: Principal, conversation_id: UUID) -> list[str]:
    async with tenant_session(reader) as session:
        cipher = await field_cipher(session)
        query = messages.select_messages(conversation_id).order_by(Message.created_at, Message.id)
        return [messages.open_message(cipher, row).content for row in await session.scalars(query)]


async def list_conversations(reader: Principal) -> Sequence[tuple[UUID, str | None, int]]:
    async with tenant_session(reader) as session:
        query = messages.select_conversations().order_by(Message.created_at.desc(), Message.id.desc())
        return [(row.partner_id, row.display_name, row.unread_count) for row in await session.execute(query)]


async def set_taking(person: Principal, value: str) -> None:
    async with tenant_session(person) as session:
        await session.execute(
            update(UserSettings).where(UserSettings.user_id == person.user_id).values(allow_messages=value)
        )


async def test_two_people_share_one_conversation_whoever_begins(organisation: Organisation) -> None:
    a, b = organisation.client_a, organisation.coach_a
    sent = [await send(a, b, "One"), await send(b, a, "Two"), await send(a, b, "Three")]
    assert len({message.conversation_id for message in sent}) == 1
    assert await read(a, sent[0].conversation_id) == await read(b, sent[0].conversation_id) == ["One", "Two", "Three"]
    for name in ("client_b", "admin", "compliance"):
        assert await read(organisation.people[name], sent[0].conversation_id) == []
    await send(organisation.coach_b, b, "Other")
    assert await list_conversations(b) == [(organisation.coach_b.user_id, "coach_b", 1), (a.user_id, "client_a", 2)]
    async with tenant_session(b) as session:
        assert await messages.mark_read(session, conversation_id=sent[0].conversation_id) == 2
        assert await messages.mark_read(session, conversation_id=sent[0].conversation_id) == 0
    assert await list_conversations(b) == [(organisation.coach_b.user_id, "coach_b", 1), (a.user_id, "client_a", 0)]
    assert await list_conversations(a) == [(b.user_id, "coach_a", 1)]
    async with tenant_session(a) as session:
        told = select(func.count()).where(Notification.user_id == a.user_id)
        assert await session.scalar(told) == 1


async def test_each_deletes_for_themself_and_both_for_good(organisation: Organisation) -> None:
    a, b = organisation.client_a, organisation.coach_a
    sent = await send(a, b)
    async with tenant_session(organisation.client_b) as session:
        with pytest.raises(messages.DirectMessageNotFound):
            await messages.delete_message(session, sent.id)
    async with tenant_session(a) as session:
        await messages.delete_message(session, sent.id)
        with pytest.raises(messages.DirectMessageNotFound):
            await messages.delete_message(session, sent.id)
    assert await read(a, sent.conversation_id) == []
    assert await list_conversations(a) == []
    assert await read(b, sent.conversation_id) == ["Hello"]
    async with tenant_session(b) as session:
        await messages.delete_message(session, sent.id)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Message)) == 0


async def test_nobody_writes_to_who_takes_no_messages(organisation: Organisation) -> None:
    a, b = organisation.client_a, organisation.coach_a
    await set_taking(b, "off")
    with pytest.raises(messages.MessagesNotTaken):
        await send(a, b)
    await set_taking(b, "connections_only")
    with pytest.raises(messages.MessagesNotTaken):
        await send(a, b)
    async with tenant_session(b) as session:
        await session.execute(
            insert(UserConnection).values(tenant_id=b.tenant_id, follower_id=b.user_id, following_id=a.user_id)
        )
    await send(a, b)
    for block in (True, False):
        async with tenant_session(b) as session:
            if block:
                await messages.block(session, person_id=require_id(a))
                await messages.block(session, person_id=require_id(a))
            else:
                await messages.unblock(session, person_id=require_id(a))
        for sender, recipient in ((a, b), (b, a)):
            if block:
                with pytest.raises(messages.MessagesNotTaken):
                    await send(sender, recipient)
            else:
                await send(sender, recipient)
    for nobody in (uuid4(), require_id(a), require_id(organisation.compliance)):
        with pytest.raises(messages.MessagesNotTaken):
            async with tenant_session(a) as session:
                await messages.send_message(session, sender=a, recipient_id=nobody, content="x")
        if nobody != organisation.compliance.user_id:
            with pytest.raises(messages.NobodyToBlock):
                async with tenant_session(a) as session:
                    await messages.block(session, person_id=nobody)


async def test_a_key_sends_once_however_often(organisation: Organisation) -> None:
    sent = await asyncio.gather(
        *(send(organisation.client_a, organisation.coach_a, f"Try {n}", key="once") for n in range(20))
    )
    assert len({(message.id, message.content) for message in sent}) == 1


async def test_a_moved_ciphertext_does_not_open(organisation: Organisation) -> None:
    first = await send(organisation.client_a, organisation.coach_a, "Mine")
    second = await send(organisation.client_b, organisation.coach_a, "Yours")
    async with tenant_session(organisation.coach_a) as session:
        cipher = await field_cipher(session)
        row = await messages.get_message(session, first.id)
        session.expunge(row)
        row.content = (await messages.get_message(session, second.id)).content
        with pytest.raises(FieldUnreadable):
            messages.open_message(cipher, row)


async def test_the_audit_log_tells_that_and_not_what(organisation: Organisation) -> None:
    await send(organisation.client_a, organisation.coach_a, "A very private word")
    async with tenant_session(organisation.compliance) as session:
        logged = list(
            await session.scalars(
                text("SELECT a::text FROM governance.audit_logs a WHERE entity_type = 'message'")
            )
        )  # fmt: skip
        assert len(logged) == 1
        assert "private" not in logged[0]
        assert await session.scalar(select(func.count()).select_from(Message)) == 0
