"""Operations: what its administrator sees of how the organisation is served, and what they must not see."""

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from playwright.async_api import Page, expect
from sqlalchemy import select

from db.models import AuditLog
from db.session import Principal, tenant_session
from domain import chat, ingestion, usage
from domain.usage import Used
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id, store_document, store_session
from tests.factories.usage import change_as_superuser, limit
from tests.web.browser import Eyes, find_barriers
from tests.web.flow_server import KnowingServer

SECRET = "amina-leaves-the-bank.pdf"
WORDS = "My father's illness is why I leave the bank."


async def add_failed(organisation: Organisation, key: str, cause: str, *, folder: str = "file:///mail") -> None:
    """Add a file of a client that failed while it was parsed, with a sentence that names it."""
    async with tenant_session(organisation.system) as session:
        source_id = await ingestion.ensure_source(session, folder)
        await ingestion.receive_objects(session, source_id, {key: 1_000})
        known = (await ingestion.list_known(session, source_id))[key]
        await ingestion.begin_stage(session, "8426e879-03a0-426e-b93b-cdca54baee25", "parse", [known.id])
        at = datetime.now(UTC)
        end = ingestion.StageEnd(known.id, at, at, error_code=cause, error=f"{key} is damaged; mend it.")
        await ingestion.finish_stage(session, "8426e879-03a0-426e-b93b-cdca54baee25", "parse", [end])
        await ingestion.fail_object(session, known.id, f"{key} is damaged; mend it.")


async def add_running(organisation: Organisation) -> None:
    """Let a run read a file at this moment."""
    async with tenant_session(organisation.system) as session:
        source_id = await ingestion.ensure_source(session, "file:///library")
        await ingestion.receive_objects(session, source_id, {"guide.pdf": 1_000})
        known = (await ingestion.list_known(session, source_id))["guide.pdf"]
        await ingestion.begin_stage(session, str(uuid4()), "embed", [known.id])


async def add_usage(organisation: Organisation, *, days: int = 20) -> None:
    """Use models for some weeks, 40,000 tokens and $1.50 of them today."""
    change_as_superuser(
        """
        INSERT INTO platform.usage_metrics (tenant_id, date, feature, requests, input_tokens, output_tokens,
            tokens_used, cost_usd, ingestions, storage_used)
        SELECT %s, (now() AT TIME ZONE 'UTC')::date - n, 'chat', 12 + n %% 7, t, t / 9, t + t / 9, t / 20000.0, n %% 3,
            120000 * (n %% 3)
        FROM generate_series(1, %s) n, LATERAL (SELECT 9000 + 2731 * (n * n %% 11) AS t) tokens
        """,
        organisation.tenant_id, days - 1,
    )  # fmt: skip
    async with tenant_session(organisation.system) as session:
        chatted = Used(feature="chat", requests=14, input_tokens=37_000, output_tokens=3_000, cost_usd=Decimal("1.5"))
        await usage.settle(session, [chatted, Used(feature="evidence", cost_usd=None, unpriced=2)])


async def add_failures(organisation: Organisation, person: Principal, *, cause: str, status: chat.RunStatus) -> None:
    """Let one answer meet a failure, whose message holds words that nobody else may read."""
    async with tenant_session(organisation.system) as session:
        run_id = uuid4()
        await chat.start_run(
            session, run_id=run_id, user_id=require_id(person), session_id=None, agent_type="assistant"
        )
        failure = chat.Failure(error_type=cause, message=f"default: {WORDS}", retryable=True)
        await chat.finish_run(session, run_id, status, metadata={}, failures=[failure])


async def see(eyes: Eyes, person: Principal, **how: Any) -> Page:
    """Open the page and wait until all its parts are there."""
    page = await eyes.open("/operations", person, **how)
    await expect(page.locator(".ops-body[aria-busy=true]")).to_have_count(0)
    return page


async def test_an_administrator_sees_what_needs_them_and_mends_it(
    eyes: Eyes, organisation: Organisation, flows: KnowingServer
) -> None:
    for key in (SECRET, "daniel.pdf", "marisol.pdf"):
        await add_failed(organisation, key, "DamagedSource")
    await add_running(organisation)
    await add_usage(organisation)
    await limit(organisation, tokens=45_000, usd=10)
    await add_failures(organisation, organisation.client_a, cause="ProviderUnavailable", status="failed")
    flows.add(uuid4(), "run-evaluation", "FAILED", name=SECRET)
    flows.add(
        organisation.tenant_id, "ingest-sources", "FAILED",
        f"Flow run encountered an exception: domain.ingestion.SourceBusy: {SECRET} is held",
        name=SECRET,
    )  # fmt: skip
    page = await see(eyes, organisation.admin)

    for part, words in (
        ("Ingestion and flows", "problemand 1 more3 files failed to be taken in"),
        ("Usage and cost", "warningand 1 moreTokens today: 89 % of the limit is used"),
        ("Services", "warningBackups: none yet"),
        ("Answers", "problem1 answer of 1 failed"),
    ):
        await expect(page.get_by_role("status", name=part)).to_have_text(words)
    assert await find_barriers(page) == []
    ingestion_part = page.get_by_role("region", name="Ingestion and flows")
    cause = ingestion_part.get_by_role("listitem").filter(has_text="This file is damaged or incomplete")
    await expect(cause).to_contain_text("3 files of mail, while parsing")
    link = cause.get_by_role("link", name="Open the run")
    pages = flows.url.removesuffix("/api")
    assert await link.get_attribute("href") == f"{pages}/runs/flow-run/8426e879-03a0-426e-b93b-cdca54baee25"
    await expect(ingestion_part.get_by_text("1 file of library, since")).to_be_visible()
    await expect(ingestion_part.get_by_role("row").filter(has_text="ingest sources")).to_contain_text(
        "Another run is ingesting this source"
    )
    await expect(ingestion_part).not_to_contain_text("run evaluation")

    before = len(flows.started)
    await cause.get_by_role("button", name="Run again: mail").click()
    await expect(cause.get_by_role("link", name="Open the new run")).to_be_visible()
    (started,) = flows.started[before:]
    assert started["parameters"] == {"tenant_id": str(organisation.tenant_id), "source": "file:///mail"}
    flows.deployed = False
    await cause.get_by_role("button", name="Run again: mail").click()
    await expect(page.get_by_text("The flow server has no deployment 'ingest-sources'")).to_be_visible()
    flows.deployed = True

    usage_part = page.get_by_role("region", name="Usage and cost")
    tokens = usage_part.get_by_role("listitem").filter(has_text="Tokens today")
    await expect(tokens).to_contain_text("40,000 of 45,000 tokens")
    await expect(tokens).to_contain_text("5,000 tokens left")
    await expect(tokens.get_by_role("meter")).to_have_attribute("aria-valuenow", "89")
    await expect(usage_part).to_contain_text("more than the $10.00 allowed")
    await expect(usage_part).to_contain_text("2 calls of models had no known price")
    plot = usage_part.get_by_role("img")
    await expect(plot).to_have_attribute("aria-label", re.compile("^Tokens of each day"))
    await usage_part.get_by_label("Measure").select_option("usd")
    await expect(plot).to_have_attribute("aria-label", re.compile("^USD for models of each day"))
    await usage_part.get_by_text("Every day as a table").click()
    today = usage_part.get_by_role("row").filter(has_text=f"{datetime.now(UTC):%Y-%m-%d}")
    await expect(today).to_contain_text("37,000")

    await expect(page.get_by_role("region", name="Services")).to_contain_text("Model 1: extractive")
    answers = page.get_by_role("region", name="Answers")
    await expect(answers).to_contain_text("1 time in 1 run of the assistant")
    await expect(answers).to_contain_text("fewer than 5 people")
    await answers.get_by_label("Over").select_option("30")
    await expect(answers.get_by_label("Over")).to_have_value("30")

    shown = await page.content()
    assert SECRET not in shown
    assert "illness" not in shown


async def test_what_a_question_lost_is_counted_without_a_word(eyes: Eyes, organisation: Organisation) -> None:
    await name_people(organisation)
    march, april = datetime(2026, 3, 12, tzinfo=UTC), datetime(2026, 4, 16, tzinfo=UTC)
    turns = [("coach", "What weighs on you?"), ("client", WORDS)]
    await store_session(organisation, turns, held_at=march, visibility="coach_only")
    await store_session(organisation, turns, held_at=april, visibility="coach_only")
    await store_session(organisation, turns, client=organisation.client_c, coach=organisation.coach_b)
    await store_document(organisation, ["The quay opens at nine.", "Visitors sign the book."])
    await add_failed(organisation, SECRET, "DamagedSource")
    page = await see(eyes, organisation.admin, width=380)
    part = page.get_by_role("region", name="Why not found")

    async def ask(person: str, question: str) -> None:
        await part.get_by_label("Person").fill(f"{person}@{organisation.slug}.example")
        await part.get_by_label("Question").fill(question)
        await part.get_by_role("button", name="Count").click()

    async def expect_lost(*steps: list[str]) -> None:
        texts = "all => all.map(one => [...one.querySelectorAll('b, p')].map(part => part.textContent).join(' '))"
        lost: list[list[str]] = []
        for _ in range(150):  # what stood there before goes, and this comes
            said: list[str] = await part.locator(".ops-funnel li").evaluate_all(texts)
            lost = [re.findall(r"\d+", step) for step in said]
            if lost == list(steps):
                return
            await asyncio.sleep(0.2)
        raise AssertionError(lost)

    await ask("coach_a", "What did Amina Diallo say in the last session?")
    await expect_lost(["4"], ["3", "1"], ["1", "2"], ["1", "0"])
    await expect(part).to_contain_text("the people it names, the sessions it names")
    await expect(part).to_contain_text("1 file besides can't be searched")
    await ask("client_b", "Why leave the bank?")
    await expect_lost(["4"], ["1", "3"], ["1", "0"], ["1", "0"])
    await expect(part).to_contain_text("Most was left out by rights")
    assert "illness" not in await page.content()

    await ask("nobody", "Why leave the bank?")
    await expect(part.get_by_role("alert")).to_contain_text("Nobody active in your organisation has this address")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await find_barriers(page) == []
    async with tenant_session(organisation.compliance) as session:
        entries = (await session.scalars(select(AuditLog).where(AuditLog.action == "search_traced"))).all()
    assert {(entry.actor_id, entry.actor_role) for entry in entries} == {(organisation.admin.user_id, "admin")}
    assert {entry.entity_id for entry in entries} == {organisation.coach_a.user_id, organisation.client_b.user_id}


async def test_nobody_else_sees_operations_and_a_right_that_ended_counts_at_once(
    eyes: Eyes, organisation: Organisation
) -> None:
    await add_failed(organisation, "guide.pdf", "DamagedSource")
    for person in (organisation.coach_a, organisation.client_a, organisation.executive, organisation.compliance):
        page = await eyes.open("/operations", person)
        await expect(page.get_by_text("This page is not for your role")).to_be_visible()
        await expect(page.get_by_text("guide.pdf")).to_have_count(0)
        await expect(page.get_by_role("button", name="Run again")).to_have_count(0)
    page = await see(eyes, organisation.admin, dark=True)
    await expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert await find_barriers(page) == []
    other = await eyes.open_tab(page.context, "/operations")
    await other.get_by_role("button", name="Sign out").click()
    await expect(other).to_have_url(re.compile(r"/sign-in$"))
    await page.get_by_role("button", name="Run again").click()
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Foperations"))


async def test_an_organisation_without_anything_is_told_what_comes_next(
    eyes: Eyes, organisation: Organisation, flows: KnowingServer
) -> None:
    page = await see(eyes, organisation.admin)
    for words in (
        "Nothing has been taken in yet", "Nothing runs at this moment", "No file failed", "knows no run of this",
        "Nothing was used in the last 30 days", "Nobody asked the assistant anything", "No limit is set",
    ):  # fmt: skip
        await expect(page.get_by_text(words).first).to_be_visible()
    assert await find_barriers(page) == []
