"""Runs a suite: asks the real assistant every question, scores the answers, keeps each at once, stops at the budget."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from core.errors import AppError, Conflict, Invalid, QuotaExceeded
from core.logging import get_logger
from db.holds import hold
from db.session import Principal, tenant_session
from domain.identity import get_principal
from domain.prices import NO_PRICES, PriceTable, load_prices
from evaluation.ask import ask
from evaluation.compare import check_limits, parse_rule
from evaluation.datasets import CasesWithdrawn, store_suite
from evaluation.keeping import keeping
from evaluation.metrics import flag_answer, score_answer, score_failure
from evaluation.records import BY_JUDGE, BY_REFERENCE, CaseResult, Response, get_worst
from evaluation.store import (
    Status,
    close_experiment,
    load_results,
    name_experiment,
    open_experiment,
    store_results,
)
from evaluation.suites import Case, Suite
from rag.answer import Assistant
from rag.answer_models import list_models
from rag.costs import add_costs, price
from rag.prompts import prompt_hash
from rag.providers.protocol import Usage
from rag.spending import spending

AT_ONCE: Final = 4
"""Questions that are under way at a time; what is embedded shares the processors, what a model writes waits for it."""

PROMPT_TOKENS: Final = 2_500
ANSWER_TOKENS: Final = 300
"""What one question takes where no earlier run tells: eight passages of 200 words with the rules, a short answer."""
JUDGE_TOKENS: Final = 30_000
"""What judging one answer takes at most as a rule: thirteen requests, each with its instructions and passages."""

_log = get_logger("evaluation")


class PriceUnknown(Invalid):
    """The price of a model that answers or judges is not known, so no budget can be promised; run it without one."""


class RunUnderWay(Conflict):
    """Another process went on with this very run a moment before; start again, and it is a run of its own."""


class EmptySuite(Invalid):
    """Nothing of the suite is left to ask; raise the limit."""


class Judge(Protocol):
    """A model that reads an answer with its sources and says how good it is."""

    @property
    def name(self) -> str:
        """The model and how it is asked, for the record."""

    async def score(self, case: Case, response: Response) -> "Verdict":
        """Return its scores; what could not be judged is an error in them, never an exception."""

    def forecast_usd(self) -> Decimal | None:
        """Return what judging one answer of usual length costs, None where the price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's scores by metric, and what they cost, None where that is not known.

    A metric it failed to judge is None, with a sentence in `errors`; one that has nothing to say is left out.
    """

    scores: Mapping[str, float | None]
    errors: Mapping[str, str] = field(default_factory=dict)
    cost_usd: Decimal | None = Decimal(0)
    calls: tuple[Usage, ...] = ()
    """What was asked for it, where the judge counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run is going to cost in USD, None where a price is not known, and how that is known."""

    cost_usd: Decimal | None
    questions: int
    basis: str
    tokens: int = 0
    """Of the models that answer."""


@dataclass(slots=True, kw_only=True)
class RunReport:
    """One run of a suite: its results, in the suite's order, and how it ended."""

    suite: str
    dataset_version: int
    experiment_id: UUID
    status: Status
    results: list[CaseResult]
    resumed: int
    forecast: Forecast
    cost_usd: Decimal | None
    config: Mapping[str, Any]
    stopped: str | None = None
    """Which of the organisation's limits ended it, where one did."""
    broken: list[str] = field(default_factory=list)
    """Rules without a baseline that the run breaks."""

    @property
    def failed(self) -> list[CaseResult]:
        """Cases that gave no answer."""
        return [one for one in self.results if one.status == "failed"]


FindReader = Callable[[str, str], Awaitable[Principal]]
Told = Callable[[int, int], None]


async def run_suite(
    assistant: Assistant, suite: Suite, *, judge: Judge | None = None, repeats: int | None = None,
    limit: int | None = None, budget_usd: Decimal | None = None, anew: bool = False,
    find_reader: FindReader = get_principal, told: Told = lambda _done, _all: None, flow_run_id: UUID | None = None,
) -> RunReport:  # fmt: skip
    """Ask every case `repeats` times and return all results; a run that broke off goes on where it was.

    Each result is stored within half a second. A case that fails is recorded and the rest go on; nothing is asked once
    the budget is spent. `told` hears how many of how many are done. Raises `EmptySuite`, `PriceUnknown`, and what
    finding the people does.
    """
    cases = suite.loaded[: limit or len(suite.loaded)]
    if not cases:
        raise EmptySuite
    repeats, budget_usd = repeats or suite.repeats, suite.budget_usd if budget_usd is None else budget_usd
    emails = {suite.get_asker(case) for case in suite.loaded}
    askers = {email: await find_reader(suite.tenant, email) for email in sorted(emails)}
    system = Principal(next(iter(askers.values())).tenant_id, "system")  # for nobody asked as: they asked for nothing
    async with tenant_session(system) as session:
        models = await list_models(session, assistant.model)
        config = _describe(assistant, suite, [choice.provider.name for choice in models], judge, limit)
        prices = models[0].prices if models else await load_prices(session)
        names = [choice.provider.name for choice in models]
        forecast = forecast_run(len(cases) * repeats, names, judge, prices)
        if budget_usd is not None and forecast.cost_usd is None:
            raise PriceUnknown
        stored = await store_suite(session, suite, askers)
        cases = tuple(case for case in cases if case.id in stored.case_ids)
        if not cases:
            raise CasesWithdrawn
        people = {case.id: _require_user(askers[suite.get_asker(case)]) for case in cases}
        experiment_id = await open_experiment(
            session, suite, stored, user_id=people[cases[0].id], config=config, repeats=repeats,
            budget_usd=budget_usd, forecast_usd=forecast.cost_usd, anew=anew, flow_run_id=flow_run_id,
        )  # fmt: skip
        before = await load_results(session, experiment_id)
    done = {(one.case_id, one.repeat) for one in before}
    todo = [(case, repeat) for repeat in range(1, repeats + 1) for case in cases if (case.id, repeat) not in done]
    each = (forecast.cost_usd or Decimal(0)) / forecast.questions
    run = _Run(assistant, suite, judge, askers, budget_usd, each, list(before), system=system, prices=prices)
    status: Status = "interrupted"

    async def store(results: Sequence[CaseResult]) -> None:
        async with tenant_session(system) as session:
            await store_results(session, experiment_id, stored, people, results)

    async with hold(system.tenant_id, name_experiment(experiment_id), busy=RunUnderWay()):
        try:
            told(len(before), len(before) + len(todo))
            async with keeping(store) as keeper, aclosing(run.ask_all(todo)) as coming:
                async for result in coming:
                    keeper.keep(result)
                    run.results.append(result)
                    told(len(run.results), len(before) + len(todo))
            status = "over_budget" if run.over_budget else "completed"
        finally:
            async with tenant_session(system) as session:
                await close_experiment(session, experiment_id, status, cost_usd=run.cost_usd)
    order = {case.id: place for place, case in enumerate(cases)}
    results = sorted(run.results, key=lambda one: (order.get(one.case_id, len(order)), one.repeat))
    return RunReport(
        suite=suite.name, dataset_version=stored.version, experiment_id=experiment_id, status=status, results=results,
        resumed=len(before), forecast=forecast, cost_usd=run.cost_usd, config=config, stopped=run.stopped,
        broken=check_limits(results, [parse_rule(text) for text in suite.fail_on]) if results else [],
    )  # fmt: skip


def forecast_run(
    questions: int, models: Sequence[str], judge: Judge | None = None, prices: PriceTable = NO_PRICES
) -> Forecast:
    """Return what the questions will cost if the first model answers all of them and the judge reads every answer."""
    each: Decimal | None = Decimal(0)
    basis = "no model answers"
    if models:
        each = price(Usage(models[0].rpartition("/")[2], PROMPT_TOKENS, ANSWER_TOKENS), prices=prices)
        basis = f"{PROMPT_TOKENS:,} tokens in and {ANSWER_TOKENS} out for each, by {models[0]}"
    if judge is not None:
        each = add_costs((each, judge.forecast_usd()))
        basis += f"; judged by {judge.name}"
    tokens = (PROMPT_TOKENS + ANSWER_TOKENS) * questions if models else 0
    cost = None if each is None else each * questions
    return Forecast(cost_usd=cost, questions=questions, basis=basis, tokens=tokens)


@dataclass(slots=True)
class _Run:
    """A run under way."""

    assistant: Assistant
    suite: Suite
    judge: Judge | None
    askers: Mapping[str, Principal]
    budget_usd: Decimal | None
    each_usd: Decimal
    """What one question was forecast to cost."""
    results: list[CaseResult]
    system: Principal
    prices: PriceTable
    over_budget: bool = False
    stopped: str | None = None

    @property
    def cost_usd(self) -> Decimal | None:
        """What answers and judge cost so far; None where one of them is not known."""
        return add_costs(cost for one in self.results for cost in _list_costs(one))

    async def ask_all(self, todo: Sequence[tuple[Case, int]]) -> AsyncGenerator[CaseResult, None]:
        """Yield results as they come, `AT_ONCE` under way, until all are done, or the budget or a limit is reached."""
        waiting = iter(todo)
        running: set[asyncio.Task[CaseResult]] = set()
        try:
            while True:
                while (
                    len(running) < AT_ONCE
                    and not self._is_spent(len(running))
                    and (turn := next(waiting, None)) is not None
                ):
                    running.add(asyncio.create_task(self._ask(*turn)))
                if not running:
                    self.over_budget = self.stopped is not None or next(waiting, None) is not None
                    return
                finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    try:
                        result = task.result()
                    except QuotaExceeded as error:  # it is asked when the run goes on
                        self.stopped = error.message
                    else:
                        yield result
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _is_spent(self, running: int) -> bool:
        """Tell whether the next question may pass the budget, those under way counted as the dearest so far."""
        if self.stopped is not None:
            return True
        if self.budget_usd is None:
            return False
        known = [sum((cost for cost in _list_costs(one) if cost is not None), Decimal(0)) for one in self.results]
        dearest = max([self.each_usd, *known])
        return sum(known, Decimal(0)) + running * dearest >= self.budget_usd

    async def _ask(self, case: Case, repeat: int) -> CaseResult:
        result = CaseResult(
            case_id=case.id, repeat=repeat, status="scored", scores={}, groups=case.groups, user_input=case.user_input
        )
        try:
            reader = self.askers[self.suite.get_asker(case)]
            response = await ask(self.assistant, reader, case.user_input, now=case.asked_at or self.suite.asked_at)
            scores = await score_answer(case, response, self.assistant.find_embedder(reader.tenant_id))
        except QuotaExceeded:
            raise
        except AppError as error:
            _log.warning("case_failed", case=case.id, error=error.code)
            scores = score_failure(case)
            if self.judge is not None:
                scores |= {name: get_worst(name) for name in _list_judged(case)}
            return replace(result, status="failed", scores=scores, error=error.message)
        result = replace(result, scores=scores, response=response, flags=tuple(flag_answer(response)))
        if self.judge is None or response.refused:
            return result
        foretold, name = self.judge.forecast_usd(), self.judge.name
        async with spending(
            self.system, "evaluation", tokens=JUDGE_TOKENS, usd=foretold, model=name, prices=self.prices
        ) as spent:
            verdict = await self.judge.score(case, response)
            spent.tell_cost(verdict.calls, verdict.cost_usd)
        return replace(
            result, scores=scores | dict(verdict.scores), judge_errors=dict(verdict.errors),
            judge_cost_usd=verdict.cost_usd,
        )  # fmt: skip


def _list_judged(case: Case) -> list[str]:
    """Return the judge's metrics that would have spoken of an answer to this case."""
    if not case.answerable:
        return []  # the right answer is a refusal, which is not judged
    return [name for name in BY_JUDGE if case.reference or name not in BY_REFERENCE]


def _list_costs(one: CaseResult) -> list[Decimal | None]:
    if one.response is None:
        return []
    judged = any(name in one.scores for name in BY_JUDGE)
    return [one.response.cost_usd, one.judge_cost_usd] if judged else [one.response.cost_usd]


def _require_user(principal: Principal) -> UUID:
    assert principal.user_id is not None  # noqa: S101  # found by their address
    return principal.user_id


def _describe(
    assistant: Assistant, suite: Suite, models: Sequence[str], judge: Judge | None, limit: int | None
) -> dict[str, Any]:
    """Return what decides the answers: a run goes on only under the same."""
    return {
        "embedder": assistant.embedder.name if assistant.embedder else None, "models": list(models),
        "top_k": assistant.top_k, "prompt_hash": prompt_hash(), "judge": judge.name if judge else None,
        "asked_at": suite.asked_at.isoformat() if suite.asked_at else None, "limit": limit,
    }  # fmt: skip
