"""Stored suites are versions that can be run again; those of stored answers lose whatever is withdrawn."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from db.models import CaseProposal, ChatMessage, Dataset, DatasetCase, RagEvaluation, User
from db.session import Principal, tenant_session
from domain.consents import withdraw_consent
from evaluation.datasets import (
    CasesWithdrawn,
    DatasetNotFound,
    NothingConfirmed,
    StoredSuite,
    build_dataset,
    load_stored_suite,
    parse_suite_name,
    store_suite,
)
from evaluation.proposals import confirm_proposal, propose_from_production
from evaluation.run import RunReport, run_suite
from evaluation.suites import BrokenSuite, Case, Suite, hash_cases, load_suite, write_suite
from rag.answer import Assistant
from tests.factories.answers import Answered, agree, store_answer
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id, store_session

PROMISE = "I'll mend the greenhouse roof before the first frost."
TURNS = [("coach", "And then?"), ("client", PROMISE)]
CASES = (
    Case(id="z-first", user_input="What about the roof?", reference_contexts=(PROMISE,), slices={"language": "en"}),
    Case(id="a-second", user_input="Which submarine?", answerable=False, asked_at=datetime(2026, 5, 1, tzinfo=UTC)),
    Case(id="m-third", user_input="Who?", reference="Amina.", user="client_a@example.org"),
)
SAID: dict[str, Any] = {
    "name": "small", "cases": "cases.jsonl", "user": "coach_a@example.org", "repeats": 2, "judge": "ragas",
    "budget_usd": Decimal("0.5"), "fail_on": ("support < 0.5",), "asked_at": datetime(2026, 6, 1, tzinfo=UTC),
}  # fmt: skip


def make_suite(people: Organisation, *cases: Case, **more: Any) -> Suite:
    chosen = cases or CASES
    return Suite(**({**SAID, "tenant": people.slug} | more), loaded=chosen, content_hash=hash_cases(chosen))


async def keep(people: Organisation, suite: Suite) -> StoredSuite:
    askers = {suite.get_asker(case): people.coach_a for case in suite.loaded}
    async with tenant_session(people.system) as session:
        return await store_suite(session, suite, askers)


async def load(people: Organisation, name: str, version: int | None = None) -> Suite:
    async with tenant_session(people.system) as session:
        return await load_stored_suite(session, name, version)


async def build(people: Organisation, name: str = "golden", **more: Any) -> tuple[Suite, StoredSuite]:
    async with tenant_session(people.system) as session:
        return await build_dataset(session, name, **more)


async def run(suite: Suite) -> RunReport:
    return await run_suite(Assistant(EMBEDDER), suite)


async def withdraw(person: Principal) -> None:
    async with tenant_session(person) as session:
        await withdraw_consent(session, user_id=require_id(person), purpose="evaluation")


@pytest.fixture
async def answers(organisation: Organisation) -> list[Answered]:
    """Two answers, of a coach about client_a and of client_b about themselves, each confirmed by whoever asked."""
    made = []
    for asker, client in (
        (organisation.coach_a, organisation.client_a),
        (organisation.client_b, organisation.client_b),
    ):
        stored = await store_session(organisation, TURNS, client=client)
        await agree(client)
        await agree(asker)
        made.append(await store_answer(asker, (stored, PROMISE)))
    async with tenant_session(organisation.system) as session:
        assert await propose_from_production(session) == 2
    for answer in made:
        async with tenant_session(answer.asker) as session:
            proposal_id = (await session.scalars(select(CaseProposal.id))).one()
            await confirm_proposal(session, proposal_id, quotes=[1])
    return made


async def test_a_stored_suite_comes_back_as_it_was(organisation: Organisation) -> None:
    suite = make_suite(organisation)
    assert (await keep(organisation, suite)).version == 1
    back = await load(organisation, "small")
    assert back.model_dump(exclude={"cases"}) == suite.model_dump(exclude={"cases"})
    assert hash_cases(back.loaded) == back.content_hash
    assert (await keep(organisation, back)).version == 1


async def test_versions_are_chosen_by_number_and_the_newest_is_meant(organisation: Organisation) -> None:
    await keep(organisation, make_suite(organisation))
    await keep(organisation, make_suite(organisation, *CASES[:2]))
    assert [case.id for case in (await load(organisation, "small")).loaded] == ["z-first", "a-second"]
    assert len((await load(organisation, "small", 1)).loaded) == 3
    for name, version in (("small", 3), ("smaller", None)):
        with pytest.raises(DatasetNotFound, match=name):
            await load(organisation, name, version)


async def test_what_a_suite_says_is_kept_as_it_was_said_last(organisation: Organisation) -> None:
    first = await keep(organisation, make_suite(organisation))
    second = await keep(organisation, make_suite(organisation, repeats=5, fail_on=()))
    assert (first.dataset_id, first.version) == (second.dataset_id, second.version)
    back = await load(organisation, "small")
    assert (back.repeats, back.fail_on) == (5, ())


async def test_a_suite_stored_before_settings_says_who_is_missing(organisation: Organisation) -> None:
    await keep(organisation, make_suite(organisation))
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Dataset).values(settings={}))
    with pytest.raises(BrokenSuite, match="Nobody asks the case z-first"):
        await load(organisation, "small")


@pytest.mark.parametrize(
    ("said", "read"), [("small", ("small", None)), ("a.b-c@12", ("a.b-c", 12)), ("2026", ("2026", None))]
)
def test_a_suite_is_named_with_its_version(said: str, read: tuple[str, int | None]) -> None:
    assert parse_suite_name(said) == read


@pytest.mark.parametrize("said", ["", "Small", "a@", "a@0", "a@x", "a@1@2", "./a.yaml", "a@99999999999"])
def test_what_is_no_name_is_refused(said: str) -> None:
    with pytest.raises(DatasetNotFound):
        parse_suite_name(said)


async def test_confirmed_answers_become_cases_asked_by_whoever_asked_then(
    organisation: Organisation, answers: list[Answered]
) -> None:
    suite, stored = await build(organisation)
    assert (stored.version, suite.origin, suite.user) == (1, "production", None)
    assert {case.user for case in suite.loaded} == {
        f"{name}@{organisation.slug}.example" for name in ("coach_a", "client_b")
    }
    assert {case.slices["asked_by"] for case in suite.loaded} == {"coach", "client"}
    async with tenant_session(organisation.system) as session:
        asked = set(await session.scalars(select(ChatMessage.created_at).where(ChatMessage.role == "user")))
        cases = (await session.scalars(select(DatasetCase))).all()
    assert {case.asked_at for case in suite.loaded} == asked
    assert {(case.coach_id, case.client_id) for case in cases} == {
        (organisation.coach_a.user_id, None), (None, organisation.client_b.user_id),
    }  # fmt: skip
    assert not any("@" in str(case.slices) for case in cases)
    again, same = await build(organisation)
    assert (again, same) == (suite, stored)
    assert await load(organisation, "golden") == suite.model_copy(update={"cases": "golden@1"})
    with pytest.raises(NothingConfirmed):
        await build(organisation, origin="feedback")
    with pytest.raises(BrokenSuite, match="name"):
        await build(organisation, "No Name")


async def test_a_withdrawal_leaves_every_version_and_every_run(
    organisation: Organisation, answers: list[Answered]
) -> None:
    suite, _ = await build(organisation)
    report = await run(await load(organisation, "golden"))
    assert (report.status, len(report.results), report.dataset_version) == ("completed", 2, 1)
    await withdraw(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        for table in (CaseProposal, DatasetCase, RagEvaluation):
            assert await session.scalar(select(func.count()).select_from(table)) == 1, table
    left = await load(organisation, "golden")
    assert [case.user for case in left.loaded] == [f"client_b@{organisation.slug}.example"]
    again = await run(left)
    assert (again.dataset_version, len(again.results)) == (1, 1)
    smaller, stored = await build(organisation)
    assert (stored.version, len(smaller.loaded)) == (2, 1)
    await withdraw(organisation.client_b)
    for version in (1, 2):
        with pytest.raises(CasesWithdrawn):
            await load(organisation, "golden", version)
    with pytest.raises(CasesWithdrawn):
        await run(suite)


async def test_a_suite_written_to_files_follows_a_withdrawal_too(
    organisation: Organisation, answers: list[Answered], tmp_path: Path
) -> None:
    suite, _ = await build(organisation)
    path = write_suite(suite, tmp_path / "golden")
    assert load_suite(path) == suite
    assert [file.stat().st_mode & 0o777 for file in path.parent.iterdir()] == [0o600, 0o600]
    await withdraw(organisation.client_a)
    # changed by hand, so that it is a version of its own
    text = (path.parent / "cases.jsonl").read_text().replace("What did she promise?", "What did she say?")
    (path.parent / "cases.jsonl").write_text(text)
    report = await run(load_suite(path))
    assert (report.dataset_version, [one.user_input for one in report.results]) == (2, ["What did she say?"])
    async with tenant_session(organisation.system) as session:
        assert None not in (await session.scalars(select(DatasetCase.proposal_id))).all()
    await withdraw(organisation.client_b)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(DatasetCase)) == 0


async def test_nobody_is_asked_as_somebody_who_left(organisation: Organisation, answers: list[Answered]) -> None:
    await build(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(User).where(User.id == organisation.coach_a.user_id).values(status="suspended")
        )  # fmt: skip
    assert len((await load(organisation, "golden")).loaded) == 1
    suite, _ = await build(organisation)
    assert len(suite.loaded) == 1


async def test_an_address_that_changed_is_still_who_asked(organisation: Organisation, answers: list[Answered]) -> None:
    await build(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(User).where(User.id == organisation.coach_a.user_id).values(email="ruth@new.example")
        )  # fmt: skip
    loaded = await load(organisation, "golden")
    assert "ruth@new.example" in {case.user for case in loaded.loaded}
    assert (await run(loaded)).dataset_version == 1
