"""Asks the models for the claims of one stretch, in their order, until one sends a list that can be read."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final
from uuid import UUID

from core.errors import QuotaExceeded
from core.logging import get_logger
from db.session import Principal
from pipelines.evidence.model.forecast import count_input, limit_output, price_at
from pipelines.evidence.model.prompts import CLAIMS_SCHEMA, build_claims_prompt
from pipelines.evidence.model.record import reserve, settle
from pipelines.evidence.model.reply import Reply, UnreadableReply, read_reply
from pipelines.evidence.model.windows import Window, estimate_tokens
from rag.answer_models import ModelChoice
from rag.costs import price, tally
from rag.prompts import Prompt
from rag.providers.breaker import CircuitOpen
from rag.providers.chain import AnswerInterrupted, NoProviderAnswered, ProviderFailure, open_answer
from rag.providers.errors import BrokenReply, CreditSpent, KeyRefused, ModelUnknown, ProviderTimedOut, RequestRejected
from rag.providers.protocol import Message, Usage

ATTEMPTS: Final = 2
"""At one model for one stretch; its client has tried again by itself where the service was busy or silent."""
BACKOFF_S: Final = 1.0
HOPELESS: Final = frozenset(kind.__name__ for kind in (KeyRefused, CreditSpent, ModelUnknown))
"""Failures after which a model is not asked for the rest of the session."""
CHARGED: Final = frozenset(kind.__name__ for kind in (ProviderTimedOut, BrokenReply))
"""Failures before the first word that a service may charge for all the same."""
LASTING: Final = frozenset(kind.__name__ for kind in (RequestRejected, UnreadableReply))
"""Failures that lie in the words of a stretch: asked again by the next run, they would only cost again."""
IMPLAUSIBLE: Final = 4
"""Times our own estimate of the input, or the limit of the output, beyond which a service's count is not believed."""

log = get_logger("pipelines.evidence.model")


@dataclass(slots=True)
class Asking:
    """One session on its way through the models: what it took so far and what went wrong."""

    models: Sequence[ModelChoice]
    held_on: date | None
    record: Principal | None = None
    run_id: UUID | None = None
    usage: list[Usage] = field(default_factory=list)
    costs: list[Decimal | None] = field(default_factory=list)
    failures: list[ProviderFailure] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    given_up: set[int] = field(default_factory=set)
    """Models that can't answer, by their place."""
    stopped: QuotaExceeded | None = None
    missed: int = 0
    """Stretches without an answer that may come another time."""
    requests: int = 0
    estimated: int = 0
    """Requests whose tokens the service did not count, or not plausibly."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply that could be read, and the model that sent it."""

    reply: Reply
    model: str
    """As the service names it."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What came of one request."""

    text: str
    usage: Usage | None
    failure: ProviderFailure | None


async def ask_for_claims(asking: Asking, window: Window) -> Answered | None:
    """Return the first reply that can be read; None where no model sent one or the budget is used up."""
    failures: list[ProviderFailure] = []
    answered = await _ask_each(asking, window, failures)
    asking.failures += failures
    if answered is None and (asking.stopped or not failures or any(one.error not in LASTING for one in failures)):
        asking.missed += 1
    return answered


async def _ask_each(asking: Asking, window: Window, failures: list[ProviderFailure]) -> Answered | None:
    prompt = build_claims_prompt(window.lines, asking.held_on)
    for place, choice in enumerate(asking.models):
        for attempt in range(ATTEMPTS):
            if asking.stopped or place in asking.given_up:
                break
            if attempt:
                # jitter, so that the stretches of a session do not come back together
                await asyncio.sleep(BACKOFF_S * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - no secret
            said = await _ask_once(asking, choice, prompt)
            if said is None:
                return None
            failure = said.failure
            if failure is None:
                try:
                    reply = await asyncio.to_thread(read_reply, said.text, held_on=asking.held_on)
                except UnreadableReply as error:
                    failure = ProviderFailure(choice.provider.name, error.code, error.message, retryable=True)
                else:
                    asking.dropped += reply.dropped
                    if reply.broken:
                        asking.dropped["broken_off"] += 1
                    return Answered(reply, said.usage.model if said.usage else choice.provider.model)
            failures.append(failure)
            log.warning("a model sent no claims", provider=failure.provider, error=failure.error)
            if failure.error in HOPELESS:
                asking.given_up.add(place)
            if not failure.retryable or failure.error == CircuitOpen.__name__:
                break
    return None


async def _ask_once(asking: Asking, choice: ModelChoice, prompt: Prompt) -> _Said | None:
    """Send one request within the budget; None where it does not fit any more."""
    given, most = count_input(prompt), limit_output(choice)
    most_usd = price_at(choice, given, most)
    if asking.record is not None and asking.run_id is not None:
        try:
            await reserve(asking.record, asking.run_id, most_usd, model=choice.provider.model, tokens=given + most)
        except QuotaExceeded as error:
            asking.stopped = asking.stopped or error
            return None
    asking.requests += 1
    text: list[str] = []
    usage, failure, begun, cost, used = None, None, False, None, None
    try:
        messages = [Message("system", prompt.system), Message("user", prompt.user)]
        async with open_answer(
            [choice.provider], messages, max_tokens=most, temperature=choice.temperature, schema=CLAIMS_SCHEMA
        ) as opened:
            begun = True
            async for piece in opened.pieces:
                text.append(piece.text)
                usage = piece.usage or usage
    except NoProviderAnswered as error:
        failure = error.failures[-1]
        begun = failure.error in CHARGED
    except AnswerInterrupted as error:
        failure = error.failure
    finally:  # also when this task is cancelled: what was sent is paid for
        if begun:
            counted, told = _count(usage, choice, given, most, "".join(text))
            cost = price(counted, prices=choice.prices)
            if cost is None:  # the service calls its model by a name that nobody sells
                cost = price_at(choice, counted.input_tokens or 0, counted.output_tokens or 0)
            used = tally("evidence", [counted], [cost])
            asking.usage.append(counted)
            asking.costs.append(cost)
            asking.estimated += not told
        if asking.record is not None and asking.run_id is not None:
            await settle(
                asking.record, asking.run_id, reserved_usd=most_usd, reserved_tokens=given + most, cost_usd=cost,
                used=used,
            )  # fmt: skip
    return _Said("".join(text), usage, failure)


def _count(usage: Usage | None, choice: ModelChoice, given: int, most: int, text: str) -> tuple[Usage, bool]:
    """Return what the request took, estimated where the service told nothing plausible, and whether it told all."""
    usage = usage or Usage(choice.provider.model, None, None, service=choice.provider.service)
    read, written = usage.input_tokens, usage.output_tokens
    told = read is not None and read <= given * IMPLAUSIBLE and written is not None and written <= most * IMPLAUSIBLE
    if not told:
        usage = replace(usage, input_tokens=given, output_tokens=min(estimate_tokens(text), most))
    return usage, told
