"""Building evidence: only what is new is read, later sessions settle earlier, a second run changes no row."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from core.errors import Unavailable
from db.session import Principal, tenant_session
from pipelines.evidence import build as building
from pipelines.evidence.build import EvidenceBusy, build_client
from pipelines.evidence.build_plan import choose_clients
from pipelines.evidence.records import Extraction, ProposedClaim, SessionText
from pipelines.evidence.verify import verify_evidence
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_session

LEVELS = ("quotes", "claims", "claim_quotes", "patterns", "pattern_claims", "insights", "derivations", "extractions")
FIRST = datetime(2026, 1, 13, 9, tzinfo=UTC)
SESSIONS = (
    (
        ("coach", "What will you do until we meet again?"),
        ("client", "I'll send the budget draft to Helen by Friday."),
        ("coach", "And what do you want from this year?"),
        ("client", "I want to leave the office before six. The evening rota keeps me up at night."),
    ),
    (
        ("coach", "How did it go?"),
        ("client", "I sent the budget draft to Helen on Thursday."),
        ("coach", "Good. What next?"),
        ("client", "I'm going to talk to Omar about the evening rota next week."),
    ),
    (
        ("coach", "And the talk?"),
        ("client", "I didn't talk to Omar about the evening rota. I feel tired of the evening rota."),
    ),
)


class Killed(BaseException):
    """Leaves what a killed process leaves: nothing of its transaction, all before it."""


async def store_sessions(organisation: Organisation, count: int = 3, **options: Any) -> list[Stored]:
    await name_people(organisation)
    return [
        await store_session(organisation, turns, held_at=FIRST + timedelta(weeks=2 * n), **options)
        for n, turns in enumerate(SESSIONS[:count])
    ]


async def read_versions(organisation: Organisation) -> set[tuple[Any, ...]]:
    """Return every row's version."""
    versions: set[tuple[Any, ...]] = set()
    async with tenant_session(organisation.system) as session:
        for level in LEVELS:
            rows = await session.execute(text(f"SELECT '{level}', xmin::text, ctid::text FROM evidence.{level}"))
            versions.update(tuple(row) for row in rows)
    return versions


async def read_content(organisation: Organisation) -> list[tuple[Any, ...]]:
    """Return what all levels say, whenever and by which run it was written."""
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(
            text(
                """
                SELECT 'quote', id::text, exact FROM evidence.quotes
                UNION ALL SELECT 'claim', id::text, statement || status FROM evidence.claims
                UNION ALL SELECT 'under', claim_id::text, quote_id || role FROM evidence.claim_quotes
                UNION ALL SELECT 'pattern', id::text, statement FROM evidence.patterns
                UNION ALL SELECT 'below', pattern_id::text, claim_id || role FROM evidence.pattern_claims
                UNION ALL SELECT 'insight', id::text, body FROM evidence.insights ORDER BY 1, 2, 3
                """
            )
        )
        return [tuple(row) for row in rows]


async def read_commitments(organisation: Organisation) -> dict[str, str]:
    async with tenant_session(organisation.system) as session:
        query = "SELECT statement, status FROM evidence.claims WHERE claim_type = 'commitment'"
        return dict((await session.execute(text(query))).tuples().all())


async def check(organisation: Organisation) -> None:
    findings = await verify_evidence(organisation.tenant_id)
    assert [one for one in findings if one.broken] == []
    assert sum(one.checked for one in findings) > 0


def client_of(organisation: Organisation) -> UUID:
    return require_id(organisation.client_a)


async def test_a_second_run_changes_no_row(organisation: Organisation) -> None:
    await store_sessions(organisation)
    first = await build_client(organisation.tenant_id, client_of(organisation))
    assert (first.count("built"), first.failed) == (3, ())
    assert first.claims >= 4
    before = await read_versions(organisation)
    again = await build_client(organisation.tenant_id, client_of(organisation))
    assert (again.count("unchanged"), again.changed, again.claims) == (3, 0, first.claims)
    assert await read_versions(organisation) == before
    forced = await build_client(organisation.tenant_id, client_of(organisation), force=True)
    assert (forced.count("built"), forced.changed) == (3, 0)
    assert await read_versions(organisation) == before
    await check(organisation)


async def test_later_sessions_say_what_became_of_promises(organisation: Organisation) -> None:
    await store_sessions(organisation)
    await build_client(organisation.tenant_id, client_of(organisation))
    found = await read_commitments(organisation)
    assert sorted(found.values()) == ["broken", "kept"], found
    assert [status for statement, status in found.items() if "budget" in statement] == ["kept"]


async def test_one_more_session_is_the_only_one_read(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_sessions(organisation, 1)
    await build_client(organisation.tenant_id, client_of(organisation))
    assert list((await read_commitments(organisation)).values()) == ["asserted"]
    later = await store_session(organisation, SESSIONS[1], held_at=FIRST + timedelta(weeks=2))
    read: list[UUID] = []

    def extract(said: SessionText, proposed: Sequence[ProposedClaim] = ()) -> Extraction:
        read.append(said.transcript_id)
        return whole(said, proposed)

    whole = building.extract
    monkeypatch.setattr(building, "extract", extract)
    steps: list[tuple[int, int]] = []

    async def note(done: int, total: int) -> None:
        steps.append((done, total))

    report = await build_client(organisation.tenant_id, client_of(organisation), on_progress=note)
    assert read == [later.source_id]
    assert steps == [(1, 1)]
    assert [one.outcome for one in report.sessions] == ["unchanged", "built"]
    assert "kept" in (await read_commitments(organisation)).values()
    await check(organisation)


@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError()])
async def test_a_session_that_fails_leaves_the_others_alone(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bad = (await store_sessions(organisation))[1].source_id
    whole = building.extract

    def extract(said: SessionText, proposed: Sequence[ProposedClaim] = ()) -> Extraction:
        if said.transcript_id == bad:
            raise error
        return whole(said, proposed)

    monkeypatch.setattr(building, "extract", extract)
    report = await build_client(organisation.tenant_id, client_of(organisation))
    assert [one.transcript_id for one in report.failed] == [bad]
    assert report.failed[0].error
    assert report.count("built") == 2
    monkeypatch.setattr(building, "extract", whole)
    mended = await build_client(organisation.tenant_id, client_of(organisation))
    assert (mended.count("built"), mended.count("unchanged")) == (1, 2)
    await check(organisation)


@pytest.mark.parametrize("step", ["load_session", "write_extraction", "write_statuses", "write_patterns"])
async def test_killed_anywhere_a_new_run_completes_it(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await store_sessions(organisation)
    calls, real = 0, getattr(building, step)

    async def die(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        done = await real(*arguments, **options)
        if calls >= (2 if step in {"load_session", "write_extraction"} else 1):
            raise Killed
        return done

    monkeypatch.setattr(building, step, die)
    with pytest.raises((Killed, BaseExceptionGroup)):
        await build_client(organisation.tenant_id, client_of(organisation))
    monkeypatch.setattr(building, step, real)
    await build_client(organisation.tenant_id, client_of(organisation))
    finished = await read_content(organisation)
    await build_client(organisation.tenant_id, client_of(organisation), force=True)
    assert await read_content(organisation) == finished
    assert "kept" in (await read_commitments(organisation)).values()
    await check(organisation)


async def test_two_runs_at_once_take_turns(organisation: Organisation) -> None:
    await store_sessions(organisation)
    who = organisation.tenant_id, client_of(organisation)
    reports = await asyncio.gather(build_client(*who), build_client(*who))
    assert sorted(one.count("built") for one in reports) == [0, 3]
    async with building._hold(*who, 1):
        with pytest.raises(EvidenceBusy):
            await build_client(*who, wait_s=0)


async def test_other_clients_are_left_alone(organisation: Organisation) -> None:
    await store_sessions(organisation)
    await store_session(organisation, SESSIONS[0], client=organisation.client_b, held_at=FIRST)
    await build_client(organisation.tenant_id, client_of(organisation))
    async with tenant_session(organisation.system) as session:
        query = text("SELECT DISTINCT client_id FROM evidence.claims")
        assert list(await session.scalars(query)) == [client_of(organisation)]
    everyone = await choose_clients(organisation.tenant_id)
    assert everyone == sorted([client_of(organisation), require_id(organisation.client_b)])


async def test_evidence_is_read_as_its_sessions_are(organisation: Organisation) -> None:
    await store_sessions(organisation, visibility="coach_only")
    await build_client(organisation.tenant_id, client_of(organisation))

    async def count(reader: Principal) -> int:
        async with tenant_session(reader) as session:
            return await session.scalar(text("SELECT count(*) FROM evidence.claims")) or 0

    assert await count(organisation.coach_a) > 0
    assert [await count(one) for one in (organisation.client_a, organisation.coach_b, organisation.admin)] == [0, 0, 0]


async def test_what_older_rules_read_is_read_again(organisation: Organisation) -> None:
    await store_sessions(organisation, 2)
    who = organisation.tenant_id, client_of(organisation)
    await build_client(*who)
    async with tenant_session(organisation.system) as session:
        older = "UPDATE evidence.extractions SET version = 'rules 0, gate 0' WHERE transcript_id = :id"
        latest = "SELECT id FROM rag.transcripts ORDER BY held_at DESC LIMIT 1"
        await session.execute(text(older), {"id": await session.scalar(text(latest))})
    report = await build_client(*who)
    assert [one.outcome for one in report.sessions] == ["unchanged", "built"]
    assert (await build_client(*who)).count("unchanged") == 2


async def test_sessions_of_nobodys_have_claims_and_no_patterns(organisation: Organisation) -> None:
    stored = (await store_sessions(organisation, 1))[0]
    async with tenant_session(organisation.system) as session:
        nobodys = "UPDATE ingestion.ingested_objects SET client_id = NULL, coach_id = NULL WHERE id = :id"
        await session.execute(text(nobodys), {"id": stored.object_id})
    assert await choose_clients(organisation.tenant_id) == [None]
    report = await build_client(organisation.tenant_id, None)
    assert (report.count("built"), report.patterns) == (1, 0)
    assert report.claims > 0
    before = await read_versions(organisation)
    await build_client(organisation.tenant_id, None)
    assert await read_versions(organisation) == before
    await check(organisation)
