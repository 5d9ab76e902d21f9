"""Evidence is written where it differs, and read back as it was written."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, text

from db.models import Extraction as Built
from db.models import Insight, Pattern, Quote, Transcript
from db.session import tenant_session
from pipelines.evidence.lifecycle import StatusChange
from pipelines.evidence.records import Candidate, Extraction, Rejected, RejectionReason, SessionClaim, SessionText
from pipelines.evidence.store import (
    SessionChanged,
    TranscriptGone,
    Written,
    list_client_claims,
    list_sessions,
    load_session,
    write_extraction,
    write_patterns,
    write_statuses,
)
from tests.factories.evidence_world import (
    PROMISE,
    ROTA,
    TURNS,
    WISH,
    add_insight,
    add_pack,
    add_session,
    build_world,
    make_claim,
    make_pattern,
)
from tests.factories.people import Organisation
from tests.factories.sessions import require_id, store_session

LEVELS = ("quotes", "claims", "claim_quotes", "patterns", "pattern_claims", "insights", "derivations", "extractions")


async def read_versions(organisation: Organisation) -> set[tuple[Any, ...]]:
    async with tenant_session(organisation.system) as session:
        return {
            (level, *row)
            for level in LEVELS
            for row in await session.execute(text(f"SELECT xmin::text, ctid::text FROM evidence.{level}"))
        }


async def write(organisation: Organisation, heard: SessionText, *claims: SessionClaim, version: str = "1") -> Written:
    async with tenant_session(organisation.system) as session:
        return await write_extraction(session, heard, Extraction(claims=list(claims)), version=version)


async def write_found(organisation: Organisation, *found: Any) -> Written:
    async with tenant_session(organisation.system) as session:
        return await write_patterns(session, found, client_id=require_id(organisation.client_a))


async def test_a_session_is_read_as_it_was_said(organisation: Organisation) -> None:
    _, heard = await add_session(organisation)
    assert [(turn.speaker, turn.text) for turn in heard.turns] == list(TURNS)
    assert all(heard.text[turn.char_start : turn.char_end] == turn.text for turn in heard.turns)
    assert [heard.find_role(turn) for turn in heard.turns] == ["coach", "client"] * 2
    assert (heard.client_id, heard.coach_id) == (organisation.client_a.user_id, organisation.coach_a.user_id)
    assert set(heard.names) == {organisation.client_a.user_id, organisation.coach_a.user_id}
    async with tenant_session(organisation.system) as session:
        with pytest.raises(TranscriptGone):
            await load_session(session, uuid4())


async def test_claims_come_back_as_they_were_written(organisation: Organisation) -> None:
    (_, second), (_, first) = await add_session(organisation, 3), await add_session(organisation, 1)
    claims = [
        make_claim(first, PROMISE, claim_type="commitment", subject="checklist", support_score=0.75, scorer="test"),
        make_claim(first, [WISH, ROTA], opposing=[TURNS[0][1]]),
        make_claim(second, ROTA, modality="inferred", holder=None, holder_id=None, valid_from=None),
    ]
    await write(organisation, second, claims[2])
    await write(organisation, first, claims[1], claims[0])
    async with tenant_session(organisation.system) as session:
        read = await list_client_claims(session, require_id(organisation.client_a))
        assert await list_client_claims(session, require_id(organisation.client_b)) == []
    assert [claim.claim_id for claim in read] == [claim.claim_id for claim in claims]  # by time, then by place
    for claim, wanted in zip(read, claims, strict=True):
        assert replace(claim, quotes=list(claim.quotes)) == replace(wanted, quotes=list(wanted.quotes))


async def test_what_is_stored_already_is_not_touched(organisation: Organisation) -> None:
    (_, first), (_, second) = await add_session(organisation), await add_session(organisation, 1)
    early = [make_claim(first, ROTA), make_claim(first, PROMISE, opposing=[WISH])]
    late = [make_claim(second, ROTA)]
    pattern = make_pattern([early[0], late[0]])
    assert await write(organisation, first, *early) == Written(added=2)
    assert await write(organisation, second, *late) == Written(added=1)
    assert await write_found(organisation, pattern) == Written(added=1)
    before = await read_versions(organisation)
    for claims, heard in ((early[::-1], first), (late, second)):
        assert await write(organisation, heard, *claims) == Written()
    assert await write_found(organisation, pattern) == Written()
    async with tenant_session(organisation.system) as session:
        same = [StatusChange(claim_id=early[0].claim_id, status="asserted", by_claim_id=None)]
        assert await write_statuses(session, same) == Written()
    assert await read_versions(organisation) == before


async def test_only_what_differs_is_written(organisation: Organisation) -> None:
    _, heard = await add_session(organisation)
    rota, promise = make_claim(heard, ROTA), make_claim(heard, PROMISE)
    await write(organisation, heard, rota, promise)
    reworded = replace(rota, statement="The rota keeps the client awake.")
    before = await read_versions(organisation)
    assert await write(organisation, heard, reworded, promise) == Written(changed=1)
    after = await read_versions(organisation)
    # the reworded claim with its edge of both kinds; the note of the build says the same
    assert sorted(level for level, *_ in after - before) == ["claim_quotes", "claims", "derivations"]
    assert await write(organisation, heard, make_claim(heard, WISH), promise) == Written(added=1, removed=1)
    async with tenant_session(organisation.system) as session:
        assert set(await session.scalars(select(Quote.exact))) == {WISH, PROMISE}


async def test_a_build_leaves_its_note(organisation: Organisation) -> None:
    _, heard = await add_session(organisation)
    await add_session(organisation, 1)
    extraction = Extraction(claims=[make_claim(heard, [ROTA, WISH])])
    extraction.rejected += [Rejected(reason=RejectionReason.EDITED, candidate=Candidate(exact="I lie"))] * 2
    extraction.dropped["unsupported"] += 1
    async with tenant_session(organisation.system) as session:
        await write_extraction(session, heard, extraction, version="rules 1")
    async with tenant_session(organisation.system) as session:
        built = (await session.scalars(select(Built))).one()
        known = await list_sessions(session, require_id(organisation.client_a))
    assert (built.candidates, built.claims, built.rejections, built.dropped) == (
        4, 1, {"edited": 2}, {"unsupported": 1},
    )  # fmt: skip
    assert [(one.built_hash, one.built_version, one.claims) for one in known] == [
        (heard.content_hash, "rules 1", 1), (None, None, 0),
    ]  # fmt: skip
    assert known[0].transcript_id == heard.transcript_id


async def test_a_version_that_changed_meanwhile_is_not_written(organisation: Organisation) -> None:
    stored, heard = await add_session(organisation)
    await add_session(organisation, turns=[("client", "I said nothing of the kind.")], again=stored)
    with pytest.raises(SessionChanged):
        await write(organisation, heard, make_claim(heard, PROMISE))
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Transcript))
    with pytest.raises(SessionChanged):
        await write(organisation, heard, make_claim(heard, PROMISE))


async def test_a_pattern_that_grows_keeps_its_insights(organisation: Organisation) -> None:
    world = await build_world(organisation)
    _, third = await add_session(organisation, 2)
    more = make_claim(third, ROTA)
    await write(organisation, third, more)
    grown = make_pattern([*world.rota, more], statement="The rota came up in three sessions.", sessions_in_scope=3)
    assert await write_found(organisation, grown) == Written(changed=1)
    async with tenant_session(organisation.system) as session:
        pattern = (await session.scalars(select(Pattern))).one()
        assert (pattern.id, pattern.statement, pattern.sessions_in_scope) == (world.pattern, grown.statement, 3)
        assert (await session.scalars(select(Insight.stale_at))).one() is None
    assert await write_found(organisation, grown) == Written()
    assert await write_found(organisation, make_pattern(world.rota)) == Written(changed=1)  # one that lost a claim
    async with tenant_session(organisation.system) as session:
        assert (await session.scalars(select(Insight.stale_at))).one() is not None
    assert await write_found(organisation) == Written(removed=1)


async def test_what_went_stale_is_written_anew(organisation: Organisation) -> None:
    world = await build_world(organisation)
    heard = world.texts[0]
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("UPDATE rag.transcripts SET held_at = held_at + interval '1 day' WHERE id = :id"),
            {"id": heard.transcript_id},
        )
    async with tenant_session(organisation.system) as session:
        now = await load_session(session, heard.transcript_id)
    assert await write(organisation, now, world.rota[0], world.promise) == Written(changed=2)
    assert await write_found(organisation, make_pattern(world.rota)) == Written(changed=1)
    async with tenant_session(organisation.system) as session:
        for table in ("quotes", "claims", "patterns"):
            assert (await session.scalar(text(f"SELECT count(stale_at) FROM evidence.{table}"))) == 0


async def test_a_quote_that_a_pack_stands_on_outlives_its_claim(organisation: Organisation) -> None:
    _, heard = await add_session(organisation)
    rota = make_claim(heard, ROTA)
    await write(organisation, heard, rota)
    async with tenant_session(organisation.system) as session:
        pack = await add_pack(session, organisation)
        await session.execute(
            text(
                "INSERT INTO evidence.derivations (tenant_id, child_pack_id, parent_quote_id, role) "
                "SELECT tenant_id, :pack, id, 'supporting' FROM evidence.quotes"
            ),
            {"pack": pack},
        )
    await write(organisation, heard)
    async with tenant_session(organisation.system) as session:
        assert (await session.scalars(select(Quote.exact))).all() == [ROTA]
        assert await session.scalar(text("SELECT stale_at FROM evidence.evidence_packs")) is None


async def test_statuses_are_written_and_taken_back(organisation: Organisation) -> None:
    world = await build_world(organisation)
    promise, answer = world.promise.claim_id, world.rota[1].claim_id

    async def write_one(status: Any, by: UUID | None) -> tuple[Written, Sequence[Any]]:
        async with tenant_session(organisation.system) as session:
            written = await write_statuses(
                session, [StatusChange(claim_id=promise, status=status, by_claim_id=by)]
            )  # fmt: skip
        async with tenant_session(organisation.system) as session:
            claims = await list_client_claims(session, require_id(organisation.client_a))
        return written, [(one.status, one.superseded_by) for one in claims if one.claim_id == promise]

    async with tenant_session(organisation.system) as session:
        over = await add_insight(session, organisation, claims=[promise])
    assert await write_one("kept", answer) == (Written(changed=1), [("kept", answer)])
    async with tenant_session(organisation.system) as session:
        assert (await session.scalars(select(Insight.stale_at).where(Insight.id == over))).one() is None
    assert await write_one("asserted", None) == (Written(changed=1), [("asserted", None)])
    async with tenant_session(organisation.system) as session:
        # what said it was kept said so to all that stands on it
        assert (await session.scalars(select(Insight.stale_at).where(Insight.id == over))).one() is not None


async def test_sessions_of_nobody_are_listed_apart(organisation: Organisation) -> None:
    await store_session(organisation, TURNS, held_at=datetime(2026, 1, 1, tzinfo=UTC))
    async with tenant_session(organisation.system) as session:
        assert len(await list_sessions(session, require_id(organisation.client_a))) == 1
        assert await list_sessions(session, None) == []
    with pytest.raises(ValueError, match="one client or one cohort"):
        async with tenant_session(organisation.system) as session:
            await write_patterns(session, [])
