"""Embeddings from any service that speaks OpenAI's API, for tenants whose own model knows their language better."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import Invalid
from rag.embedding.counting import tell_usage
from rag.embedding.protocol import Matrix, check_texts
from rag.providers.errors import BrokenReply
from rag.providers.openai_client import OPENAI_URL, ClientPool, Endpoint, is_outside_url, translate_errors
from rag.providers.protocol import Usage

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse

BATCH_TEXTS: Final = 256  # OpenAI takes 2,048 and some compatible servers 256 or fewer
BATCH_TOKENS: Final = 100_000  # a third of what OpenAI takes in one request


class WrongDimensions(Invalid):
    """The embedding model gives vectors of another length than configured; correct REGENESIS_EMBEDDING__DIMENSIONS."""


class OpenAIEmbedder:
    """Embeds through a service; a text that is too long for its model is the service's to refuse.

    Creating one connects to nothing.
    """

    def __init__(
        self, *, model: str, dimensions: int, base_url: str | None = None, api_key: str | None = None, retries: int = 4
    ) -> None:
        self.name: Final = f"{model}/{dimensions}"
        self.dimensions: Final = dimensions
        self.is_outside: Final = is_outside_url(base_url)
        self.model: Final = model
        self.service: Final = base_url or OPENAI_URL
        self._pool = ClientPool(Endpoint(base_url, api_key, retries=retries))
        self._ask_for_dimensions = False

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, dimensions) float32.

        Raises `UnembeddableText`, `WrongDimensions`, or the errors of `rag.providers.errors`; the latter after the
        retries that a request is worth.
        """
        check_texts(texts)
        batches = [await self._embed_batch(batch) for batch in split_batches(texts)]
        return np.concatenate(batches) if batches else np.empty((0, self.dimensions), np.float32)

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        await self._pool.aclose()

    async def _embed_batch(self, texts: Sequence[str]) -> Matrix:
        asked = self._ask_for_dimensions
        rows = await self._request(texts, asked)
        if rows.shape[1] > self.dimensions and not asked:
            # models that can shorten their vectors do so when asked; the others may refuse the very question
            rows = await self._request(texts, True)
            self._ask_for_dimensions = True
        if rows.shape[1] != self.dimensions:
            raise WrongDimensions(
                f"The embedding model {self.model} gives vectors of {rows.shape[1]} numbers, not {self.dimensions}; "
                "correct REGENESIS_EMBEDDING__DIMENSIONS or choose another model."
            )
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
            raise BrokenReply
        return np.asarray(rows / lengths, np.float32)

    async def _request(self, texts: Sequence[str], ask_for_dimensions: bool) -> Matrix:
        from openai import omit  # heavy; see ClientPool

        with translate_errors():
            reply = await self._pool.get_client().embeddings.create(
                model=self.model,
                input=list(texts),
                encoding_format="float",  # not every compatible server knows base64
                dimensions=self.dimensions if ask_for_dimensions else omit,
            )
        rows = _read_rows(reply, len(texts))
        told = getattr(getattr(reply, "usage", None), "prompt_tokens", None)
        # a service that does not count is counted for: a limit of tokens must hold there as well
        read = told if isinstance(told, int) and told >= 0 else sum(map(estimate_tokens, texts))
        tell_usage(Usage(self.model, read, 0, service=self.service))
        return rows


def _read_rows(reply: "CreateEmbeddingResponse", count: int) -> Matrix:
    """Return the reply's vectors in the order of the texts; raises `BrokenReply` for any other shape."""
    try:
        rows = {item.index: np.asarray(item.embedding, np.float32) for item in reply.data}
        matrix = np.stack([rows[position] for position in range(count)])
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the package does not validate what it is sent
        raise BrokenReply from error
    if len(reply.data) != count or matrix.ndim != 2:
        raise BrokenReply
    return matrix


def split_batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in order, in batches within both bounds; a text that is beyond a bound by itself goes alone."""
    start = tokens = 0
    for position, text in enumerate(texts):
        estimate = estimate_tokens(text)
        if position > start and (position - start == BATCH_TEXTS or tokens + estimate > BATCH_TOKENS):
            yield texts[start:position]
            start, tokens = position, 0
        tokens += estimate
    if start < len(texts):
        yield texts[start:]


def estimate_tokens(text: str) -> int:
    """Return a count that is rarely too low: byte-pair tokens hold about 4 bytes of English and 3 of Chinese."""
    return len(text.encode("utf-8", "replace")) // 3 + 1
