"""One question on its way to an answer: what answering needs, and what is known of the answer so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import ModelSettings
from db.session import Principal
from domain.identity import Credential
from domain.usage import Feature
from rag.answer_models import ModelChoice
from rag.embedding.counting import CountedEmbedder, is_paid
from rag.embedding.memory import RememberingEmbedder, VectorMemory
from rag.embedding.protocol import Embedder, is_outside
from rag.passages import EVERYWHERE, Passage, Retrieval, Scope
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

    def find_embedder(self, tenant_id: UUID, usage: list[Usage] | None = None) -> Embedder | None:
        """Return the embedder for one tenant's texts, which embeds none twice within some minutes.

        What a service is paid for it is noted into `usage`.
        """
        embedder = self.embedder
        if usage is not None and is_paid(embedder):
            embedder = CountedEmbedder(embedder, usage)
        return RememberingEmbedder(embedder, self.memory, tenant_id) if embedder is not None else None


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
    credential: Credential | None = None
    """With what its reader called; the answer ends with it."""
    within: Scope = EVERYWHERE
    """What its reader narrowed the search to."""
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
    """What models told that they took."""
    feature: Feature = "chat"
    calls: list[Usage] = field(default_factory=list)
    """What was sent, counted by us where a model told nothing; and its cost, as far as it is known."""
    costs: list[Decimal | None] = field(default_factory=list)
    embedded: list[Usage] = field(default_factory=list)
    prices: list[Decimal | None] = field(default_factory=list)
    """Of `usage`, in its order; None where a price or a count is not known."""
    limited: bool = False
    """Whether the tenant's limits hold for it, and so what may still be asked for under its reservation."""
    reserved_tokens: int = 0
    reserved_usd: Decimal = Decimal(0)
    failures: list[ProviderFailure] = field(default_factory=list)
    sentences: list[AnswerSentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    refused: bool = False
    support: float = 0.0
    dropped: int = 0
    checked_at: float = 0.0
    """When the store last said that the reader may have all this (rag/standing.py), on the monotonic clock."""
    told: int = 0
    """How many sentences have left."""
    is_saved: bool = False
    stays_inside: bool = False
    """Whether somebody it is asked by or about sends no words to models outside this installation."""
    clock: StageClock = field(default_factory=StageClock)

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of its reader's tenant, None where only words are searched."""
        embedder = self.assistant.embedder
        if embedder is None or (self.stays_inside and is_outside(embedder)):
            return None
        return self.assistant.find_embedder(self.reader.tenant_id, self.embedded)

    def keep_inside(self) -> None:
        """Ask only models on this machine from now on."""
        self.stays_inside = True
        self.models = [choice for choice in self.models if not choice.is_outside]

    @property
    def may_leave(self) -> bool:
        """Whether any words of this run could leave the machine."""
        embedder = self.assistant.embedder
        outside = embedder is not None and is_outside(embedder)
        return not self.stays_inside and (outside or any(choice.is_outside for choice in self.models))

    def take(self, synthesis: Synthesis) -> tuple[AnswerSentence, ...]:
        """Make this the answer and return its sentences."""
        self.sentences, self.citations = list(synthesis.sentences), list(synthesis.citations)
        self.refused, self.support = synthesis.refused, synthesis.support
        return synthesis.sentences
