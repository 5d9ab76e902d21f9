"""The store refuses evidence that is not what it says it is, from the app as the pipelines and from the owner."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.settings import Settings
from db.locate import owner_url
from db.session import tenant_session
from db.violations import find_violated
from pipelines.evidence.store import SessionChanged, write_patterns
from pipelines.evidence.verify import verify_evidence
from tests.factories.evidence_world import (
    HEARD,
    PROMISE,
    ROTA,
    WISH,
    add_insight,
    add_pack,
    add_session,
    build_world,
    make_claim,
    make_pattern,
    write_claims,
)
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

COLUMNS = (
    "tenant_id", "transcript_id", "content_hash", "segment_first", "segment_last", "speaker", "speaker_id",
    "char_start", "char_end", "started_s", "ended_s", "exact", "prefix", "suffix", "visibility", "client_id",
    "coach_id",
)  # fmt: skip
QUOTE = (
    f"INSERT INTO evidence.quotes (method, {', '.join(COLUMNS)}) "
    f"SELECT 'attack', {', '.join(f'{{{name}}}' for name in COLUMNS)} "
    "FROM evidence.quotes q WHERE q.exact = :words ORDER BY q.created_at LIMIT 1"
)
# One character less at the end makes it another quote, which would be stored but for the change beside it.
SHORTER = {"char_end": "q.char_end - 1", "exact": "left(q.exact, -1)", "suffix": "right(q.exact, 1) || q.suffix"}

FORGED_QUOTES: dict[str, tuple[dict[str, str], str]] = {
    "invented words": ({"exact": "repeat('x', length(q.exact) - 1)"}, "not the words that stand there"),
    "one letter edited": ({"exact": "overlay(left(q.exact, -1) placing 'X' from 3)"}, "not the words"),
    "a word left out": (
        {"exact": "replace(left(q.exact, -1), 'on-call ', '')", "char_end": "q.char_end - 9"}, "not the words",
    ),
    "wrong offsets": ({"char_start": "q.char_start + 1", "char_end": "q.char_end"}, "not the words"),
    "invented prefix": ({"prefix": "'She never said: '"}, "not the words"),
    "invented suffix": ({"suffix": "', truly.'"}, "not the words"),
    "another version": ({"content_hash": "repeat('0', 64)"}, "another version"),
    "somebody else's turn": ({"segment_first": "q.segment_first - 1"}, "somebody else speaks|other turns"),
    "turns beside it": ({"segment_first": "0", "segment_last": "0"}, "other turns"),
    "turns that are not": ({"segment_last": "q.segment_last + 9"}, "other turns"),
    "another speaker": ({"speaker": "'coach'"}, "somebody else speaks"),
    "nobody's words": ({"speaker_id": "NULL"}, "somebody else speaks"),
    "another moment": ({"started_s": "0"}, "another time"),
    "seen by more": ({"visibility": "'client_visible'"}, "another visibility"),
    "seen by others": ({"coach_id": "NULL"}, "another visibility"),
    "a transcript that is not": ({"transcript_id": "gen_random_uuid()"}, "not there|foreign key"),
}  # fmt: skip


@asynccontextmanager
async def as_owner(store: Settings, organisation: Organisation) -> AsyncIterator[Any]:
    """Yield a function that runs SQL as the tables' owner, bound to the tenant."""
    engine = create_engine(owner_url(store))
    try:
        with engine.begin() as connection:
            connection.execute(text("SET ROLE regenesis_owner"))
            connection.execute(text("SELECT platform.bind_reader(:t, null, 'system')"), {"t": organisation.tenant_id})
            yield lambda statement, values: connection.execute(text(statement), values)
    finally:
        engine.dispose()


async def attack(store: Settings, organisation: Organisation, statement: str, values: Mapping[str, Any]) -> list[str]:
    """Return what the store says to the statement, from the app as the pipelines and from the owner."""
    said = []
    with pytest.raises(DBAPIError) as refused:
        async with tenant_session(organisation.system) as session:
            await session.execute(text(statement), values)
    said.append(str(refused.value.orig))
    with pytest.raises(DBAPIError) as refused:
        async with as_owner(store, organisation) as execute:
            execute(statement, values)
    said.append(str(refused.value.orig))
    return said


async def count_stale(organisation: Organisation) -> dict[str, int]:
    async with tenant_session(organisation.system) as session:
        return {
            table: (await session.execute(text(f"SELECT count(stale_at) FROM evidence.{table}"))).scalar_one()
            for table in ("quotes", "claims", "patterns", "insights", "evidence_packs")
        }


async def require_proof(organisation: Organisation) -> None:
    assert [one for one in await verify_evidence(organisation.tenant_id) if one.broken] == []


@pytest.mark.parametrize("forged", FORGED_QUOTES)
async def test_a_quote_that_does_not_stand_there_is_refused(
    store: Settings, organisation: Organisation, forged: str
) -> None:
    await build_world(organisation, visibilities=("coach_only", "coach_only"))
    changes, why = FORGED_QUOTES[forged]
    values = {name: f"q.{name}" for name in COLUMNS} | SHORTER
    async with as_owner(store, organisation) as execute:  # unforged it would be taken
        execute(QUOTE.format(**values), {"words": ROTA})
        execute("DELETE FROM evidence.quotes WHERE method = 'attack'", {})
    for said in await attack(store, organisation, QUOTE.format(**values | changes), {"words": ROTA}):
        assert re.search(why, said), said


ATTACKS = {
    name: (statement, why)
    for name, why, statement in re.findall(
        r"^-- attack: (.+)\n-- refused: (.+)\n((?:(?!--).*\n?)+)",
        (Path(__file__).parent / "evidence_attacks.sql").read_text(),
        re.MULTILINE,
    )
}
"""By name: the statement, and what the store says to it."""


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_is_derived_can_not_be_forged(store: Settings, organisation: Organisation, name: str) -> None:
    world = await build_world(organisation, visibilities=("coach_only", "client_visible"))
    statement, why = ATTACKS[name]
    values = {
        "rota": ROTA, "promise": world.promise.claim_id, "first": world.texts[0].transcript_id,
        "second": world.texts[1].transcript_id, "client_a": organisation.client_a.user_id,
        "client_b": organisation.client_b.user_id, "coach_a": organisation.coach_a.user_id,
    }  # fmt: skip
    used = {key: value for key, value in values.items() if f":{key}" in statement}
    for said in await attack(store, organisation, statement, used):
        assert re.search(why, said), said
    await require_proof(organisation)
    assert not any((await count_stale(organisation)).values())


async def test_only_the_app_s_own_words_are_needed_to_say_why(organisation: Organisation) -> None:
    """A domain function can tell which rule a write broke."""
    world = await build_world(organisation, visibilities=("coach_only", "client_visible"))
    with pytest.raises(IntegrityError) as refused:
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text(
                    "UPDATE evidence.insights SET visibility = 'client_visible', status = 'accepted', "
                    "decided_at = now()"
                )
            )
    assert find_violated(refused.value) == "inherited"
    assert world.insight


async def test_stale_is_not_cleared_by_hand(store: Settings, organisation: Organisation) -> None:
    world = await build_world(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM rag.transcripts WHERE id = :id"), {"id": world.texts[0].transcript_id})
    for table in ("patterns", "insights", "evidence_packs"):
        for value in ("NULL", "now() + interval '1 year'"):
            for said in await attack(store, organisation, f"UPDATE evidence.{table} SET stale_at = {value}", {}):
                assert "never declared fresh" in said
    statement = "UPDATE evidence.insights SET status = 'accepted', decided_at = now()"
    for said in await attack(store, organisation, statement, {}):
        assert "before anyone decides on it" in said


async def test_nothing_is_derived_from_what_is_stale(organisation: Organisation) -> None:
    world = await build_world(organisation)
    for table, key in (("patterns", world.pattern), ("claims", world.promise.claim_id)):
        async with tenant_session(organisation.system) as session:
            await session.execute(text(f"UPDATE evidence.{table} SET stale_at = now() WHERE id = :id"), {"id": key})
        over, claims = ([key], []) if table == "patterns" else ([], [key])
        for add in (add_insight, add_pack):
            with pytest.raises(IntegrityError, match="derived from what is stale"):
                async with tenant_session(organisation.system) as session:
                    await add(session, organisation, patterns=over, claims=claims)
    with pytest.raises(IntegrityError, match="settles a claim"):
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text("UPDATE evidence.claims SET status = 'kept', superseded_by = :id WHERE id = :claim"),
                {"id": world.promise.claim_id, "claim": world.rota[0].claim_id},
            )
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE evidence.quotes SET stale_at = now() WHERE exact = :rota"), {"rota": ROTA})
    with pytest.raises(IntegrityError, match="derived from what is stale"):
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text(
                    "INSERT INTO evidence.claim_quotes (tenant_id, claim_id, quote_id, role) "
                    "SELECT q.tenant_id, :claim, q.id, 'opposing' FROM evidence.quotes q WHERE q.exact = :rota"
                ),
                {"claim": world.promise.claim_id, "rota": ROTA},
            )


async def test_edges_do_not_leave_the_tenant(store: Settings, organisation: Organisation) -> None:
    world, other = await build_world(organisation), await build_world(await found_organisation())
    for table, columns, values in (
        ("claim_quotes", "claim_id, quote_id", ":promise, (SELECT :foreign_quote)"),
        ("pattern_claims", "pattern_id, claim_id", ":pattern, :foreign_claim"),
        ("derivations", "child_pack_id, parent_claim_id", ":pack, :foreign_claim"),
        ("derivations", "child_insight_id, parent_pattern_id", ":insight, :foreign_pattern"),
    ):
        async with tenant_session(other.organisation.system) as session:
            quote = (await session.execute(text("SELECT id FROM evidence.quotes LIMIT 1"))).scalar_one()
        known = {
            "promise": world.promise.claim_id, "pattern": world.pattern, "pack": world.pack, "insight": world.insight,
            "foreign_quote": quote, "foreign_claim": other.promise.claim_id, "foreign_pattern": other.pattern,
        }  # fmt: skip
        statement = (
            f"INSERT INTO evidence.{table} (tenant_id, {columns}, role) "
            f"VALUES ((SELECT current_setting('app.tenant_id')::uuid), {values}, 'supporting')"
        ).replace("(SELECT :foreign_quote)", ":foreign_quote")
        used = {key: value for key, value in known.items() if f":{key}" in statement}
        for said in await attack(store, organisation, statement, used):
            assert "foreign key" in said or "alone" in said or "one client" in said, said
    for said in await attack(
        store, organisation,
        "INSERT INTO evidence.derivations (tenant_id, child_pack_id, parent_claim_id, role) "
        "VALUES (:tenant, :pack, :claim, 'supporting')",
        {"tenant": other.organisation.tenant_id, "pack": other.pack, "claim": other.promise.claim_id},
    ):  # fmt: skip
        assert "row-level security" in said


async def test_a_stated_feeling_needs_the_client_s_own_words(organisation: Organisation) -> None:
    _, heard = await add_session(organisation)
    claim = make_claim(heard, HEARD, claim_type="emotion")
    with pytest.raises(IntegrityError, match="own words"):
        await write_claims(organisation, heard, claim)
    await write_claims(organisation, heard, make_claim(heard, HEARD, claim_type="emotion", modality="inferred"))
    await write_claims(organisation, heard, make_claim(heard, [WISH, HEARD], claim_type="emotion"))
    await require_proof(organisation)


async def test_people_write_no_evidence(organisation: Organisation) -> None:
    world = await build_world(organisation)
    edge = text(
        "INSERT INTO evidence.derivations (tenant_id, child_pack_id, parent_claim_id, role) "
        "VALUES (:tenant, :pack, :claim, 'supporting')"
    )
    values = {"tenant": organisation.tenant_id, "pack": world.pack, "claim": world.promise.claim_id}
    for reader in organisation.people.values():
        with pytest.raises(DBAPIError, match="row-level security"):
            async with tenant_session(reader) as session:
                await session.execute(edge, values)
        async with tenant_session(reader) as session:
            for table in ("quotes", "claims", "patterns", "insights", "evidence_packs"):
                for statement in (f"UPDATE evidence.{table} SET stale_at = now()", f"DELETE FROM evidence.{table}"):
                    done = await session.execute(text(statement))
                    assert done.rowcount == 0  # type: ignore[attr-defined]  # a cursor result
    assert not any((await count_stale(organisation)).values())
    await require_proof(organisation)


async def test_reviews_stay_with_their_insight(store: Settings, organisation: Organisation) -> None:
    world = await build_world(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO evidence.insight_reviews (tenant_id, insight_id, reviewer_id, verdict) "
                "VALUES (:t, :i, :r, 'edited')"
            ),
            {"t": organisation.tenant_id, "i": world.insight, "r": organisation.coach_a.user_id},
        )
    for said in await attack(store, organisation, "DELETE FROM evidence.insight_reviews", {}):
        assert "permission denied" in said or "stays as long as its insight" in said
    for said in await attack(store, organisation, "UPDATE evidence.insight_reviews SET verdict = 'accepted'", {}):
        assert "permission denied" in said or "never changed" in said


async def test_a_contradiction_has_two_sides_at_one_time(organisation: Organisation) -> None:
    (_, first), (_, second) = await add_session(organisation), await add_session(organisation, 4)
    client_id = require_id(organisation.client_a)
    early = make_claim(first, ROTA, valid_from=date(2026, 1, 1), valid_to=date(2026, 1, 31))
    late = make_claim(second, ROTA, valid_from=date(2026, 2, 1), valid_to=None)
    against = make_claim(second, WISH, polarity="positive", valid_from=date(2026, 2, 1))
    before = make_claim(first, WISH, polarity="positive", valid_from=date(2025, 1, 1), valid_to=date(2025, 2, 1))
    await write_claims(organisation, first, early, before)
    await write_claims(organisation, second, late, against)
    for counter, stands in ((before, False), (against, True)):
        pattern = make_pattern([early, late], [counter], "contradiction")
        if stands:
            async with tenant_session(organisation.system) as session:
                await write_patterns(session, [pattern], client_id=client_id)
        else:
            with pytest.raises(IntegrityError, match="it is a change"):
                async with tenant_session(organisation.system) as session:
                    await write_patterns(session, [pattern], client_id=client_id)
    await require_proof(organisation)


async def test_a_version_that_changed_meanwhile_is_not_written(organisation: Organisation) -> None:
    stored, first = await add_session(organisation)
    await add_session(organisation, turns=[("client", "I said nothing of the kind.")], again=stored)
    with pytest.raises(SessionChanged):
        await write_claims(organisation, first, make_claim(first, PROMISE))
