"""One question on its way to an answer: what answering needs, and what is known of the answer so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import ModelSettings
from db.session import Principal
from rag.answer_models import ModelChoice
from rag.embedding.memory import RememberingEmbedder, VectorMemory
from rag.embedding.protocol import Embedder
from rag.passages import Passage, Retrieval, Scope
from rag.providers.chain import ProviderFailure
from rag.providers.protocol import Usage
from rag.retrieve import retrieve as retrieve_passages
from rag.stages import StageClock
from rag.synthesize import NOTHING_SEARCHED, AnswerSentence, Citation, Coverage, Material, Synthesis
from rag.understand import Person, Understanding

TOP_K: Final = 8
EXTRACTIVE: Final = "extractive"


class Retriever(Protocol):
    """How passages are found; the product's is `rag.retrieve.retrieve`."""

    async def __call__(
        self, session: AsyncSession, embedder: Embedder | None, question: str, *, top_k: int, scope: Scope
    ) -> Retrieval:
        """Return the passages that the session's reader may see, best first."""


@dataclass(frozen=True, slots=True)
class Assistant:
    """What answering needs besides a question: the embedder, the operator's model, how passages are found."""

    embedder: Embedder | None
    model: ModelSettings = field(default_factory=ModelSettings)
    retriever: Retriever = retrieve_passages
    top_k: int = TOP_K
    memory: VectorMemory = field(default_factory=VectorMemory, compare=False, repr=False)
    """The vectors of sentences that were compared lately."""

    def find_embedder(self, tenant_id: UUID) -> Embedder | None:
        """Return the embedder for one tenant's texts, which embeds none twice within some minutes."""
        return RememberingEmbedder(self.embedder, self.memory, tenant_id) if self.embedder is not None else None


@dataclass(slots=True)
class Run:
    """One question on its way to an answer."""

    assistant: Assistant
    reader: Principal
    asked: str
    run_id: UUID
    session_id: UUID | None
    now: datetime
    history: Sequence[tuple[str, str]] = ()
    client_id: UUID | None = None
    people: Sequence[Person] = ()
    models: Sequence[ModelChoice] = ()
    understanding: Understanding | None = None
    coverage: Coverage = NOTHING_SEARCHED
    passages: tuple[Passage, ...] = ()
    material: Material | None = None
    pack_id: UUID | None = None
    provider: str = EXTRACTIVE
    usage: list[Usage] = field(default_factory=list)
    failures: list[ProviderFailure] = field(default_factory=list)
    sentences: list[AnswerSentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    refused: bool = False
    support: float = 0.0
    dropped: int = 0
    clock: StageClock = field(default_factory=StageClock)

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of its reader's tenant, None where only words are searched."""
        return self.assistant.find_embedder(self.reader.tenant_id)

    def take(self, synthesis: Synthesis) -> tuple[AnswerSentence, ...]:
        """Make this the answer and return its sentences."""
        self.sentences, self.citations = list(synthesis.sentences), list(synthesis.citations)
        self.refused, self.support = synthesis.refused, synthesis.support
        return synthesis.sentences
