"""Counts what embedding by a paid service takes; the embedded model costs nothing and counts nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol, TypeGuard

from rag.embedding.protocol import Embedder, Matrix
from rag.providers.protocol import Usage

_told: ContextVar[list[Usage] | None] = ContextVar("_told", default=None)


class PaidEmbedder(Embedder, Protocol):
    """An embedder behind a service that counts tokens."""

    model: str
    service: str


def is_paid(embedder: Embedder | None) -> TypeGuard[PaidEmbedder]:
    """Tell whether a service counts what this embedder takes."""
    return getattr(embedder, "service", None) is not None


def tell_usage(usage: Usage) -> None:
    """Note what a request took, for whoever counts."""
    counted = _told.get()
    if counted is not None:
        counted.append(usage)


@contextmanager
def counting(into: list[Usage]) -> Iterator[None]:
    """Collect what is told inside, by this task and those it starts."""
    token = _told.set(into)
    try:
        yield
    finally:
        _told.reset(token)


class CountedEmbedder:
    """An embedder that notes into `usage` what its requests took; the vectors are another's."""

    def __init__(self, embedder: Embedder, usage: list[Usage]) -> None:
        self._embedder: Final = embedder
        self._usage: Final = usage

    @property
    def name(self) -> str:
        """Model and precision of the embedder behind it."""
        return self._embedder.name

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return self._embedder.dimensions

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, dimensions) float32; raises what the embedder does."""
        with counting(self._usage):
            return await self._embedder.embed(texts)
