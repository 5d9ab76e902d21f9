"""The one place that knows which embedders exist and shares each within the process."""

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal

from core.errors import Invalid
from rag.embedding.minilm import DIMENSIONS, MODEL, MiniLMEmbedder, Precision
from rag.embedding.openai_compatible import OpenAIEmbedder
from rag.embedding.protocol import Embedder

_building = Lock()


def build_embedder(
    provider: Literal["minilm", "openai"],
    *,
    cache_dir: Path,
    precision: Precision = "int8",
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    dimensions: int | None = None,
    threads: int | None = None,
) -> Embedder:
    """Return the embedder of these settings; the same settings get the same one for the life of the process.

    Takes up to 2 s the first time (see `MiniLMEmbedder`): call it at start-up or off the event loop. Raises
    `Invalid` for settings that contradict each other.
    """
    with _building:  # lru_cache alone would let two threads load the model twice
        if provider == "minilm":
            if model not in (None, MODEL) or dimensions not in (None, DIMENSIONS):
                raise Invalid(
                    f"The embedded provider runs {MODEL} with {DIMENSIONS} dimensions only; "
                    "unset the embedding model and dimensions, or choose the provider openai."
                )
            return _load_minilm(cache_dir.expanduser().resolve(), precision, threads)
        return _connect(model, base_url, api_key, dimensions)


@lru_cache(maxsize=4)
def _load_minilm(cache_dir: Path, precision: Precision, threads: int | None) -> Embedder:
    return MiniLMEmbedder(cache_dir, precision=precision, threads=threads)


@lru_cache(maxsize=64)
def _connect(model: str | None, base_url: str | None, api_key: str | None, dimensions: int | None) -> Embedder:
    if not model or not dimensions:
        raise Invalid(
            "The embedding provider openai needs a model and its dimensions; "
            "set REGENESIS_EMBEDDING__MODEL and REGENESIS_EMBEDDING__DIMENSIONS."
        )
    return OpenAIEmbedder(model=model, dimensions=dimensions, base_url=base_url, api_key=api_key)
