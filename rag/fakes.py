"""Deterministic stand-ins for models: for tests, and for trying the product's machinery without any weights."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np

from rag.embedding.protocol import Matrix, Vector, check_texts
from rag.lexical import list_words, term_indices
from rag.providers.protocol import AnswerSchema, Message, Piece, Usage


class HashEmbedder:
    """Places a text by the stems of its words: the same text gets the same vector, and shared words bring texts near.

    No model and no threads, so it is quick and the same on every machine. It knows nothing of meaning.
    """

    def __init__(self, dimensions: int = 384) -> None:
        self.name: Final = f"hashed-stems/{dimensions}"
        self.dimensions: Final = dimensions

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, dimensions) float32."""
        check_texts(texts)
        rows = np.empty((len(texts), self.dimensions), np.float32)
        for position, text in enumerate(texts):
            rows[position] = self._embed_one(text)
        return rows

    def count_tokens(self, text: str) -> int:
        """Return the number of words."""
        return len(list_words(text))

    def _embed_one(self, text: str) -> Vector:
        # a text of nothing but function words or signs is placed as a whole
        keys = term_indices(text) or [int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())]
        # a term is a sparse direction: eight signed steps, so that two terms are hardly ever alike
        row = np.zeros(self.dimensions, np.float64)
        for key in keys:
            steps = np.frombuffer(blake2b(key.to_bytes(8), digest_size=32).digest(), np.uint32)
            np.add.at(row, (steps >> 1) % self.dimensions, np.where(steps & 1, 1.0, -1.0))
        length = float(np.linalg.norm(row))
        if length == 0:  # in a space of very few dimensions the steps may cancel
            row[keys[0] % self.dimensions] = length = 1.0
        return np.asarray(row / length, np.float32)


@dataclass(eq=False)
class ScriptedChat:
    """Gives its answers in turn and the last one again and again; a number is a pause in seconds, an error is raised.

    `calls` keeps the messages of every call. A token is a word.
    """

    answers: Sequence[Sequence[str | float | Exception]]
    name: str = "scripted"
    calls: list[tuple[Message, ...]] = field(default_factory=list)
    model: str = "scripted"
    service: str | None = None

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = None,  # noqa: ARG002 - part of the promise; a script has none
        schema: AnswerSchema | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[Piece, None]:
        """Yield the script's texts, then the usage; stops after `max_tokens` words."""
        script = self.answers[min(len(self.calls), len(self.answers) - 1)]
        self.calls.append(tuple(messages))
        written, truncated = 0, False
        for step in script:
            if isinstance(step, Exception):
                raise step
            if not isinstance(step, str):
                await asyncio.sleep(step)
                continue
            words = step.split(" ")
            truncated = len(words) > max_tokens - written
            words = words[: max_tokens - written]
            written += len(words)
            if words:
                yield Piece(" ".join(words))
            if truncated:
                break
        read = sum(len(message.content.split()) for message in messages)
        yield Piece(usage=Usage(self.name, read, written, truncated))
