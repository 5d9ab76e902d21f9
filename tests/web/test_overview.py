"""Overview: executives and administrators read sums and averages, and nothing of anybody."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import text

from api.web.frame import list_places
from db.models.identity import ROLES
from db.session import tenant_session
from domain import analytics
from tests.domain.test_analytics import enroll_everyone, hold_sessions, refresh
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id
from tests.factories.usage import change_as_superuser
from tests.web.browser import Eyes, find_barriers
from tests.web.test_sign_in import PASSWORD, give_password

HOSTILE: Final = '<img src=x onerror=alert(1)> & "Rest"'


async def add_runs(organisation: Organisation, counts: dict[int, tuple[int, int, int]]) -> None:
    """Let everybody ask by turns: so many days ago, so many answered, refused and failed."""
    people = [require_id(person) for person in organisation.people.values()]
    async with tenant_session(organisation.system) as session:
        for days_ago, (answered, refused, failed) in counts.items():
            at = datetime.now(UTC) - timedelta(days=days_ago)
            ends = ["succeeded"] * answered + ["refused"] * refused + ["failed"] * failed
            await session.execute(
                text(
                    "INSERT INTO chat.agent_runs (tenant_id, agent_type, status, user_id, started_at, completed_at) "
                    "SELECT current_setting('app.tenant_id')::uuid, 'assistant', s.status, "
                    "(CAST(:people AS uuid[]))[1 + s.n % :many], :at, :at + interval '2 s' "
                    "FROM unnest(CAST(:ends AS text[])) WITH ORDINALITY AS s(status, n)"
                ),
                {"people": people, "many": len(people), "at": at, "ends": ends},
            )


async def add_cost(organisation: Organisation, *, days_ago: int, usd: str) -> None:
    """Let answers have cost so much."""
    change_as_superuser(
        "INSERT INTO platform.usage_metrics (tenant_id, date, feature, requests, input_tokens, output_tokens, "
        "tokens_used, cost_usd) VALUES (%s, (now() AT TIME ZONE 'UTC')::date - %s, 'chat', 1, 9, 1, 10, %s)",
        organisation.tenant_id, days_ago, usd,
    )  # fmt: skip


async def add_programs(organisation: Organisation, count: int) -> None:
    """Write programs of two categories, which nobody takes."""
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO learning.programs (tenant_id, title, slug, instructor_id, pricing_type, category) "
                "SELECT current_setting('app.tenant_id')::uuid, 'Walk ' || n, 'walk-' || n, :coach, 'free', "
                "CASE WHEN n % 3 = 0 THEN :hostile ELSE 'Work' END FROM generate_series(1, CAST(:count AS int)) n"
            ),
            {"coach": organisation.coach_a.user_id, "hostile": HOSTILE, "count": count},
        )


async def build(organisation: Organisation) -> None:
    """A day of each kind: five clients in one program, coached and rated, with questions in three months."""
    await name_people(organisation)
    await enroll_everyone(organisation, more=2)
    await hold_sessions(organisation)
    await add_runs(organisation, {0: (7, 2, 1), 40: (1, 0, 0), 200: (3, 0, 0)})
    await add_cost(organisation, days_ago=0, usd="1.25")
    await refresh()


async def unfold(page: Page, words: str) -> None:
    await page.get_by_text(words).click()


def back(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


async def test_an_executive_signs_in_and_finds_the_figures_of_the_api(eyes: Eyes, organisation: Organisation) -> None:
    await build(organisation)
    await give_password(organisation, "executive")
    page = await eyes.open(f"/sign-in?organisation={organisation.slug}")
    await page.get_by_label("E-mail").fill(f"executive@{organisation.slug}.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(re.compile(r"/overview$"))
    await expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_text(["Overview"])

    async with tenant_session(organisation.executive) as session:
        dashboard = await analytics.get_dashboard_figures(session)
        (month,) = await analytics.list_coaching_months(session, since=back(366), until=back(0))
        days = await analytics.list_answer_days(session, since=back(366), until=back(0))
        (program,) = await analytics.list_program_figures(session, limit=10)
    glance = page.get_by_role("region", name="At a glance")
    await expect(glance).to_contain_text(f"People{dashboard.users}{dashboard.new_users_30d} new in 30 days")
    await expect(glance).to_contain_text(f"Active enrolments{dashboard.active_enrollments}")
    await expect(glance).to_contain_text(f"Sessions held{dashboard.sessions_30d}")
    counted = dashboard.computed_at.isoformat()
    await expect(page.locator(f'.heading time[datetime="{counted}"]')).to_be_visible()
    await expect(page.get_by_text("never a name, a session or anybody's words")).to_be_visible()

    coaching = page.get_by_role("region", name="Coaching, month by month")
    await expect(coaching.get_by_role("img", name=f"{month.sessions_completed} sessions held")).to_be_visible()
    await unfold(page, "Every month as a table")
    assert month.average_minutes is not None
    assert month.avg_rating is not None
    row = f"{month.month:%b %Y} {month.sessions_completed} 0 0 {month.clients} fewer than 5 50 3.0"
    await expect(coaching.get_by_role("row", name=row)).to_be_visible()

    answers = page.get_by_role("region", name="The assistant, day by day")
    assert sum(day.runs for day in days) == 14
    await expect(answers).to_contain_text("14 questions: 11 answered, 2 refused, 1 failed. Answers cost $1.25.")
    await expect(answers.get_by_role("img")).to_have_count(2)
    await unfold(page, "Every day as a table")
    today = answers.get_by_role("row").nth(1)
    await expect(today).to_have_text(re.compile(rf"{days[0].users}{days[0].runs}721\$1\.25$"))
    assert (days[0].users, days[0].runs) == (9, 10)
    programs = page.get_by_role("region", name="Programs")
    await expect(programs.get_by_role("row", name=f"{program.title} 5 0 % 0 % 4.0")).to_be_visible()

    shown = await page.content()
    for secret in ("Amina", "Ruth Ellery", str(organisation.client_a.user_id), "coach_b"):
        assert secret not in shown
    assert await find_barriers(page) == []


async def test_days_are_chosen_stand_in_the_address_and_narrow(eyes: Eyes, organisation: Organisation) -> None:
    await build(organisation)
    page = await eyes.open("/overview", organisation.executive)
    answers = page.get_by_role("region", name="The assistant, day by day")
    await expect(answers).to_contain_text("14 questions")
    await expect(answers).to_contain_text("A bar is a week")
    await expect(page.get_by_role("link", name="The last year")).to_have_count(0)
    await page.get_by_label("From").fill(str(back(60)))
    await page.get_by_label("Until").fill(str(back(30)))
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(answers).to_contain_text("1 question: 1 answered")
    await expect(answers).not_to_contain_text("A bar is a week")
    await unfold(page, "Every day as a table")
    await expect(answers.get_by_role("row")).to_have_count(2)
    await expect(answers.get_by_role("row").nth(1)).to_contain_text("fewer than 5")  # one person asked

    kept = await eyes.open_tab(page.context, page.url)
    await expect(kept.get_by_label("From")).to_have_value(str(back(60)))
    await expect(kept.get_by_role("region", name="The assistant, day by day")).to_contain_text("1 question")
    await kept.get_by_role("link", name="The last year").click()
    await expect(kept.get_by_role("region", name="The assistant, day by day")).to_contain_text("14 questions")

    await page.goto("/overview?from=2024-02-01&until=2024-03-01")
    await expect(answers).to_contain_text("Nobody asked the assistant anything from 1 February 2024 to 1 March 2024")
    await expect(page.get_by_text("No session was planned or held from 1 February 2024")).to_be_visible()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=2026-03-02&until=2026-03-01", "the first must not lie after the last"),
        ("from=2001-01-01&until=2026-03-01", "nor more than five years before it"),
        ("from=2026-02-31", "There is no such day"),
        ("until=0001-01-01", "These days can't be used"),
        ("from=<script>&until=%00", "There is no such day"),
    ],
)
async def test_days_that_mean_nothing_are_one_sentence(
    eyes: Eyes, organisation: Organisation, query: str, words: str
) -> None:
    await refresh()
    page = await eyes.open(f"/overview?{query}", organisation.executive)
    await expect(page.get_by_role("alert")).to_contain_text(words)
    await expect(page.get_by_role("region", name="At a glance")).to_be_visible()
    await expect(page.get_by_role("region", name="Coaching, month by month")).to_have_count(0)
    if query.startswith("from=2"):
        given = query.partition("&")[0].removeprefix("from=")
        await expect(page.get_by_label("From")).to_have_value("" if given.endswith("31") else given)
    assert await find_barriers(page) == []


async def test_what_few_people_would_reveal_is_not_there(eyes: Eyes, organisation: Organisation) -> None:
    await enroll_everyone(organisation, more=1)
    await hold_sessions(organisation)
    await refresh()
    page = await eyes.open("/overview", organisation.executive)
    coaching = page.get_by_role("region", name="Coaching, month by month")
    await unfold(page, "Every month as a table")
    cells = coaching.get_by_role("row").nth(1).get_by_role("cell")
    await expect(cells).to_have_text([
        re.compile(r"\w+ \d{4}"), "4", "0", "0", "fewer than 5", "fewer than 5", "too few", "too few"
    ])  # fmt: skip
    programs = page.get_by_role("region", name="Programs")
    await expect(programs.get_by_role("row", name="Rest fewer than 5 too few too few too few")).to_be_visible()
    await expect(programs.get_by_text("of fewer than 5 people, so it is not shown")).to_be_visible()
    await expect(page.get_by_role("region", name="At a glance")).to_contain_text("0 signed in within 7 days")


async def test_programs_come_some_at_a_time_and_by_category(eyes: Eyes, organisation: Organisation) -> None:
    await enroll_everyone(organisation, more=2)
    await add_programs(organisation, 60)
    await refresh()
    page = await eyes.open("/overview", organisation.admin)
    programs = page.get_by_role("region", name="Programs")
    rows = programs.locator("tbody tr")
    await expect(rows).to_have_count(20)
    await expect(rows.first).to_contain_text("Rest")  # of most people
    await programs.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(40)
    await programs.get_by_label("Category").select_option(HOSTILE)
    await expect(rows).to_have_count(20)
    await expect(programs.get_by_role("button", name="Show more")).to_be_hidden()
    await expect(rows.first).to_contain_text(HOSTILE)
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page).to_have_url(re.compile("category=%3Cimg"))
    await expect(rows).to_have_count(20)
    await expect(programs.get_by_label("Category")).to_have_value(HOSTILE)
    await page.goto("/overview?category=Nothing")
    await expect(programs.get_by_label("Category")).to_have_value("")
    await expect(programs.get_by_role("status")).to_have_text("")
    await programs.get_by_label("Category").select_option("Work")
    await expect(programs.get_by_role("status")).to_have_text("20 shown, there are more")
    await expect(page).to_have_url(re.compile("category=Work"))
    await page.reload()
    await expect(programs.get_by_label("Category")).to_have_value("Work")


async def test_before_the_first_count_the_page_says_who_counts(eyes: Eyes, organisation: Organisation) -> None:
    page = await eyes.open("/overview", organisation.executive)
    await expect(page.get_by_role("heading", name="No figures yet")).to_be_visible()
    await expect(page.get_by_text("The flow refresh-views counts them every hour")).to_be_visible()
    await expect(page.get_by_role("region", name="At a glance")).to_have_count(0)
    assert await find_barriers(page) == []
    await refresh()
    await page.reload()
    await expect(page.get_by_role("region", name="At a glance")).to_contain_text("Revenuenone")
    await expect(page.get_by_text("There is no program yet")).to_be_visible()
    await expect(page.get_by_text("Nobody asked the assistant anything")).to_be_visible()
    assert await find_barriers(page) == []


async def test_it_is_for_executives_and_administrators_alone(eyes: Eyes, organisation: Organisation) -> None:
    await refresh()
    for person in (
        organisation.coach_a, organisation.client_a, organisation.evaluator, organisation.compliance,
    ):  # fmt: skip
        page = await eyes.open("/overview", person)
        await expect(page.get_by_text("It is for admins and executives")).to_be_visible()
        await expect(page.get_by_role("region", name="At a glance")).to_have_count(0)
    page = await eyes.open("/overview", organisation.admin)
    await expect(page.get_by_role("region", name="At a glance")).to_be_visible()
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    await expect(links).to_have_text(["Sources", "Evaluations", "Operations", "Overview"])


@pytest.mark.parametrize(("width", "dark"), [(380, False), (380, True), (820, False), (1440, True)])
async def test_it_reads_well_at_every_width(eyes: Eyes, organisation: Organisation, width: int, dark: bool) -> None:
    await build(organisation)
    page = await eyes.open("/overview", organisation.executive, width=width, dark=dark)
    await unfold(page, "Every month as a table")
    await unfold(page, "Every day as a table")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await find_barriers(page) == []


@pytest.mark.parametrize("role", ROLES)
def test_every_role_that_signs_in_has_a_page_to_begin_with(role: str) -> None:
    assert list_places(role)  # type: ignore[arg-type]  # one of the roles
