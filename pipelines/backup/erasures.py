"""What was erased since a backup was made is erased again before the restored store opens."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from core.settings import Settings
from pipelines.privacy.reapply import reapply_erasures

if TYPE_CHECKING:
    from rag.embedding.protocol import Embedder

SKEW: Final = timedelta(minutes=10)
"""How far the clocks of two machines may be apart; to erase again what is erased does no harm."""


async def erase_again(settings: Settings, since: datetime, embedder: "Embedder | None" = None) -> int:
    """Erase again what the receipts in the object store say was erased since, and return how many there were."""
    done = await reapply_erasures(since - SKEW, settings=settings, embedder=embedder)
    return len(done.erased)
