"""What an erasure may do nobody may do without one: attacks as the app's role."""

import json
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.errors import AppError
from db.session import Principal, tenant_session
from tests.factories.erasure import verify_request
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

STORES = (
    "content.content_approvals", "community.view_tallies", "identity.consents", "identity.user_roles",
    "identity.user_settings", "identity.user_profiles", "commerce.transactions", "commerce.orders",
    "commerce.order_items", "commerce.subscriptions",
)  # fmt: skip
ERASE = "SELECT governance.erase_rows(:request, :store)"
REDACT = "SELECT governance.redact_messages(:request, CAST(:changes AS jsonb))"
ANSWER = {
    "sentences": [{"text": "They promised.", "citations": [1]}, {"text": "It rained.", "citations": []}],
    "citations": [{"ordinal": 1, "source_id": str(uuid4())}], "understood": "about Jo", "pack_id": None,
}  # fmt: skip


async def run(principal: Principal, statement: str, **values: object) -> object:
    async with tenant_session(principal) as session:
        return await session.scalar(text(statement), values)


async def refuse(principal: Principal, statement: str, **values: object) -> None:
    with pytest.raises((DBAPIError, AppError)):
        await run(principal, statement, **values)


async def start(organisation: Organisation) -> UUID:
    request = await verify_request(organisation, "person", require_id(organisation.client_a))
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE governance.deletion_requests SET status = 'running'"))
    return request


@pytest.mark.parametrize("table", STORES)
async def test_rows_go_by_a_running_verified_request_only(organisation: Organisation, table: str) -> None:
    request = await verify_request(organisation, "person", require_id(organisation.client_a))
    for state in ("verified", "failed"):
        async with tenant_session(organisation.system) as session:
            await session.execute(text("UPDATE governance.deletion_requests SET status = :s"), {"s": state})
        await refuse(organisation.system, ERASE, request=request, store=table)
    await refuse(organisation.system, ERASE, request=uuid4(), store=table)
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE governance.deletion_requests SET status = 'running'"))
    for person in (organisation.compliance, organisation.admin, organisation.client_a):
        await refuse(person, ERASE, request=request, store=table)
    await run(organisation.system, ERASE, request=request, store=table)


async def test_an_erasure_takes_its_own_person_alone(organisation: Organisation) -> None:
    request = await start(organisation)
    await run(organisation.system, ERASE, request=request, store="identity.user_settings")
    async with tenant_session(organisation.system) as session:
        left = set(await session.scalars(text("SELECT user_id FROM identity.user_settings")))
    people = {require_id(person) for person in organisation.people.values()}
    assert left == people - {require_id(organisation.client_a)}


async def test_another_organisations_request_is_none(organisation: Organisation) -> None:
    other = await found_organisation()
    request = await start(other)
    await refuse(organisation.system, ERASE, request=request, store="identity.consents")


async def test_a_store_without_a_function_is_refused(organisation: Organisation) -> None:
    request = await start(organisation)
    for store in ("accounting.ledger_entries", "governance.audit_logs", "identity.users; DROP TABLE x"):
        await refuse(organisation.system, ERASE, request=request, store=store)


async def test_nothing_goes_under_a_hold(organisation: Organisation) -> None:
    request = await start(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO governance.legal_holds (tenant_id, subject_kind, subject_id, reason) "
                "VALUES (:tenant, 'person', :subject, 'Court')"
            ),
            {"tenant": organisation.tenant_id, "subject": require_id(organisation.client_a)},
        )
    await refuse(organisation.system, ERASE, request=request, store="identity.consents")
    await refuse(organisation.system, REDACT, request=request, changes="[]")


async def store_messages(organisation: Organisation) -> tuple[UUID, UUID]:
    async with tenant_session(organisation.coach_a) as session:
        values = {"tenant": organisation.tenant_id, "user": require_id(organisation.coach_a)}
        chat = await session.scalar(
            text("INSERT INTO chat.chat_sessions (tenant_id, user_id) VALUES (:tenant, :user) RETURNING id"), values
        )
        insert = text(
            'INSERT INTO chat.chat_messages (tenant_id, session_id, user_id, role, content, "references") '
            "VALUES (:tenant, :chat, :user, :role, :content, CAST(:refs AS jsonb)) RETURNING id"
        )
        question = await session.scalar(
            insert, values | {"chat": chat, "role": "user", "content": "It rains. How is Jo?", "refs": "{}"}
        )
        answer = await session.scalar(
            insert,
            values
            | {"chat": chat, "role": "assistant", "content": "They promised. It rained.", "refs": json.dumps(ANSWER)},
        )
    return UUID(str(question)), UUID(str(answer))


def change(message: UUID, kept: list[str], facts: dict[str, object]) -> str:
    return json.dumps([{"id": str(message), "kept": kept, "facts": facts}])


async def test_a_message_loses_sentences_and_gains_none(organisation: Organisation) -> None:
    question, answer = await store_messages(organisation)
    second = {"text": "It rained.", "citations": []}
    lawful = change(answer, ["It rained."], ANSWER | {"sentences": [second], "citations": [], "understood": ""})
    await refuse(organisation.system, REDACT, request=uuid4(), changes=lawful)
    request = await start(organisation)
    for unlawful in (
        change(question, ["It rains. How is Sam?"], {}),
        change(question, ["How is Jo? It rains."], {}),
        change(question, ["It rains."], {"sentences": []}),
        change(answer, ["It rained."], ANSWER),  # words and references would tell different things
        change(answer, ["They lied."], ANSWER | {"sentences": [{"text": "They lied.", "citations": [1]}]}),
        change(answer, ["It rained."], ANSWER | {"sentences": [second], "understood": "about Sam"}),
        change(answer, ["It rained."], ANSWER | {"sentences": [second], "pack_id": str(uuid4())}),
    ):
        await refuse(organisation.system, REDACT, request=request, changes=unlawful)
    await refuse(organisation.system, "UPDATE chat.chat_messages SET content = ''")
    await refuse(organisation.coach_a, REDACT, request=request, changes=lawful)
    await run(organisation.system, REDACT, request=request, changes=lawful)
    await run(organisation.system, REDACT, request=request, changes=change(question, ["It rains."], {}))
    async with tenant_session(organisation.coach_a) as session:
        told = set(await session.scalars(text("SELECT content FROM chat.chat_messages")))
    assert told == {"It rains.", "It rained."}


@pytest.mark.parametrize("table", ["governance.erasure_scopes", "governance.erasure_steps", "ingestion.erased_keys"])
async def test_nobody_but_the_pipelines_sees_what_an_erasure_takes(organisation: Organisation, table: str) -> None:
    for person in organisation.people.values():
        assert await run(person, f"SELECT count(*) FROM {table}") == 0


async def test_a_receipt_is_never_changed(organisation: Organisation) -> None:
    for statement in (
        "UPDATE governance.deletion_records SET stores = '{}'",
        "DELETE FROM governance.deletion_records",
    ):
        await refuse(organisation.system, statement)
