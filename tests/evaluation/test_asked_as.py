"""An evaluator reads answers as whoever they were asked as, and only while the clients they are about agree."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from db.models import AuditLog, Engagement, IngestedObject, RagEvaluation, Transcript, User
from db.session import Principal, tenant_session
from domain.consents import record_consent, withdraw_consent
from domain.reading import link_all
from evaluation.records import CaseResult
from evaluation.runs import get_run, load_visible_results, record_results_read
from tests.evaluation.test_run import CASES, UNANSWERABLE, make_suite, people, run
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

__all__ = ["people"]

Change = Callable[[Organisation], Awaitable[Any]]


async def agree(people: Organisation, client: Principal | None = None, purpose: str = "evaluation") -> None:
    async with tenant_session(people.system) as session:
        await record_consent(session, user_id=require_id(client or people.client_a), purpose=purpose, version="1")


async def look(people: Organisation, reader: Principal, experiment_id: Any) -> list[CaseResult]:
    async with tenant_session(reader) as session:
        found = await load_visible_results(session, await get_run(session, experiment_id))
        await record_results_read(session, found, experiment_id)
    return found


async def test_words_are_read_as_whoever_asked_where_the_client_agrees(people: Organisation) -> None:
    report = await run(people, make_suite(*CASES[:2], UNANSWERABLE))
    await agree(people, people.client_b)
    await agree(people, purpose="analytics")  # neither somebody else nor something else
    hidden = await look(people, people.evaluator, report.experiment_id)
    assert [one.response for one in hidden] == [None, None, None]
    await agree(people)
    seen = await look(people, people.evaluator, report.experiment_id)
    assert seen == sorted(report.results, key=lambda one: one.case_id)
    assert {source.client_id for one in seen if one.response for source in one.response.sources} == {
        str(people.client_a.user_id)
    }
    assert [one.response for one in await look(people, people.admin, report.experiment_id)] == [None, None, None]


async def _end_engagement(people: Organisation) -> None:
    async with tenant_session(people.system) as session:
        await session.execute(
            update(Engagement).where(Engagement.client_id == people.client_a.user_id).values(ended_at=func.now())
        )


async def _withdraw(people: Organisation) -> None:
    async with tenant_session(people.system) as session:
        assert people.client_a.user_id is not None
        await withdraw_consent(session, user_id=people.client_a.user_id, purpose="evaluation")


async def _deactivate(people: Organisation) -> None:
    async with tenant_session(people.system) as session:
        await session.execute(update(User).where(User.id == people.coach_a.user_id).values(status="suspended"))


async def _narrow(people: Organisation) -> None:
    async with tenant_session(people.system) as session:
        await session.execute(update(IngestedObject).values(visibility="system_internal"))


async def _forget_sources(people: Organisation) -> None:
    """Answers stored before it was noted what they were made from."""
    async with tenant_session(people.system) as session:
        await session.execute(update(RagEvaluation).values(details=text("details #- '{response,sources}'")))


@pytest.mark.parametrize("change", [_end_engagement, _withdraw, _deactivate, _narrow, _forget_sources])
async def test_what_ends_ends_here_too(people: Organisation, change: Change) -> None:
    report = await run(people, make_suite(*CASES[:2]))
    await agree(people)
    assert all(one.response for one in await look(people, people.evaluator, report.experiment_id))
    await change(people)
    seen = await look(people, people.evaluator, report.experiment_id)
    assert [(one.response, one.user_input, one.error) for one in seen] == [(None, "", None)] * 2
    assert {one.case_id: one.scores for one in seen} == {one.case_id: one.scores for one in report.results}


async def test_what_an_evaluator_read_is_noted_as_theirs(people: Organisation) -> None:
    report = await run(people, make_suite(CASES[0]))
    await agree(people)
    await look(people, people.evaluator, report.experiment_id)
    await link_all()
    async with tenant_session(people.system) as session:
        (entry,) = (
            await session.scalars(
                select(AuditLog).where(
                    AuditLog.action == "evaluation_read", AuditLog.actor_id == people.evaluator.user_id
                )
            )
        ).all()
        transcripts = await session.scalars(select(Transcript.id))
    noted = json.dumps(entry.metadata_)
    assert str(people.client_a.user_id) in noted
    assert any(str(one) in noted for one in transcripts)
