"""Every table of the store: one file per PostgreSQL schema, one class per table."""

from db.models.chat import AgentFailure, AgentRun, ChatMessage, ChatSession, MessageCitation
from db.models.coaching import CoachingSession, Engagement
from db.models.identity import ApiKey, User
from db.models.ingestion import DataSource, IngestedObject, IngestionAttempt
from db.models.platform import (
    EncryptionKey,
    Entitlement,
    LlmProvider,
    SystemAdmin,
    SystemSetting,
    Tenant,
    TenantLlmConfig,
    TenantQuota,
    UsageMetric,
)
from db.models.rag import (
    ChunkEmbedding,
    Document,
    DocumentChunk,
    EmbeddingsRegistry,
    SearchMetadata,
    TermFrequency,
    Transcript,
    TranscriptSegment,
)

__all__ = [
    "AgentFailure", "AgentRun", "ApiKey", "ChatMessage", "ChatSession", "ChunkEmbedding", "CoachingSession",
    "DataSource", "Document", "DocumentChunk", "EmbeddingsRegistry", "EncryptionKey", "Engagement", "Entitlement",
    "IngestedObject", "IngestionAttempt", "LlmProvider", "MessageCitation", "SearchMetadata", "SystemAdmin",
    "SystemSetting", "Tenant", "TenantLlmConfig", "TenantQuota", "TermFrequency", "Transcript", "TranscriptSegment",
    "UsageMetric", "User",
]  # fmt: skip
