"""What a question is about, over many ways of asking."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.session import Principal, tenant_session
from rag.passages import Scope
from rag.understand import Person, Understanding, list_named_people, narrow, understand
from rag.understand_sessions import find_session_phrase, find_session_words
from rag.understand_times import find_time_phrase, find_time_span
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_session

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)  # a Friday
TURNS = [("coach", "How are you?"), ("client", "Well enough.")]

SPANS = [
    ("What did she say in March?", "2026-03-01", "2026-04-01"),
    ("in march", "2026-03-01", "2026-04-01"),
    ("in December", "2025-12-01", "2026-01-01"),
    ("last November", "2025-11-01", "2025-12-01"),
    ("in November", "2026-11-01", "2026-12-01"),
    ("What changed since June?", "2026-06-01", None),
    ("since last month", "2026-10-01", None),
    ("after 3 March", "2026-03-04", None),
    ("before 12 March 2026", None, "2026-03-12"),
    ("until May", None, "2026-06-01"),
    ("between March and May 2026", "2026-03-01", "2026-06-01"),
    ("from 3 March to 2026-04-05", "2026-03-03", "2026-04-06"),
    ("on 2026-03-12", "2026-03-12", "2026-03-13"),
    ("in 2026-03", "2026-03-01", "2026-04-01"),
    ("on 12 March", "2026-03-12", "2026-03-13"),
    ("on the 12th of March", "2026-03-12", "2026-03-13"),
    ("March 12th, 2025", "2025-03-12", "2025-03-13"),
    ("on 24 December", "2025-12-24", "2025-12-25"),
    ("yesterday", "2026-11-19", "2026-11-20"),
    ("today", "2026-11-20", "2026-11-21"),
    ("last week", "2026-11-09", "2026-11-16"),
    ("this week", "2026-11-16", "2026-11-23"),
    ("last month", "2026-10-01", "2026-11-01"),
    ("last year", "2025-01-01", "2026-01-01"),
    ("last quarter", "2026-07-01", "2026-10-01"),
    ("last Friday", "2026-11-13", "2026-11-14"),
    ("in the last two weeks", "2026-11-06", "2026-11-21"),
    ("over the past few months", "2026-08-20", "2026-11-21"),
    ("three weeks ago", "2026-10-26", "2026-11-02"),
    ("2 months ago", "2026-09-01", "2026-10-01"),
    ("in Q2 2026", "2026-04-01", "2026-07-01"),
    ("in 2025", "2025-01-01", "2026-01-01"),
    ("since 2025", "2025-01-01", None),
]
NO_SPANS = [
    "May I ask what she said?", "What may she do?", "They march on regardless.", "What is due by 12 March?",
    "What did she want to reach by the end of June?", "Which of her January promises did she keep?",
    "before the February board", "What was her goal for September?", "before the Fourth of July",
    "What did she commit to by Friday?", "2026-13-40", "",
]  # fmt: skip


@pytest.mark.parametrize(("question", "start", "end"), SPANS)
def test_times_are_read(question: str, start: str | None, end: str | None) -> None:
    span = find_time_span(question, NOW)
    assert span is not None
    got = tuple(moment.date().isoformat() if moment else None for moment in (span.start, span.end))
    assert got == (start, end)
    assert span.words
    phrase = find_time_phrase(question)
    assert phrase
    assert phrase in question


@pytest.mark.parametrize("question", NO_SPANS)
def test_what_is_no_limit_in_time_is_left_alone(question: str) -> None:
    assert find_time_span(question, NOW) is None


def test_days_are_those_of_the_readers_time_zone() -> None:
    zone = timezone(timedelta(hours=10))
    span = find_time_span("yesterday", NOW.astimezone(zone))
    assert span is not None
    assert span.start == datetime(2026, 11, 20, tzinfo=zone)


@given(st.text(max_size=200), st.datetimes(min_value=datetime(1970, 3, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001  # the zone is added
def test_any_text_is_read_without_failing(question: str, now: datetime) -> None:
    span = find_time_span(question, now.replace(tzinfo=UTC))
    assert span is None or not (span.start and span.end) or span.start < span.end
    find_session_words(question)
    find_time_phrase(question)


@given(
    st.lists(
        st.sampled_from(
            (
                "last",
                "first",
                "second",
                "3rd",
                "session",
                "sessions",
                "before",
                "since",
                "the",
                "between",
                "and",
                "of",
                "March",
                "2026",
                "12",
                "ago",
                "weeks",
                "two",
                "may",
                "from",
                "to",
            )
        ),
        max_size=14,
    ).map(" ".join)
)
def test_any_order_of_time_words_is_read_without_failing(question: str) -> None:
    span = find_time_span(question, NOW)
    assert span is None or not (span.start and span.end) or span.start < span.end
    find_session_words(question)


@pytest.mark.parametrize(
    ("question", "first", "last", "relation"),
    [
        ("in the last session", -1, -1, ""),
        ("in our most recent meeting", -1, -1, ""),
        ("What did we agree last time?", -1, -1, ""),
        ("the latest call", -1, -1, ""),
        ("in the session before last", -2, -2, ""),
        ("the second to last session", -2, -2, ""),
        ("penultimate session", -2, -2, ""),
        ("the first session", 0, 0, ""),
        ("in the third session", 2, 2, ""),
        ("in session 3", 2, 2, ""),
        ("in session number 12", 11, 11, ""),
        ("the 4th meeting", 3, 3, ""),
        ("over the last three sessions", -3, -1, ""),
        ("in the first two sessions", 0, 1, ""),
        ("since our first session", 0, 0, "since"),
        ("before the last session", -1, -1, "before"),
    ],
)
def test_sessions_are_read(question: str, first: int, last: int, relation: str) -> None:
    words = find_session_words(question)
    assert words is not None
    assert (words.first, words.last, words.relation) == (first, last, relation)
    assert find_session_phrase(question)


@pytest.mark.parametrize("question", ["What is a session?", "the last time you asked", "session 0", "her first job"])
def test_what_is_no_session_is_left_alone(question: str) -> None:
    assert find_session_words(question) is None


@pytest.fixture
async def sessions(organisation: Organisation) -> list[Stored]:
    await name_people(organisation)
    days = [datetime(2026, month, 10, 9, tzinfo=UTC) for month in (1, 3, 6)]
    mine = [await store_session(organisation, TURNS, held_at=day) for day in days]
    other = await store_session(
        organisation, TURNS, held_at=datetime(2026, 7, 1, tzinfo=UTC), client=organisation.client_b
    )
    return [*mine, other]


async def read(reader: Principal, question: str, client_id: UUID | None = None) -> Understanding:
    async with tenant_session(reader) as session:
        people = await list_named_people(session, question)
        return await understand(session, question, reader=reader, people=people, now=NOW, client_id=client_id)


@pytest.mark.parametrize(
    "question",
    [
        "What did Amina say?",
        "what did amina diallo say?",
        "AMINA?",
        "Amina's goals",
        "Tell me about Diallo.",
        "amina’s week",
    ],
)
async def test_names_scope_to_the_client(organisation: Organisation, sessions: list[Stored], question: str) -> None:
    found = await read(organisation.coach_a, question)
    assert found.scope.client_ids == (organisation.client_a.user_id,)
    assert "Amina Diallo" in found.words


async def test_shared_names_mean_both_and_say_so(organisation: Organisation, sessions: list[Stored]) -> None:
    found = await read(organisation.admin, "What about Amina?")
    assert set(found.scope.client_ids) == {organisation.client_a.user_id, organisation.client_c.user_id}
    assert found.words == "Amina Diallo and Amina Rahman"
    found = await read(organisation.admin, "What about Amina Rahman?")
    assert found.scope.client_ids == (organisation.client_c.user_id,)


async def test_people_out_of_sight_name_nobody(organisation: Organisation, sessions: list[Stored]) -> None:
    for reader, name in ((organisation.coach_a, "Rahman"), (organisation.client_b, "Amina")):
        found = await read(reader, f"What did {name} say?")
        assert found.scope == Scope()


async def test_whose_words_are_asked_for(organisation: Organisation, sessions: list[Stored]) -> None:
    coach = organisation.coach_a
    assert [p.id for p in (await read(coach, "What did Amina say about it?")).speakers] == [
        organisation.client_a.user_id
    ]
    assert [p.id for p in (await read(coach, "What did I ask Amina?")).speakers] == [coach.user_id]
    assert (await read(coach, "What happened at Amina's work?")).speakers == ()
    spoken = await read(organisation.client_a, "What did Ruth suggest?")
    assert [p.name for p in spoken.speakers] == ["Ruth Ellery"]
    assert spoken.scope.client_ids == ()


async def test_sessions_are_counted_for_the_client(organisation: Organisation, sessions: list[Stored]) -> None:
    async def sources(question: str, reader: Principal = organisation.coach_a) -> tuple[UUID, ...]:
        scope = (await read(reader, question)).scope
        return scope.coaching_session_ids

    async with tenant_session(organisation.system) as session:
        from sqlalchemy import select

        from db.models import Transcript

        held = {row.id: row.coaching_session_id for row in (await session.execute(
            select(Transcript.id, Transcript.coaching_session_id)
        ))}  # fmt: skip
    ids = [held[stored.source_id] for stored in sessions]
    assert await sources("What did Amina say in the last session?") == (ids[2],)
    assert await sources("What did Amina say in the first session?") == (ids[0],)
    assert await sources("What did Amina say in session 2?") == (ids[1],)
    assert await sources("What did Daniel say in the last session?") == (ids[3],)
    assert await sources("the last session") == (ids[3],)
    assert await sources("What did I say in the last session?", organisation.client_a) == (ids[2],)
    assert await sources("Amina in the last two sessions") == (ids[1], ids[2])
    assert set(await sources("the last session of Amina Diallo and Daniel Okafor")) == {ids[2], ids[3]}


async def test_missing_sessions_are_said_to_be(organisation: Organisation, sessions: list[Stored]) -> None:
    found = await read(organisation.coach_a, "What did Amina say in the ninth session?")
    assert found.missing == (
        "There are 3 sessions of Amina Diallo that you may see, so there is nothing to search for session 9."
    )
    nobody = await read(organisation.executive, "What was said in the last session?")
    assert nobody.missing is not None
    assert "no sessions" in nobody.missing


async def test_before_and_after_a_session(organisation: Organisation, sessions: list[Stored]) -> None:
    since = (await read(organisation.coach_a, "What has Amina done since the first session?")).scope
    assert since.held_from is not None
    assert since.held_from > datetime(2026, 1, 10, 9, tzinfo=UTC)
    before = (await read(organisation.coach_a, "What did Amina say before the last session?")).scope
    assert before.held_until == datetime(2026, 6, 10, 9, tzinfo=UTC)
    assert before.coaching_session_ids == ()


async def test_times_limit_what_was_said_then(organisation: Organisation, sessions: list[Stored]) -> None:
    said = await read(organisation.coach_a, "What did Amina say in March?")
    assert (said.scope.held_from, said.scope.held_until) == (
        datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC),
    )  # fmt: skip
    assert not said.soft_time
    assert (await read(organisation.coach_a, "Why is Amina away in June?")).soft_time
    future = await read(organisation.coach_a, "What will Amina do in June?")
    assert future.scope.held_from is None


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("What does the handbook say?", ("document",)),
        ("Which document mentions cancellations?", ("document",)),
        ("What did Amina say about the handbook?", ()),
        ("Where in the transcripts is Tobias?", ("transcript",)),
        ("How often across all sessions?", ("transcript",)),
        ("How is she?", ()),
    ],
)
async def test_kinds_of_source(organisation: Organisation, question: str, kinds: tuple[str, ...]) -> None:
    assert (await read(organisation.coach_a, question)).scope.source_kinds == kinds


async def test_conversation_about_a_client_is_the_default(organisation: Organisation, sessions: list[Stored]) -> None:
    client = require_id(organisation.client_b)
    assert (await read(organisation.coach_a, "How is the sleep?", client)).scope.client_ids == (client,)
    named = await read(organisation.coach_a, "And Amina?", client)
    assert named.scope.client_ids == (organisation.client_a.user_id,)


@pytest.mark.parametrize(
    ("question", "expected"),
    [("Will Amina come?", ["Amina Diallo"]), ("did will call", []), ("Did Will call?", ["Will Grace"]), ("GRACE?", [])],
)
def test_names_that_are_words(question: str, expected: list[str]) -> None:
    from rag.understand import match_people

    people = [Person(uuid4(), "Amina Diallo", "client"), Person(uuid4(), "Will Grace", "client")]
    assert [person.name for person in match_people(question, people)] == expected


def test_scopes_meet() -> None:
    one, two = uuid4(), uuid4()
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert narrow(Scope(client_ids=(one, two)), Scope(client_ids=(two,))) == Scope(client_ids=(two,))
    assert narrow(Scope(client_ids=(one,)), Scope(client_ids=(two,))) is None
    assert narrow(Scope(held_from=early), Scope(held_from=late)) == Scope(held_from=late)
    assert narrow(Scope(held_until=early), Scope(held_until=late)) == Scope(held_until=early)
