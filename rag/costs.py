"""What tokens cost, by the prices that come with the genai-prices package: nothing is asked online."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from rag.providers.protocol import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation


def price(usage: Usage, *, at: datetime | None = None) -> Decimal | None:
    """Return USD for an answer given at that moment (now); None, never 0, where a price or a count is not known.

    The prices of the service that answered count; at an address that the package does not know, such as a gateway
    inside the house, those of the company whose model bears the name. A model that nobody sells has none.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    from genai_prices import Usage as Tokens  # half a second that nothing without a model needs
    from genai_prices import calc_price

    tokens = Tokens(input_tokens=max(usage.input_tokens, 0), output_tokens=max(usage.output_tokens, 0))
    if usage.service is not None:
        try:
            found = calc_price(tokens, usage.model, provider_api_url=usage.service, genai_request_timestamp=at)
        except LookupError:
            pass  # an address or model it does not know there
        else:
            return _read(found, usage.output_tokens)
    try:
        return _read(calc_price(tokens, usage.model, genai_request_timestamp=at), usage.output_tokens)
    except LookupError:
        return None


def add_costs(costs: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum; None where one of them is not known, since a sum of the others would look like all of it."""
    total = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def _read(found: "PriceCalculation", output_tokens: int) -> Decimal | None:
    # the package lists some models, and speech by the hour, without a price of tokens, and then adds up to 0
    prices = found.model_price
    known = prices.input_mtok is not None and (prices.output_mtok is not None or not output_tokens)
    return found.total_price if known else None
