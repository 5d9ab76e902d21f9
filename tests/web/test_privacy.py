"""Compliance's pages: nothing goes without two people, what went is proven, and nobody else gets in."""

import asyncio
import json
import re
from uuid import UUID, uuid4

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import select

from core.settings import Settings
from db.models import DeletionRequest
from db.session import Principal, tenant_session
from domain import privacy, roles
from domain.governance import record_event
from domain.reading import record_reading
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.export import make_export
from pipelines.retention.apply import apply_retention
from tests.api.conftest import FlowServer
from tests.api.test_governance import altered
from tests.factories.people import Organisation
from tests.factories.privacy import add_officer
from tests.factories.sessions import EMBEDDER, name_people, require_id, store_session
from tests.web.browser import Eyes, find_barriers

SECRET = "heliotrope"
TURNS = [("coach", "How was the week?"), ("client", f"I handed over the pager and planted a {SECRET}.")]
PATHS = ("/privacy", "/privacy/new", "/privacy/holds", "/privacy/receipts", "/privacy/exports", "/privacy/audit",
         "/privacy/retention")  # fmt: skip


@pytest.fixture
async def officer(organisation: Organisation) -> Principal:
    """A second compliance officer, in an organisation whose people have names."""
    await name_people(organisation)
    return await add_officer(organisation, "oona")


async def find_request(organisation: Organisation) -> DeletionRequest:
    async with tenant_session(organisation.system) as session:
        found: DeletionRequest = (await session.scalars(select(DeletionRequest))).one()
        return found


async def ask(person: Principal, subject: Principal) -> UUID:
    async with tenant_session(person) as session:
        made = await privacy.request_erasure(session, person, kind="person", subject_id=require_id(subject))
        return made.id


async def hold(organisation: Organisation, subject: Principal, reason: str) -> None:
    async with tenant_session(organisation.compliance) as session:
        await privacy.place_hold(
            session, organisation.compliance, kind="person", subject_id=require_id(subject), reason=reason
        )


async def approve(page: Page) -> None:
    await page.get_by_label("How did you make sure who asks?").select_option("call_back")
    await page.get_by_label("I have seen what would go.").check()
    await page.get_by_role("button", name="Approve and start").click()


async def test_an_erasure_takes_two_officers_and_is_proven(
    eyes: Eyes, organisation: Organisation, officer: Principal, store: Settings, flows: FlowServer
) -> None:
    stored = await store_session(organisation, TURNS)
    first = await eyes.open("/privacy", organisation.compliance)
    await expect(first.get_by_text("Nobody has asked for an erasure yet.")).to_be_visible()
    await first.get_by_role("link", name="Make a request").click()
    person = first.get_by_label("Person")
    await person.press_sequentially("amina d")
    await expect(first.locator("datalist option")).to_have_text(["Amina Diallo, client"])
    await first.get_by_role("button", name="Show what would go").click()
    await expect(first.get_by_role("alert")).to_contain_text("Nobody here has this e-mail address")
    await person.fill(f"client_a@{organisation.slug}.example")
    await first.get_by_role("button", name="Show what would go").click()
    await expect(first.get_by_role("heading", name="What would go: Amina Diallo")).to_be_visible()
    await first.get_by_text("By store").click()
    await expect(first.get_by_role("row", name=re.compile("transcript segments 2 Deleted"))).to_be_visible()
    assert await find_barriers(first) == []
    await first.get_by_role("button", name="Ask for this erasure").click()
    await expect(first).to_have_url(re.compile("/privacy/requests/"))
    await expect(first.get_by_text("You asked for this, so another compliance officer approves it.")).to_be_visible()
    await expect(first.get_by_role("button", name="Approve and start")).to_have_count(0)

    request = await find_request(organisation)
    second = await eyes.open("/privacy?show=requested", officer)
    await second.get_by_role("link", name="Amina Diallo").click()
    await expect(second.get_by_text("Deleted", exact=True).first).to_be_visible()
    before = len(flows.started)
    flows.deployed = False
    await approve(second)
    await expect(second.get_by_text("The flow server has no deployment")).to_be_visible()
    await expect(second.get_by_text("The erasure has not begun yet.")).to_be_visible()
    assert len(flows.started) == before
    flows.deployed = True
    await second.get_by_role("button", name="Start it again").click()
    await expect(second.get_by_text("Started.")).to_be_visible()
    (run,) = flows.started[before:]
    assert run["parameters"] == {"tenant_id": str(organisation.tenant_id), "request_id": str(request.id)}
    receipt = await erase_subject(organisation.tenant_id, request.id, embedder=EMBEDDER, settings=store)
    await expect(second.get_by_text(re.compile(r"^(\d+) of \1 steps are done"))).to_be_visible()
    await expect(second.get_by_text("They were called back at a known number")).to_be_visible()
    assert await find_barriers(second) == []

    await second.get_by_role("link", name="Open the receipt").click()
    await expect(second.get_by_text("Signature genuine, signed here")).to_be_visible()
    await second.get_by_role("button", name="Verify now").click()
    await expect(second.get_by_text("The receipt holds: 0 left in")).to_be_visible()
    left = second.locator('td[data-label="Left today"]')
    assert await left.count() > 50
    assert set(await left.all_text_contents()) <= {"0", "kept"}
    async with second.expect_download() as begun:
        await second.get_by_role("button", name="Download as JSON").click()
    content = await asyncio.to_thread((await (await begun.value).path()).read_bytes)
    assert json.loads(content) == receipt.to_json()
    shown = await second.content() + await first.content()
    assert SECRET not in shown
    assert "Amina" not in await second.locator("#content").inner_text()
    assert str(stored.source_id) not in await first.locator("#content").inner_text()
    assert await find_barriers(second) == []


async def test_a_hold_stops_it_and_says_why(
    eyes: Eyes, organisation: Organisation, officer: Principal, flows: FlowServer
) -> None:
    request_id = await ask(organisation.client_a, organisation.client_a)
    started = len(flows.started)
    page = await eyes.open(f"/privacy/requests/{request_id}", officer, width=380)
    await expect(page.get_by_role("button", name="Approve and start")).to_be_visible()
    await hold(organisation, organisation.client_a, "Case 17 is open.")
    await approve(page)
    await expect(page.get_by_text("Case 17 is open. (on the person")).to_be_visible()
    await expect(page.get_by_role("button", name="Approve and start")).to_have_count(0)
    assert len(flows.started) == started
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_label("Reason").fill("A court wants it kept.")
    await page.get_by_role("button", name="Refuse", exact=True).click()
    await expect(page.get_by_text("A court wants it kept.")).to_be_visible()
    await expect(page.get_by_role("status").first).to_contain_text("Refused")

    holds = await eyes.open("/privacy/holds", officer)
    await expect(holds.get_by_role("heading", name="Amina Diallo")).to_be_visible()
    await holds.get_by_label("Release the hold on Amina Diallo").first.click()
    await holds.get_by_label("Requests that it covered can be approved then.").check()
    await holds.get_by_role("button", name="Release this hold").click()
    await expect(holds.get_by_text("Nothing is held.")).to_be_visible()
    await expect(holds.get_by_text("released by oona")).to_be_visible()
    await holds.get_by_label("What it is about").select_option("document")
    await holds.get_by_label("Id of the document or transcript").fill(f"https://here.example/documents/{uuid4()}")
    await holds.get_by_label("Reason").fill("It may be needed.")
    await holds.get_by_role("button", name="Place this hold").click()
    await expect(holds.get_by_role("alert")).to_contain_text("There is no such person, session or document")
    await holds.get_by_label("What it is about").select_option("tenant")
    await holds.get_by_role("button", name="Place this hold").click()
    await expect(holds.get_by_role("heading", name=f"All of Organisation {organisation.slug}")).to_be_visible()
    assert await find_barriers(holds) == []


async def test_the_log_tells_who_read_what_and_when_it_was_tampered_with(
    eyes: Eyes, organisation: Organisation, officer: Principal, store: Settings
) -> None:
    client, transcript = require_id(organisation.client_b), uuid4()
    async with tenant_session(organisation.coach_a) as session:
        await record_reading(session, "transcript_read", {"transcript": [transcript], "client": [client]})
    async with tenant_session(organisation.system) as session:
        await record_event(
            session, action="bulk_read_detected", entity_type="user", severity="critical",
            entity_id=require_id(organisation.coach_b),
            metadata={"span": "hour", "counts": {"transcripts": 420}, "over": {"transcripts": 60}},
        )  # fmt: skip
    page = await eyes.open("/privacy/audit", officer)
    await expect(page.get_by_text("The chain holds:")).to_be_visible()
    await expect(page.get_by_text("Read 420 transcripts (expected at most 60).")).to_be_visible()
    assert await find_barriers(page) == []
    await page.get_by_text("Narrow the list").click()
    await page.get_by_label("Client it was read about").fill(f"client_b@{organisation.slug}.example")
    await page.get_by_role("button", name="Show these").click()
    await expect(page).to_have_url(re.compile(f"client_id={client}$"))
    await expect(page.locator("li.entry")).to_have_count(1)
    await expect(page.locator("li.entry")).to_contain_text("Ruth Elleryas coachtranscript read")
    await expect(page.locator("li.entry")).to_contain_text("1 transcript about Daniel Okafor")
    await page.get_by_label("More of entry").click()
    await page.get_by_role("link", name=str(transcript)).click()
    await expect(page).to_have_url(re.compile(f"read_kind=transcript&read_id={transcript}$"))
    await expect(page.locator("li.entry")).to_have_count(1)
    await page.get_by_label("From").fill("2031-01-01")
    await page.get_by_role("button", name="Show these").click()
    await expect(page.get_by_text("Nothing of that is in the log.")).to_be_visible()
    await page.goto("/privacy/audit?since=yesterday")
    await expect(page.get_by_text("There is no such day")).to_be_visible()

    with altered(store, organisation):
        small = await eyes.open("/privacy/audit", officer, width=380, dark=True)
        await expect(small.get_by_role("alert")).to_contain_text("The chain is broken at entry 3.")
        await expect(small.get_by_role("alert")).to_contain_text("says something else than when it was written")
    assert await find_barriers(small) == []
    assert await small.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown = await small.locator("li.entry").count()
    await small.get_by_role("button", name="Show more").click()
    await expect(small.locator("li.entry")).not_to_have_count(shown)


async def test_copies_and_retention(
    eyes: Eyes, organisation: Organisation, officer: Principal, store: Settings, flows: FlowServer
) -> None:
    await store_session(organisation, TURNS)
    page = await eyes.open("/privacy/exports", officer)
    await page.get_by_label("Person", exact=True).fill(f"client_a@{organisation.slug}.example")
    await page.get_by_role("button", name="Make a copy").click()
    await expect(page.get_by_role("heading", name="Amina Diallo")).to_be_visible()
    export_id = UUID(flows.started[-1]["parameters"]["export_id"])
    await make_export(organisation.tenant_id, export_id, settings=store)
    await page.get_by_role("button", name="Make a link for an hour").click()
    link = page.get_by_role("link", name="Fetch the zip file")
    fetched = await page.request.get(await link.get_attribute("href") or "")
    assert (fetched.status, fetched.headers["content-type"]) == (200, "application/zip")
    assert await find_barriers(page) == []

    await page.goto("/privacy/retention")
    await page.get_by_label("What", exact=True).select_option("transactions")
    await page.get_by_label("After days").fill("9000")
    await page.get_by_role("button", name="Set this policy").click()
    await expect(page.get_by_role("alert")).to_contain_text("money is never deleted")
    await page.get_by_label("What", exact=True).select_option("material")
    await page.get_by_label("After days").fill("30")
    await page.get_by_role("button", name="Set this policy").click()
    row = page.get_by_role("row", name=re.compile("^Sessions and documents deleted 30 days"))
    await expect(row).to_contain_text("not rehearsed yet")
    await page.get_by_role("button", name="Rehearse now").click()
    await expect(page.get_by_text("The rehearsal runs")).to_be_visible()
    assert flows.started[-1]["parameters"] == {"tenant_id": str(organisation.tenant_id), "dry_run": True}
    await apply_retention(organisation.tenant_id, dry_run=True)
    await expect(row).to_contain_text("sessions and documents: 1", timeout=20_000)
    assert await find_barriers(page) == []
    await row.get_by_label("End the policy").click()
    await row.get_by_label("Keep this for ever").check()
    await row.get_by_role("button", name="End this policy").click()
    await expect(row).to_have_count(0)


async def test_other_roles_see_nothing_of_it(eyes: Eyes, organisation: Organisation) -> None:
    request_id = await ask(organisation.client_b, organisation.client_b)
    own = (f"/privacy/requests/{request_id}", f"/privacy/receipts/{request_id}")
    everywhere = {"coach_a": (*PATHS, *own), **dict.fromkeys(("client_b", "admin", "executive", "evaluator"), own[:1])}
    for role, paths in everywhere.items():
        page = await eyes.open(paths[0], organisation.people[role])
        for path in paths:
            await page.goto(path)
            await expect(page.get_by_role("heading", name="This page is not for your role")).to_be_visible()
            await expect(page.locator("#content form")).to_have_count(0)


async def test_a_right_that_was_taken_ends_the_open_page(
    eyes: Eyes, organisation: Organisation, officer: Principal
) -> None:
    request_id = await ask(organisation.client_a, organisation.client_a)
    page = await eyes.open(f"/privacy/requests/{request_id}", officer)
    await expect(page.get_by_role("button", name="Approve and start")).to_be_visible()
    async with tenant_session(organisation.system) as session:
        await roles.grant_role(session, user_id=require_id(officer), role="admin", granted_by=None)
        await roles.revoke_role(session, user_id=require_id(officer), role="compliance")
    await approve(page)
    await expect(page.get_by_role("alert")).to_contain_text("This user is not active")
    assert (await find_request(organisation)).status == "requested"
    unknown = await eyes.open(f"/privacy/requests/{uuid4()}", organisation.compliance)
    await expect(unknown.get_by_text("There is no such request that you may see")).to_be_visible()
    await unknown.goto("/privacy/requests/none")
    await expect(unknown.get_by_text("There is no id in this")).to_be_visible()
