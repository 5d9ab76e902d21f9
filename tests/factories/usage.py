"""Quotas, what counts towards them, and an embedder that is paid without a network."""

from collections.abc import Sequence
from typing import Any

import psycopg

from core.settings import get_settings
from db.locate import owner_url
from db.provision import to_libpq_url
from db.session import tenant_session
from domain.quotas import Limits, list_quotas, set_limits
from domain.usage import UsageRow, list_usage
from rag.embedding import Matrix
from rag.embedding.counting import tell_usage
from rag.embedding.openai_compatible import estimate_tokens
from rag.fakes import HashEmbedder
from rag.providers.protocol import Usage
from tests.factories.people import Organisation


class PaidEmbedder(HashEmbedder):
    """The embedder of stems as a service that is paid: it tells what it was asked for."""

    def __init__(self, model: str = "text-embedding-3-small", dimensions: int = 384) -> None:
        super().__init__(dimensions)
        self.name = f"{model}/{dimensions}"  # type: ignore[misc]  # final in the product
        self.model, self.service = model, "https://api.openai.com/v1"
        self.asked = 0

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed, and tell the tokens."""
        tokens = sum(map(estimate_tokens, texts))
        self.asked += tokens
        tell_usage(Usage(self.model, tokens, 0, service=self.service))
        return await super().embed(texts)


async def limit(organisation: Organisation, **limits: Any) -> None:
    """Set the organisation's limits, as its administrator."""
    async with tenant_session(organisation.admin) as session:
        await set_limits(session, Limits(**limits))


async def read_quotas(organisation: Organisation) -> dict[str, Any]:
    """Return all limits as they stand, by kind; their decimals are compared with whole numbers."""
    async with tenant_session(organisation.coach_a) as session:
        return {one.kind: one for one in await list_quotas(session)}


async def read_usage(organisation: Organisation) -> dict[str, UsageRow]:
    """Return what was used today, by feature, as the executive reads it."""
    from datetime import UTC, datetime, timedelta

    today = datetime.now(UTC).date()
    async with tenant_session(organisation.executive) as session:
        rows = await list_usage(session, since=today - timedelta(days=1), until=today + timedelta(days=1), by="feature")
    return {str(row.feature): row for row in rows}


def change_as_superuser(statement: str, *values: Any) -> None:
    """Change what nobody else may: to let time pass."""
    with psycopg.connect(to_libpq_url(owner_url(get_settings())), autocommit=True) as connection:
        connection.execute(statement, values)
