"""What a session will cost before anything of it is sent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pipelines.evidence.model.prompts import OUTPUT_TOKENS, build_claims_prompt
from pipelines.evidence.model.windows import cut_windows, estimate_tokens
from pipelines.evidence.records import SessionText
from rag.answer_models import ModelChoice
from rag.costs import add_costs, price
from rag.prompts import Prompt
from rag.providers.protocol import Usage

EXPECTED_OUTPUT: Final = 700
"""Tokens of a usual reply: four or five claims from ten minutes of talk. An assumption, not a measurement."""
MESSAGE_TOKENS: Final = 8
"""What roles and turns of the chat format add to a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What reading sessions by a model is going to take: what is expected, and the most it can be without retries.

    Costs in USD, None where the model's price is not known.
    """

    sessions: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    most_usd: Decimal | None = Decimal(0)

    def __add__(self, other: "Forecast") -> "Forecast":
        return Forecast(
            sessions=self.sessions + other.sessions,
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=add_costs((self.cost_usd, other.cost_usd)),
            most_usd=add_costs((self.most_usd, other.most_usd)),
        )


def forecast(texts: Iterable[SessionText], models: Sequence[ModelChoice]) -> Forecast:
    """Return what these sessions take if the first model answers every request; nothing without a model."""
    total = Forecast()
    for text in texts if models else ():
        total += _forecast_one(text, models[0])
    return total


def count_input(prompt: Prompt) -> int:
    """Return about how many tokens a request is, rather too many than too few."""
    return estimate_tokens(prompt.system) + estimate_tokens(prompt.user) + MESSAGE_TOKENS


def limit_output(choice: ModelChoice) -> int:
    """Return how many tokens a reply may have: enough for its claims, more where the tenant allows any answer more."""
    return max(choice.max_tokens, OUTPUT_TOKENS)


def price_at(choice: ModelChoice, input_tokens: int, output_tokens: int) -> Decimal | None:
    """Return what so many tokens cost at the model that is asked for, at the tenant's prices."""
    asked = Usage(choice.provider.model, input_tokens, output_tokens, service=choice.provider.service)
    return price(asked, prices=choice.prices)


def _forecast_one(text: SessionText, choice: ModelChoice) -> Forecast:
    held_on = text.held_at.date() if text.held_at else None
    inputs = [count_input(build_claims_prompt(window.lines, held_on)) for window in cut_windows(text)]
    read, written = sum(inputs), EXPECTED_OUTPUT * len(inputs)
    return Forecast(
        sessions=1,
        requests=len(inputs),
        input_tokens=read,
        output_tokens=written,
        cost_usd=price_at(choice, read, written),
        most_usd=price_at(choice, read, limit_output(choice) * len(inputs)),
    )
