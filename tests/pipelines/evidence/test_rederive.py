"""What loses its source is derived anew from what remains, or goes; nothing stale is left, nothing else is touched."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from core.errors import Unavailable
from db.session import tenant_session
from domain.packs import PackNotFound, get_pack, make_pack
from pipelines.evidence import build as building
from pipelines.evidence.build import build_client
from pipelines.evidence.rederive import rederive_stale
from pipelines.index import withdraw_objects
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, require_id, store_session
from tests.pipelines.evidence.test_build import (
    FIRST,
    SESSIONS,
    check,
    client_of,
    read_commitments,
    read_content,
    read_versions,
    store_sessions,
)

WISHES = ("paint the fence", "learn Portuguese", "sleep eight hours", "bake bread", "swim again")


async def withdraw(organisation: Organisation, stored: Stored) -> None:
    """Erase one session as its vanished file would be."""
    async with tenant_session(organisation.system) as session:
        await withdraw_objects(session, [stored.object_id])


async def count_stale(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        levels = ("quotes", "claims", "patterns", "insights", "evidence_packs")
        rows = " + ".join(f"(SELECT count(*) FROM evidence.{one} WHERE stale_at IS NOT NULL)" for one in levels)
        return await session.scalar(text(f"SELECT {rows}")) or 0


async def list_kinds(organisation: Organisation) -> list[tuple[str, int]]:
    async with tenant_session(organisation.system) as session:
        found = await session.execute(text("SELECT kind, sessions_supporting FROM evidence.patterns ORDER BY 1, 2"))
        return [(kind, supporting) for kind, supporting in found.tuples()]


async def test_nothing_stale_nothing_new_changes_nothing(organisation: Organisation) -> None:
    await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    before = await read_versions(organisation)
    report = await rederive_stale(organisation.tenant_id)
    assert (dict(report.stale), report.clients) == ({}, ())
    assert await read_versions(organisation) == before


async def test_what_was_ingested_since_is_built(organisation: Organisation) -> None:
    await store_sessions(organisation)
    report = await rederive_stale(organisation.tenant_id)
    assert [one.count("built") for one in report.clients] == [3]
    assert "kept" in (await read_commitments(organisation)).values()


async def test_an_erased_session_takes_along_what_needed_it(organisation: Organisation) -> None:
    stored = await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    assert [kind for kind, _ in await list_kinds(organisation)].count("commitment_record") == 1
    await withdraw(organisation, stored[1])
    assert await count_stale(organisation) > 0
    report = await rederive_stale(organisation.tenant_id)
    assert sum(report.stale.values()) == sum(report.rederived.values()) + sum(report.deleted.values())
    assert report.stale["patterns"] >= 1
    assert await count_stale(organisation) == 0
    assert set((await read_commitments(organisation)).values()) == {"asserted"}, "what kept it is gone"
    await check(organisation)
    finished = await read_content(organisation)
    await build_client(organisation.tenant_id, client_of(organisation), force=True)
    assert await read_content(organisation) == finished, "as if that session had never been"


async def test_a_pattern_with_enough_left_stays(organisation: Organisation) -> None:
    stored = []
    for n, wish in enumerate(WISHES):
        hard = "The hard part is the evening rota. " if n < 4 else ""
        turns = [("coach", "What is on your mind?"), ("client", f"{hard}I want to {wish}.")]
        stored.append(await store_session(organisation, turns, held_at=FIRST + timedelta(weeks=n)))
    await build_client(organisation.tenant_id, client_of(organisation))
    assert await list_kinds(organisation) == [("recurrence", 4)]
    await withdraw(organisation, stored[3])
    report = await rederive_stale(organisation.tenant_id)
    assert await list_kinds(organisation) == [("recurrence", 3)]
    assert (report.stale["patterns"], report.deleted.get("patterns", 0)) == (1, 0)
    for one in stored[:2]:
        await withdraw(organisation, one)
    report = await rederive_stale(organisation.tenant_id)
    assert await list_kinds(organisation) == []
    assert report.deleted["patterns"] == 1
    await check(organisation)


async def test_a_session_with_other_words_is_read_again(organisation: Organisation) -> None:
    stored = await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    turns = [*SESSIONS[0][:1], ("client", "I'll call the landlord by Friday."), *SESSIONS[0][2:]]
    await store_session(organisation, turns, held_at=FIRST, again=stored[0])
    await rederive_stale(organisation.tenant_id)
    found = await read_commitments(organisation)
    assert any("landlord" in statement for statement in found)
    assert not any("budget" in statement for statement, status in found.items())
    assert await count_stale(organisation) == 0
    await check(organisation)


async def test_a_restricted_session_restricts_what_stands_on_it(organisation: Organisation) -> None:
    stored = await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    before = await read_commitments(organisation)
    async with tenant_session(organisation.system) as session:
        narrowed = "UPDATE ingestion.ingested_objects SET visibility = 'coach_only' WHERE id = :id"
        await session.execute(text(narrowed), {"id": stored[0].object_id})
    async with tenant_session(organisation.client_a) as session:
        assert await session.scalar(text("SELECT count(*) FROM evidence.patterns")) == 0
    await rederive_stale(organisation.tenant_id)
    assert await count_stale(organisation) == 0
    assert await read_commitments(organisation) == before
    async with tenant_session(organisation.client_a) as session:
        sources = set(await session.scalars(text("SELECT transcript_id FROM evidence.claims")))
    assert stored[0].source_id not in sources
    assert stored[1].source_id in sources
    await check(organisation)


async def test_what_cannot_be_read_is_left_for_the_next_run(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    await withdraw(organisation, stored[1])
    stale = await count_stale(organisation)

    async def fail(*_: object) -> UUID:
        raise Unavailable

    monkeypatch.setattr(building, "list_client_claims", fail)
    report = await rederive_stale(organisation.tenant_id)
    assert len(report.failures) == 1
    assert sum(report.left.values()) == stale == await count_stale(organisation)
    monkeypatch.undo()
    await rederive_stale(organisation.tenant_id)
    assert await count_stale(organisation) == 0


async def test_other_tenants_are_left_alone(organisation: Organisation) -> None:
    await store_sessions(organisation, 1)
    await rederive_stale(organisation.tenant_id)
    async with tenant_session(organisation.system) as session:
        owners = set(await session.scalars(text("SELECT client_id FROM evidence.claims")))
    assert owners == {require_id(organisation.client_a)}


async def test_a_pack_that_lost_a_source_goes(organisation: Organisation) -> None:
    stored = await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    async with tenant_session(organisation.coach_a) as session:
        pack = await make_pack(session, client_id=client_of(organisation))
    assert (await rederive_stale(organisation.tenant_id)).stale == {}
    await withdraw(organisation, stored[1])
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(PackNotFound):
            await get_pack(session, pack.id)
    report = await rederive_stale(organisation.tenant_id)
    assert (report.stale["evidence_packs"], report.deleted["evidence_packs"]) == (1, 1)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(text("SELECT count(*) FROM evidence.evidence_packs")) == 0
