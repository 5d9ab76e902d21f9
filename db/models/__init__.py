"""Every table of the store: one file per PostgreSQL schema, one class per table."""

from db.models.accounting import LedgerEntry
from db.models.analytics import AnalyticsEvent
from db.models.chat import AgentFailure, AgentRun, ChatMessage, ChatSession, MessageCitation, SharedLink
from db.models.coaching import (
    CoachAvailability,
    CoachBlockedTime,
    CoachingSession,
    Engagement,
    QaReview,
    Rubric,
    SessionAttendance,
    SessionFeedback,
    SessionNote,
)
from db.models.commerce import (
    Coupon,
    CouponRedemption,
    Order,
    OrderItem,
    PaymentGateway,
    Plan,
    Product,
    ProductFile,
    Subscription,
    Transaction,
)
from db.models.comms import Notification, NotificationKey, Outbox, Webhook, WebhookDelivery
from db.models.community import (
    Block,
    Comment,
    Message,
    Post,
    Project,
    ProjectCollaborator,
    Reaction,
    ViewTally,
)
from db.models.content import (
    BlogPost,
    BlogPostSkill,
    ContentApproval,
    Faq,
    FaqVote,
    MediaAsset,
    ProjectSkill,
    Skill,
    Tag,
    UserSkill,
)
from db.models.evaluation import (
    CaseProposal,
    Dataset,
    DatasetCase,
    Experiment,
    RagEvaluation,
    RagMetric,
    RagReport,
)
from db.models.events import Event, EventAccess, EventRegistration, EventTicket
from db.models.evidence import (
    Claim,
    ClaimQuote,
    Derivation,
    EvidencePack,
    Extraction,
    Feedback,
    Insight,
    InsightReview,
    Pattern,
    PatternClaim,
    Quote,
)
from db.models.governance import (
    Archive,
    AuditAnchor,
    AuditHead,
    AuditLog,
    AuditPending,
    AuditReading,
    Correction,
    DataExport,
    DataRetentionJob,
    DeletionRecord,
    DeletionRequest,
    ErasureScope,
    ErasureStep,
    LegalHold,
    ReadingWindow,
    RetentionPolicy,
)
from db.models.identity import (
    ApiKey,
    AuthSession,
    Consent,
    ConsentText,
    Integration,
    RecoveryCode,
    User,
    UserConnection,
    UserProfile,
    UserRole,
    UserSettings,
    WithheldPurpose,
)
from db.models.ingestion import DataSource, ErasedKey, IngestedObject, IngestionAttempt
from db.models.learning import (
    Assessment,
    AssessmentKey,
    AssessmentSubmission,
    Certificate,
    Enrollment,
    Lesson,
    LessonProgress,
    Module,
    Program,
    ProgressEvent,
)
from db.models.partners import CohortMember, Partner, PartnerCohort
from db.models.platform import (
    Backup,
    Drill,
    EncryptionKey,
    Entitlement,
    LlmProvider,
    ModelPrice,
    QuotaCounter,
    QuotaReservation,
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
    # analytics
    "AnalyticsEvent",
    # accounting
    "LedgerEntry",
    # chat
    "AgentFailure", "AgentRun", "ChatMessage", "ChatSession", "MessageCitation", "SharedLink",
    # coaching
    "CoachAvailability", "CoachBlockedTime", "CoachingSession", "Engagement", "QaReview", "Rubric",
    "SessionAttendance", "SessionFeedback", "SessionNote",
    # commerce
    "Coupon", "CouponRedemption", "Order", "OrderItem", "PaymentGateway", "Plan", "Product", "ProductFile", "Subscription", "Transaction",
    # comms
    "Notification", "NotificationKey", "Outbox", "Webhook", "WebhookDelivery",
    # community
    "Block", "Comment", "Message", "Post", "Project", "ProjectCollaborator", "Reaction", "ViewTally",
    # content
    "BlogPost", "BlogPostSkill", "ContentApproval", "Faq", "FaqVote", "MediaAsset", "ProjectSkill", "Skill", "Tag", "UserSkill",
    # events
    "Event", "EventAccess", "EventRegistration", "EventTicket",
    # governance
    "Archive", "AuditAnchor", "AuditHead", "AuditLog", "AuditPending", "AuditReading", "Correction", "DataExport", "DataRetentionJob",
    "DeletionRecord", "DeletionRequest", "ErasureScope", "ErasureStep", "LegalHold", "ReadingWindow", "RetentionPolicy",
    # identity
    "ApiKey", "AuthSession", "Consent", "ConsentText", "Integration", "RecoveryCode", "User", "UserConnection", "UserProfile", "UserRole", "UserSettings",
    "WithheldPurpose",
    # ingestion
    "DataSource", "ErasedKey", "IngestedObject", "IngestionAttempt",
    # learning
    "Assessment", "AssessmentKey", "AssessmentSubmission", "Certificate", "Enrollment", "Lesson", "LessonProgress", "Module", "Program", "ProgressEvent",
    # partners
    "CohortMember", "Partner", "PartnerCohort",
    # platform
    "Backup", "Drill", "EncryptionKey", "Entitlement", "LlmProvider", "ModelPrice", "QuotaCounter", "QuotaReservation", "SystemAdmin", "SystemSetting", "Tenant", "TenantLlmConfig", "TenantQuota", "UsageMetric",
    # rag
    "ChunkEmbedding", "Document", "DocumentChunk", "EmbeddingsRegistry", "SearchMetadata", "TermFrequency", "Transcript", "TranscriptSegment",
    # evaluation
    "CaseProposal", "Dataset", "DatasetCase", "Experiment", "RagEvaluation", "RagMetric", "RagReport",
    # evidence
    "Claim", "ClaimQuote", "Derivation", "EvidencePack", "Extraction", "Feedback", "Insight", "InsightReview", "Pattern", "PatternClaim", "Quote",
]  # fmt: skip
