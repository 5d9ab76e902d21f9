"""Whoever measures reads which score is of which case, and nobody else does; nobody reads a word by it."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from db.models import Dataset
from db.session import Principal, tenant_session
from evaluation.run import RunReport
from tests.evaluation.test_run import CASES, TALKS, UNANSWERABLE, DearJudge, make_suite, people, run
from tests.factories.people import Organisation, found_organisation

__all__ = ["people"]


@pytest.fixture
async def report(people: Organisation) -> RunReport:
    asker = f"coach_a@{people.slug}.example"
    own = CASES[4].model_copy(update={"user": asker})
    return await run(people, make_suite(*CASES[:2], own, UNANSWERABLE, user=asker), judge=DearJudge())


async def ask(reader: Principal, report: RunReport) -> tuple[list[Any], Any, Any]:
    async with tenant_session(reader) as session:
        dataset = await session.scalar(select(Dataset.id))
        given = {"run": report.experiment_id, "dataset": dataset or UUID(int=0)}
        scores = await session.execute(text("SELECT * FROM evaluation.read_scores(:run)"), given)
        answers = await session.execute(text("SELECT * FROM evaluation.count_answers(:run)"), given)
        cases = await session.execute(text("SELECT * FROM evaluation.count_cases(:dataset, 1)"), given)
        return list(scores.all()), tuple(answers.one()), tuple(cases.one())


async def test_evaluators_and_administrators_read_what_holds_no_word(people: Organisation, report: RunReport) -> None:
    for reader in (people.evaluator, people.admin, people.system):
        scores, answers, cases = await ask(reader, report)
        assert sorted((one.case_key, one.repeat, one.status) for one in scores) == [
            ("fact-0", 1, "scored"), ("promise-0", 1, "scored"), ("promise-2", 1, "scored"),
            ("submarine", 1, "refused"),
        ]  # fmt: skip
        assert {one.case_key: sorted(one.unjudged) for one in scores}["promise-2"] == ["faithfulness", "hallucination"]
        assert answers == (4, 0)
        # of a slice's values only the commonest is counted here, and who asks is no slice
        assert cases == (4, 3, {"answerable": {"yes": 3}, "question_type": {"promise": 2}})
        words = [UNANSWERABLE.user_input, *(word for talk in TALKS for word in talk), "coach_a@"]
        assert [word for word in words if word in f"{scores} {cases}"] == []


async def test_nobody_else_reads_anything(people: Organisation, report: RunReport) -> None:
    stranger = (await found_organisation()).evaluator
    others = [one for name, one in people.people.items() if name not in {"admin", "evaluator"}]
    for reader in (*others, stranger):
        assert await ask(reader, report) == ([], (0, 0), (0, 0, {}))
