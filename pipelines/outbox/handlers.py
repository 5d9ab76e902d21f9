"""Which topic is handled by what."""

from functools import partial

from core.settings import Settings
from pipelines.content_index import handle_content
from pipelines.ingest import load_embedder
from pipelines.outbox.channels import build_channels
from pipelines.outbox.messages import Registry
from pipelines.outbox.notifications import handle_notification
from pipelines.outbox.webhooks import handle_delivery, handle_event
from rag.embedding import Embedder


def build_registry(settings: Settings, embedder: Embedder | None = None) -> Registry:
    """Return the handlers; a topic without one of its own is an event for webhooks.

    Without an embedder that of the settings is loaded once something is to be indexed.
    """

    async def load() -> Embedder:
        return embedder or await load_embedder(settings)

    return Registry(
        by_topic={
            "content_changed": partial(handle_content, load),
            "notification_delivery": partial(handle_notification, build_channels(settings.mail)),
            "webhook_delivery": partial(handle_delivery, settings.webhooks),
        },
        otherwise=handle_event,
    )
