"""What every embedder promises, so that pipelines and retrieval need not know which model runs."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from core.errors import Invalid

Matrix: TypeAlias = npt.NDArray[np.float32]
Vector: TypeAlias = npt.NDArray[np.float32]


class UnembeddableText(Invalid):
    """A text to embed holds no words; leave it out or give it some."""


class Embedder(Protocol):
    """Turns texts into vectors whose inner product is their likeness."""

    @property
    def name(self) -> str:
        """Model and precision as `embeddings_registry` stores them, such as `all-MiniLM-L6-v2/int8`."""

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, dimensions) float32.

        Works off the event loop; a text's vector does not depend on its neighbours. Raises
        `UnembeddableText` for a text without words; no text is cut off.
        """


@runtime_checkable
class TokenCounter(Protocol):
    """An embedder that carries its own tokenizer and so can count exactly."""

    def count_tokens(self, text: str) -> int:
        """Return the number of the model's tokens in the text, without special ones."""


def is_outside(embedder: Embedder) -> bool:
    """Tell whether the texts leave this installation; an embedder that does not say so keeps them here."""
    return bool(getattr(embedder, "is_outside", False))


def check_texts(texts: Sequence[str]) -> None:
    """Raise `UnembeddableText` for a blank text, and TypeError for one string in place of a sequence of them."""
    if isinstance(texts, str):
        raise TypeError("embed() takes a sequence of texts, not one string")
    for position, text in enumerate(texts):
        if not text or text.isspace():
            raise UnembeddableText(
                f"Text {position + 1} of {len(texts)} to embed is empty; leave it out or give it some words.",
                position=position,
            )


def normalize_rows(rows: Matrix) -> Matrix:
    """Return the rows scaled to unit length; a row of zeros or of anything not finite raises `UnembeddableText`."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
        raise UnembeddableText("A text to embed has no direction in the model's space; leave it out or reword it.")
    return np.asarray(rows / lengths, dtype=np.float32)
