"""Turns text into vectors: one protocol, an embedded model, and any OpenAI-compatible service."""

from rag.embedding.factory import build_embedder
from rag.embedding.protocol import Embedder, Matrix, TokenCounter, UnembeddableText, Vector, is_outside

__all__ = ["Embedder", "Matrix", "TokenCounter", "UnembeddableText", "Vector", "build_embedder", "is_outside"]
