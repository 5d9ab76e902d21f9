"""Who speaks, asked in a real browser: of a file just added, of one that was there, and heeded by the evidence."""

from pathlib import Path

from playwright.async_api import expect

from core.settings import Settings
from pipelines.evidence.rederive import rederive_stale
from pipelines.ingest import ingest_source
from tests.api.conftest import FlowServer
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session
from tests.web.browser import Eyes, find_barriers

TALK = """WEBVTT

00:00:01.000 --> 00:00:04.000
Speaker 1: What will you do about the pager?

00:00:05.000 --> 00:00:09.000
Speaker 2: I want to sleep again. I'll hand the pager to Tobias by Friday.

00:00:10.000 --> 00:00:12.000
Ruth: Good.
"""


async def test_an_added_transcript_asks_who_speaks_and_its_claims_then_are_the_clients(
    eyes: Eyes, flows: FlowServer, organisation: Organisation, store: Settings, tmp_path: Path
) -> None:
    await name_people(organisation)
    (tmp_path / "talk.vtt").write_text(TALK)
    page = await eyes.open("/sources", organisation.coach_a)
    await page.get_by_role("button", name="Add files").click()
    await page.locator("#upload").get_by_label("About").select_option(label="Amina Diallo")
    await page.get_by_label("Files", exact=True).set_input_files(tmp_path / "talk.vtt")
    await expect(page.locator("#uploads li")).to_contain_text("Taken in")
    (started,) = flows.started
    await ingest_source(organisation.tenant_id, started["parameters"]["source"], embedder=EMBEDDER, settings=store)
    await rederive_stale(organisation.tenant_id)
    before = await eyes.open(f"/clients/{organisation.client_a.user_id}", organisation.coach_a)
    await expect(before.get_by_text("Speaker 2 committed to hand the pager to Tobias").first).to_be_visible()
    row = page.locator(".source")
    await expect(row.locator(".note")).to_contain_text("nothing counts as Amina Diallo's own words")
    assert await find_barriers(page) == []
    await row.get_by_role("button", name="Say who speaks").click()
    await expect(row.get_by_label("Who is Speaker 1?")).to_be_focused()
    await expect(row.locator(".speaker").nth(1)).to_contain_text("“I want to sleep again. I'll hand the pager")
    await expect(row.get_by_label("Who is Ruth?")).to_have_value("coach")
    await expect(row.get_by_label("Who is Speaker 2?")).to_have_value("")
    await row.get_by_label("Who is Speaker 1?").select_option(label="Me (coach)")
    await row.get_by_label("Who is Speaker 2?").select_option(label="Amina Diallo (client)")
    assert await find_barriers(page) == []
    await row.get_by_role("button", name="Save who speaks").click()
    await expect(page.get_by_text("Who speaks is saved.")).to_be_visible()
    await expect(row.get_by_label("Who is Speaker 2?")).to_have_value("client")
    await expect(row.get_by_role("button", name="Save who speaks")).to_be_focused()
    await expect(row.locator(".note")).to_have_count(0)
    await rederive_stale(organisation.tenant_id)
    await row.get_by_role("link", name="talk").click()
    await expect(page.locator(".turn b")).to_have_text(["Ruth Ellery", "Amina Diallo", "Ruth Ellery"])
    await expect(page.get_by_role("button", name="Save who speaks")).to_have_count(0)
    await page.goto(f"/clients/{organisation.client_a.user_id}")
    claim = page.locator("li.claim", has_text="Amina Diallo committed to hand the pager to Tobias")
    await expect(claim.first).to_be_visible()
    await claim.first.locator("summary").click()
    await expect(claim.first.locator("details")).to_contain_text("Amina Diallo")
    await expect(page.get_by_text("Speaker 2")).to_have_count(0)


async def test_a_transcript_that_was_there_asks_on_its_own_page_on_a_narrow_screen(
    eyes: Eyes, organisation: Organisation
) -> None:
    await name_people(organisation)
    turns = [("Speaker 1", "How was it?"), ("Speaker 2", "Long. " * 60), ("Guest", "I brought the cake.")]
    talk = await store_session(organisation, turns)
    path = f"/transcripts/{talk.source_id}"
    page = await eyes.open(path, organisation.coach_a, width=380, dark=True)
    await expect(page.get_by_role("heading", name="Who speaks?")).to_be_visible()
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 380
    await page.get_by_role("button", name="Save who speaks").click()
    await expect(page.get_by_text("Nothing is changed; choose who somebody is.")).to_be_visible()
    await page.get_by_label("Who is Guest?").select_option("address")
    await page.get_by_role("button", name="Save who speaks").click()
    await expect(page.get_by_text("Choose who Speaker 1 is too, or who of them the client is.")).to_be_visible()
    await page.get_by_label("Who is Speaker 2?").select_option("client")
    await page.get_by_label("E-mail address of Guest").fill("nobody@elsewhere.example")
    await page.get_by_role("button", name="Save who speaks").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nobody you work with has the e-mail address")
    assert await find_barriers(page) == []
    await expect(page.get_by_label("E-mail address of Guest")).to_have_value("nobody@elsewhere.example")
    await page.get_by_label("Who is Guest?").select_option("nobody")
    await page.get_by_role("button", name="Save who speaks").click()
    await expect(page.locator(".turn b")).to_have_text(["Speaker 1", "Amina Diallo", "Guest"])
    await expect(page.get_by_label("Who is Guest?")).to_have_value("nobody")
    await page.reload()
    await expect(page.locator(".turn b")).to_have_text(["Speaker 1", "Amina Diallo", "Guest"])
    await expect(page.get_by_role("heading", name="Who speaks")).to_have_count(0)
    theirs = await eyes.open(path, organisation.client_a)
    await expect(theirs.locator(".turn b").nth(1)).to_have_text("Amina Diallo")
    await expect(theirs.get_by_role("button", name="Save who speaks")).to_have_count(0)
