"""Lets a tenant's model judge stored answers within two budgets: the window's, and the tenant's of the month.

What one answer may cost at most is set aside before it is judged, and replaced by what it did cost. A judge that may
not be asked says why; scoring by words goes on without it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from importlib.util import find_spec
from typing import Final, Protocol
from uuid import UUID, uuid4

from sqlalchemy import text

from core.errors import QuotaExceeded
from core.settings import ModelSettings, Settings
from db.session import Principal, tenant_session
from domain import budget, chat
from domain.prices import NO_PRICES, PriceTable, load_prices
from domain.usage import Used
from evaluation.judge import MAX_TOKENS, RagasJudge
from evaluation.records import Response
from evaluation.run import Judge, Verdict
from evaluation.suites import Case
from rag.answer_models import list_models
from rag.costs import price
from rag.embedding.protocol import Embedder
from rag.providers.openai_client import OPENAI_URL
from rag.providers.protocol import Usage

AGENT_TYPE: Final = "answer_judge"
CALLS: Final = 5
"""Requests for one answer: two for faithfulness, three for relevance. Each is bounded by the longest reply allowed, of
which seldom a tenth is written, so that asking again after a broken one fits in too."""
PROMPT_TOKENS: Final = 2_500
"""Of instructions and examples, around what is judged."""
CHARACTERS_A_TOKEN: Final = 3
"""Of any language that is written in letters; fewer than usual, since this is a bound."""

# A process that died leaves its run behind, with what it had set aside.
_ABANDONED: Final = text(
    """
    UPDATE chat.agent_runs
    SET status = 'failed', completed_at = clock_timestamp()
    WHERE agent_type = :kind AND status = 'running' AND started_at + CAST(:lapse AS interval) < clock_timestamp()
      AND NOT EXISTS (SELECT FROM platform.quota_reservations r
                      WHERE r.id = agent_runs.id AND r.lapses_at >= clock_timestamp())
    """
)
_SPENT: Final = text(
    """
    SELECT coalesce(sum((metadata->>'cost_usd')::numeric), 0) FROM chat.agent_runs
    WHERE agent_type = :kind AND started_at >= :since
    """
)


class ClosingJudge(Judge, Protocol):
    """A judge that holds connections."""

    async def aclose(self) -> None:
        """Close them."""


BuildJudge = Callable[[ModelSettings, Embedder], ClosingJudge]


class BudgetedJudge:
    """A judge that stops, and says so in `note`, where the next answer may not fit a budget any more."""

    def __init__(
        self, judge: ClosingJudge, model: ModelSettings, system: Principal, run_id: UUID, left_usd: Decimal | None,
        *, prices: PriceTable = NO_PRICES,
    ) -> None:  # fmt: skip
        self._judge, self._model, self._system, self._run_id = judge, model, system, run_id
        self._prices = prices
        self._left_usd = left_usd
        self.judged = 0
        self.cost_usd: Decimal | None = Decimal(0)
        self.note = ""

    @property
    def name(self) -> str:
        """The judge's name, for the record."""
        return self._judge.name

    async def score(self, case: Case, response: Response) -> Verdict | None:
        """Return the verdict on one answer, or None once a budget is used up."""
        if self.note:
            return None
        read, written = bound_tokens(case, response)
        most = _price(self._model, read, written, self._prices)
        if self._left_usd is not None and (most is None or most > self._left_usd):
            self.note = (
                f"The judge stopped after {self.judged:,} answers: the next may cost up to ${most or 0:,.4f}, and "
                f"${self._left_usd:,.4f} of the window's budget is left."
            )
            return None
        try:
            async with tenant_session(self._system) as session:
                model = self._model.model or ""
                await budget.reserve(session, self._run_id, most, model=model, tokens=read + written)
        except QuotaExceeded as error:
            self.note = f"The judge stopped after {self.judged:,} answers: {error.message}"
            return None
        spent = most  # of a request that was broken off, nobody knows how far it came
        calls: tuple[Usage, ...] = (Usage(self._model.model or "", read, written),)
        try:
            verdict = await self._judge.score(case, response)
            spent, calls = verdict.cost_usd if verdict.cost_usd is not None else most, verdict.calls
        finally:
            used = Used(
                feature="evaluation", input_tokens=sum(one.input_tokens or 0 for one in calls),
                output_tokens=sum(one.output_tokens or 0 for one in calls), cost_usd=spent, unpriced=int(spent is None),
            )  # fmt: skip
            async with tenant_session(self._system) as session:
                await budget.settle(
                    session, self._run_id, reserved_usd=most, cost_usd=spent, reserved_tokens=read + written,
                    used=[used],
                )  # fmt: skip
            self.cost_usd = None if self.cost_usd is None or spent is None else self.cost_usd + spent
            if self._left_usd is not None and spent is not None:
                self._left_usd -= spent
        self.judged += 1
        return verdict


@asynccontextmanager
async def open_judge(
    tenant_id: UUID, settings: Settings, embedder: Embedder | None, *, since: datetime,
    build: BuildJudge | None = None,
) -> AsyncIterator[tuple[BudgetedJudge | None, str]]:  # fmt: skip
    """Yield the judge of a window that began at `since`, or None and the sentence that says why there is none.

    The judge is the first of the tenant's models. What earlier runs of the window spent is taken off its budget.
    """
    limit, system = settings.evaluation.judge_budget_usd, Principal(tenant_id, "system")
    model, spent, why, prices = None, Decimal(0), "", NO_PRICES
    if limit == 0:
        why = "No judge: no budget is set for one (REGENESIS_EVALUATION__JUDGE_BUDGET_USD)."
    elif embedder is None or (build is None and find_spec("ragas") is None):
        why = "No judge: ragas is not installed; install the extra `eval`."
    else:
        model = await _find_model(system, settings)
        async with tenant_session(system) as session:
            prices = await load_prices(session)
        if model is None:
            why = "No judge: no model is set for this organisation."
        elif limit is not None and _price(model, 1, 1, prices) is None:
            why = f"No judge: the price of {model.model} is not known, so no budget can be promised."
    if model is None or why or embedder is None:
        yield None, why
        return
    run_id = uuid4()
    async with tenant_session(system) as session:
        about = {"kind": AGENT_TYPE, "lapse": budget.LAPSE, "since": since}
        await session.execute(_ABANDONED, about)
        spent = await session.scalar(_SPENT, about) or Decimal(0)
        await chat.start_run(session, run_id=run_id, user_id=None, session_id=None, agent_type=AGENT_TYPE)
    asked = (build or _build_ragas(settings, prices))(model, embedder)
    judge = BudgetedJudge(asked, model, system, run_id, None if limit is None else limit - spent, prices=prices)
    status: chat.RunStatus = "cancelled"
    try:
        yield judge, ""
        status = "succeeded"
    finally:
        cost = None if judge.cost_usd is None else str(judge.cost_usd)
        kept = {"cost_usd": cost, "judged": judge.judged, "models": [model.model]}
        try:
            async with tenant_session(system) as session:
                await chat.finish_run(session, run_id, status, metadata=kept)
        finally:
            await asked.aclose()


def bound_tokens(case: Case, response: Response) -> tuple[int, int]:
    """Return the most tokens that judging one answer may read and write, every reply of full length."""
    characters = len(case.user_input) + len(response.text) + sum(map(len, response.contexts))
    return CALLS * (PROMPT_TOKENS + characters // CHARACTERS_A_TOKEN), CALLS * MAX_TOKENS


async def _find_model(system: Principal, settings: Settings) -> ModelSettings | None:
    if settings.judge.model:
        return settings.judge
    async with tenant_session(system) as session:
        models = await list_models(session, settings.llm)
    if not models:
        return None
    service, own = models[0].provider.service, settings.llm
    # the operator's key goes to the operator's endpoint only
    key = own.api_key if service == (own.base_url or OPENAI_URL) else None
    return own.model_copy(update={"model": models[0].provider.model, "base_url": service, "api_key": key})


def _price(model: ModelSettings, read: int, written: int, prices: PriceTable = NO_PRICES) -> Decimal | None:
    return price(Usage(model.model or "", read, written, service=model.base_url), prices=prices)


def _build_ragas(settings: Settings, prices: PriceTable) -> BuildJudge:
    return lambda model, embedder: RagasJudge(model, embedder, cache=settings.home / "judgements", prices=prices)
