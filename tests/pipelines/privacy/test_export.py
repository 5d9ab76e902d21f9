"""A copy of a person's data holds every row about them, their secrets opened, and nobody else's words."""

import tracemalloc
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, text, update

from core.settings import Settings
from core.storage import StoreUnreachable
from db.holds import hold
from db.models import ChatMessage, ChatSession, DataExport, DeletionRequest, IngestedObject, User
from db.session import tenant_session, unbound_session
from domain import exports, people
from domain.identity import issue_api_key
from domain.ingestion import ensure_source
from domain.messages import send_message
from domain.objects import tenant_store
from domain.practice import set_meeting, write_note
from pipelines.archives.months import get_monthly
from pipelines.archives.write import archive_month
from pipelines.privacy import export, export_write
from pipelines.privacy.canary import look_everywhere
from pipelines.privacy.export import ExportBusy, ExportGone, expire_exports, make_export, name_object
from pipelines.privacy.plant import plant
from pipelines.privacy.stores import STORES, pick_values, select_rows
from pipelines.privacy.subjects import collect_scope
from tests.factories.exports import Opened, copy_data, open_copy
from tests.factories.months import make_month, notify_in
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, require_id, store_document, store_session
from tests.pipelines.privacy.test_canary import cast

ABOUT_A = [("coach", "How did the pager go?"), ("client", "I handed the pager to Tobias.")]
ABOUT_B = [("coach", "How is the move going?"), ("client", "The flat in Lisbon is signed.")]


async def test_every_row_is_in_it(organisation: Organisation, store: Settings) -> None:
    """As many rows as the stores' own conditions find, and every canary but those of other people's words."""
    planted = await plant(store, cast(organisation), EMBEDDER, canaries=140)
    async with tenant_session(organisation.system, isolation="REPEATABLE READ") as session:
        scope = await collect_scope(session, "person", require_id(organisation.client_a))
        found: dict[str, set[str]] = {}
        for one in STORES:
            if one.about:
                clause = select_rows(one, scope, f"{one.key()} AS key")
                keys = await session.scalars(clause, pick_values(clause, scope))
                found.setdefault(one.table, set()).update(keys)
    copy = await copy_data(organisation.client_a)
    # the log has grown by the asking, and who blocked the person is not told
    expected = {table: len(keys) for table, keys in found.items() if keys}
    counted = {one["table"]: one["rows"] for one in copy.index["tables"]}
    left = {table for table in expected if expected[table] != counted.get(table, 0)}
    assert left <= {"governance.audit_logs", "community.blocks"}, left
    assert {table: len(copy.rows(table)) for table in counted} == counted
    assert copy.report.rows == sum(counted.values())
    everything = "\n".join(words for _, words in copy.texts()).lower()
    missing = [word for word in planted.words if word not in everything]
    where = (await look_everywhere(store, missing)).stores
    assert where == {
        # what others wrote, about others' work or in their own conversations
        "chat.chat_messages": 1, "coaching.qa_reviews": 1, "community.comments": 1, "evidence.feedback": 1,
        # bytes that no key encrypted, which the product does not write
        "commerce.orders": 1, "partners.partners": 1,
        # a copy from before, an upload's manifest, and a file that bears another name than its row says
        "object store: exports": 1, "object store: uploads": 2,
    }, where  # fmt: skip


async def test_what_is_secret_is_opened_and_proofs_of_identity_are_not_in_it(organisation: Organisation) -> None:
    person, coach = organisation.client_a, organisation.coach_a
    user_id = require_id(person)
    await store_session(organisation, ABOUT_A)
    async with tenant_session(organisation.system) as session:
        await people.update_person(session, user_id=user_id, phone_number="+254700111222")
        await session.execute(update(User).where(User.id == user_id).values(password_hash="$argon2id$kept"))
        _, key = await issue_api_key(session, user_id=user_id, name="laptop")
        meeting = await session.scalar(text("SELECT id FROM coaching.coaching_sessions"))
        await session.execute(
            text(
                "INSERT INTO identity.recovery_codes (tenant_id, user_id, code_hash) "
                "VALUES (:tenant, :user, 'hash-of-a-code')"
            ),
            {"tenant": organisation.tenant_id, "user": user_id},
        )
    async with tenant_session(coach) as session:
        await write_note(session, meeting, by=coach, kind="coach_notes", content="Sleeps badly since March.")
        await send_message(session, sender=coach, recipient_id=user_id, content="See you on Friday?")
    async with tenant_session(organisation.system) as session:
        await set_meeting(
            session, meeting, by=coach, platform="zoom", link=None, meeting_id=None, password="quiet-otter"
        )
    copy = await copy_data(person)
    (user,) = copy.rows("identity.users")
    assert user["phone_number"] == "+254700111222"
    assert user["_left_out"] == {"password_hash": "credential"}
    assert copy.rows("coaching.coaching_sessions")[0]["meeting_password"] == "quiet-otter"
    assert copy.rows("community.messages")[0]["content"] == "See you on Friday?"
    assert copy.rows("coaching.session_notes")[0]["content"] == "Sleeps badly since March."
    for secret in ("$argon2id$kept", key, "hash-of-a-code"):
        assert not copy.find(secret), secret
    for words in ("Sleeps badly since March.", "I handed the pager to Tobias.", "+254700111222", "quiet-otter"):
        assert any(name.startswith("pages/") for name in copy.find(words)), words


async def test_other_people_s_words_are_left_out(organisation: Organisation) -> None:
    """A coach gets what they said and wrote, not what their other people told them."""
    await name_people(organisation)
    coach = organisation.coach_a
    first = await store_session(organisation, ABOUT_A)
    await store_session(organisation, ABOUT_B, client=organisation.client_b)
    chat_id = uuid4()
    async with tenant_session(coach) as session:
        session.add(ChatSession(tenant_id=coach.tenant_id, id=chat_id, user_id=coach.user_id, title="My questions"))
        await session.flush()
        for role, words, facts in (
            ("user", "What did they promise?", {}),
            ("assistant", "Tobias has the pager.", {"citations": [{"source_id": str(first.source_id)}]}),
            ("assistant", "Nothing was found.", {"citations": []}),
        ):
            session.add(
                ChatMessage(
                    tenant_id=coach.tenant_id, session_id=chat_id, user_id=coach.user_id, role=role, content=words,
                    references=facts,
                )
            )  # fmt: skip
            await session.flush()
    copy = await copy_data(coach)
    for words in ("I handed the pager to Tobias.", "The flat in Lisbon", "Tobias has the pager."):
        assert not copy.find(words), words
    said = [(row["text"], row["speaker_id"]) for row in copy.rows("rag.transcript_segments")]
    assert sorted(said) == [
        ("How did the pager go?", str(coach.user_id)), ("How is the move going?", str(coach.user_id)),
    ]  # fmt: skip
    messages = {row.get("content"): row for row in copy.rows("chat.chat_messages")}
    assert set(messages) == {"What did they promise?", "Nothing was found.", None}
    assert messages[None]["_left_out"] == {"content": "others", "references": "others"}
    assert copy.index["left_out"]["others"]
    client = await copy_data(organisation.client_a)
    assert client.find("I handed the pager to Tobias.")
    assert client.find("How did the pager go?")
    assert not client.find("The flat in Lisbon")
    assert not client.find("Tobias has the pager.")  # what another asked and was told about them stays theirs


async def test_sentences_that_name_the_person_are_given(organisation: Organisation) -> None:
    await name_people(organisation)
    coach = organisation.coach_b
    chat_id = uuid4()
    async with tenant_session(coach) as session:
        session.add(ChatSession(tenant_id=coach.tenant_id, id=chat_id, user_id=coach.user_id, title="Planning"))
        await session.flush()
        session.add(
            ChatMessage(
                tenant_id=coach.tenant_id, session_id=chat_id, user_id=coach.user_id, role="user",
                content="My own worry is Lisbon. Amina Diallo could take the rota! Nothing else.",
            )
        )  # fmt: skip
    copy = await copy_data(organisation.client_a)
    (row,) = copy.rows("chat.chat_messages")
    assert row["_sentences"] == ["Amina Diallo could take the rota!"]
    assert row["_left_out"]["content"] == "others"
    assert not copy.find("My own worry")


async def test_who_blocked_one_and_why_one_is_held_stays_secret(organisation: Organisation) -> None:
    client, other = require_id(organisation.client_a), require_id(organisation.client_b)
    values = {"tenant": organisation.tenant_id, "me": client, "other": other}
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("INSERT INTO community.blocks (tenant_id, user_id, blocked_id) VALUES (:tenant, :other, :me)"), values
        )
        await session.execute(
            text(
                "INSERT INTO governance.legal_holds (tenant_id, subject_kind, subject_id, reason, placed_at, "
                "released_at) VALUES (:tenant, 'person', :me, 'Fraud inquiry 12', now() - interval '1 day', now())"
            ),
            values,
        )
    copy = await copy_data(organisation.client_a)
    assert not copy.rows("community.blocks")
    assert not copy.find("Fraud inquiry")
    assert copy.rows("governance.legal_holds")[0]["_left_out"] == {"reason": "others"}
    assert len((await copy_data(organisation.client_b)).rows("community.blocks")) == 1


async def test_original_files_are_in_it_under_safe_names(organisation: Organisation) -> None:
    tenant = organisation.tenant_id
    mine = await store_session(organisation, ABOUT_A)
    paper = await store_document(organisation, ["A plan."], client=organisation.client_a)
    lost = await store_document(organisation, ["A page."], client=organisation.client_a)
    of_other = await store_session(organisation, ABOUT_B, client=organisation.client_b)
    store = await tenant_store(tenant)
    async with tenant_session(organisation.system) as session:
        for stored, name, words in (
            (mine, "talks/2026/../../évil name?.vtt", b"the original words" * 20_000),
            (paper, "paper.pdf", b"%PDF-1.7"), (of_other, "theirs.vtt", b"other words"), (lost, "lost.txt", b""),
        ):  # fmt: skip
            key = f"tenants/{tenant}/originals/{stored.object_id}/x"
            if name != "lost.txt":
                await store.write(key, words)
            await session.execute(
                update(IngestedObject)
                .where(IngestedObject.id == stored.object_id)
                .values(key=name, storage_key=key, size_bytes=len(words))
            )
    # an upload that was not copied, as it could not be read
    waiting = await store_document(organisation, ["A waiting page."], client=organisation.client_a)
    folder = f"tenants/{tenant}/uploads/{uuid4()}"
    await store.write(f"{folder}/up.docx", b"not read yet")
    async with tenant_session(organisation.system) as session:
        source = await ensure_source(session, f"{store.url}/{folder}")
        await session.execute(
            update(IngestedObject)
            .where(IngestedObject.id == waiting.object_id)
            .values(key="up.docx", data_source_id=source)
        )
    copy = await copy_data(organisation.client_a)
    listed = {one["name"]: one for one in copy.index["originals"]}
    assert set(listed) == {"évil name?.vtt", "paper.pdf", "lost.txt", "up.docx"}
    assert copy.zipped.read(listed["up.docx"]["file"]) == b"not read yet"
    assert listed["évil name?.vtt"]["file"] == f"originals/{mine.object_id}/évil name_.vtt"
    assert copy.zipped.read(listed["évil name?.vtt"]["file"]) == b"the original words" * 20_000
    assert copy.zipped.read(listed["paper.pdf"]["file"]) == b"%PDF-1.7"
    assert (listed["lost.txt"]["file"], listed["lost.txt"]["left_out"]) == (None, "it is not in the store any more")
    assert all(".." not in name.split("/") and not name.startswith("/") for name in copy.zipped.namelist())
    assert copy.report.originals == 3
    coach = await copy_data(organisation.coach_a)
    assert {one["left_out"] for one in coach.index["originals"]} == {"it holds other people's words"}
    assert not coach.find("other words")


async def test_names_and_words_can_not_become_code_on_the_page(organisation: Organisation) -> None:
    await store_session(
        organisation, [("client", "<img src=x onerror=alert(1)>"), ("coach", "</p><script>x()</script>")]
    )
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(User).where(User.id == organisation.client_a.user_id).values(full_name='<b onclick="x()">Amina</b>')
        )
    copy = await copy_data(organisation.client_a)
    for name, page in copy.texts():
        if name.endswith(".html"):
            assert not any(bad in page for bad in ("<img", "<script", "<b on")), name
            assert "http" not in page.replace("http-equiv", ""), name  # nothing is loaded from anywhere
    assert "&lt;b onclick=" in copy.zipped.read("index.html").decode()


async def test_long_tables_come_in_parts_and_bounded_memory(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 6_000
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO analytics.events (tenant_id, user_id, event_type, event_data) "
                "SELECT :tenant, :user, 'page_viewed', jsonb_build_object('page', n, "
                "'words', repeat(md5(n::text), 120)) "
                "FROM generate_series(1, :rows) n"
            ),
            {"tenant": organisation.tenant_id, "user": organisation.client_a.user_id, "rows": rows},
        )
    monkeypatch.setattr(export_write, "PART_ROWS", 100)
    await copy_data(organisation.client_b)  # what is loaded once is not counted
    async with tenant_session(organisation.client_a) as session:
        row = await exports.request_export(session, organisation.client_a, user_id=require_id(organisation.client_a))
    tracemalloc.start()
    try:
        await make_export(organisation.tenant_id, row.id)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # a part and what is made of it take 8 MB, however many parts there are
    assert peak < 12_000_000, f"{peak:,} bytes for {rows * 4_000:,} bytes of rows"
    async with tenant_session(organisation.system) as session:
        made = await session.get_one(DataExport, (organisation.tenant_id, row.id))
    assert made.counts["tables"]["analytics.events"] == rows
    content = await (await tenant_store(organisation.tenant_id)).read(str(made.object_key), max_bytes=200_000_000)
    copy = Opened.unpack(content)
    (about,) = [one for one in copy.index["tables"] if one["table"] == "analytics.events"]
    assert len(about["files"]) == rows // 100
    assert {one["event_data"]["page"] for one in copy.rows("analytics.events")} == set(range(1, rows + 1))
    assert 'href="analytics.events.2.html"' in copy.zipped.read("pages/analytics.events.html").decode()


async def test_archived_months_are_in_it(organisation: Organisation, store: Settings) -> None:
    month = date(2023, 5, 1)
    make_month(store, "comms.notifications", month)
    ids = notify_in(store, organisation, month)
    await archive_month(organisation.tenant_id, get_monthly("comms.notifications"), month)
    async with unbound_session() as session:
        gone = await session.scalar(select(func.platform.drop_month("comms.notifications", month)))
        assert gone is not None
    copy = await copy_data(organisation.client_a)
    assert {row["id"] for row in copy.rows("comms.notifications")} == {str(one) for one in ids}
    assert not (await copy_data(organisation.client_b)).rows("comms.notifications")


async def read_export(organisation: Organisation) -> DataExport:
    async with tenant_session(organisation.system) as session:
        query = select(DataExport).order_by(DataExport.requested_at.desc()).limit(1)
        return (await session.scalars(query)).one()


async def ask(organisation: Organisation) -> Any:
    person = organisation.client_a
    async with tenant_session(person) as session:
        return (await exports.request_export(session, person, user_id=require_id(person))).id


async def test_failure_leaves_nothing_and_can_be_repeated(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = await ask(organisation)

    async def broken(*_: object) -> AsyncIterator[bytes]:
        yield b"PK" * 1_000_000
        raise StoreUnreachable

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_copy", broken)
        with pytest.raises(StoreUnreachable):
            await make_export(organisation.tenant_id, export_id)
    row = await read_export(organisation)
    assert (row.status, row.error, row.object_key) == ("failed", StoreUnreachable().message, None)
    store = await tenant_store(organisation.tenant_id)
    key = name_object(organisation.tenant_id, export_id)
    assert await store.find(key) is None
    copy = await open_copy(organisation.tenant_id, export_id)
    row = await read_export(organisation)
    assert (row.status, row.error, row.object_key) == ("ready", None, key)
    assert row.sha256 is not None
    before = await store.find(key)
    assert (await make_export(organisation.tenant_id, export_id)) == copy.report  # what is ready stays as it is
    assert await store.find(key) == before


async def test_one_copy_is_made_once_at_a_time(organisation: Organisation) -> None:
    export_id = await ask(organisation)
    assert await ask(organisation) == export_id
    async with hold(organisation.tenant_id, f"export/{export_id}", busy=ExportBusy()):
        with pytest.raises(ExportBusy):
            await make_export(organisation.tenant_id, export_id)
    await make_export(organisation.tenant_id, export_id)
    assert await ask(organisation) != export_id


async def test_the_erased_have_no_copy(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one asked for afterwards nor one in the making."""
    person = organisation.client_a
    export_id = await ask(organisation)
    values = {"tenant_id": person.tenant_id, "subject_id": person.user_id, "user_id": person.user_id}
    making = export_write.write_copy

    async def erase_meanwhile(*arguments: Any) -> AsyncIterator[bytes]:
        async with tenant_session(organisation.system) as session:
            await session.execute(insert(DeletionRequest).values(**values, status="verified"))
            await session.execute(update(DeletionRequest).values(status="running"))
        async for content in making(*arguments):
            yield content

    monkeypatch.setattr(export, "write_copy", erase_meanwhile)
    with pytest.raises(exports.PersonErased):
        await make_export(organisation.tenant_id, export_id)
    monkeypatch.undo()
    assert (await read_export(organisation)).status == "failed"
    store = await tenant_store(organisation.tenant_id)
    assert await store.find(name_object(organisation.tenant_id, export_id)) is None
    with pytest.raises(exports.PersonErased):
        await ask(organisation)
    with pytest.raises(exports.PersonErased):
        await make_export(organisation.tenant_id, export_id)


async def test_expired_copies_are_deleted(organisation: Organisation) -> None:
    copy = await copy_data(organisation.client_a)
    other = await copy_data(organisation.client_b)
    store = await tenant_store(organisation.tenant_id)
    assert await expire_exports(organisation.tenant_id) == 0
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(DataExport)
            .where(DataExport.id == copy.report.export_id)
            .values(expires_at=func.now() - timedelta(seconds=1))
        )
    assert await expire_exports(organisation.tenant_id) == 1
    assert await store.find(copy.report.object_key) is None
    assert await store.find(other.report.object_key) is not None
    async with tenant_session(organisation.system) as session:
        row = await session.get_one(DataExport, (organisation.tenant_id, copy.report.export_id))
        assert (row.status, row.object_key) == ("expired", None)
    assert await expire_exports(organisation.tenant_id) == 0
    with pytest.raises(ExportGone):
        await make_export(organisation.tenant_id, copy.report.export_id)
