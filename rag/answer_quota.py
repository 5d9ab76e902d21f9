"""Keeps an answer within its tenant's limits: set aside before it begins, covered call by call, counted at its end."""

from decimal import Decimal
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import QuotaExceeded
from db.session import tenant_session
from domain import quotas, usage
from domain.prices import NO_PRICES, PriceTable, load_prices
from rag.answer_models import ModelChoice
from rag.answer_run import Run
from rag.costs import add_costs, price, tally
from rag.embedding.counting import is_paid
from rag.embedding.openai_compatible import estimate_tokens
from rag.prompts import ANSWER_SYSTEM, REWRITE_SYSTEM, Prompt
from rag.providers.chain import ProviderFailure
from rag.providers.protocol import Usage
from rag.spending import price_embedding

REWRITE_TOKENS: Final = 200
"""Of a question made to stand alone, at most."""
PASSAGE_TOKENS: Final = 500
"""Of a usual passage in a prompt; where they are longer, more is set aside before the model is asked."""
MESSAGE_TOKENS: Final = 8
"""What roles and turns of the chat format add to a request."""


async def reserve_answer(session: AsyncSession, run: Run) -> None:
    """Set aside what answering may take where the tenant limits it; let it be the last statement of the transaction.

    Without a limit it costs one look at the tenant's quotas, and nothing where nobody is paid. Raises `QuotaExceeded`.
    """
    if not run.models and not is_paid(run.assistant.embedder):
        return
    limits = await quotas.get_limits(session)
    if not limits.asks_models:
        return
    tokens, usd = _estimate(run, priced=limits.usd is not None)
    name = run.models[0].provider.model if run.models else "the embedding model"
    run.limited = await quotas.reserve(session, run.run_id, tokens=tokens, usd=usd, model=name)
    run.reserved_tokens, run.reserved_usd = tokens, usd or Decimal(0)


def _estimate(run: Run, *, priced: bool) -> tuple[int, Decimal | None]:
    """Return tokens and USD of an answer by the first model, its passages of usual length."""
    words = estimate_tokens(run.asked)
    found = run.assistant.top_k * PASSAGE_TOKENS
    tokens, costs = 0, list[Decimal | None]()
    if run.models:
        first = run.models[0]
        read, written = estimate_tokens(ANSWER_SYSTEM) + words + found + MESSAGE_TOKENS, first.max_tokens
        if run.history:
            said = sum(estimate_tokens(text[:600]) for _, text in run.history)
            read += estimate_tokens(REWRITE_SYSTEM) + words + said + MESSAGE_TOKENS
            written += REWRITE_TOKENS
        tokens += read + written
        costs += [_price(first, read, written)] if priced else []
    if is_paid(embedder := run.assistant.embedder):
        embedded = 3 * words + found  # question and topic, and the sentences it is compared with
        tokens += embedded
        costs += [price_embedding(embedder, embedded, _prices(run))] if priced else []
    return tokens, add_costs(costs)


async def cover_call(run: Run, choice: ModelChoice, prompt: Prompt, *, max_tokens: int) -> bool:
    """Tell whether one more call stays within the limits, for which more may be set aside now.

    Where it does not, the next model, or quotes, must do.
    """
    if not run.limited:
        return True
    given = count_prompt(prompt)
    more = sum((one.input_tokens or 0) + (one.output_tokens or 0) for one in (*run.calls, *run.embedded))
    short = max(more + given + max_tokens - run.reserved_tokens, 0)
    usd = _price(choice, given, max_tokens)
    known = sum((cost for cost in run.costs if cost is not None), Decimal(0))
    short_usd = None if usd is None else max(known + usd - run.reserved_usd, Decimal(0))
    if not short and short_usd is not None and not short_usd:
        return True
    try:
        async with tenant_session(run.reader.as_system()) as session:
            await quotas.reserve(session, run.run_id, tokens=short, usd=short_usd, model=choice.provider.model)
    except QuotaExceeded as error:
        run.failures.append(ProviderFailure(choice.provider.name, error.code, error.message, retryable=False))
        return False
    run.reserved_tokens += short
    run.reserved_usd += short_usd or Decimal(0)
    return True


def note_call(run: Run, choice: ModelChoice, prompt: Prompt, told: Usage | None, text: str) -> None:
    """Note a call that had begun: what the model told, else our own count, for it is paid for all the same."""
    if told is None or told.input_tokens is None or told.output_tokens is None:
        name = told.model if told else choice.provider.model
        read = told.input_tokens if told and told.input_tokens is not None else count_prompt(prompt)
        written = told.output_tokens if told and told.output_tokens is not None else estimate_tokens(text)
        counted = Usage(name, read, written, service=choice.provider.service)
    else:
        counted = told
    cost = price(counted, prices=choice.prices)
    run.calls.append(counted)
    run.costs.append(cost)
    if told is not None:
        run.usage.append(told)
        run.prices.append(cost if counted is told else None)


async def settle_answer(session: AsyncSession, run: Run) -> None:
    """Count what the answer took and end its reservation; let it be one of the transaction's last statements."""
    costs = list(run.costs)
    if run.embedded:
        prices = _prices(run) if run.models else await load_prices(session)
        costs += [price(one, prices=prices) for one in run.embedded]
    used = tally(run.feature, [*run.calls, *run.embedded], costs, requests=1)
    await usage.settle(session, [used], finished=[run.run_id] if run.limited else [])


def count_prompt(prompt: Prompt) -> int:
    """Return about how many tokens a request is, rather too many than too few."""
    return estimate_tokens(prompt.system) + estimate_tokens(prompt.user) + MESSAGE_TOKENS


def _price(choice: ModelChoice, read: int, written: int) -> Decimal | None:
    return price(Usage(choice.provider.model, read, written, service=choice.provider.service), prices=choice.prices)


def _prices(run: Run) -> PriceTable:
    return run.models[0].prices if run.models else NO_PRICES
