"""What an answer tells while it comes about."""

from dataclasses import dataclass
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
    """A stretch of the answer; joined they are its text."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationsReady:
    """The citations of the answer, rendered from stored rows."""

    citations: tuple[CitationView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The whole answer; `message_id` only inside a conversation."""

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
    failures: tuple[ProviderFailure, ...]


Event = SourcesFound | Delta | CitationsReady | Done
