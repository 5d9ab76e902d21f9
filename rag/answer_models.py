"""Which models a tenant's questions go to, in its order."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import ModelSettings
from rag.providers.openai_client import Endpoint
from rag.providers.openai_compatible import build_chat_provider
from rag.providers.protocol import ChatProvider


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model to ask, in its turn."""

    provider: ChatProvider
    max_tokens: int
    temperature: float | None


_MODELS = text(
    """
    SELECT p.name, p.type, p.base_url, c.model_name, c.max_tokens, c.temperature
    FROM platform.tenant_llm_config c JOIN platform.llm_providers p ON p.id = c.provider_id
    WHERE c.enabled ORDER BY c.priority LIMIT 20
    """
)


async def list_models(session: AsyncSession, settings: ModelSettings) -> list[ModelChoice]:
    """Return the tenant's models in its order, else the operator's; none where quotes alone are wanted.

    The operator's key goes to the operator's endpoint only, never to another that a tenant's row names.
    """
    rows = (await session.execute(_MODELS)).all()
    if not rows:
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
            )
        )
    return models


def _choose(
    name: str, model: str, base_url: str | None, settings: ModelSettings, *, max_tokens: int, temperature: float | None
) -> ModelChoice:
    key = settings.api_key.get_secret_value() if settings.api_key and base_url == settings.base_url else None
    endpoint = Endpoint(base_url=base_url, api_key=key, read_timeout=settings.timeout_s)
    return ModelChoice(build_chat_provider(f"{name}/{model}", model=model, endpoint=endpoint), max_tokens, temperature)
