"""A case asked for measurement brings what it took in every stage."""

from datetime import UTC, datetime

from evaluation.ask import ask
from evaluation.metrics import score_answer
from evaluation.records import LATENCIES
from evaluation.suites import Case
from rag.answer import Assistant
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TURNS = [
    ("coach", "What happened with the canoe?"),
    ("client", "I promised Ragnhild that I would mend the canoe before June."),
]


async def test_stages_are_scored_beside_the_first_signs_and_the_whole(organisation: Organisation) -> None:
    await name_people(organisation)
    await store_session(organisation, TURNS, held_at=NOW)
    response = await ask(Assistant(EMBEDDER), organisation.coach_a, "What about the canoe?", now=NOW)
    assert set(response.timings) == set(LATENCIES)
    case = Case(id="canoe", user_input="What about the canoe?")
    scores = await score_answer(case, response, None)
    assert {name: scores[name] for name in LATENCIES} == response.timings
    refused = await ask(Assistant(EMBEDDER), organisation.coach_a, "What did Amina say in the ninth session?", now=NOW)
    assert set(LATENCIES) - set(refused.timings) == {"search_ms", "read_ms"}
