"""Sources in a real browser: found, read, added, retried, and kept from whom they are not for."""

import re
from pathlib import Path

import httpx
from playwright.async_api import Page, expect

from api.web.viewer import COOKIE
from core.settings import Settings
from db.session import Principal, tenant_session
from domain.identity import issue_api_key
from pipelines.ingest import ingest_source
from tests.api.conftest import FlowServer
from tests.factories.evidence_world import ROTA, build_world
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, Stored, name_people, require_id, store_document, store_session
from tests.web.browser import Eyes, find_barriers, make_sign_in
from tests.web.conftest import MOST, Served
from tests.web.test_chat import ask

VTT = """WEBVTT

00:00:01.000 --> 00:00:04.000
Coach: What will you do about the pager?

00:00:05.000 --> 00:00:09.000
Client: I'll hand the pager to Tobias by Friday.
"""
LONG = [
    ("coach" if n % 2 == 0 else "client", f"This is turn {n} of a long talk about the harbour.") for n in range(230)
]
LONG[150] = ("coach", "Here the lighthouse is named, and only here.")


async def search(served: Served, organisation: Organisation, person: Principal, words: str) -> list[str]:
    """Return the texts of what the person finds."""
    async with tenant_session(organisation.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(person), name="test")
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {key}"}) as client:
        return [one["text"] for one in (await client.post("/v1/search", json={"query": words})).json()["items"]]


async def expect_in_view(page: Page, selector: str) -> None:
    await expect(page.locator(selector).first).to_be_in_viewport()


async def test_a_coach_finds_a_source_and_reads_it_where_a_link_leads(eyes: Eyes, organisation: Organisation) -> None:
    await name_people(organisation)
    talk = await store_session(organisation, LONG)
    await store_session(organisation, [("coach", "And you?"), ("client", "Tired.")], client=organisation.client_b)
    await store_document(
        organisation, ["Everyone reads this guide.", "The second page of the guide."], title="House guide"
    )
    page = await eyes.open("/sources", organisation.coach_a)
    rows = page.locator(".source")
    await expect(rows).to_have_count(3)
    await expect(page.get_by_role("status")).to_contain_text("3 sources")
    await expect(rows.filter(has_text="House guide")).to_contain_text("Everyone in the organisation")
    await expect(rows.filter(has_text="Daniel Okafor")).to_contain_text("12 March 2026")
    await page.get_by_label("Title, file or client").fill("house")
    await expect(rows).to_have_count(1)
    await expect(page.get_by_label("Title, file or client")).to_have_value("house")
    await page.get_by_label("Title, file or client").fill("")
    await expect(rows).to_have_count(3)
    await page.get_by_label("Kind").select_option("transcript")
    await page.get_by_label("Client", exact=True).select_option(label="Amina Diallo")
    await expect(rows).to_have_count(1)
    await rows.get_by_role("button").click()
    await expect(rows.get_by_label("Who may read it")).to_have_value("client_visible")
    assert await find_barriers(page) == []
    await page.get_by_label("State").select_option("failed")
    await expect(page.get_by_role("status")).to_contain_text("Nothing found")
    start = sum(len(words) + 1 for _, words in LONG[:150]) + LONG[150][1].index("lighthouse")
    await page.goto(f"/transcripts/{talk.source_id}?char={start},{start + 10}#turn-150")
    await expect(page.locator("mark")).to_have_text("lighthouse")
    await expect_in_view(page, "mark")
    await expect(page.locator("#turn-150")).to_contain_text("Ruth Ellery")
    await expect(page.locator("#turn-150")).to_contain_text("25:00")
    await expect(page.locator(".turn")).to_have_count(80)
    await page.get_by_role("button", name="Show earlier turns").click()
    await expect(page.locator(".turn")).to_have_count(160)
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator(".turn")).to_have_count(180)
    assert await find_barriers(page) == []
    await page.get_by_label("Find in this text").fill("turn 3 of")
    await page.keyboard.press("Enter")
    await expect(page.locator("mark")).to_have_text("turn 3 of")
    await expect(page.get_by_role("status")).to_have_text("1 of 1")
    await expect_in_view(page, "mark")


async def test_texts_are_read_at_turns_and_characters_on_a_narrow_screen(
    eyes: Eyes, organisation: Organisation
) -> None:
    talk = await store_session(organisation, LONG)
    guide = await store_document(
        organisation, ["Line of the guide. " * 2000, "Here is the buoy.", "x y " * 9000], title="Guide"
    )
    page = await eyes.open(f"/transcripts/{talk.source_id}#turn-200", organisation.client_a, width=380, dark=True)
    await expect_in_view(page, "#turn-200")
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 380
    await page.goto(f"/transcripts/{talk.source_id}?char=nonsense#turn-9999999")
    await expect_in_view(page, "#turn-229")
    start = len("Line of the guide. " * 2000)
    await page.goto(f"/documents/{guide.source_id}#char={start},{start + 25}")
    await expect(page.locator("mark")).to_contain_text("buoy")
    await expect_in_view(page, "mark")
    await page.get_by_role("button", name="Show what is before").click()
    await expect(page.locator(".document-text").first).to_contain_text("Line of the guide")
    await page.get_by_label("Find in this text").fill("X Y")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("1 of 500 or more")
    await page.get_by_role("button", name="To the place before").press("Enter")  # a click may meet the text as it moves
    await expect(page.get_by_role("status")).to_have_text("500 of 500 or more")
    assert await find_barriers(page) == []


async def test_a_file_is_added_worked_on_and_found(  # noqa: PLR0917  # fixtures
    eyes: Eyes, served: Served, flows: FlowServer, organisation: Organisation, store: Settings, tmp_path: Path
) -> None:
    await name_people(organisation)
    files = {"talk.vtt": VTT, "broken.docx": "PK\x03\x04broken", "large.txt": "word " * MOST}
    for name, words in files.items():
        (tmp_path / name).write_text(words)
    flows.started.clear()
    page = await eyes.open("/sources", organisation.coach_a)
    await expect(page.get_by_role("status")).to_contain_text("nothing here yet")
    await page.get_by_role("button", name="Add files").click()
    await page.locator("#upload").get_by_label("About").select_option(label="Amina Diallo")
    await page.locator("#upload").get_by_label("Who may read it").select_option("client_visible")
    await page.get_by_label("Day of the session").fill("2026-03-12")
    await page.get_by_label("Files", exact=True).set_input_files([tmp_path / name for name in files])
    sent = page.locator("#uploads li")
    await expect(sent.filter(has_text="large.txt")).to_contain_text("larger than 50,000 bytes; split it")
    for name in ("talk.vtt", "broken.docx"):
        await expect(sent.filter(has_text=name)).to_contain_text("Taken in")
    rows = page.locator(".source")
    await expect(rows).to_have_count(2)
    talk, broken = rows.filter(has_text="talk"), rows.filter(has_text="broken.docx")
    await expect(talk).to_contain_text("On its way")
    assert await find_barriers(page) == []
    assert len(flows.started) == 2
    for started in list(flows.started):
        await ingest_source(organisation.tenant_id, started["parameters"]["source"], embedder=EMBEDDER, settings=store)
    await expect(talk).to_contain_text("Ready")
    await expect(talk).to_contain_text("12 March 2026")
    await expect(talk).to_contain_text("Amina Diallo and their coaches")
    await expect(broken).to_contain_text("Failed")
    assert any("Tobias" in words for words in await search(served, organisation, organisation.client_a, "pager Tobias"))
    await expect(broken.locator(".note.bad")).to_contain_text("broken.docx is damaged or incomplete; open it")
    await broken.get_by_role("button", name="Details").click()
    await expect(broken.get_by_role("listitem").filter(has_text="failed")).to_be_visible()
    await broken.get_by_role("button", name="Try broken.docx again").click()
    await expect(page.get_by_text("is being worked on again")).to_be_visible()
    assert flows.started[2]["parameters"] in [one["parameters"] for one in flows.started[:2]]
    await talk.get_by_role("link").click()
    await expect(page.locator(".turn").nth(1)).to_contain_text("I'll hand the pager to Tobias by Friday.")
    client = await eyes.open("/chat", organisation.client_a)
    await ask(client, "What was said about handing the pager to Tobias?")
    await expect(client.locator(".answer")).to_contain_text("I'll hand the pager to Tobias by Friday.")
    await client.locator("button.cite").first.click()
    await expect(client.locator(".source-panel mark")).to_contain_text("I'll hand the pager to Tobias")


async def test_who_may_read_is_changed_with_a_warning_and_at_once(
    eyes: Eyes, served: Served, organisation: Organisation
) -> None:
    await name_people(organisation)
    world = await build_world(organisation)
    first: Stored = world.sessions[0]
    theirs = await eyes.open(f"/transcripts/{first.source_id}", organisation.client_a)
    await expect(theirs.get_by_text(ROTA)).to_be_visible()
    assert await search(served, organisation, organisation.client_a, "on-call rota release checklist")
    page = await eyes.open("/sources", organisation.coach_a)
    row = page.locator(".source").last
    await row.get_by_role("button", name="Details").click()
    await row.get_by_label("Who may read it").select_option("coach_only")
    warning = row.locator(".note.warn")
    await expect(warning).to_contain_text("2 claims, 1 pattern, 1 insight and 1 prepared answer")
    assert await find_barriers(page) == []
    await row.get_by_role("button", name="Change who may read it").click()
    await expect(row).to_contain_text("Coaches of Amina Diallo")
    await theirs.reload()
    await expect(theirs.get_by_text("There is no such transcript that you may see")).to_be_visible()
    await expect(theirs.get_by_text(ROTA)).to_have_count(0)
    assert await find_barriers(theirs) == []
    found = await search(served, organisation, organisation.client_a, "release checklist")
    assert len(found) == 1  # the other session's


async def test_other_roles_have_no_list_and_an_administrator_sees_no_sessions(
    eyes: Eyes, organisation: Organisation
) -> None:
    talk = await store_session(organisation, [("coach", "How was it?"), ("client", "Secret.")])
    await store_document(organisation, ["Everyone reads this guide."], title="House guide")
    for person in (organisation.client_a, organisation.evaluator, organisation.compliance):
        page = await eyes.open("/sources", person)
        await expect(page.get_by_text("This page is not for your role")).to_be_visible()
    for person in (organisation.coach_b, organisation.admin, organisation.evaluator):
        page = await eyes.open(f"/transcripts/{talk.source_id}", person)
        await expect(page.get_by_text("There is no such transcript that you may see")).to_be_visible()
        await expect(page.get_by_text("Secret.")).to_have_count(0)
    page = await eyes.open("/sources", organisation.admin, width=380, dark=True)
    await expect(page.locator(".source")).to_have_count(1)
    await page.locator(".source").get_by_role("button", name="Details").click()
    await page.get_by_role("button", name="Add files").click()
    await page.get_by_label("Files", exact=True).set_input_files(
        {"name": "for-all.txt", "mimeType": "text/plain", "buffer": b"For everyone."}
    )
    await expect(page.locator("#uploads li")).to_contain_text("Taken in; the list shows")
    await page.locator("#upload").get_by_label("Who may read it").select_option("coach_only")
    await page.get_by_label("Files", exact=True).set_input_files(
        {"name": "hidden.txt", "mimeType": "text/plain", "buffer": b"For coaches alone."}
    )
    await expect(page.locator("#uploads li").last).to_contain_text("not in yours")
    await expect(page.locator(".source")).to_have_count(2)
    guide = page.locator(".source", has_text="House guide")
    await guide.get_by_label("Who may read it").select_option("coach_only")
    await expect(guide.locator(".note.warn")).to_contain_text("You will not see it in your own list any more.")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 380
    assert await find_barriers(page) == []


async def test_the_path_of_files_takes_none_from_elsewhere(
    served: Served, flows: FlowServer, organisation: Organisation
) -> None:
    flows.started.clear()
    own = {"X-Regenesis-Page": "sources", "Sec-Fetch-Site": "same-origin"}
    tokens = {"coach": await make_sign_in(organisation.coach_a), "client": await make_sign_in(organisation.client_a)}

    async def post(person: str | None, headers: dict[str, str], size: int = 10, **form: str) -> tuple[int, str]:
        cookies = {COOKIE: tokens[person]} if person else {}
        async with httpx.AsyncClient(base_url=served.url, cookies=cookies) as browser:
            files = {"file": ("note.txt", b"w" * size)}
            reply = await browser.post("/sources/upload", headers=headers, data=form, files=files)
        return reply.status_code, reply.json()["detail"] if reply.status_code != 202 else ""

    assert (await post(None, own))[0] == 401
    assert (await post("coach", {**own, "Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await post("coach", {"Sec-Fetch-Site": "same-origin"}))[0] == 403
    assert (await post("client", own)) == (403, "Only coaches and administrators add material; ask one of them.")
    status, sentence = await post("coach", own, MOST + 1)
    assert status == 422
    assert re.search("larger than 50,000 bytes", sentence)
    status, sentence = await post("coach", own, MOST + 1_000_001)
    assert status == 413
    assert "longer than" in sentence
    assert (await post("coach", own, visibility="everyone"))[0] == 422
    assert flows.started == []
    assert (await post("coach", own, visibility="coach_only"))[0] == 202
    assert len(flows.started) == 1
