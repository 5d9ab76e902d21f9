"""What tokens cost: by the tenant's own prices, else by those of the genai-prices package; nothing is asked online."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from domain.prices import NO_PRICES, PriceTable
from domain.usage import Feature, Used
from rag.providers.protocol import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation


def price(usage: Usage, *, at: datetime | None = None, prices: PriceTable = NO_PRICES) -> Decimal | None:
    """Return USD for an answer given at that moment (now); None, never 0, where a price or a count is not known.

    The tenant's `prices` win. Else those of the service that answered count; at an address that the package does not
    know, such as a gateway inside the house, those of the company whose model bears the name. A model that nobody
    sells has none.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    own = prices.find(usage.model, usage.service, at=at)
    if own is not None:
        return own.total(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
    from genai_prices import Usage as Tokens  # half a second that nothing without a model needs
    from genai_prices import calc_price

    read = max(usage.input_tokens, 0)
    cached = min(max(usage.cached_tokens, 0), read)
    tokens = Tokens(input_tokens=read, output_tokens=max(usage.output_tokens, 0))
    if cached:
        tokens = Tokens(input_tokens=read, cache_read_tokens=cached, output_tokens=max(usage.output_tokens, 0))
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


def tally(
    feature: Feature, calls: Sequence[Usage], costs: Sequence[Decimal | None], *, requests: int | None = None
) -> Used:
    """Return what calls took, each with its cost, as it is counted: an unknown cost is one that is not priced."""
    known = [cost for cost in costs if cost is not None]
    return Used(
        feature=feature, requests=len(calls) if requests is None else requests,
        input_tokens=sum(max(one.input_tokens or 0, 0) for one in calls),
        output_tokens=sum(max(one.output_tokens or 0, 0) for one in calls),
        cost_usd=sum(known, Decimal(0)) if known or not costs else None, unpriced=len(costs) - len(known),
    )  # fmt: skip


def _read(found: "PriceCalculation", output_tokens: int) -> Decimal | None:
    # the package lists some models, and speech by the hour, without a price of tokens, and then adds up to 0
    prices = found.model_price
    known = prices.input_mtok is not None and (prices.output_mtok is not None or not output_tokens)
    return found.total_price if known else None
