"""Clients: a coach reads one down to the words and judges insights; the client sees what was shared, nothing else."""

import re
from uuid import uuid4

from playwright.async_api import Locator, Page, expect
from sqlalchemy import select

from db.models import AuditLog
from db.session import Principal, tenant_session
from domain.coaching import end_engagement, start_engagement
from domain.identity import create_user
from domain.reading import link_tenant
from tests.factories.evidence import store_claim, store_insight
from tests.factories.evidence_world import ROTA, World, add_session, build_world
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id
from tests.web.browser import Eyes, find_barriers

HOSTILE = "</script><img src=x onerror=document.title='x'> {{7*7}} \" onclick=\"alert(1)"
SECRET = "I am thinking of leaving, and please keep that between us"


async def make_world(organisation: Organisation) -> World:
    await name_people(organisation)
    return await build_world(organisation)


async def list_readings(person: Principal) -> list[tuple[str, str]]:
    """Return what the audit log says they read, and through what."""
    await link_tenant(person.tenant_id)
    async with tenant_session(Principal(person.tenant_id, "system")) as session:
        rows = await session.scalars(select(AuditLog).where(AuditLog.actor_id == require_id(person)))
        return [(row.action, found["surface"]) for row in rows if "read" in (found := row.metadata_ or {})]


def insight(page: Page, title: str = "The rota") -> Locator:
    return page.locator(".insight").filter(has=page.get_by_role("heading", name=title))


async def test_a_coach_unfolds_a_pattern_to_its_quotes_and_opens_the_words(
    eyes: Eyes, organisation: Organisation
) -> None:
    await make_world(organisation)
    page = await eyes.open("/clients", organisation.coach_a)
    amina = page.locator(".person").filter(has_text="Amina Diallo")
    await expect(amina).to_contain_text(re.compile(r"Sessions\s*2.*20 January 2026.*Insights waiting\s*1", re.DOTALL))
    await expect(page.get_by_role("main")).not_to_contain_text("Amina Rahman")  # of another coach
    assert await find_barriers(page) == []
    await amina.get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Amina Diallo")
    await expect(page.get_by_role("link", name="Session of 2026-01-13")).to_have_attribute(
        "href", re.compile(r"^/transcripts/[0-9a-f-]{36}$")
    )
    about = f"/chat?about={organisation.client_a.user_id}"
    await expect(page.get_by_role("link", name="Ask about Amina")).to_have_attribute("href", about)
    pattern = page.locator(".pattern")
    await expect(pattern).to_contain_text("in 2 of 2 sessions")
    await pattern.get_by_text("What it stands on").click()
    claims = pattern.locator(".claim")
    await expect(claims).to_have_count(2)
    await claims.first.get_by_text("2 quotes").click()
    quote = claims.first.get_by_role("button", name=ROTA)
    await expect(quote.locator("q")).to_have_text(ROTA)
    await expect(quote).to_contain_text("Amina Diallo at 0:30")
    await expect(claims.first.get_by_text("speaks against it")).to_be_visible()
    await quote.click()
    source = page.get_by_role("complementary", name="Source")
    await expect(source.locator("mark")).to_have_text(ROTA)
    await expect(source).to_contain_text("Session of 2026-01-13")
    await expect(quote).to_have_attribute("aria-current", "true")
    await expect(page.get_by_role("row", name="Jan 2026 2 1 0 2 0")).to_be_visible()
    await expect(page.get_by_role("img", name="Claims by month")).to_be_visible()
    await source.get_by_role("button", name="Close the source").click()
    await expect(source).to_be_hidden()
    await expect(quote).to_be_focused()
    await expect(quote).not_to_have_attribute("aria-current", "true")
    commitment = page.locator("section").filter(has=page.get_by_role("heading", name="Commitments")).locator(".claim")
    await expect(commitment).to_contain_text("I will hand over the release checklist")
    await page.get_by_label("State").select_option("kept")
    await expect(commitment).to_have_count(0)
    await expect(page.get_by_text("No commitments of this kind")).to_be_visible()
    assert await find_barriers(page) == []
    noted = await list_readings(organisation.coach_a)
    assert {("evidence_read", "web"), ("insight_read", "web"), ("transcript_read", "web")} <= set(noted)


async def test_an_accepted_insight_reaches_the_client_and_no_draft_does(eyes: Eyes, organisation: Organisation) -> None:
    world = await make_world(organisation)
    draft = await store_insight(organisation, patterns=[world.pattern], title="Still a thought of the coach")
    own = await eyes.open("/me", organisation.client_a)
    await expect(own.get_by_role("heading", name="My progress")).to_be_visible()
    await expect(own.get_by_text("Your coach has shared no insight yet")).to_be_visible()
    page = await eyes.open(f"/clients/{organisation.client_a.user_id}", organisation.coach_a)
    await insight(page).get_by_role("button", name="Edit").click()
    await expect(insight(page).get_by_label("Title")).to_be_focused()
    await insight(page).get_by_label("Title").fill("The rota, which comes back")
    await insight(page).get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved; the words before stay")).to_be_visible()
    edited = insight(page, "The rota, which comes back")
    await edited.get_by_role("button", name="Accept and show to Amina").click()
    await expect(edited.get_by_text("Amina sees it", exact=True)).to_be_visible()
    await expect(edited.get_by_role("button", name="Reject")).to_have_count(0)
    await expect(page.locator(".client-glance")).to_contain_text(re.compile(r"Insights waiting for you\s*1"))
    await own.reload()
    await expect(insight(own, "The rota, which comes back")).to_contain_text("It comes back.")
    await expect(own.get_by_role("main")).not_to_contain_text("Still a thought")
    await expect(own.get_by_role("button", name="Accept")).to_have_count(0)
    await own.get_by_text("What it stands on").click()
    await own.locator(".pyramid summary").first.click()
    await own.locator(".pyramid").get_by_role("button", name=ROTA).first.click()
    await expect(own.get_by_role("complementary", name="Source").locator("mark")).to_have_text(ROTA)
    assert await find_barriers(own) == []
    assert str(draft) not in await own.content()


async def test_rejecting_needs_a_reason(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    page = await eyes.open(f"/clients/{organisation.client_a.user_id}", organisation.coach_a, width=380, dark=True)
    await insight(page).get_by_role("button", name="Reject").click()
    reason = page.get_by_label("Why? Only coaches of this client see it.")
    await expect(reason).to_be_focused()
    await reason.fill("   ")
    await page.get_by_role("button", name="Reject it").click()
    await expect(page.get_by_role("alert").filter(has_text="Say why")).to_be_visible()
    await expect(reason).to_have_value("   ")
    assert await find_barriers(page) == []
    await reason.fill("She said <b>this</b> in jest")
    await page.get_by_role("button", name="Reject it").click()
    await expect(insight(page)).to_contain_text("Reason: She said <b>this</b> in jest")
    await expect(insight(page).get_by_role("button")).to_have_count(0)
    await page.get_by_label("Show", exact=True).select_option("draft")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    own = await eyes.open("/me", organisation.client_a)
    await expect(own.get_by_text("Your coach has shared no insight yet")).to_be_visible()


async def test_an_insights_history_tells_who_decided_what(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    page = await eyes.open(f"/clients/{organisation.client_a.user_id}", organisation.coach_a, width=380, dark=True)
    await insight(page).get_by_text("History").click()
    await expect(insight(page).get_by_text("No verdict and no edit yet.")).to_be_visible()
    await insight(page).get_by_role("button", name="Edit").click()
    await insight(page).get_by_label("Title").fill("The rota <i>again</i>")
    await insight(page).get_by_role("button", name="Save").click()
    edited = insight(page, "The rota <i>again</i>")
    await edited.get_by_role("button", name="Reject").click()
    await edited.get_by_label("Why?").fill("She said this in jest")
    await edited.get_by_role("button", name="Reject it").click()
    await expect(edited.get_by_text("rejected", exact=True)).to_be_visible()
    await edited.get_by_text("History").click()
    verdicts = edited.locator(".history > li")
    await expect(verdicts).to_have_count(2)
    await expect(verdicts.nth(0)).to_contain_text("Ruth Ellery")
    await expect(verdicts.nth(0)).to_contain_text("rejected it")
    await expect(verdicts.nth(0)).to_contain_text("Reason: She said this in jest")
    await expect(verdicts.nth(1)).to_contain_text("edited it")
    await expect(verdicts.nth(1).locator("del")).to_have_text("The rota")
    await expect(verdicts.nth(1).locator("ins")).to_have_text("The rota <i>again</i>")
    await expect(verdicts.nth(1)).not_to_contain_text("Words before")
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_preview_shows_what_the_client_sees(eyes: Eyes, organisation: Organisation) -> None:
    world = await make_world(organisation)
    source, _ = await add_session(
        organisation, 2, visibility="coach_only", turns=[("coach", "What is it?"), ("client", SECRET)]
    )
    secret = await store_claim(organisation, source, SECRET, claim_type="goal")
    await store_insight(organisation, claims=[secret], title="Leaving")
    await store_claim(organisation, world.sessions[0], "I want to sleep again", claim_type="goal")
    client = f"/clients/{organisation.client_a.user_id}"
    page = await eyes.open(client, organisation.coach_a)
    await expect(page.locator("section").filter(has_text="Goals")).to_contain_text(SECRET)
    await expect(page.locator(".timeline li").first).to_contain_text("coaches only")
    await insight(page, "Leaving").get_by_role("button", name="Accept and show to Amina").click()
    await expect(page.get_by_text("stands on 'Session of 2026-01-27', which its client may not read")).to_be_visible()
    await expect(insight(page, "Leaving")).to_contain_text("waiting for you")
    await insight(page).get_by_role("button", name="Accept for coaches only").click()
    await expect(insight(page)).to_contain_text("accepted, coaches only")
    await page.get_by_role("link", name="What Amina sees").click()
    await expect(page.get_by_text("A preview: what Amina sees")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("I want to sleep again")
    own = await eyes.open("/me", organisation.client_a)
    await expect(own.get_by_role("heading", name="My progress")).to_be_visible()
    for part in ("Commitments", "Goals", "Sessions"):
        seen = [one.locator("section").filter(has=one.get_by_role("heading", name=part)) for one in (page, own)]
        assert await seen[0].inner_text() == await seen[1].inner_text()
    for one in (page, own):
        await expect(one.get_by_role("main")).not_to_contain_text(SECRET)
        await expect(one.locator(".insight")).to_have_count(0)
        assert await find_barriers(one) == []
    read = await list_readings(organisation.client_a)
    await page.reload()
    await expect(page.get_by_text("A preview: what Amina sees")).to_be_visible()
    assert await list_readings(organisation.client_a) == read != []  # it is the coach who read again


async def test_an_ended_engagement_takes_an_open_page_away(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    client = f"/clients/{organisation.client_a.user_id}"
    page = await eyes.open(client, organisation.coach_a)
    await page.locator(".pattern").get_by_text("What it stands on").click()
    await expect(page.locator(".pattern .claim")).to_have_count(2)
    await page.locator(".pattern summary").nth(1).click()
    async with tenant_session(organisation.system) as session:
        await end_engagement(
            session, coach_id=require_id(organisation.coach_a), client_id=require_id(organisation.client_a)
        )  # fmt: skip
    await page.locator(".pattern").get_by_role("button", name=ROTA).click()
    await expect(page.get_by_role("heading", name="No longer available")).to_be_visible()
    await expect(page.get_by_role("main")).not_to_contain_text(ROTA)
    await page.reload()
    await expect(page.get_by_role("heading", name="This can't be shown")).to_be_visible()
    await page.goto("/clients")
    await expect(page.get_by_role("main")).to_contain_text("Daniel Okafor")
    await expect(page.get_by_role("main")).not_to_contain_text("Amina")


async def test_who_has_no_business_here_is_told_so(eyes: Eyes, organisation: Organisation) -> None:
    await make_world(organisation)
    client = f"/clients/{organisation.client_a.user_id}"
    page = await eyes.open(client, organisation.coach_b)  # no engagement
    for path in (client, f"{client}/preview", "/clients/nobody", f"/clients/{uuid4()}"):
        await page.goto(path)
        await expect(page.get_by_role("heading", name="This can't be shown")).to_be_visible()
        await expect(page.get_by_role("main")).not_to_contain_text("Amina Diallo")
    await page.goto("/me")
    await expect(page.get_by_role("heading", name="This page is not for your role")).to_be_visible()
    for person in (organisation.client_a, organisation.admin):
        other = await eyes.open("/clients", person)
        await expect(other.get_by_role("heading", name="This page is not for your role")).to_be_visible()
        await other.goto(client)
        await expect(other.get_by_role("heading", name="This page is not for your role")).to_be_visible()


async def test_many_clients_are_found_by_name_also_on_a_phone(eyes: Eyes, organisation: Organisation) -> None:
    await name_people(organisation)
    async with tenant_session(organisation.system) as session:
        for number in range(55):
            user = await create_user(
                session, email=f"more{number}@{organisation.slug}.example", full_name=f"Person 100% {number:02}",
                role="client",
            )  # fmt: skip
            await start_engagement(session, coach_id=require_id(organisation.coach_a), client_id=user.id)
        hostile = await create_user(
            session, email=f"x@{organisation.slug}.example", full_name=HOSTILE, role="client"
        )  # fmt: skip
        await start_engagement(session, coach_id=require_id(organisation.coach_a), client_id=hostile.id)
    page = await eyes.open("/clients", organisation.coach_a, width=380)
    people = page.locator(".person")
    await expect(people).to_have_count(50)
    await page.get_by_role("button", name="Show more").click()
    await expect(people).to_have_count(58)
    field = page.get_by_label("Find by name")
    await field.press_sequentially("amina")
    await expect(people).to_have_count(1)
    await expect(page.get_by_role("status").filter(has_text="1 client")).to_be_visible()
    await expect(people).to_contain_text(re.compile(r"Last session\s*–"))
    await field.fill("0% 1")
    await expect(people).to_have_count(10)
    await field.fill("_%'")
    await expect(page.get_by_text("No client's name contains “_%'”.")).to_be_visible()
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await field.fill("onerror")
    await people.get_by_role("link", name=HOSTILE, exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await expect(page).to_have_title(f"{HOSTILE} · ReGenesis")
    await expect(page.get_by_text("No session has been read yet")).to_be_visible()
    await expect(page.get_by_text("Nothing to draw yet")).to_be_visible()
    assert await find_barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
