"""Evidence packs as people read them: down to the exact words, shared under each reader's rights, ended with them."""

import re
from datetime import UTC, datetime

from playwright.async_api import Locator, Page, expect
from sqlalchemy import update

from db.models import Claim
from db.session import Principal, tenant_session
from domain.coaching import end_engagement
from domain.packs import make_pack
from tests.factories.answers import cite
from tests.factories.evidence import store_claim
from tests.factories.evidence_world import PROMISE, ROTA, add_session
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id, store_document, store_session
from tests.web.browser import Eyes, find_barriers
from tests.web.test_clients import list_readings, make_world

SECRET = "I am thinking of leaving, and please keep that between us"
DANIEL = "I will paint the lighthouse before June"


async def gather(reader: Principal, client: Principal | None = None, **given: object) -> str:
    """Make a pack of the reader's and return its page."""
    async with tenant_session(reader) as session:
        made = await make_pack(
            session, client_id=require_id(client) if client else None,
            **given,  # type: ignore[arg-type]  # a test's own values
        )  # fmt: skip
    return f"/packs/{made.id}"


async def add_secret(organisation: Organisation) -> None:
    """Add a session of Amina's that is for coaches alone."""
    turns = [("coach", "What is it?"), ("client", SECRET)]
    source, _ = await add_session(organisation, 2, visibility="coach_only", turns=turns)
    await store_claim(organisation, source, SECRET, claim_type="goal")


async def share(page: Page) -> str:
    """Press Share and return the link's path."""
    await page.get_by_role("button", name="Share", exact=True).click()
    box = page.get_by_role("dialog", name="A link to this evidence pack").get_by_label("Address")
    await expect(box).to_have_value(re.compile(r"/shared/rgl_"))
    return re.sub(r"^https?://[^/]+", "", await box.input_value())


async def leave(organisation: Organisation, coach: Principal, client: Principal) -> None:
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=require_id(coach), client_id=require_id(client))


def section(page: Page, name: str) -> Locator:
    return page.locator("section").filter(has=page.get_by_role("heading", name=name, exact=True))


async def fits(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def test_a_pack_unfolds_to_the_exact_words(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    path = await gather(organisation.coach_a, organisation.client_a)
    page = await eyes.open(path, organisation.coach_a)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Evidence of Amina Diallo")
    head = page.locator(".client-top")
    await expect(head).to_contain_text("2 of 2 sessions searched, 2 support it")
    await expect(head).to_contain_text(re.compile(r"gathered \d+ \w+ \d{4}, \d\d:\d\d"))
    about = f"/clients/{organisation.client_a.user_id}"
    await expect(head.get_by_role("link", name="Amina Diallo")).to_have_attribute("href", about)
    await expect(page.locator(".client-glance")).to_contain_text(re.compile(r"Patterns\s*1\s*Claims\s*3\s*Quotes\s*5"))
    await expect(page.locator(".client-glance code")).to_have_text(re.compile("^[0-9a-f]{64}$"))
    await expect(page.get_by_text("withheld")).to_have_count(0)
    await expect(section(page, "Other claims").locator(".claim")).to_have_count(1)
    await expect(section(page, "Other claims")).to_contain_text(PROMISE)
    pattern = section(page, "Patterns").locator(".pattern")
    await expect(pattern).to_contain_text("in 2 of 2 sessions")
    await pattern.get_by_text("What it stands on").click()
    claims = pattern.locator(".claim")
    await expect(claims).to_have_count(2)
    await claims.first.get_by_text("2 quotes").click()
    quote = claims.first.get_by_role("button", name=ROTA)
    await expect(quote).to_contain_text("Amina Diallo at 0:30")
    await quote.click()
    source = page.get_by_role("complementary", name="Source")
    await expect(source.locator("mark")).to_have_text(ROTA)
    await expect(source.locator("mark")).to_be_in_viewport()
    assert await find_barriers(page) == []
    await source.get_by_role("button", name="Close the source").click()
    await expect(quote).to_be_focused()
    noted = await list_readings(organisation.coach_a)
    assert {("pack_read", "web"), ("evidence_read", "web"), ("transcript_read", "web")} <= set(noted)


async def test_a_pack_shows_what_changed_and_nothing_that_was_added(eyes: Eyes, organisation: Organisation) -> None:
    world = await make_world(organisation)
    path = await gather(organisation.coach_a, organisation.client_a)
    late = await store_claim(organisation, world.sessions[1], "I want to sleep again", claim_type="goal")
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Claim).where(Claim.id == world.promise.claim_id).values(status="broken"))
    page = await eyes.open(path, organisation.coach_a)
    await expect(page.locator(".client-glance")).to_contain_text(re.compile(r"Claims\s*3\s*Quotes"))
    assert str(late) not in await page.content()
    await expect(page.get_by_text("1 item says something else now than when the pack was gathered")).to_be_visible()
    (loose,) = await section(page, "Other claims").locator(".claim").all()
    await expect(loose).to_contain_text("says something else now")


async def test_passages_open_at_their_words(eyes: Eyes, organisation: Organisation) -> None:
    await name_people(organisation)
    words = "Coaches write down what was promised, on the same day."
    guide = await store_document(organisation, ["Welcome to the programme.", words])
    span = await cite(organisation.coach_a, guide, 1, words)
    question = "What do coaches write down, " + "and when, " * 40 + "and why?"
    path = await gather(organisation.coach_a, question=question, quote_spans=[span])
    page = await eyes.open(path, organisation.coach_a, width=380, dark=True)
    await expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile(r"^What do coaches write down.{0,140} …$")
    )
    await expect(page.locator(".client-top")).to_contain_text(question.strip())
    passage = section(page, "Passages").get_by_role("button", name=words)
    await expect(passage).to_contain_text("Programme guide")
    await passage.click()
    source = page.get_by_role("complementary", name="Source")
    await expect(source.locator("mark")).to_have_text(words)
    await expect(source.locator("mark")).to_be_in_viewport()
    assert await find_barriers(page) == []
    assert await fits(page)


async def test_a_shared_pack_shows_each_reader_what_is_theirs(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    await add_secret(organisation)
    path = await gather(organisation.coach_a, organisation.client_a)
    page = await eyes.open(path, organisation.coach_a)
    await expect(page.get_by_role("main")).to_contain_text(SECRET)
    link = await share(page)
    assert await find_barriers(page) == []
    back = await eyes.open(link, organisation.coach_a)
    await expect(back.get_by_role("heading", level=1)).to_have_text("Evidence of Amina Diallo")
    await expect(back.locator(".client-top")).to_contain_text("Shared by Ruth Ellery, open until")
    await expect(back.get_by_role("button", name="Share", exact=True)).to_have_count(0)
    client = await eyes.open(link, organisation.client_a, width=380)
    await expect(client.get_by_role("heading", level=1)).to_have_text("An evidence pack")
    await expect(client.get_by_text("2 items of this pack are withheld from you.")).to_be_visible()  # claim and quote
    await expect(client.locator(".client-top")).not_to_contain_text("searched")
    await client.get_by_text("Why can that be?").click()
    await expect(client.get_by_text("for coaches alone")).to_be_visible()
    await client.locator(".pattern").get_by_text("What it stands on").click()
    await client.locator(".pyramid summary").first.click()
    await client.locator(".pyramid").get_by_role("button", name=ROTA).first.click()
    await expect(client.get_by_role("complementary", name="Source").locator("mark")).to_have_text(ROTA)
    assert SECRET not in await client.content()
    assert await find_barriers(client) == []
    assert await fits(client)
    for person in ("coach_b", "client_b", "admin", "compliance"):
        stranger = await eyes.open(link, organisation.people[person])
        await expect(stranger.get_by_role("heading", name="This can't be shown")).to_be_visible()
        await expect(stranger.get_by_text("Nothing of this evidence pack is yours to read now")).to_be_visible()
        assert ROTA not in await stranger.content()
        assert "Amina" not in await stranger.content()
        await stranger.goto(path)  # a pack is read by whom it was made for
        await expect(stranger.get_by_role("heading", name="This can't be shown")).to_be_visible()
    assert ("share_read", "web") in await list_readings(organisation.client_a)


async def test_a_colleague_sees_only_their_own_clients_in_it(eyes: Eyes, organisation: Organisation) -> None:
    world = await make_world(organisation)
    other = await store_session(
        organisation, [("client", f"{DANIEL}.")], client=organisation.client_b,
        held_at=datetime(2026, 2, 2, 9, tzinfo=UTC),
    )  # fmt: skip
    paint = await store_claim(organisation, other, DANIEL, holder="Daniel Okafor")
    path = await gather(
        organisation.coach_a, question="What did Amina and Daniel promise?",
        claim_ids=[paint, world.promise.claim_id],
    )  # fmt: skip
    page = await eyes.open(path, organisation.coach_a)
    await expect(section(page, "Claims").locator(".claim")).to_have_count(2)
    link = await share(page)
    colleague = await eyes.open(link, organisation.coach_b, dark=True)  # Daniel's coach as well
    await expect(section(colleague, "Claims").locator(".claim")).to_have_count(1)
    await expect(section(colleague, "Claims")).to_contain_text(DANIEL)
    await expect(colleague.get_by_text("2 items of this pack are withheld from you.")).to_be_visible()
    assert "Amina" not in await colleague.content()
    assert await find_barriers(colleague) == []
    await leave(organisation, organisation.coach_b, organisation.client_b)
    await colleague.locator(".claim summary").click()
    await colleague.get_by_role("button", name=DANIEL).click()
    await expect(colleague.get_by_role("heading", name="No longer available")).to_be_visible()
    await expect(colleague.get_by_role("main")).not_to_contain_text(DANIEL)
    await colleague.get_by_role("link", name="Load what is left of it").click()
    await expect(colleague.get_by_role("heading", name="This can't be shown")).to_be_visible()
    # and to its own reader: the store hides a pack whole where one it is about is not theirs any more
    await leave(organisation, organisation.coach_a, organisation.client_a)
    await page.keyboard.press("Escape")
    await page.locator(".claim summary").first.click()
    await page.locator(".claim .quote").first.click()
    await expect(page.get_by_role("heading", name="No longer available")).to_be_visible()
    await page.get_by_role("link", name="Load what is left of it").click()
    await expect(page.get_by_text("There is no such evidence pack of yours that still stands")).to_be_visible()
    assert PROMISE not in await page.content()


async def test_a_coach_gathers_evidence_from_the_clients_page(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    for number in range(6):
        await gather(organisation.coach_a, organisation.client_a, question=f"Which sleep number {number}?")
    await gather(organisation.coach_a, organisation.client_b, question="Nothing of Amina's")
    client = f"/clients/{organisation.client_a.user_id}"
    page = await eyes.open(client, organisation.coach_a, width=380)
    packs = section(page, "Evidence packs")
    await expect(packs.get_by_role("listitem")).to_have_count(5)
    await expect(packs.get_by_role("listitem").first).to_contain_text("Which sleep number 5?")
    await packs.get_by_role("button", name="Show more").click()
    await expect(packs.get_by_role("listitem")).to_have_count(6)
    await expect(packs).not_to_contain_text("Nothing of Amina's")
    opener = packs.get_by_role("button", name="Gather evidence")
    await expect(opener).to_have_attribute("aria-expanded", "false")
    await opener.click()
    field = packs.get_by_label("For which question?")
    await expect(field).to_be_focused()
    assert await find_barriers(page) == []
    assert await fits(page)
    await packs.get_by_role("button", name="Cancel").click()
    await expect(opener).to_be_focused()
    await opener.click()
    await field.fill("What keeps Amina awake? <b>{{7*7}}</b>")
    await packs.get_by_role("button", name="Gather it").click()
    await expect(page).to_have_url(re.compile(r"/packs/[0-9a-f-]{36}$"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("What keeps Amina awake? <b>{{7*7}}</b>")
    await page.goto(client)
    await expect(packs.get_by_role("listitem").first).to_contain_text("What keeps Amina awake?")
    await opener.click()
    await packs.get_by_role("button", name="Gather it").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Evidence of Amina Diallo")
    assert await fits(page)


async def test_an_answer_leads_to_its_evidence(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    page = await eyes.open("/chat", organisation.client_a)
    question = "What did I say about the release checklist?"
    await page.get_by_label("Your question").fill(question)
    await page.get_by_label("Your question").press("Enter")
    await page.get_by_role("link", name="Evidence of this answer").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(question)
    passage = section(page, "Passages").get_by_role("button").first
    await passage.click()
    await expect(page.get_by_role("complementary", name="Source").locator("mark")).to_contain_text("release checklist")
    assert await find_barriers(page) == []
