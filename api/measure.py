"""Counts answers as they pass, whichever route they leave by."""

from collections.abc import AsyncGenerator, AsyncIterator

from api.metrics import ANSWERS, PROVIDER_FAILURES
from rag.answer import Done, Event


async def measure_answer(first: Event, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
    """Pass the events on, `first` before the rest, and count how the answer ended."""
    provider, outcome = "none", "interrupted"
    try:
        yield first
        async for event in events:
            if isinstance(event, Done):
                provider, outcome = event.provider, "refused" if event.refused else "answered"
                for failure in event.failures:
                    PROVIDER_FAILURES.labels(failure.provider, failure.error).inc()
            yield event
    except Exception:
        outcome = "failed"
        raise
    finally:
        ANSWERS.labels(provider, outcome).inc()
