"""A small pyramid of evidence over real sessions, written by the product's own store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

from sqlalchemy import insert
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Derivation, EvidencePack, Insight
from db.session import Principal, tenant_session
from domain.packs import hash_content
from pipelines.evidence.records import (
    Extraction,
    FoundPattern,
    Located,
    Method,
    PatternKind,
    QuoteRole,
    SessionClaim,
    SessionText,
)
from pipelines.evidence.store import load_session, write_extraction, write_patterns
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, require_id, store_session

METHOD = Method(name="rule.test/1")
FIRST = datetime(2026, 1, 13, 9, tzinfo=UTC)
TURNS = (
    ("coach", "What would you like to look at today?"),
    ("client", "I will hand over the release checklist by Friday."),
    ("coach", "You said the on-call rota was heavy."),
    ("client", "The on-call rota keeps me awake. I want to sleep again."),
)
PROMISE, ROTA, WISH, HEARD = (
    "I will hand over the release checklist by Friday",
    "The on-call rota keeps me awake",
    "I want to sleep again",
    "the on-call rota was heavy",
)


def locate(text: SessionText, words: str) -> Located:
    """Return the only place of these words."""
    turn = next(turn for turn in text.turns if words in turn.text)
    start = turn.char_start + turn.text.index(words)
    return Located(
        exact=words, char_start=start, char_end=start + len(words), turn_first=turn.index, turn_last=turn.index,
        speaker=turn.speaker, speaker_id=turn.speaker_id, started_s=turn.started_s, ended_s=turn.ended_s,
    )  # fmt: skip


def make_claim(
    text: SessionText, words: str | Sequence[str], *, opposing: Sequence[str] = (), **values: object
) -> SessionClaim:
    """Return a claim on these words of the session, the client's unless said otherwise."""
    supporting = [words] if isinstance(words, str) else list(words)
    quotes: list[tuple[Located, QuoteRole]] = [(locate(text, one), "supporting") for one in supporting]
    quotes += [(locate(text, one), "opposing") for one in opposing]
    given = {
        "claim_type": "obstacle", "statement": f"The client said: {supporting[0]}.", "modality": "stated",
        "holder": "client", "holder_id": text.client_id, "subject": None, "polarity": "negative",
        "valid_from": text.held_at and text.held_at.date(), "valid_to": None,
    }  # fmt: skip
    key = uuid5(text.transcript_id, f"{given | values}:{supporting}")
    return SessionClaim(
        claim_id=key, quotes=quotes, method=METHOD, transcript_id=text.transcript_id, held_at=text.held_at,
        **(given | values),  # type: ignore[arg-type]  # a test's own values
    )  # fmt: skip


def make_pattern(
    supporting: Sequence[SessionClaim | UUID], counter: Sequence[SessionClaim | UUID] = (),
    kind: PatternKind = "recurrence", **values: object,
) -> FoundPattern:  # fmt: skip
    """Return a pattern over these claims."""

    def ids(claims: Sequence[SessionClaim | UUID]) -> tuple[UUID, ...]:
        return tuple(claim if isinstance(claim, UUID) else claim.claim_id for claim in claims)

    given = {
        "subject": "rota", "statement": "The rota came up in two sessions.", "sessions_in_scope": 2,
        "sessions_examined": 2, "sessions_supporting": 2, "first_seen": FIRST, "last_seen": FIRST,
    }  # fmt: skip
    return FoundPattern(
        kind=kind, supporting=ids(supporting), counter=ids(counter), method=METHOD,
        **(given | values),  # type: ignore[arg-type]  # a test's own values
    )  # fmt: skip


async def add_session(
    organisation: Organisation, week: int = 0, *, client: Principal | None = None, visibility: str = "client_visible",
    turns: Sequence[tuple[str, str]] = TURNS, again: Stored | None = None,
) -> tuple[Stored, SessionText]:  # fmt: skip
    """Index a session and return it as evidence is taken from it."""
    client = client or organisation.client_a
    coach = organisation.coach_a if client in (organisation.client_a, organisation.client_b) else organisation.coach_b
    stored = await store_session(
        organisation, turns, held_at=FIRST + timedelta(weeks=week), client=client, coach=coach, visibility=visibility,
        again=again,
    )  # fmt: skip
    async with tenant_session(organisation.system) as session:
        return stored, await load_session(session, stored.source_id)


async def write_claims(organisation: Organisation, text: SessionText, *claims: SessionClaim) -> None:
    """Make these the session's claims."""
    async with tenant_session(organisation.system) as session:
        await write_extraction(session, text, Extraction(claims=list(claims)), version="test")


async def add_insight(
    session: AsyncSession, organisation: Organisation, *, patterns: Sequence[UUID] = (), claims: Sequence[UUID] = (),
    client: Principal | None = None,
) -> UUID:  # fmt: skip
    """Store a draft over these rows, in a session of the pipelines."""
    key = uuid4()
    await session.execute(
        insert(Insight).values(
            tenant_id=organisation.tenant_id, id=key, title="The rota", body="It comes back.", method="test",
            visibility="coach_only", client_id=require_id(client or organisation.client_a),
        )
    )  # fmt: skip
    await _add_edges(session, {"tenant_id": organisation.tenant_id, "child_insight_id": key}, patterns, claims)
    return key


async def add_pack(
    session: AsyncSession, organisation: Organisation, *, patterns: Sequence[UUID] = (), claims: Sequence[UUID] = (),
    reader: Principal | None = None, client: Principal | None = None,
) -> UUID:  # fmt: skip
    """Store a pack of these rows for the reader, in a session of the pipelines."""
    key, content = uuid4(), {"patterns": [str(one) for one in patterns], "claims": [str(one) for one in claims]}
    content["nonce"] = [str(key)]
    await session.execute(
        insert(EvidencePack).values(
            tenant_id=organisation.tenant_id, id=key, user_id=require_id(reader or organisation.coach_a),
            client_id=client and require_id(client), question="What of the rota?", content=content,
            content_hash=hash_content(content), sessions_in_scope=2, sessions_examined=2, sessions_supporting=2,
        )
    )  # fmt: skip
    await _add_edges(session, {"tenant_id": organisation.tenant_id, "child_pack_id": key}, patterns, claims)
    return key


async def _add_edges(
    session: AsyncSession, child: dict[str, UUID], patterns: Sequence[UUID], claims: Sequence[UUID]
) -> None:
    rows = [
        {**child, "role": "supporting",
         "parent_pattern_id": one if one in patterns else None, "parent_claim_id": None if one in patterns else one}
        for one in (*patterns, *claims)
    ]  # fmt: skip
    if rows:
        await session.execute(insert(Derivation).values(rows))


@dataclass(frozen=True)
class World:
    """Two sessions of client_a with a claim each, a third claim, a pattern over two, an insight and a pack over it."""

    organisation: Organisation
    sessions: tuple[Stored, Stored]
    texts: tuple[SessionText, SessionText]
    rota: tuple[SessionClaim, SessionClaim]
    promise: SessionClaim
    pattern: UUID
    insight: UUID
    pack: UUID


async def build_world(
    organisation: Organisation, *, visibilities: tuple[str, str] = ("client_visible", "client_visible")
) -> World:
    """Store it all."""
    first, second = [
        await add_session(organisation, week, visibility=visibility) for week, visibility in enumerate(visibilities)
    ]
    rota = make_claim(first[1], ROTA, opposing=[WISH]), make_claim(second[1], [ROTA, WISH])
    promise = make_claim(first[1], PROMISE, claim_type="commitment", polarity="neutral")
    await write_claims(organisation, first[1], rota[0], promise)
    await write_claims(organisation, second[1], rota[1])
    async with tenant_session(organisation.system) as session:
        await write_patterns(session, [make_pattern(rota)], client_id=require_id(organisation.client_a))
        pattern = await only_id(session, "patterns")
        insight = await add_insight(session, organisation, patterns=[pattern])
        pack = await add_pack(session, organisation, patterns=[pattern], claims=[rota[0].claim_id])
    return World(
        organisation, (first[0], second[0]), (first[1], second[1]), rota, promise, pattern, insight, pack
    )  # fmt: skip


async def only_id(session: AsyncSession, table: str) -> UUID:
    """Return the id of the table's one row."""
    return UUID(str((await session.execute(sql(f"SELECT id FROM evidence.{table}"))).scalar_one()))
