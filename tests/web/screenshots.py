"""Pictures of every page each role can reach, at three widths, light and dark, with what axe says and how fast each is.

`python -m tests.web.screenshots` starts a sample of its own and takes it down again; `--url` with `--home` uses one
that runs. Pages are found by their links, one of each kind.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from playwright.async_api import Browser, BrowserContext, Page

from api.web.frame import PLACES
from flows.server import find_free_port
from tests.web.browser import find_barriers, run_browser
from tests.web.staged import stage

WIDTHS: Final = (380, 820, 1440)
ROLES: Final = ("coach", "client", "admin", "executive", "compliance", "evaluator")
QUESTIONS: Final = {
    "coach": "What did Amina commit to in the last session?", "client": "What did I commit to in the last session?",
}  # fmt: skip
MOST: Final = 16
"""Pages of one role."""
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|rgl_[\w-]+")


@dataclass(frozen=True)
class Shown:
    """One page as one role sees it."""

    role: str
    name: str
    path: str


@contextmanager
def run_sample() -> Iterator[tuple[str, Path]]:
    """Run the product with its sample in a folder that goes away; yields its address and home."""
    with tempfile.TemporaryDirectory(prefix="regenesis-screenshots-", ignore_cleanup_errors=True) as folder:
        home, port = Path(folder), find_free_port()
        home.chmod(0o755)  # as root, PostgreSQL runs as a user of its own that must pass through
        ports = ["--port", str(port), "--prefect-port", str(find_free_port())]
        command = [str(Path(sys.executable).with_name("regenesis")), "up", *ports]
        environment = {**os.environ, "REGENESIS_HOME": str(home)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="")
                if "Ctrl-C stops everything" in line:
                    break
            else:
                raise RuntimeError("The sample did not start; what it said stands above.")
            yield f"http://127.0.0.1:{port}", home
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


async def sign_in(browser: Browser, url: str, email: str, password: str, *, dark: bool, width: int) -> BrowserContext:
    """Return a window in which this person signed in."""
    context = await browser.new_context(
        base_url=url, color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}
    )
    page = await context.new_page()
    await page.goto("/sign-in?organisation=harbourlight")
    await page.fill("#email", email)
    await page.fill("#password", password)
    await page.click("button[type=submit]")
    await page.wait_for_selector("h1", state="attached")
    await page.close()
    return context


async def find_pages(context: BrowserContext, role: str, more: list[str]) -> list[Shown]:
    """Return the pages this role gets to by links, one of each kind, those of the navigation first; and `more`."""
    todo = [place.path for place in PLACES if role in place.roles] + more
    seen: dict[str, Shown] = {}
    page = await context.new_page()
    while todo and len(seen) < MOST:
        path = todo.pop(0)
        name = _ID.sub("one", urlsplit(path).path).strip("/").replace("/", "-") or "start"
        if name in seen:
            continue
        reply = await page.goto(path)
        if reply is None or reply.status >= 400:
            continue
        await page.wait_for_selector("h1", state="attached")
        if path == "/chat" and role in QUESTIONS:
            await page.fill("#question", QUESTIONS[role])
            await page.keyboard.press("Enter")
            await page.wait_for_selector("button.cite")
            todo.insert(0, urlsplit(page.url).path)
        elif name == "packs-one":
            await page.get_by_role("button", name="Share", exact=True).click()
            await page.wait_for_function("document.getElementById('share-address')?.value")
            todo.append(urlsplit(await page.get_by_label("Address").input_value()).path)
        seen[name] = Shown(role, name, path)
        links = await page.eval_on_selector_all("#content a[href^='/']", "all => all.map(a => a.getAttribute('href'))")
        todo += [link for link in links if not link.startswith(("/v1/", "/docs", "/web/"))]
    await page.close()
    return list(seen.values())


async def take(page: Page, shown: Shown, name: str, folder: Path) -> None:
    """Take one picture; of a conversation with the source of its first citation open."""
    await page.goto(shown.path)
    await page.wait_for_selector("h1", state="attached")
    # what is still being worked out stands behind grey bars, as does what is folded and not read yet
    await page.wait_for_function(
        "![...document.querySelectorAll('#content .waiting')].some((bar) => bar.checkVisibility())", timeout=60_000
    )
    await page.wait_for_timeout(400)
    if shown.name == "chat-one":
        await page.locator("button.cite").first.click()
        await page.wait_for_selector(".source-panel mark")
        await page.wait_for_timeout(300)
    await page.screenshot(path=folder / f"{name}.png")


async def measure(context: BrowserContext, shown: Shown) -> tuple[float, list[str]]:
    """Return the seconds to the first heading of a page loaded again, and what axe finds serious."""
    page = await context.new_page()
    await page.goto(shown.path)
    await page.wait_for_selector("h1", state="attached")
    await page.reload(wait_until="commit")
    await page.wait_for_selector("h1", state="attached")
    seconds = await page.evaluate("performance.now() / 1000")
    await page.wait_for_timeout(300)
    barriers = await find_barriers(page)
    await page.close()
    return float(seconds), barriers


async def shoot(
    url: str, passwords: dict[str, str], people: dict[str, str], more: dict[str, list[str]], folder: Path
) -> int:
    """Take all pictures and print a line a page; return how many pages have barriers."""
    barred = 0
    async with run_browser() as browser:
        for role in ROLES:
            if people.get(role) not in passwords:
                continue
            email = people[role]
            first = await sign_in(browser, url, email, passwords[email], dark=False, width=WIDTHS[-1])
            pages = await find_pages(first, role, more.get(role, []))
            for shown in pages:
                seconds, barriers = await measure(first, shown)
                barred += bool(barriers)
                print(f"{role:11} {shown.name:24} {seconds:5.2f} s  {'; '.join(barriers) or 'no barriers'}")
            await first.close()
            for dark in (False, True):
                for width in WIDTHS:
                    window = await sign_in(browser, url, email, passwords[email], dark=dark, width=width)
                    page = await window.new_page()
                    for shown in pages:
                        await take(page, shown, f"{role}-{shown.name}-{width}-{'dark' if dark else 'light'}", folder)
                    await window.close()
    print(f"Pictures are in {folder}.")
    return barred


async def list_people(url: str, home: Path) -> dict[str, str]:
    """Return who has which role, by the sample's keys."""
    keys = json.loads((home / "sample-keys.json").read_text())
    async with httpx.AsyncClient(base_url=url) as client:
        (await client.get("/healthz")).raise_for_status()
    return {one["role"]: one["email"] for one in keys}


def main() -> int:
    """Return the exit code: 1 where axe finds something serious."""
    parser = argparse.ArgumentParser(description="Take pictures of every page.")
    parser.add_argument("--url", help="of a service that runs; its home is then needed too")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("artifacts/screenshots"))
    given = parser.parse_args()

    def go(url: str, home: Path, more: dict[str, list[str]]) -> int:
        passwords = json.loads((home / "sample-passwords.json").read_text())
        given.folder.mkdir(parents=True, exist_ok=True)
        people = asyncio.run(list_people(url, home))
        return asyncio.run(shoot(url, passwords, people, more, given.folder))

    if given.url:
        return min(go(given.url, given.home, {}), 1)
    with run_sample() as (url, home):
        return min(go(url, home, stage(url, home)), 1)


if __name__ == "__main__":
    sys.exit(main())
