"""A price is right or it is unknown; it is never nothing for want of knowing."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from rag.costs import add_costs, price
from rag.providers.protocol import Usage

MILLION = 1_000_000


def test_tokens_have_the_price_of_their_model() -> None:
    assert price(Usage("gpt-4o-mini", MILLION, MILLION)) == Decimal("0.75")  # $0.15 and $0.60
    assert price(Usage("gpt-4o-mini-2024-07-18", MILLION, 0)) == Decimal("0.15")
    assert price(Usage("gpt-4o-mini", 0, 0)) == 0


def test_the_service_that_answered_sets_the_price() -> None:
    used = Usage("deepseek/deepseek-chat", MILLION, MILLION, service="https://openrouter.ai/api/v1")
    assert price(used)
    assert price(Usage("deepseek/deepseek-chat", MILLION, MILLION)) is None  # nobody else calls it so


def test_an_address_nobody_knows_has_the_makers_price() -> None:
    assert price(Usage("gpt-4o-mini", MILLION, 0, service="http://models.internal:4000/v1")) == Decimal("0.15")


@pytest.mark.parametrize(
    "usage",
    [
        Usage("llama3.2:3b", 10, 10),
        Usage("llama3.2:3b", 10, 10, service="http://127.0.0.1:11434/v1"),
        Usage("", 10, 10),
        Usage("gpt-4o-mini", None, 10),
        Usage("gpt-4o-mini", 10, None),
        Usage("whisper-large-v3", 10, 10, service="https://api.groq.com/openai/v1"),  # sold by the hour
        Usage("gpt-4o", 10, 10, service="https://api.githubcopilot.com"),  # listed without a price
    ],
    ids=lambda usage: f"{usage.model or 'nameless'}@{usage.service or 'anywhere'}",
)
def test_what_is_not_known_is_not_free(usage: Usage) -> None:
    assert price(usage) is None


def test_embeddings_have_no_output_to_pay() -> None:
    assert price(Usage("text-embedding-3-small", MILLION, 0, service="https://api.openai.com/v1")) == Decimal("0.02")


def test_a_price_is_that_of_its_day() -> None:
    used = Usage("o3", MILLION, 0, service="https://api.openai.com/v1")
    assert price(used, at=datetime(2025, 5, 1, tzinfo=UTC)) != price(used, at=datetime(2025, 12, 1, tzinfo=UTC))


def test_a_count_below_nothing_earns_nothing() -> None:
    assert price(Usage("gpt-4o-mini", -MILLION, 0)) == 0


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert add_costs([Decimal(1), Decimal("0.5")]) == Decimal("1.5")
    assert add_costs([]) == 0
    assert add_costs([Decimal(1), None]) is None
