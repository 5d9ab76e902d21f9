"""Keeps vectors for a while: questions about the same sessions compare themselves with the same sentences."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final
from uuid import UUID

import numpy as np

from rag.embedding.protocol import Embedder, Matrix, Vector, check_texts, is_outside

MOST: Final = 8_192
"""Vectors kept by a process: the sentences of some eighty sessions, 16 MB of 384 numbers each."""

SECONDS: Final = 600
"""How long one is kept, however often it is asked for: a conversation's while, and soon gone once its words are."""


class VectorMemory:
    """Vectors by text and tenant; what is used least goes first. It holds no words, and no tenant finds another's."""

    def __init__(self, most: int = MOST, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most: Final = most
        self._clock: Final = clock
        self._kept: OrderedDict[bytes, tuple[float, Vector]] = OrderedDict()

    def find(self, key: bytes) -> Vector | None:
        """Return the vector kept under this key, or None."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= self._clock():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def keep(self, key: bytes, vector: Vector) -> None:
        """Keep the vector from now on for `SECONDS`."""
        self._kept[key] = (self._clock() + SECONDS, vector)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


class RememberingEmbedder:
    """An embedder that asks another one only for what the memory does not hold; the vectors are the same to the bit."""

    def __init__(self, embedder: Embedder, memory: VectorMemory, tenant_id: UUID) -> None:
        self._embedder: Final = embedder
        self._memory: Final = memory
        # a digest keyed by tenant and model: nobody can tell by its speed what another tenant asked
        self._key: Final = blake2b(tenant_id.bytes + embedder.name.encode(), digest_size=32).digest()

    @property
    def name(self) -> str:
        """Model and precision of the embedder behind it."""
        return self._embedder.name

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return self._embedder.dimensions

    @property
    def is_outside(self) -> bool:
        """Whether texts leave this installation."""
        return is_outside(self._embedder)

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, dimensions) float32; raises what the embedder does."""
        check_texts(texts)
        keys = [self._digest(text) for text in texts]
        known = {key: self._memory.find(key) for key in keys}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        if missing:
            rows = await self._embedder.embed(list(missing.values()))
            for key, row in zip(missing, rows, strict=True):
                vector = row.copy()  # a row alone would keep its whole matrix
                vector.flags.writeable = False
                self._memory.keep(key, vector)
                known[key] = vector
        matrix = np.empty((len(texts), self.dimensions), np.float32)
        for place, key in enumerate(keys):
            matrix[place] = known[key]
        return matrix

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()
