"""The assistant over the sample organisations' own material, with the embedded model and no language model."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import cli
from core.settings import Settings
from db.session import Principal, tenant_session
from domain import coaching, identity
from domain.platform import found_tenant
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
    assert {citation.speaker for citation in done.citations} == {"Amina Diallo"}
    assert {citation.held_at and citation.held_at.date().isoformat() for citation in done.citations} == {"2026-07-07"}
    assert done.coverage.sessions_in_scope == 1


async def test_the_same_name_in_two_organisations(assistant: Assistant, slugs: Slugs) -> None:
    here = await ask(assistant, slugs, RUTH, "How many hours is Amina sleeping these days?")
    there = await ask(assistant, slugs, GRACE, "How many hours is Amina sleeping these days?")
    assert "even, most nights" in here.text
    assert "five and a half" not in here.text.lower()
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


async def test_planted_facts_are_found(assistant: Assistant, slugs: Slugs) -> None:
    """Of the questions with an answer at least half are met by a quote it stands on; of those without, a third refuse.

    Floors well under what is reached (63 % and 45 %), so that they break for a defect and not for a rounding. Every
    second question is enough for that.
    """
    hits, refusals = [], []
    for fact in map(json.loads, (SAMPLE / "truth.jsonl").read_text().splitlines()[::2]):
        asker = next((who for who in fact["answerable_by"] if "@" in who), None)
        if fact["type"] == "unanswerable":
            coach = {"harbourlight": RUTH, "fieldstone": GRACE}[fact["tenant"]]
            refusals.append((await ask(assistant, slugs, coach, fact["question"])).refused)
        elif asker is not None:
            done = await ask(assistant, slugs, asker, fact["question"])
            said = " ".join(citation.quote for citation in done.citations)
            wanted = [quote["exact"] for quote in fact["quotes"]]
            hits.append(
                any(exact[:40] in said for exact in wanted)
                or any(citation.quote in exact for exact in wanted for citation in done.citations)
            )
    assert len(hits) > 30
    assert sum(hits) / len(hits) >= 0.5
    assert sum(refusals) / len(refusals) >= 1 / 3
