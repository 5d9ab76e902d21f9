"""Packs: what they hold, that they hold no words, and what is left of them when rights or sources change."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from db.models import Claim, Derivation, EvidencePack, Transcript
from db.session import tenant_session
from domain import packs
from domain.citations import CitedSpan
from domain.coaching import end_engagement
from domain.evidence import ClientEvidenceNotFound
from domain.packs import PackCoverage, PackView, get_pack, make_pack, read_again
from tests.factories.evidence import store_claim, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_session

MARCH, APRIL = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4))
PROMISE, KEPT, SECRET = "I'll raise the rota with Helen.", "I talked to Helen about the rota.", "I have not slept."


@dataclass(frozen=True)
class Told:
    """Two sessions of client_a, a claim in each, a pattern over both, and a claim for coaches alone."""

    march: Stored
    april: Stored
    promise: UUID
    kept: UUID
    secret: UUID
    doubt: UUID
    pattern: UUID


@pytest.fixture
async def told(organisation: Organisation) -> Told:
    await name_people(organisation)
    march = await store_session(organisation, [("coach", "And?"), ("client", PROMISE)], held_at=MARCH)
    april = await store_session(
        organisation, [("client", KEPT), ("coach", "Good."), ("client", "Thanks.")], held_at=APRIL
    )
    private = await store_session(organisation, [("client", SECRET)], held_at=APRIL, visibility="coach_only")
    promise = await store_claim(organisation, march, PROMISE)
    kept = await store_claim(organisation, april, KEPT, claim_type="progress", settles=promise)
    secret = await store_claim(organisation, private, SECRET, claim_type="emotion")
    doubt = await store_claim(organisation, april, "Good.", claim_type="feedback", modality="reported")
    pattern = await store_pattern(organisation, [promise, kept], [doubt])
    return Told(march, april, promise, kept, secret, doubt, pattern)


async def span(organisation: Organisation, source: Stored, start: int, end: int) -> CitedSpan:
    async with tenant_session(organisation.system) as session:
        content_hash = await session.scalar(select(Transcript.content_hash).where(Transcript.id == source.source_id))
    assert content_hash is not None
    return CitedSpan(
        ordinal=1, source_id=source.source_id, source_kind="transcript", chunk_id=None, content_hash=content_hash,
        char_start=start, char_end=end,
    )  # fmt: skip


async def load_row(organisation: Organisation, pack_id: UUID) -> EvidencePack:
    async with tenant_session(organisation.system) as session:
        return (await session.scalars(select(EvidencePack).where(EvidencePack.id == pack_id))).one()


def ids(view: PackView) -> set[UUID]:
    return {one.id for one in view.patterns} | {one.id for one in view.claims}


async def test_pack_of_a_client_holds_all_of_theirs(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        made = await make_pack(session, client_id=client)
        read = await get_pack(session, made.id)
    assert ids(made) == {told.pattern, told.promise, told.kept, told.doubt, told.secret}
    assert read == made
    assert made.coverage == PackCoverage(sessions_in_scope=3, sessions_examined=3, sessions_supporting=3)
    assert [ref.id for ref in made.patterns[0].claims] == [told.promise, told.kept, told.doubt]
    assert {quote.exact for claim in made.claims for quote in claim.quotes} == {PROMISE, KEPT, SECRET, "Good."}
    assert (read.withheld, read.changed) == (0, ())


async def test_pack_holds_no_words_and_its_hash_is_its_contents(organisation: Organisation, told: Told) -> None:
    async with tenant_session(organisation.coach_a) as session:
        made = await make_pack(
            session, client_id=require_id(organisation.client_a),
            quote_spans=[await span(organisation, told.april, 0, 8)], question="What about Helen?",
        )  # fmt: skip
    row = await load_row(organisation, made.id)
    content = json.dumps(row.content)
    assert row.content_hash == packs.hash_content(row.content) == made.content_hash
    assert "Helen?" in content  # the question alone
    for words in ("rota", "Amina", "slept", "spoke"):
        assert words not in content


async def test_same_evidence_is_the_same_pack(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    made = []
    for reader in (organisation.coach_a, organisation.coach_a, organisation.client_a):
        async with tenant_session(reader) as session:
            made.append(await make_pack(session, client_id=client))
    assert made[0] == made[1]
    assert made[2].id != made[0].id
    assert ids(made[2]) == {told.pattern, told.promise, told.kept, told.doubt}
    async with tenant_session(organisation.system) as session:
        edges = list(
            await session.execute(
                select(Derivation.parent_pattern_id, Derivation.parent_claim_id).where(
                    Derivation.child_pack_id == made[0].id
                )
            )
        )
    assert sorted(edges, key=str) == sorted([(told.pattern, None), (None, told.secret)], key=str)
    await store_claim(organisation, told.april, "Helen", claim_type="belief")
    async with tenant_session(organisation.coach_a) as session:
        assert (await make_pack(session, client_id=client)).id != made[0].id


async def test_pack_of_a_question_grows_up_from_words_and_down_from_claims(
    organisation: Organisation, told: Told
) -> None:
    words = await span(organisation, told.march, 5, 9)  # inside the promise
    async with tenant_session(organisation.coach_a) as session:
        by_words = await make_pack(session, question="Helen?", quote_spans=[words])
        by_claim = await make_pack(session, question="Helen?", claim_ids=[told.kept])
        neither = await make_pack(session, question="Helen?")
        again = await get_pack(session, by_words.id)
    assert ids(by_words) == ids(by_claim) == {told.pattern, told.promise, told.kept, told.doubt}
    assert [view.quote for view in by_words.passages] == [PROMISE[:4]]
    assert again == by_words
    assert (ids(neither), neither.coverage.sessions_supporting) == (set(), 0)
    assert len({by_words.id, by_claim.id, neither.id}) == 3


async def test_what_its_reader_may_not_see_never_gets_in(organisation: Organisation, told: Told) -> None:
    secret = await span(organisation, told.march, 0, 4)
    async with tenant_session(organisation.client_a) as session:
        own = await make_pack(session, question="Sleep?", claim_ids=[told.secret, told.promise, uuid4()])
    assert told.secret not in ids(own)
    for stranger in (organisation.coach_b, organisation.client_b, organisation.admin, organisation.compliance):
        async with tenant_session(stranger) as session:
            made = await make_pack(
                session, question="Sleep?", claim_ids=[told.secret, told.promise], quote_spans=[secret],
                client_id=require_id(organisation.client_a),
            )  # fmt: skip
            assert (ids(made), made.passages, made.coverage.sessions_in_scope) == (set(), (), 0)
            with pytest.raises(ClientEvidenceNotFound):
                await make_pack(session, client_id=require_id(organisation.client_a))
            with pytest.raises(packs.PackNotFound):
                await get_pack(session, own.id)


async def test_reading_again_leaves_out_what_is_no_longer_the_readers(organisation: Organisation, told: Told) -> None:
    coach, client = require_id(organisation.coach_a), require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        made = await make_pack(
            session, question="Helen?", claim_ids=[told.promise],
            quote_spans=[await span(organisation, told.march, 0, 4)],
        )  # fmt: skip
        plain = await make_pack(
            session, question="And?", quote_spans=[await span(organisation, told.march, 0, 4)]
        )  # fmt: skip
        assert len(plain.passages) == 1
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=coach, client_id=client)
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(packs.PackNotFound):  # whose words it holds stands in the store, which hides it whole
            await get_pack(session, made.id)
        left = await get_pack(session, plain.id)
    assert (ids(left), left.passages, left.withheld) == (set(), (), 1)


async def test_reading_again_tells_what_changed_and_adds_nothing(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        made = await make_pack(session, client_id=client)
    late = await store_claim(organisation, told.april, "Helen", claim_type="belief")
    async with tenant_session(organisation.system) as session:
        claim = (await session.scalars(select(Claim).where(Claim.id == told.promise))).one()
        claim.status = "broken"
        await session.execute(
            text(
                "INSERT INTO evidence.pattern_claims (tenant_id, pattern_id, claim_id, role) "
                "VALUES (:tenant, :pattern, :claim, 'supporting')"
            ),
            [
                {"tenant": organisation.tenant_id, "pattern": told.pattern, "claim": claim_id}
                for claim_id in (late, told.secret)
            ],
        )
    async with tenant_session(organisation.coach_a) as session:
        read = await get_pack(session, made.id)
    assert read.changed == (told.promise,)
    assert ids(read) == ids(made)
    assert read.patterns[0].claims == made.patterns[0].claims


async def test_erased_source_takes_its_words_out_of_every_pack(organisation: Organisation, told: Told) -> None:
    async with tenant_session(organisation.coach_a) as session:
        made = await make_pack(
            session, question="Helen?", quote_spans=[await span(organisation, told.april, 0, 8)]
        )  # fmt: skip
        other = await make_pack(
            session, question="Who?", quote_spans=[await span(organisation, told.april, len(KEPT) + 7, len(KEPT) + 13)]
        )
    assert [view.quote for view in other.passages] == ["Thanks"]
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM rag.transcripts WHERE id = :id"), {"id": told.april.source_id})
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(packs.PackNotFound):
            await get_pack(session, made.id)
        left = await get_pack(session, other.id)
        assert (left.passages, left.withheld) == ((), 1)


async def test_stale_pack_makes_room_for_the_same_evidence(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        first = await make_pack(session, client_id=client)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("UPDATE evidence.evidence_packs SET stale_at = now() WHERE id = :id"), {"id": first.id}
        )
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(packs.PackNotFound):
            await get_pack(session, first.id)
        second = await make_pack(session, client_id=client)
        assert (await get_pack(session, second.id)).content_hash == first.content_hash
    assert second.id != first.id


async def test_two_at_once_store_one(organisation: Organisation, told: Told) -> None:
    import asyncio

    async def make() -> UUID:
        async with tenant_session(organisation.coach_a) as session:
            return (await make_pack(session, client_id=require_id(organisation.client_a))).id

    assert len(set(await asyncio.gather(*(make() for _ in range(6))))) == 1
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(EvidencePack)) == 1


async def test_transaction_is_its_readers_again(organisation: Organisation, told: Told) -> None:
    async with tenant_session(organisation.client_a) as session:
        await make_pack(session, client_id=require_id(organisation.client_a))
        assert await session.scalar(select(func.current_setting("app.role"))) == "client"
        assert await session.scalar(select(func.count()).select_from(Claim)) == 3


@pytest.mark.parametrize(
    "given",
    [
        {}, {"question": "  "}, {"question": "x" * 4_001}, {"claim_ids": [uuid4()]},
        {"question": "x", "claim_ids": [uuid4()] * 501},
    ],
)  # fmt: skip
async def test_unusable_packs_are_refused(organisation: Organisation, given: dict[str, Any]) -> None:
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(packs.PackUnusable):
            await make_pack(session, **given)


async def test_pipelines_make_none(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        with pytest.raises(packs.PackNeedsReader):
            await make_pack(session, question="Who?")


async def test_what_was_read_of_a_pack_is_read_again_under_the_rights_of_then(
    organisation: Organisation, told: Told
) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        made = await make_pack(
            session, client_id=client, question="And?", claim_ids=[told.promise, told.secret],
            quote_spans=[await span(organisation, told.march, 0, 4)],
        )  # fmt: skip
        shown = await get_pack(session, made.id)
        assert await read_again(session, shown) == shown
    async with tenant_session(organisation.client_a) as session:
        theirs = await read_again(session, shown)
    assert ids(theirs) == ids(shown) - {told.secret}
    assert theirs.withheld == 2  # the claim and its quote
    async with tenant_session(organisation.coach_a) as session:
        assert ids(await read_again(session, theirs)) == ids(theirs)  # never more than was read before
    async with tenant_session(organisation.system) as session:
        (await session.scalars(select(Claim).where(Claim.id == told.promise))).one().status = "broken"
    async with tenant_session(organisation.client_a) as session:
        assert (await read_again(session, theirs)).changed == (told.promise,)
    async with tenant_session(organisation.coach_b) as session:
        nothing = await read_again(session, theirs)
    assert (ids(nothing), nothing.passages) == (set(), ())
