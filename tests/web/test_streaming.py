"""An answer that takes its time: told as it comes, stopped, cut by a restart, ended with its reader's rights."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from core.settings import Settings
from tests.api.conftest import serve
from tests.factories.people import Organisation
from tests.web import slow_model
from tests.web.browser import Eyes
from tests.web.conftest import Served, serve_pages
from tests.web.test_chat import QUESTION, found, leave

FIRST, SECOND = "She hands the pager over to Tobias by Friday", "It wakes her up twice"


@pytest.fixture(scope="module")
async def slow(store: Settings) -> AsyncIterator[Served]:
    """A service of its own whose model pauses between sentences."""
    with serve(slow_model.app) as url:
        model = {
            "REGENESIS_LLM__BASE_URL": f"{url}/v1", "REGENESIS_LLM__MODEL": "slow", "REGENESIS_LLM__API_KEY": "none",
        }  # fmt: skip
        async with serve_pages(store, **model) as made:
            yield made


@pytest.fixture
async def slow_eyes(browser: Browser, slow: Served) -> AsyncIterator[Eyes]:
    """Windows on that service."""
    made = Eyes(browser, slow.url)
    yield made
    await made.close()
    # a page whose service is away says so on the console, as it should
    assert [one for one in made.complaints if "WebSocket" not in one and "ERR_CONNECTION" not in one] == []


async def begin(eyes: Eyes, organisation: Organisation) -> Page:
    await found(organisation)
    page = await eyes.open("/chat", organisation.coach_a)
    await page.get_by_label("Your question").fill(QUESTION)
    await page.get_by_role("button", name="Ask").click()
    await expect(page.locator(".answer")).to_contain_text(FIRST)
    assert SECOND not in await page.locator(".answer").inner_text()
    return page


async def test_an_answer_is_told_as_it_comes_without_moving_what_stands(
    slow_eyes: Eyes, organisation: Organisation
) -> None:
    page = await begin(slow_eyes, organisation)
    top = await page.locator(".question").evaluate("e => e.getBoundingClientRect().top + scrollY")
    await expect(page.locator(".answer")).to_contain_text(SECOND)
    await expect(page.locator(".answer .coverage")).to_contain_text("written by")
    assert await page.locator(".question").evaluate("e => e.getBoundingClientRect().top + scrollY") == top
    await expect(page.locator("button.cite").first).to_be_visible()


async def test_a_stopped_answer_can_be_asked_again(slow_eyes: Eyes, organisation: Organisation) -> None:
    page = await begin(slow_eyes, organisation)
    await page.get_by_role("button", name="Stop the answer").click()
    await expect(page.locator(".answer")).to_contain_text("Stopped.")
    await page.reload()
    await expect(page.locator(".answer").first).to_contain_text(FIRST)  # what was said is kept
    assert SECOND not in await page.locator(".messages").inner_text()


async def test_rights_that_end_end_the_answer(slow_eyes: Eyes, organisation: Organisation) -> None:
    page = await begin(slow_eyes, organisation)
    await leave(organisation, organisation.coach_a, organisation.client_a)
    await expect(page.locator(".answer")).to_contain_text("withdrawn from you")
    assert SECOND not in await page.locator(".messages").inner_text()
    await page.reload()
    assert "Tobias" not in await page.locator(".messages").inner_text()


async def test_a_restart_in_mid_answer_loses_nothing_that_was_asked(
    slow_eyes: Eyes, slow: Served, organisation: Organisation
) -> None:
    page = await begin(slow_eyes, organisation)
    slow.kill()
    await slow.start()
    await expect(page.get_by_text("This answer broke off before it was complete.")).to_be_visible(timeout=60_000)
    await expect(page.locator(".question")).to_contain_text(QUESTION)
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.locator(".answer").last).to_contain_text(SECOND)
