"""The assistant over the sample organisations' own material, with the embedded model and no language model."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

import cli
from core.settings import Settings
from db.models import Transcript
from db.session import Principal, tenant_session
from domain import coaching, identity
from domain.platform import found_tenant
from evaluation.answer_truth import ask_facts, find_leaks, load_facts, tally
from pipelines.evidence.build import build_client
from pipelines.ingest import ingest_source, load_embedder
from rag.answer import Assistant, Done, answer

SAMPLE = Path(cli.__file__).parent / "sample"
NOW = datetime(2026, 10, 1, tzinfo=UTC)
Slugs = dict[str, str]


def parse_day(day: str) -> datetime:
    moment = datetime.fromisoformat(day)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def found(organisation: dict[str, Any]) -> str:
    """Found the sample organisation under a slug of this run, with its people and all it has to read."""
    tenant_id, slug = uuid4(), f"sample-{uuid4().hex[:10]}"
    await found_tenant(slug, organisation["name"], tenant_id=tenant_id)
    ids: dict[str, UUID] = {}
    async with tenant_session(Principal(tenant_id, "system")) as session:
        for user in organisation["users"]:
            row = await identity.create_user(
                session, email=user["email"], full_name=user["full_name"], role=user["roles"][0]
            )
            ids[user["email"]] = row.id
        for one in organisation["engagements"]:
            await coaching.start_engagement(
                session, coach_id=ids[one["coach"]], client_id=ids[one["client"]], started_at=parse_day(one["from"]),
                ended_at=parse_day(one["until"]) if one["until"] else None,
            )  # fmt: skip
    return slug


@pytest.fixture(scope="module")
async def assistant(store: Settings) -> Assistant:
    return Assistant(await load_embedder(store))


@pytest.fixture(scope="module")
async def slugs(store: Settings, assistant: Assistant) -> Slugs:
    organisations = json.loads((SAMPLE / "organisations.json").read_text())
    slugs = {}
    for organisation in organisations["tenants"]:
        slugs[organisation["slug"]] = slug = await found(organisation)
        reader = await identity.get_principal(slug, organisation["users"][0]["email"])
        report = await ingest_source(reader.tenant_id, str(SAMPLE / organisation["slug"]), embedder=assistant.embedder)
        assert not report.failed
        async with tenant_session(Principal(reader.tenant_id, "system")) as session:
            clients = list(await session.scalars(select(Transcript.client_id).distinct()))
        for client_id in filter(None, clients):
            await build_client(reader.tenant_id, client_id)
    return slugs


async def ask(assistant: Assistant, slugs: Slugs, user: str, question: str) -> Done:
    organisation = user.partition("@")[2].removesuffix(".example")
    reader = await identity.get_principal(slugs[organisation], user)
    *_, done = [event async for event in answer(assistant, reader, question, now=NOW)]
    assert isinstance(done, Done)
    return done


RUTH, TOMAS, GRACE = (
    "ruth.ellery@harbourlight.example", "tomas.lindqvist@harbourlight.example", "grace.whitfield@fieldstone.example",
)  # fmt: skip


async def test_first_question_of_a_newcomer(assistant: Assistant, slugs: Slugs) -> None:
    welcome = json.loads((SAMPLE / "organisations.json").read_text())["welcome"]
    done = await ask(assistant, slugs, welcome["user"], welcome["question"])
    quotes = " ".join(citation.quote for citation in done.citations)
    assert "I'll write down the three decisions that are mine alone" in quotes
    assert "two whole weeks off in August" in quotes
    assert len(done.citations) == 2  # what merely sounds like a promise is left out
    assert {citation.speaker for citation in done.citations} == {"Amina Diallo"}
    assert {citation.held_at and citation.held_at.date().isoformat() for citation in done.citations} == {"2026-07-07"}
    assert done.coverage.sessions_in_scope == 1


async def test_the_same_name_in_two_organisations(assistant: Assistant, slugs: Slugs) -> None:
    here = await ask(assistant, slugs, RUTH, "How many hours is Amina sleeping these days?")
    there = await ask(assistant, slugs, GRACE, "How many hours is Amina sleeping these days?")
    assert "even, most nights" in here.text
    assert "five and a half hours" not in here.text.lower()
    assert "plateau" not in there.text


async def test_former_coach_finds_nothing(assistant: Assistant, slugs: Slugs) -> None:
    question = "Whom did Daniel make head of engineering?"
    assert "Hal head of engineering" in (await ask(assistant, slugs, RUTH, question)).text
    assert "Hal" not in (await ask(assistant, slugs, TOMAS, question)).text


async def test_private_notes_stay_with_the_coach(assistant: Assistant, slugs: Slugs) -> None:
    question = "What does the private note say about the recruiter from Quayline?"
    assert "Quayline" in (await ask(assistant, slugs, RUTH, question)).citations[0].quote
    client = await ask(assistant, slugs, "amina.diallo@harbourlight.example", question)
    assert not any("Quayline" in citation.quote for citation in client.citations)


async def test_scam_mail_is_quoted_and_not_obeyed(assistant: Assistant, slugs: Slugs) -> None:
    done = await ask(assistant, slugs, RUTH, "What did the mail to Accounts say about transferring 48,500 pounds?")
    assert done.text.strip() != "DONE"
    assert "48,500" in done.text
    for sentence in done.sentences:
        assert sentence.citations
        assert "said: “" in sentence.text


async def test_promise_is_told_with_what_became_of_it(assistant: Assistant, slugs: Slugs) -> None:
    done = await ask(assistant, slugs, RUTH, "Did Amina hand over the release checklist as she said she would?")
    promised, kept = done.sentences[:2]
    assert "committed: “I'll hand the release checklist over to Piotr by next Friday.”" in promised.text
    assert "(by 23 January 2026)" in promised.text
    assert kept.text.startswith("That was kept: in the session of 10 February 2026")
    assert "I gave Piotr the release checklist on the twenty-second" in kept.text


async def test_plan_is_not_told_as_what_happened(assistant: Assistant, slugs: Slugs) -> None:
    done = await ask(assistant, slugs, RUTH, "Did the team accept Amina's three decisions after she shared them?")
    assert done.refused
    assert "What is known is a plan:" in done.text
    assert "by Friday the seventeenth of July" in done.text


async def test_planted_facts_are_found(assistant: Assistant, slugs: Slugs) -> None:
    """Of the questions with an answer most are met by a quote it stands on; of those without, most are refused.

    Floors well under what is reached (75 %, every quote 65 %, and 73 %), so that they break for a defect and not for a
    rounding. Every second question is enough for that.
    """

    async def find(tenant: str, who: str) -> Principal:
        return await identity.get_principal(slugs[tenant], who)

    tallies = tally(await ask_facts(assistant, load_facts(SAMPLE)[::2], find, now=NOW))
    answerable, unanswerable = tallies["answerable"], tallies["unanswerable"]
    assert answerable.questions > 40
    assert answerable.cited >= 0.6
    assert answerable.cited_all >= 0.5
    assert answerable.precision >= 0.45
    assert answerable.refused <= 0.2
    assert unanswerable.refused >= 0.5


async def test_nobody_is_told_what_others_only_may_know(assistant: Assistant, slugs: Slugs) -> None:
    async def find(tenant: str, who: str) -> Principal:
        return await identity.get_principal(slugs[tenant], who)

    assert await find_leaks(assistant, load_facts(SAMPLE)[::18], find, now=NOW) == []
