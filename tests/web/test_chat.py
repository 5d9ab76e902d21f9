"""A coach chats: cited sentences, the words behind each, what was searched, and what ends with their rights."""

import re
from datetime import UTC, datetime

from playwright.async_api import Page, expect
from sqlalchemy import select

from db.models import Feedback
from db.session import Principal, tenant_session
from domain.coaching import end_engagement
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id, store_session
from tests.web.browser import Eyes, find_barriers

TURNS = [
    ("coach", "What will you do about the pager this week?"),
    ("client", "I will hand the pager over to Tobias by Friday. It wakes me up twice every night."),
    ("coach", "And how will you know that it worked?"),
    ("client", "I will have slept through a whole night before we meet again."),
]
QUESTION = "What did Amina say about the pager?"
WORDS = "I will hand the pager over to Tobias by Friday."


async def found(organisation: Organisation) -> None:
    await name_people(organisation)
    await store_session(organisation, TURNS, held_at=datetime(2026, 3, 12, 9, tzinfo=UTC))
    await store_session(
        organisation, [("client", "The pager stays with me in autumn, I have decided.")],
        held_at=datetime(2026, 9, 3, 9, tzinfo=UTC), client=organisation.client_b,
    )  # fmt: skip


async def ask(page: Page, question: str = QUESTION) -> None:
    """Ask and wait for the whole answer."""
    answers = page.locator(".answer .coverage")
    before = await answers.count()
    await page.get_by_label("Your question").fill(question)
    await page.get_by_label("Your question").press("Enter")
    await expect(answers).to_have_count(before + 1)


async def leave(organisation: Organisation, coach: Principal, client: Principal) -> None:
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=require_id(coach), client_id=require_id(client))


async def test_a_citation_opens_the_exact_words(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    assert await find_barriers(page) == []
    await ask(page)
    answer = page.locator(".answer").last
    await expect(answer).to_contain_text(WORDS)
    await expect(answer.locator(".coverage")).to_contain_text("1 of 1 session searched, 1 cited")
    await expect(answer.locator(".coverage")).to_contain_text("quoted without a model")
    assert "[1]" not in await answer.inner_text()
    citation = answer.get_by_role("button", name=re.compile("^Source 1: Amina Diallo"))
    await citation.click()
    source = page.get_by_role("complementary", name="Source")
    await expect(source.locator("mark")).to_contain_text(WORDS)
    await expect(source).to_contain_text("What will you do about the pager this week?")  # who spoke before
    await expect(source).to_contain_text("0:10")  # when
    await expect(source.locator("mark")).to_be_in_viewport()
    assert await find_barriers(page) == []
    await page.keyboard.press("Escape")
    await expect(source).to_be_hidden()
    await expect(page.get_by_role("navigation", name="Conversations")).to_contain_text(QUESTION)
    await expect(page).to_have_url(re.compile(r"/chat/[0-9a-f-]{36}$"))
    await page.reload()
    await expect(page.locator(".answer").last).to_contain_text(WORDS)


async def test_a_refusal_says_what_was_searched(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await ask(page, "What is the capital of Mongolia?")
    await expect(page.locator(".answer .coverage")).to_contain_text("No answer found")
    await expect(page.locator(".answer .coverage")).to_contain_text("of 2 sessions searched")
    assert await page.locator(".answer .cite").count() == 0


async def test_a_search_is_narrowed_to_days_and_a_client(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open(f"/chat?about={organisation.client_b.user_id}", organisation.coach_a)
    await page.get_by_text("Narrow the search").click()
    await expect(page.get_by_label("Client")).to_have_value(str(organisation.client_b.user_id))
    await ask(page, "What was said about the pager?")
    await expect(page.locator(".answer").last).to_contain_text("stays with me in autumn")
    await page.get_by_label("Until").fill("2026-05-01")
    await page.get_by_label("Until").press("Tab")
    await ask(page, "What was said about the pager?")
    await expect(page.locator(".answer").last).to_contain_text("No answer found")
    await expect(page.locator(".answer").last).to_contain_text("within your filters")


async def test_feedback_tells_why(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await ask(page)
    await page.get_by_role("button", name="Not helpful").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Misses something").check()
    await dialog.get_by_label("In your words").fill("She said more in April.")
    assert await find_barriers(page) == []
    await dialog.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("button", name="Not helpful")).to_have_attribute("aria-pressed", "true")
    async with tenant_session(organisation.coach_a) as session:
        (given,) = (await session.scalars(select(Feedback))).all()
    assert (given.rating, given.reason, given.comment) == (-1, "Misses something", "She said more in April.")


async def test_a_link_shows_each_reader_what_is_theirs(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await ask(page)
    await page.get_by_role("button", name="Share a link").click()
    box = page.get_by_label("Address")
    await expect(box).to_have_value(re.compile(r"/shared/rgl_"))
    path = (await box.input_value()).removeprefix(eyes.url)
    client = await eyes.open(path, organisation.client_a)
    await expect(client.locator(".answer")).to_contain_text(WORDS)
    await client.locator("button.cite").first.click()
    await expect(client.get_by_role("complementary", name="Source").locator("mark")).to_contain_text(WORDS)
    stranger = await eyes.open(path, organisation.coach_b)
    await expect(stranger.locator(".answer")).to_contain_text("withheld")
    assert "Tobias" not in await stranger.content()
    assert "Amina" not in await stranger.content()
    await leave(organisation, organisation.coach_a, organisation.client_a)
    back = await eyes.open(path, organisation.coach_a)
    await expect(back.locator(".answer")).to_contain_text("withheld")


async def test_what_ends_ends_in_two_open_tabs(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await ask(page)
    other = await eyes.open_tab(page.context, page.url.removeprefix(eyes.url))
    await expect(other.locator(".answer")).to_contain_text(WORDS)
    await leave(organisation, organisation.coach_a, organisation.client_a)
    await page.locator("button.cite").first.click()
    source = page.get_by_role("complementary", name="Source")
    await expect(source).to_contain_text("No longer available")
    assert "Tobias" not in await source.inner_text()
    await other.reload()
    await expect(other.locator(".answer")).to_contain_text("withheld")
    assert "Tobias" not in await other.content()


async def test_a_client_reads_their_own_on_a_phone_in_the_dark(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.client_a, width=380, dark=True)
    await ask(page, "What did I say about the pager?")
    answer = page.locator(".answer").last
    await expect(answer).to_contain_text(WORDS)
    assert "autumn" not in await answer.inner_text()
    await answer.locator("button.cite").first.click()
    await expect(page.get_by_role("complementary", name="Source").locator("mark")).to_be_in_viewport()
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.goto("/clients")
    await expect(page.get_by_role("heading", name="This page is not for your role")).to_be_visible()


async def test_another_persons_conversation_is_not_there(eyes: Eyes, organisation: Organisation) -> None:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await ask(page)
    stranger = await eyes.open(page.url.removeprefix(eyes.url), organisation.coach_b)
    await expect(stranger.get_by_text("There is no such conversation of yours")).to_be_visible()
    for person in ("admin", "compliance", "evaluator"):
        other = await eyes.open("/chat", organisation.people[person])
        await expect(other.get_by_role("heading", name="This page is not for your role")).to_be_visible()
