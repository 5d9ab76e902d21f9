"""Structured logs on standard error, each line carrying the ids of the request or run it belongs to."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from core.settings import LogSettings


class _StandardError:
    """Writes to whatever standard error is at that moment: it may be replaced after logging was set up."""

    def write(self, line: str) -> int:
        return sys.stderr.write(line)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(settings: LogSettings) -> None:
    """Set up logging for this process; safe to call again."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    exceptions: list[structlog.typing.Processor] = [structlog.processors.format_exc_info] if as_json else []
    structlog.configure(
        processors=[*shared, *exceptions, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.level)),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines carry `component=name` and whatever `log_context` has bound."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Add ids, such as `request_id` or `run_id`, to every line logged inside."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield
