"""The time of an answer is told by stage: what its caller looks at counts for none, and what was stored has it too."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from db.models import AgentRun
from db.session import tenant_session
from domain import chat
from rag import stages
from rag.answer import Assistant, CitationsReady, Delta, Done, SourcesFound, answer
from rag.stages import STAGES, StageClock
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TURNS = [
    ("coach", "What happened with the canoe?"),
    ("client", "I promised Ragnhild that I would mend the canoe before June."),
]


class HandClock:
    """Stands still until it is moved, seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(stages, "monotonic", clock)
    return clock


def test_each_stage_has_its_own_time_and_a_pause_none(hand: HandClock) -> None:
    clock = StageClock()
    hand.now += 0.25
    clock.enter("search")
    hand.now += 1
    with clock.paused():
        hand.now += 50
    hand.now += 2
    clock.enter("store")
    assert clock.read() == {"understand": 250.0, "search": 3_000.0, "store": 0.0}
    hand.now += 0.5
    clock.enter("search")
    hand.now += 1
    assert clock.read() == {"understand": 250.0, "search": 4_000.0, "store": 500.0}


async def test_a_caller_who_takes_long_slows_no_stage(organisation: Organisation, hand: HandClock) -> None:
    await name_people(organisation)
    await store_session(organisation, TURNS, held_at=NOW)
    done = None
    async for event in answer(Assistant(EMBEDDER), organisation.coach_a, "What about the canoe?", now=NOW):
        if isinstance(event, SourcesFound | Delta | CitationsReady):
            hand.now += 30
        done = event
    assert isinstance(done, Done)
    assert done.timings_ms == dict.fromkeys(STAGES, 0.0)


async def test_stored_runs_and_answers_tell_their_stages(organisation: Organisation) -> None:
    await name_people(organisation)
    await store_session(organisation, TURNS, held_at=NOW)
    coach = organisation.coach_a
    async with tenant_session(coach) as session:
        conversation = (await chat.create_session(session, user_id=coach.user_id)).id
    told = []
    for question in ("What about the canoe?", "What did Amina say in the ninth session?"):
        events = answer(Assistant(EMBEDDER), coach, question, session_id=conversation, key=question, now=NOW)
        told += [event async for event in events if isinstance(event, Done)]
    found, refused = told
    assert tuple(found.timings_ms) == STAGES
    assert tuple(refused.timings_ms) == ("understand", "write", "store")  # nothing to search, nothing to read
    async with tenant_session(coach) as session:
        runs = {run.id: run.metadata_["timings_ms"] for run in await session.scalars(select(AgentRun))}
        messages = await chat.list_messages(session, conversation, limit=10)
    assert set(runs[found.run_id]) == set(STAGES)
    assert set(runs[refused.run_id]) == {"understand", "write", "store"}
    assert runs[found.run_id]["read"] == found.timings_ms["read"]
    assert runs[found.run_id]["store"] <= found.timings_ms["store"]  # the commit is still to come
    assert all("timings_ms" not in message.facts for message in messages)  # for operators, not for readers
    again = answer(
        Assistant(EMBEDDER),
        coach,
        "What about the canoe?",
        session_id=conversation,
        key="What about the canoe?",
        now=NOW,
    )
    replayed = [event async for event in again if isinstance(event, Done)]
    assert replayed[0].timings_ms == {}
