"""Random pyramids, random changes of sources: exactly the descendants go stale, visibility is the intersection."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal, tenant_session
from pipelines.evidence.lifecycle import StatusChange
from pipelines.evidence.records import FoundPattern, SessionClaim, SessionText
from pipelines.evidence.store import load_session, write_patterns, write_statuses
from pipelines.evidence.verify import verify_evidence
from tests.factories.evidence_world import add_insight, add_pack, add_session, make_claim, make_pattern, write_claims
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

VISIBILITIES = ("client_visible", "coach_only", "admin_aggregate", "system_internal")
PHRASES = [f"Turn {n} tells of matter {n} at some length" for n in range(8)]
TABLES = {"quote": "quotes", "claim": "claims", "pattern": "patterns", "insight": "insights", "pack": "evidence_packs"}
Key = tuple[str, UUID]
Audience = tuple[str, UUID | None, UUID | None]


@dataclass
class Graph:
    """All rows with what they are, the edges from parent to child, and which claim settles which."""

    rows: dict[Key, Any]
    edges: set[tuple[Key, Key]]
    settled: dict[Key, Key]

    @property
    def stale(self) -> set[Key]:
        return {key for key, row in self.rows.items() if row.stale}

    def reach(self, gone: Iterable[Key]) -> set[Key]:
        """Return what no longer stands when these are gone or stale, beside them."""
        reached: set[Key] = set()
        waiting = list(gone)
        while waiting:
            node = waiting.pop()
            below = {child for parent, child in self.edges if parent == node}
            below |= {
                child
                for claim, by in self.settled.items() if by == node
                for parent, child in self.edges if parent == claim
            }  # fmt: skip
            waiting += below - reached
            reached |= below
        return reached

    def allow(self, key: Key) -> Audience:
        """Return what all parents together allow, worked out from the quotes upwards."""
        parents = [parent for parent, child in self.edges if child == key]
        if key in self.settled:
            parents.append(self.settled[key])
        return intersect([self.allow(one) for one in parents]) if parents else audience_of(self.rows[key])


def audience_of(row: Any) -> Audience:  # a row of any level
    return row.visibility, row.client_id, row.coach_id


def intersect(parents: list[Audience]) -> Audience:
    """Return the visibility and audience of all of them, as the decision record words it."""
    seen = {visibility for visibility, _, _ in parents}
    coaches = {coach for _, _, coach in parents}
    clients = {client for _, client, _ in parents}
    assert len(clients) == 1, "all about one client"
    visibility = (
        seen.pop()
        if len(seen) == 1
        else "coach_only"
        if seen == {"client_visible", "coach_only"}
        else "system_internal"
    )
    return visibility, clients.pop(), coaches.pop() if len(coaches) == 1 else None


async def read_graph(session: AsyncSession) -> Graph:
    rows: dict[Key, Any] = {}
    for kind, table in TABLES.items():
        columns = "visibilities, client_ids" if kind == "pack" else "visibility, client_id, coach_id"
        more = {"claim": ", superseded_by, transcript_id, status", "quote": ", transcript_id, segment_first"}.get(
            kind, ""
        )
        query = f"SELECT id, stale_at IS NOT NULL AS stale, {columns}{more} FROM evidence.{table}"
        rows |= {(kind, row.id): row for row in await session.execute(text(query))}
    edges = set()
    for row in (await session.execute(text("SELECT * FROM evidence.derivations"))).mappings():
        ends = {side: next(
            (kind, row[f"{side}_{kind}_id"]) for kind in TABLES if row.get(f"{side}_{kind}_id") is not None
        ) for side in ("parent", "child")}  # fmt: skip
        edges.add((ends["parent"], ends["child"]))
    settled = {key: ("claim", row.superseded_by) for key, row in rows.items() if getattr(row, "superseded_by", None)}
    return Graph(rows, edges, settled)


async def grow(organisation: Organisation, chance: random.Random) -> list[SessionText]:
    """Store sessions of two clients with claims, statuses, patterns, insights and packs at random."""
    texts: list[SessionText] = []
    for client in (organisation.client_a, organisation.client_b):
        own: list[SessionText] = []
        claims: list[SessionClaim] = []
        for week in range(4):
            visibility = chance.choices(VISIBILITIES, (6, 6, 1, 1))[0]
            turns = [("client", phrase) for phrase in PHRASES]
            own.append((await add_session(organisation, week, client=client, visibility=visibility, turns=turns))[1])
            said = [
                make_claim(
                    own[-1], chance.sample(PHRASES, chance.randint(1, 3)), statement=f"{number}",
                    opposing=chance.sample(PHRASES, chance.randint(0, 1)),
                )
                for number in range(4)
            ]  # fmt: skip
            claims += said
            await write_claims(organisation, own[-1], *said)
        await stack(organisation, client, chance, claims)
        texts += own
    return texts


async def stack(
    organisation: Organisation, client: Principal, chance: random.Random, claims: list[SessionClaim]
) -> None:
    """Settle claims and store patterns, insights and packs over them."""
    by_session: dict[UUID, list[SessionClaim]] = {}
    for claim in claims:
        by_session.setdefault(claim.transcript_id, []).append(claim)
    async with tenant_session(organisation.system) as session:
        for _ in range(3):
            first, second = sorted(chance.sample(claims, 2), key=claims.index)
            await write_statuses(
                session, [StatusChange(claim_id=first.claim_id, status="kept", by_claim_id=second.claim_id)]
            )
        found: list[FoundPattern] = []
        for number in range(4):
            sessions = chance.sample(sorted(by_session), min(len(by_session), chance.randint(2, 3)))
            supporting = [chance.choice(by_session[one]) for one in sessions]
            counter = [one for one in chance.sample(claims, 2) if one not in supporting]
            if len(sessions) > 1:
                found.append(make_pattern(supporting, counter, subject=f"{number}"))
        await write_patterns(session, found, client_id=require_id(client))
        graph = await read_graph(session)
        patterns = [
            key[1] for key, row in graph.rows.items() if key[0] == "pattern" and row.client_id == client.user_id
        ]
        for add in (add_insight, add_pack):
            for _ in range(3):
                some = [one.claim_id for one in chance.sample(claims, chance.randint(0, 2))]
                over = chance.sample(patterns, min(len(patterns), chance.randint(1, 2)))
                await add(session, organisation, patterns=over, claims=some, client=client)


CHANGES: Mapping[str, str] = {
    "restricted": "UPDATE ingestion.ingested_objects o SET visibility = :visibility FROM rag.transcripts t "
    "WHERE t.object_id = o.id AND t.id = :id",
    "another coach's": "UPDATE ingestion.ingested_objects o SET coach_id = :coach FROM rag.transcripts t "
    "WHERE t.object_id = o.id AND t.id = :id",
    "another version": "UPDATE rag.transcripts SET content_hash = repeat('0', 64) WHERE id = :id",
    "another day": "UPDATE rag.transcripts SET held_at = held_at + interval '1 minute' WHERE id = :id",
    "erased": "DELETE FROM rag.transcripts WHERE id = :id",
    "a turn's speaker": "UPDATE rag.transcript_segments SET speaker = speaker || '?' "
    "WHERE transcript_id = :id AND segment_index = :n",
    "a turn edited": "UPDATE rag.transcript_segments SET text = translate(text, 'a', 'e') "
    "WHERE transcript_id = :id AND segment_index = :n",
    "a turn more": "INSERT INTO rag.transcript_segments (tenant_id, transcript_id, segment_index, char_start, "
    "char_end, text, visibility, client_id, coach_id) SELECT tenant_id, id, (SELECT max(segment_index) + 1 "
    "FROM rag.transcript_segments), 9000, 9004, 'More', visibility, client_id, coach_id "
    "FROM rag.transcripts WHERE id = :id",
    "a turn erased": "DELETE FROM rag.transcript_segments WHERE transcript_id = :id AND segment_index = :n",
    "a quote erased": "DELETE FROM evidence.quotes WHERE id = :quote",
    "a claim erased": "DELETE FROM evidence.claims WHERE id = :claim",
    "a claim stale": "UPDATE evidence.claims SET stale_at = now() WHERE id = :claim AND stale_at IS NULL",
    "a pattern erased": "DELETE FROM evidence.patterns WHERE id = :pattern",
}


def find_roots(change: str, before: Graph, values: Mapping[str, Any]) -> set[Key]:
    """Return the rows that a change takes out or makes stale by itself."""
    of_transcript = {key for key, row in before.rows.items() if getattr(row, "transcript_id", None) == values["id"]}
    quotes = {key for key in of_transcript if key[0] == "quote"}
    if change == "erased":
        return of_transcript
    if change == "a turn's speaker":
        return {key for key in quotes if before.rows[key].segment_first == values["n"]}
    if change.startswith(("a quote", "a claim", "a pattern")):
        kind = change.split()[1]
        return {(kind, values[kind])} & before.rows.keys()
    return quotes


@pytest.mark.parametrize("seed", range(6))
async def test_staleness_is_exactly_the_descendants(organisation: Organisation, seed: int) -> None:
    chance = random.Random(seed)
    texts = await grow(organisation, chance)
    await check(organisation)
    for change in chance.sample(list(CHANGES), 8):
        async with tenant_session(organisation.system) as session:
            before = await read_graph(session)
        transcript = chance.choice(texts).transcript_id
        row = next((r for k, r in before.rows.items() if k[0] == "quote" and r.transcript_id == transcript), None)
        values = {
            "id": transcript, "n": chance.randrange(len(PHRASES)), "coach": organisation.coach_b.user_id,
            "visibility": chance.choice([one for one in VISIBILITIES if row is None or one != row.visibility]),
        } | {
            kind: chance.choice(sorted(key[1] for key in before.rows if key[0] == kind) or [transcript])
            for kind in ("quote", "claim", "pattern")
        }  # fmt: skip
        roots = find_roots(change, before, values)
        if change == "another coach's" and row and row.coach_id == organisation.coach_b.user_id:
            roots = set()
        if change == "another version" and roots <= before.stale:
            roots = set()
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text(CHANGES[change]), {k: v for k, v in values.items() if f":{k}" in CHANGES[change]}
            )
            after = await read_graph(session)
        reached = before.reach(roots - before.stale)
        gone = before.rows.keys() - after.rows.keys()
        assert gone <= roots, change
        assert after.stale == (before.stale | roots | reached) - gone, change
        for claim, by in before.settled.items():
            if claim in after.rows and by in roots | reached:
                assert (after.rows[claim].superseded_by, after.rows[claim].status) == (None, "asserted"), change
        await check(organisation)
    await build_again(organisation, texts)


async def build_again(organisation: Organisation, texts: list[SessionText]) -> None:
    """Deriving again from what is left leaves nothing stale behind and everything proved."""
    async with tenant_session(organisation.system) as session:
        left = set(await session.scalars(text("SELECT id FROM rag.transcripts WHERE segment_count > 0")))
    for one in texts:
        if one.transcript_id in left:
            async with tenant_session(organisation.system) as session:
                now = await load_session(session, one.transcript_id)
            whole = all(now.text[turn.char_start : turn.char_end] == turn.text for turn in now.turns)
            phrase = next((turn.text for turn in now.turns if whole and turn.speaker == "client"), None)
            await write_claims(organisation, now, *([make_claim(now, phrase)] if phrase else []))
    async with tenant_session(organisation.system) as session:
        for table in ("evidence_packs", "insights", "patterns"):
            await session.execute(text(f"DELETE FROM evidence.{table} WHERE stale_at IS NOT NULL"))
        assert not (await read_graph(session)).stale


async def check(organisation: Organisation) -> None:
    """Every invariant is proved, and what stands shows exactly what its quotes allow."""
    assert [one for one in await verify_evidence(organisation.tenant_id) if one.broken] == []
    async with tenant_session(organisation.system) as session:
        graph = await read_graph(session)
    for key, row in graph.rows.items():
        if row.stale:
            continue
        if key[0] == "pack":
            parents = [graph.rows[parent] for parent, child in graph.edges if child == key]
            assert set(row.visibilities) == {parent.visibility for parent in parents}
            assert set(row.client_ids) == {parent.client_id for parent in parents}
            continue
        visibility, client_id, coach_id = graph.allow(key)
        if key[0] == "insight" and visibility == "client_visible":
            visibility = "coach_only"
        assert audience_of(row) == (visibility, client_id, coach_id), key
