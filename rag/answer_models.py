"""Which models a tenant's questions go to, in its order."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import ModelSettings
from domain.prices import NO_PRICES, PriceTable, read_table
from rag.providers.openai_client import Endpoint, is_outside_url
from rag.providers.openai_compatible import build_chat_provider
from rag.providers.protocol import ChatProvider


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model to ask, in its turn."""

    provider: ChatProvider
    max_tokens: int
    temperature: float | None
    prices: PriceTable = NO_PRICES
    """What its tenant pays, where that is not the list price."""
    is_outside: bool = True
    """Whether words leave this machine with a question to it."""


_MODELS = text(
    """
    SELECT m.*, (
        SELECT json_agg(json_build_array(
            x.service, x.model, x.input_usd::text, x.output_usd::text, x.cached_usd::text, x.valid_from
        )) FROM platform.model_prices x
    ) AS prices
    FROM (SELECT) one LEFT JOIN (
        SELECT p.name, p.type, p.base_url, c.model_name, c.max_tokens, c.temperature, c.priority
        FROM platform.tenant_llm_config c JOIN platform.llm_providers p ON p.id = c.provider_id
        WHERE c.enabled ORDER BY c.priority LIMIT 20
    ) m ON true ORDER BY m.priority
    """
)


async def list_models(session: AsyncSession, settings: ModelSettings) -> list[ModelChoice]:
    """Return the tenant's models in its order, else the operator's, at the tenant's prices; none for quotes alone.

    The operator's key goes to the operator's endpoint only, never to another that a tenant's row names.
    """
    rows = (await session.execute(_MODELS)).all()
    prices = read_table(rows[0].prices)
    if rows[0].name is None:
        if not settings.model:
            return []
        return [
            _choose(
                "default",
                settings.model,
                settings.base_url,
                settings,
                max_tokens=settings.max_tokens,
                temperature=None,
                prices=prices,
            )
        ]
    models: list[ModelChoice] = []
    for row in rows:
        if row.type == "extractive":
            break  # it always answers, so nothing behind it is ever asked
        base_url = row.base_url or settings.base_url
        models.append(
            _choose(
                row.name,
                row.model_name,
                base_url,
                settings,
                max_tokens=row.max_tokens,
                temperature=row.temperature,
                prices=prices,
            )
        )
    return models


def _choose(
    name: str, model: str, base_url: str | None, settings: ModelSettings, *, max_tokens: int,
    temperature: float | None, prices: PriceTable,
) -> ModelChoice:  # fmt: skip
    key = settings.api_key.get_secret_value() if settings.api_key and base_url == settings.base_url else None
    endpoint = Endpoint(base_url=base_url, api_key=key, read_timeout=settings.timeout_s)
    provider = build_chat_provider(f"{name}/{model}", model=model, endpoint=endpoint)
    return ModelChoice(provider, max_tokens, temperature, prices, is_outside_url(base_url))
