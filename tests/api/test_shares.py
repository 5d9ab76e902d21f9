"""Links over HTTP: whoever opens one sees what they may, each time anew."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from db.models import AuditLog, ChatMessage, ChatSession, SharedLink, User
from db.session import AlreadyStored, tenant_session
from domain import coaching
from domain.chat import WITHHELD
from domain.packs import make_pack
from domain.reading import link_tenant
from tests.api.conftest import Connect, issue_keys
from tests.factories.answers import Answered, cite, store_answer
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id, store_session

BOTH = "I'll water the tomato beds on Tuesdays."
ONLY = "The lighthouse needs paint."
QUESTION = "What did they promise of beds and paint?"


@pytest.fixture
async def answered(organisation: Organisation, keys: dict[str, str]) -> Answered:
    """An answer to coach_a about client_b, whom coach_b works with too, and client_a, whom coach_b does not."""
    assert keys
    shared = await store_session(organisation, [("client", BOTH)], client=organisation.client_b)
    own = await store_session(organisation, [("client", ONLY)], client=organisation.client_a)
    return await store_answer(organisation.coach_a, (shared, BOTH), (own, ONLY), question=QUESTION)


async def share(connect: Connect, person: str = "coach_a", /, expected: int = 201, **body: Any) -> dict[str, Any]:
    reply = await connect(person).post("/v1/shares", json={k: str(v) for k, v in body.items()})
    assert reply.status_code == expected, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def open_as(connect: Connect, person: str, token: str, expected: int = 200) -> dict[str, Any]:
    reply = await connect(person).get(f"/v1/shares/{token}")
    assert reply.status_code == expected, (person, reply.text)
    shown: dict[str, Any] = reply.json()
    return shown


async def test_each_reader_sees_what_they_may(organisation: Organisation, answered: Answered, connect: Connect) -> None:
    token = (await share(connect, message_id=answered.message_id))["token"]
    mine = await open_as(connect, "coach_a", token)
    assert BOTH in mine["message"]["text"] and ONLY in mine["message"]["text"]  # noqa: PT018
    assert mine["question"] == QUESTION
    theirs = await open_as(connect, "coach_b", token)
    assert BOTH in theirs["message"]["text"]
    assert "lighthouse" not in str(theirs)
    assert WITHHELD in theirs["message"]["text"]
    assert theirs["question"] is None
    assert [one["quote"] for one in theirs["message"]["citations"]] == [BOTH]
    for person in ("compliance", "executive", "evaluator", "admin"):
        assert (await open_as(connect, person, token))["message"]["text"] == WITHHELD, person
    async with tenant_session(organisation.system) as session:
        await coaching.start_engagement(
            session, coach_id=require_id(organisation.coach_b), client_id=require_id(organisation.client_a)
        )
    assert ONLY in (await open_as(connect, "coach_b", token))["message"]["text"]
    async with tenant_session(organisation.system) as session:
        await coaching.end_engagement(
            session, coach_id=require_id(organisation.coach_b), client_id=require_id(organisation.client_b)
        )
    assert "tomato" not in str(await open_as(connect, "coach_b", token))
    (listed,) = (await connect("coach_a").get("/v1/shares")).json()["items"]
    assert listed["opened_count"] == 8
    assert "token" not in listed
    assert (await connect("coach_b").get("/v1/shares")).json()["items"] == []
    await link_tenant(organisation.tenant_id)
    async with tenant_session(organisation.compliance) as session:
        actions = list(await session.scalars(select(AuditLog.action).where(AuditLog.entity_type == "shared_link")))
    assert actions.count("share_read") == 8
    assert token not in str(actions)


async def test_a_pack_tells_nothing_of_what_it_withholds(organisation: Organisation, connect: Connect) -> None:
    made = await store_session(organisation, [("client", ONLY)], client=organisation.client_a)
    words = await cite(organisation.coach_a, made, 1, ONLY)
    async with tenant_session(organisation.coach_a) as session:
        pack = await make_pack(session, question="Who paints?", quote_spans=[words])
    token = (await share(connect, pack_id=pack.id))["token"]
    mine, theirs = await open_as(connect, "coach_a", token), await open_as(connect, "coach_b", token)
    assert (mine["pack"]["withheld"], mine["pack"]["question"]) == (0, "Who paints?")
    assert set(mine["pack"]["coverage"]) == {"sessions_in_scope", "sessions_examined", "sessions_supporting"}
    told = theirs["pack"]
    assert (told["withheld"], told["passages"], told["question"], told["client_id"]) == (1, [], None, None)
    assert told["coverage"] is None


async def test_a_link_ends(organisation: Organisation, answered: Answered, connect: Connect) -> None:
    async def fresh(**more: Any) -> tuple[str, str]:
        made = await share(connect, message_id=answered.message_id, **more)
        return made["id"], made["token"]

    link, token = await fresh()
    assert (await connect("coach_b").delete(f"/v1/shares/{link}")).status_code == 404
    for _ in range(2):
        assert (await connect("coach_a").delete(f"/v1/shares/{link}")).status_code == 204
    await open_as(connect, "coach_b", token, 404)
    _, named = await fresh(reader_id=require_id(organisation.coach_b))
    await open_as(connect, "coach_b", named)
    await open_as(connect, "coach_a", named)
    await open_as(connect, "admin", named, 404)
    stranger = (await issue_keys(await found_organisation()))["coach_a"]
    await open_as(connect, stranger, named, 404)
    past, over = await fresh()
    async with tenant_session(organisation.system) as session:
        then = datetime.now(UTC) - timedelta(days=8)
        # nobody may move a link's end: this is one that began earlier
        row = SharedLink(
            tenant_id=organisation.tenant_id, user_id=require_id(organisation.coach_a), token_hash="a" * 64,
            message_id=answered.message_id, created_at=then, expires_at=then + timedelta(days=7),
            message_created_at=(await session.scalars(
                select(ChatMessage.created_at).where(ChatMessage.id == answered.message_id)
            )).one(),
        )  # fmt: skip
        session.add(row)
    assert past
    async with tenant_session(organisation.coach_b) as session:
        assert (await session.execute(text("SELECT * FROM chat.open_shared_link(:h)"), {"h": "a" * 64})).all() == []
    await open_as(connect, "coach_b", over)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == organisation.coach_a.user_id).values(status="suspended"))
    await open_as(connect, "coach_b", over, 404)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == organisation.coach_a.user_id).values(status="active"))
        await session.execute(delete(ChatSession).where(ChatSession.id == answered.session_id))
    await open_as(connect, "coach_b", over, 404)
    assert (await connect("coach_a").get("/v1/shares")).json()["items"] == []


async def test_only_what_is_ones_own_and_cites_is_shared(
    organisation: Organisation, answered: Answered, connect: Connect
) -> None:
    assert (await share(connect, "coach_b", 404, message_id=answered.message_id))["code"] == "NothingToShare"
    bare = await store_answer(organisation.coach_a)
    assert (await share(connect, "coach_a", 404, message_id=bare.message_id))["code"] == "NothingToShare"
    assert (await share(connect, "coach_a", 422, message_id=answered.message_id, hours=721))["status"] == 422
    own = {"message_id": answered.message_id, "reader_id": organisation.coach_a.user_id}
    assert (await share(connect, "coach_a", 422, **own))["code"] == "LinkUnusable"
    nobody = {"message_id": answered.message_id, "reader_id": answered.message_id}
    assert (await share(connect, "coach_a", 404, **nobody))["code"] == "LinkReaderNotFound"
    for token in ("rgl_" + "x" * 43, "x" * 40, "rgl_short"):
        assert (await connect("coach_a").get(f"/v1/shares/{token}")).status_code in {404, 422}


async def test_the_database_holds_links_too(organisation: Organisation, answered: Answered) -> None:
    then = datetime.now(UTC)
    async with tenant_session(organisation.system) as session:
        moment = (
            await session.scalars(select(ChatMessage.created_at).where(ChatMessage.id == answered.message_id))
        ).one()
    given: dict[str, Any] = {
        "tenant_id": organisation.tenant_id, "message_id": answered.message_id, "message_created_at": moment,
        "token_hash": "b" * 64, "expires_at": then + timedelta(days=1),
    }  # fmt: skip

    async def attack(person: Any, **changed: Any) -> None:
        with pytest.raises((DBAPIError, AlreadyStored)):
            async with tenant_session(person) as session:
                session.add(SharedLink(**given | {"user_id": require_id(person)} | changed))

    await attack(organisation.coach_b)  # not theirs to read
    await attack(organisation.coach_a, user_id=require_id(organisation.coach_b))  # in another's name
    await attack(organisation.coach_a, expires_at=then + timedelta(days=40))
    await attack(organisation.coach_a, token_hash="words")
    async with tenant_session(organisation.coach_a) as session:
        session.add(SharedLink(**given, user_id=require_id(organisation.coach_a)))
    for changed in ({"opened_count": 0}, {"expires_at": then + timedelta(days=2)}, {"token_hash": "c" * 64}):
        with pytest.raises(DBAPIError):
            async with tenant_session(organisation.coach_a) as session:
                await session.execute(update(SharedLink).values(changed))
    async with tenant_session(organisation.coach_a) as session:
        await session.execute(update(SharedLink).values(revoked_at=then))
    with pytest.raises(DBAPIError):
        async with tenant_session(organisation.coach_a) as session:
            await session.execute(update(SharedLink).values(revoked_at=None))
