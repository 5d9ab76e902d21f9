"""The embedder that the settings name, for the commands that search in this process."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.settings import Settings
    from rag.embedding import Embedder


async def load_embedder(settings: "Settings") -> "Embedder":
    """Return the embedder, loaded off the event loop; it takes up to two seconds the first time."""
    from rag.embedding import build_embedder

    chosen = settings.embedding
    return await asyncio.to_thread(
        build_embedder,
        chosen.provider,
        cache_dir=settings.home / "models",
        precision=chosen.precision,
        model=chosen.model,
        base_url=chosen.base_url,
        api_key=chosen.api_key.get_secret_value() if chosen.api_key else None,
        dimensions=chosen.dimensions,
        threads=chosen.threads,
    )
