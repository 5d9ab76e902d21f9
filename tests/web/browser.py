"""A real browser that looks over the pages' shoulder: console, requests to elsewhere, accessibility, pictures."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from api.web.viewer import COOKIE
from core.settings import get_settings
from db.session import Principal, tenant_session
from domain.sessions import open_session
from tests.factories.sessions import require_id

expect.set_options(timeout=30_000)  # a machine that runs a whole suite is slow

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXPECTED: Final = "the server responded with a status of 40"
"""What Chromium writes to the console where a reply is meant to refuse."""


def find_browser() -> str:
    """Return the path of a Chromium; skips where the machine has none."""
    found = os.environ.get("REGENESIS_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(
            "no Chromium is installed; install one (Debian: apt install chromium) or set REGENESIS_TEST_BROWSER"
        )
    return found


@asynccontextmanager
async def run_browser() -> AsyncIterator[Browser]:
    """Run the machine's Chromium without a window."""
    async with async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=flags)
        yield browser
        await browser.close()


@dataclass
class Eyes:
    """Opens windows of people, and remembers what no page should do."""

    browser: Browser
    url: str
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def open(
        self, path: str = "/", person: Principal | None = None, *, width: int = 1280, dark: bool = False,
        zone: str = "Europe/Dublin",
    ) -> Page:  # fmt: skip
        """Open a page in a window of its own, signed in as the person."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", timezone_id=zone,
            base_url=self.url, reduced_motion="reduce",  # axe would judge colours that are still fading in
        )  # fmt: skip
        context.set_default_timeout(30_000)
        self.contexts.append(context)
        if person is not None:
            await context.add_cookies([{"name": COOKIE, "value": await make_sign_in(person), "url": self.url}])
        return await self.open_tab(context, path)

    async def open_tab(self, context: BrowserContext, path: str) -> Page:
        """Open another tab of the same window."""
        page = await context.new_page()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("request", self._note_request)
        await page.goto(path)
        return page

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and EXPECTED not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.complaints.append(f"request elsewhere: {request.url}")

    async def close(self) -> None:
        """Close all windows."""
        for context in self.contexts:
            await context.close()


async def make_sign_in(person: Principal) -> str:
    """Return the token of a new sign-in."""
    async with tenant_session(Principal(person.tenant_id, "system")) as session:
        opened = await open_session(session, user_id=require_id(person), role=person.role, settings=get_settings().auth)
    return opened.token


async def find_barriers(page: Page) -> list[str]:
    """Return what axe calls serious or critical, each with where it is."""
    found = await Axe().run(page)
    return [
        f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
