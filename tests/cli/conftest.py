"""What tests of commands share."""

from collections.abc import Iterator

import pytest

from core.logging import configure_logging
from core.settings import Settings


@pytest.fixture(autouse=True)
def own_logging(settings: Settings) -> Iterator[None]:
    """Give logging back its stream: a command run by the test runner sends it to one that is closed by now."""
    yield
    configure_logging(settings.log)
