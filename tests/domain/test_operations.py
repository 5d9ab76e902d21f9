"""What administrators are told of the organisation's own work: counts over all of it, and nothing of anybody."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text

from db.session import tenant_session
from domain import chat, identity, ingestion, operations
from domain.usage import forecast_month
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

SINCE = datetime.now(UTC) - timedelta(days=1)


async def fail(organisation: Organisation, source: str, key: str, cause: str) -> None:
    async with tenant_session(organisation.system) as session:
        source_id = await ingestion.ensure_source(session, source)
        await ingestion.receive_objects(session, source_id, {key: 7})
        known = (await ingestion.list_known(session, source_id))[key]
        for run, code in (("first", "SourceUnavailable"), ("second", cause)):
            await ingestion.begin_stage(session, run, "parse", [known.id])
            at = datetime.now(UTC)
            end = ingestion.StageEnd(known.id, at, at, error_code=code, error=f"{key} is broken; mend it.")
            await ingestion.finish_stage(session, run, "parse", [end])
        await ingestion.fail_object(session, known.id, f"{key} is broken; mend it.")


async def test_failures_are_counted_by_source_and_newest_cause(organisation: Organisation) -> None:
    for key in ("amina.pdf", "daniel.pdf"):
        await fail(organisation, "file:///mail", key, "DamagedSource")
    await fail(organisation, "file:///mail", "marisol.bin", "UnknownFormat")
    await fail(organisation, "file:///library", "guide.pdf", "DamagedSource")
    async with tenant_session(organisation.admin) as session:
        causes = await operations.list_failure_causes(session)
        states = await operations.count_objects(session)
        page = await operations.list_failure_causes(session, limit=1, offset=1)
        # bound to the administrator again, who may read none of these files
        assert await session.scalar(text("SELECT count(*) FROM ingestion.ingested_objects")) == 0
    assert [(one.source_name, one.cause, one.objects, one.run_id) for one in causes] == [
        ("library", "DamagedSource", 1, "second"),
        ("mail", "UnknownFormat", 1, "second"),
        ("mail", "DamagedSource", 2, "second"),
    ]
    assert [(one.state, one.objects, one.size_bytes) for one in states] == [("failed", 4, 28)]
    assert page == causes[1:2]
    assert "amina" not in repr(causes)


async def test_people_are_counted_from_five_on(organisation: Organisation) -> None:
    people = [require_id(organisation.coach_a)] * 3
    for size in (4, 5):
        async with tenant_session(organisation.system) as session:
            while len(set(people)) < size:
                user = await identity.create_user(
                    session, email=f"{uuid4().hex}@other.example", full_name="Some One", role="coach"
                )
                people.append(user.id)
            for user_id in people:
                run_id = uuid4()
                await chat.start_run(session, run_id=run_id, user_id=user_id, session_id=None, agent_type="assistant")
                failure = chat.Failure(f"Cause{size}", "what Amina said", retryable=True)
                await chat.finish_run(session, run_id, "succeeded", metadata={}, failures=[failure])
    async with tenant_session(organisation.admin) as session:
        failures = {one.cause: one for one in await operations.count_answer_failures(session, since=SINCE)}
        runs = await operations.count_runs(session, since=SINCE)
    assert failures["Cause4"].people is None
    assert failures["Cause5"].people == 5
    assert (failures["Cause4"].runs, failures["Cause4"].answered) == (6, 6)
    assert [(one.status, one.runs) for one in runs] == [("succeeded", 13)]
    assert "Amina" not in repr(failures)


@pytest.mark.parametrize("person", ["coach_a", "client_a", "executive", "compliance", "evaluator"])
async def test_nobody_but_an_administrator_is_told(organisation: Organisation, person: str) -> None:
    async with tenant_session(organisation.people[person]) as session:
        for asked in (
            operations.count_objects(session), operations.list_failure_causes(session),
            operations.list_running(session), operations.count_runs(session, since=SINCE),
            operations.count_answer_failures(session, since=SINCE),
        ):  # fmt: skip
            with pytest.raises(operations.NotAdministrator):
                await asked


def test_a_month_goes_on_at_the_pace_of_the_last_week() -> None:
    today = date(2026, 6, 20)
    days = {date(2026, 6, day): Decimal(2) for day in range(1, 20)}
    assert forecast_month(days, today) == 38 + 2 + 20  # nothing yet today: it is taken to come to a day's pace
    assert forecast_month(days | {today: Decimal(5)}, today) == 38 + 5 + 20
    assert forecast_month({today: Decimal(3)}, today) == 3 + 30
    assert forecast_month({date(2026, 6, 18): Decimal(4)}, today) == 4 + 2 + 20  # two whole days since the first
    assert forecast_month({date(2025, 6, 19): Decimal(9)}, today) == 0
    assert forecast_month({}, date(2026, 12, 31)) == 0
