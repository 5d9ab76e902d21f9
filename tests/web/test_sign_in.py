"""The door: who may come in, where they get, and how they leave."""

import re

import httpx
import pyotp
from playwright.async_api import expect

from api.web.viewer import COOKIE
from db.session import tenant_session
from domain import totp
from domain.auth import set_password
from tests.factories.codes import make_earlier_code
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id
from tests.web.browser import Eyes, find_barriers
from tests.web.conftest import Served

PASSWORD = "a long walk beside the harbour"


async def give_password(organisation: Organisation, person: str = "coach_a") -> None:
    async with tenant_session(organisation.system) as session:
        await set_password(session, user_id=require_id(organisation.people[person]), password=PASSWORD)


async def test_a_coach_comes_in_by_the_form_and_gets_where_they_wanted(eyes: Eyes, organisation: Organisation) -> None:
    await name_people(organisation)
    await give_password(organisation)
    page = await eyes.open("/chat")
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Fchat$"))
    assert await find_barriers(page) == []
    await page.get_by_label("Organisation").fill(organisation.slug)
    await page.get_by_label("E-mail").fill(f"coach_a@{organisation.slug}.example")
    await page.get_by_label("Password").fill("not this one, certainly")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("Organisation, address or password is wrong")
    assert await page.get_by_label("E-mail").input_value() == f"coach_a@{organisation.slug}.example"
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(re.compile(r"/chat$"))
    await expect(page.get_by_text("Ruth Ellery")).to_be_visible()
    (cookie,) = [one for one in await page.context.cookies() if one["name"] == COOKIE]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    await page.get_by_role("button", name="Sign out").click()
    await expect(page).to_have_url(re.compile(r"/sign-in$"))
    await page.goto("/chat")
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Fchat"))


async def test_a_page_that_is_open_notices_that_the_sign_in_ended(eyes: Eyes, organisation: Organisation) -> None:
    page = await eyes.open("/chat", organisation.coach_a)
    other = await eyes.open_tab(page.context, "/chat")
    await other.get_by_role("button", name="Sign out").click()
    await expect(other).to_have_url(re.compile(r"/sign-in$"))
    await page.get_by_label("Your question").fill("What was said?")
    await page.get_by_label("Your question").press("Enter")
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Fchat&ended=true"))
    await expect(page.get_by_role("status")).to_contain_text("Your sign-in is over")


async def test_the_way_back_leads_nowhere_else(eyes: Eyes, organisation: Organisation) -> None:
    await give_password(organisation)
    page = await eyes.open(f"/sign-in?next=//evil.example/&organisation={organisation.slug}")
    assert await page.locator("input[name=next]").get_attribute("value") == "/"
    await page.get_by_label("E-mail").fill(f"coach_a@{organisation.slug}.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(re.compile(r"/chat$"))


async def test_the_second_factor_is_asked_for(eyes: Eyes, organisation: Organisation) -> None:
    await give_password(organisation)
    async with tenant_session(organisation.system) as session:
        coach = require_id(organisation.coach_a)
        secret, _ = await totp.enrol(session, user_id=coach)
        app = pyotp.TOTP(secret)
        codes = await totp.confirm(session, user_id=coach, code=await make_earlier_code(app))
    page = await eyes.open(f"/sign-in?next=/sources&organisation={organisation.slug}")
    await page.get_by_label("E-mail").fill(f"coach_a@{organisation.slug}.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Your code")).to_be_visible()
    assert await find_barriers(page) == []
    await page.get_by_label("Code").fill("000000")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("alert")).to_contain_text("This code is wrong or used already")
    await page.get_by_label("Code").fill(codes[0])
    await page.get_by_role("button", name="Go on").click()
    await expect(page).to_have_url(re.compile(r"/sources$"))


async def test_a_form_of_another_site_is_refused(eyes: Eyes, served: Served, organisation: Organisation) -> None:
    await give_password(organisation)
    form = {"organisation": organisation.slug, "email": f"coach_a@{organisation.slug}.example", "password": PASSWORD}
    async with httpx.AsyncClient(base_url=served.url) as client:
        refused = await client.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "cross-site"})
        assert refused.status_code == 403
        assert COOKIE not in refused.cookies
        page = await client.get("/sign-in")
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert page.headers["Cache-Control"] == "no-store"
        assert (await client.get("/v1/nothing")).headers["content-type"] == "application/problem+json"
        assert (await client.put("/v1/search")).status_code == 405
