"""Drafts: what the templates say, what they stand on, and that verdicts outlast them."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update

from db.models import Derivation, Insight, InsightReview, Pattern
from db.session import tenant_session
from domain.insights import accept_insight, edit_insight, reject_insight
from pipelines.evidence.insights import MOST_DRAFTS, MOST_OF_A_TEMPLATE, Under, draft_insights, find_theme
from pipelines.evidence.store import Written
from tests.factories.evidence import store_claim, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_session

MARCH, APRIL, MAY = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4, 5))
NOTHING = Written(added=0, changed=0, removed=0)


@pytest.fixture
async def sessions(organisation: Organisation) -> list[Stored]:
    await name_people(organisation)
    said = [
        "I'll raise the rota with Helen. I'll close the laptop at nine. I'll call Bea by Friday.",
        "I didn't raise the rota. I left the laptop open past nine. I'll close the laptop at ten then.",
        "I talked to Helen. The laptop stayed open again. It is the laptop, always.",
    ]
    return [
        await store_session(organisation, [("client", words)], held_at=held, external_id=uuid4().hex)
        for words, held in zip(said, (MARCH, APRIL, MAY), strict=True)
    ]


async def draft(organisation: Organisation) -> Written:
    async with tenant_session(organisation.system) as session:
        return await draft_insights(session, require_id(organisation.client_a))


async def list_insights(organisation: Organisation) -> list[Insight]:
    async with tenant_session(organisation.system) as session:
        return list(await session.scalars(select(Insight).order_by(Insight.method, Insight.title)))


async def store_record(organisation: Organisation, sessions: list[Stored]) -> UUID:
    """Store three commitments, two of them broken over the laptop, and the record of them."""
    march, april, may = sessions
    rota = await store_claim(
        organisation, march, "I'll raise the rota with Helen.", statement="Amina Diallo will raise the rota with Helen."
    )
    nine = await store_claim(
        organisation, march, "I'll close the laptop at nine.", statement="Amina Diallo will close the laptop at nine."
    )
    ten = await store_claim(
        organisation, april, "I'll close the laptop at ten then.",
        statement="Amina Diallo said: “I'll close the laptop at ten.”",
    )  # fmt: skip
    for settled, words, session, status in (
        (rota, "I talked to Helen.", may, "kept"), (nine, "I left the laptop open past nine.", april, "broken"),
        (ten, "The laptop stayed open again.", may, "broken"),
    ):  # fmt: skip
        await store_claim(organisation, session, words, claim_type="progress", settles=settled, status=status)
    return await store_pattern(
        organisation, [rota, ten], [nine], kind="commitment_record", subject=None,
        statement="Amina Diallo kept 1 of 3 commitments between 12 March and 12 May 2026.",
    )  # fmt: skip


async def test_record_of_commitments_asks_about_what_was_broken(
    organisation: Organisation, sessions: list[Stored]
) -> None:
    pattern = await store_record(organisation, sessions)
    assert (await draft(organisation)).added == 1
    (made,) = await list_insights(organisation)
    assert (made.title, made.status, made.visibility) == ("1 of 3 commitments kept", "draft", "coach_only")
    assert made.method == "template.commitment_record/1"
    assert made.body == (
        "Amina Diallo kept 1 of 3 commitments between 12 March and 12 May 2026.\n\n"
        "Not kept: Amina Diallo will close the laptop at nine (12 March 2026); Amina Diallo said: “I'll close the "
        "laptop at ten” (12 April 2026). What was not kept has “laptop” in common.\n\n"
        "Ask: What stands in the way when it comes to “laptop”?"
    )
    async with tenant_session(organisation.system) as session:
        edges = list(await session.scalars(select(Derivation).where(Derivation.child_insight_id == made.id)))
    assert [(edge.parent_pattern_id, edge.role) for edge in edges] == [(pattern, "supporting")]


async def test_second_call_changes_no_row(organisation: Organisation, sessions: list[Stored]) -> None:
    await store_record(organisation, sessions)
    await draft(organisation)

    async def list_versions() -> list[Any]:
        async with tenant_session(organisation.system) as session:
            rows = await session.execute(
                text("SELECT id, xmin FROM evidence.insights UNION ALL SELECT id, xmin FROM evidence.derivations")
            )
            return sorted(rows.all())

    before = await list_versions()
    assert await draft(organisation) == NOTHING
    assert await list_versions() == before


async def test_draft_follows_its_pattern_until_somebody_touched_it(
    organisation: Organisation, sessions: list[Stored]
) -> None:
    pattern = await store_record(organisation, sessions)
    await draft(organisation)

    async def grow(statement: str) -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(update(Pattern).where(Pattern.id == pattern).values(statement=statement))

    await grow("Amina Diallo kept 1 of 3.")
    assert await draft(organisation) == Written(added=0, changed=1, removed=0)
    (made,) = await list_insights(organisation)
    assert made.body.startswith("Amina Diallo kept 1 of 3.\n")
    async with tenant_session(organisation.coach_a) as session:
        await edit_insight(session, made.id, body="My own words.")
    await grow("Amina Diallo kept one.")
    assert await draft(organisation) == NOTHING
    assert [one.body for one in await list_insights(organisation)] == ["My own words."]


@pytest.mark.parametrize("verdict", ["accepted", "rejected"])
async def test_what_was_decided_is_not_drafted_again(
    organisation: Organisation, sessions: list[Stored], verdict: str
) -> None:
    pattern = await store_record(organisation, sessions)
    await draft(organisation)
    (made,) = await list_insights(organisation)
    async with tenant_session(organisation.coach_a) as session:
        if verdict == "accepted":
            await accept_insight(session, made.id)
        else:
            await reject_insight(session, made.id, reason="No.")
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Pattern).where(Pattern.id == pattern).values(statement="Another sentence."))
    assert await draft(organisation) == NOTHING
    (kept,) = await list_insights(organisation)
    assert (kept.id, kept.status, kept.body) == (made.id, verdict, made.body)


@pytest.mark.parametrize("verdict", ["draft", "accepted", "rejected"])
async def test_stale_is_drafted_anew_or_goes(organisation: Organisation, sessions: list[Stored], verdict: str) -> None:
    """Its words go with what they stood on; a rejected matter stays rejected, an accepted one is asked about again."""
    pattern = await store_record(organisation, sessions)
    await draft(organisation)
    (made,) = await list_insights(organisation)
    async with tenant_session(organisation.coach_a) as session:
        if verdict == "accepted":
            await accept_insight(session, made.id)
        elif verdict == "rejected":
            await reject_insight(session, made.id, reason="No.")
    async with tenant_session(organisation.system) as session:
        links = (
            await session.execute(
                text("SELECT claim_id, role FROM evidence.pattern_claims WHERE pattern_id = :id"), {"id": pattern}
            )
        ).all()
        await session.execute(text("DELETE FROM evidence.patterns WHERE id = :id"), {"id": pattern})
    assert [one.stale_at is not None for one in await list_insights(organisation)] == [True]
    await store_pattern(
        organisation, [key for key, role in links if role == "supporting"],
        [key for key, role in links if role == "counter"], kind="commitment_record", subject=None, statement="Anew.",
    )  # fmt: skip
    assert await draft(organisation) == Written(added=0, changed=1, removed=0)
    (again,) = await list_insights(organisation)
    assert (again.stale_at, again.body[:5]) == (None, "Anew.")
    assert again.status == ("rejected" if verdict == "rejected" else "draft")
    assert (again.reason, again.decided_by) == (
        ("No.", organisation.coach_a.user_id) if verdict == "rejected" else (None, None)
    )
    async with tenant_session(organisation.system) as session:
        told = list(await session.scalars(select(InsightReview.verdict)))
    assert told == (["rejected"] if verdict == "rejected" else [])
    assert await draft(organisation) == NOTHING
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM evidence.patterns"))
    assert await draft(organisation) == Written(added=0, changed=0, removed=1)
    assert await list_insights(organisation) == []


async def test_unanswered_commitments_are_asked_about(organisation: Organisation, sessions: list[Stored]) -> None:
    march, _, may = sessions
    waiting = await store_claim(
        organisation, march, "I'll call Bea by Friday.", statement="Amina Diallo will call Bea by Friday.",
        valid_to=date(2026, 3, 20),
    )  # fmt: skip
    for words, due in (("I talked to Helen.", date(2026, 5, 12)), ("always", None)):  # not due before, and undated
        await store_claim(organisation, may, words, valid_to=due)
    secret = await store_session(organisation, [("client", "I'll go.")], held_at=MARCH, visibility="system_internal")
    await store_claim(organisation, secret, "I'll go.", valid_to=date(2026, 3, 20))
    assert (await draft(organisation)).added == 1
    (made,) = await list_insights(organisation)
    assert made.title == "No word since: Amina Diallo will call Bea by Friday."
    assert "It was due on 20 March 2026; no later session says what became of it." in made.body
    await store_claim(
        organisation, may, "It is the laptop, always.", claim_type="progress", settles=waiting, status="broken"
    )
    assert await draft(organisation) == Written(added=0, changed=0, removed=1)


async def test_drafts_are_few_and_the_most_telling_come_first(
    organisation: Organisation, sessions: list[Stored]
) -> None:
    await store_record(organisation, sessions)
    left, always = [
        await store_claim(organisation, session, words, claim_type="obstacle")
        for session, words in ((sessions[1], "I left the laptop open past nine."), (sessions[2], "always"))
    ]
    for kind in ("recurrence", "trend", "change", "contradiction"):
        for number in range(5):
            counter = [always] if kind == "contradiction" else []
            supporting = [left, await store_claim(organisation, sessions[0], "the rota", claim_type="belief")]
            await store_pattern(
                organisation, supporting if counter else [left, always], counter, kind=kind,
                subject=f"matter{'abcde'[number]}",
            )  # fmt: skip
    assert (await draft(organisation)).added == MOST_DRAFTS
    methods = [one.method.partition(".")[2].partition("/")[0] for one in await list_insights(organisation)]
    counted = {name: methods.count(name) for name in methods}
    assert counted == {
        "commitment_record": 1, "contradiction": MOST_OF_A_TEMPLATE, "change": MOST_OF_A_TEMPLATE,
        "trend": MOST_OF_A_TEMPLATE,
    }  # fmt: skip
    first = next(one for one in await list_insights(organisation) if "contradiction" in one.method)
    async with tenant_session(organisation.coach_a) as session:
        await reject_insight(session, first.id, reason="No.")
    assert (await draft(organisation)).added == 1  # the next in line, not the rejected one


async def test_what_no_coach_may_read_is_not_drafted(organisation: Organisation, sessions: list[Stored]) -> None:
    secret = await store_session(
        organisation, [("client", "Nobody may know this.")], held_at=MAY, visibility="system_internal"
    )
    known = await store_claim(organisation, sessions[0], "I'll call Bea by Friday.")
    hidden = await store_claim(organisation, secret, "Nobody may know this.", claim_type="belief")
    await store_pattern(organisation, [known, hidden], visibility="system_internal")
    assert await draft(organisation) == NOTHING


def claim(statement: str) -> Under:
    return Under(
        id=uuid4(), claim_type="commitment", statement=statement, holder="Amina Diallo", status="asserted",
        valid_to=None, visibility="coach_only", coach_id=None, held_at=MARCH,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "others", "theme"),
    [
        (["close the laptop at nine", "shut the laptop by ten"], ["call Bea"], "laptop"),
        (["close the laptop at nine", "shut the laptop by ten"], ["sell the laptop"], None),
        (["close the laptop at nine"], [], None),
        (["run on Monday", "call Bea"], [], None),
        (["Amina Diallo will run", "Amina Diallo will swim"], ["Amina Diallo will call"], None),
        (["Amina Diallo will run", "Amina Diallo will swim"], [], None),
    ],
)
def test_theme_is_what_only_the_broken_ones_share(broken: list[str], others: list[str], theme: str | None) -> None:
    assert find_theme([claim(words) for words in broken], [claim(words) for words in others]) == theme
