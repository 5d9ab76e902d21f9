"""What an answer tells while it comes about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from domain.citations import CitationView
from rag.passages import Passage
from rag.providers.chain import ProviderFailure
from rag.synthesize import AnswerSentence, Coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesFound:
    """What was understood and found, before the first word; `question` is the one that was searched for."""

    run_id: UUID
    question: str
    understood: str
    passages: tuple[Passage, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Delta:
    """A stretch of the answer, and the ordinals of what it stands on; joined they are its text."""

    text: str
    citations: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CitationsReady:
    """The citations of the answer, rendered from stored rows."""

    citations: tuple[CitationView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The whole answer; `message_id` only inside a conversation, `pack_id` the evidence it stands on."""

    run_id: UUID
    message_id: UUID | None
    text: str
    sentences: tuple[AnswerSentence, ...]
    citations: tuple[CitationView, ...]
    coverage: Coverage
    understood: str
    provider: str
    refused: bool
    support: float
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    """What models took for it, 0 where none was asked; None where a price is not known."""
    failures: tuple[ProviderFailure, ...]
    pack_id: UUID | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds in each stage (rag/stages.py), without the time in which the caller looked at an event; a stage that
    the answer did not need is absent, and all are where an answer is told again from the store."""


Event = SourcesFound | Delta | CitationsReady | Done
