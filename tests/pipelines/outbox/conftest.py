"""Dispatchers that look at one tenant only and do not wait between attempts."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.settings import Settings, WebhookSettings
from pipelines.outbox.dispatcher import Dispatcher, Limits
from pipelines.outbox.handlers import build_registry
from pipelines.outbox.messages import Handler, Registry
from tests.factories.people import Organisation

AT_ONCE = timedelta(0)
HASTY = Limits(first_pause=AT_ONCE, longest_pause=AT_ONCE, attempts=4)
"""Four attempts without a pause: a drain sees every message to its end."""

Build = Callable[..., Dispatcher]


@pytest.fixture
def timeout_s() -> float:
    """Seconds a receiver has to answer; short where it is to be given up only."""
    return 30


@pytest.fixture
def local_settings(store: Settings, timeout_s: float) -> Settings:
    """Settings that let webhooks reach this machine."""
    return store.model_copy(update={"webhooks": WebhookSettings(allow_private=True, timeout_s=timeout_s)})


@pytest.fixture
def build(organisation: Organisation, local_settings: Settings) -> Build:
    """Return a dispatcher of this tenant, with the product's handlers or with one for everything."""

    def make(handler: Handler | None = None, limits: Limits = HASTY) -> Dispatcher:
        registry = Registry(otherwise=handler) if handler else build_registry(local_settings)
        return Dispatcher(registry, limits, only={organisation.tenant_id})

    return make
