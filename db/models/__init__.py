"""Every table of the store: one file per PostgreSQL schema, one class per table."""

from db.models.accounting import LedgerEntry
from db.models.analytics import AnalyticsEvent
from db.models.chat import AgentFailure, AgentRun, ChatMessage, ChatSession, MessageCitation
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
    AuditHead,
    AuditLog,
    AuditPending,
    DataExport,
    DataRetentionJob,
    DeletionRecord,
    DeletionRequest,
    LegalHold,
    RetentionPolicy,
)
from db.models.identity import (
    ApiKey,
    AuthSession,
    Consent,
    Integration,
    RecoveryCode,
    User,
    UserConnection,
    UserProfile,
    UserRole,
    UserSettings,
)
from db.models.ingestion import DataSource, IngestedObject, IngestionAttempt
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
    # analytics
    "AnalyticsEvent",
    # accounting
    "LedgerEntry",
    # chat
    "AgentFailure", "AgentRun", "ChatMessage", "ChatSession", "MessageCitation",
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
    "AuditHead", "AuditLog", "AuditPending", "DataExport", "DataRetentionJob", "DeletionRecord", "DeletionRequest", "LegalHold",
    "RetentionPolicy",
    # identity
    "ApiKey", "AuthSession", "Consent", "Integration", "RecoveryCode", "User", "UserConnection", "UserProfile", "UserRole", "UserSettings",
    # ingestion
    "DataSource", "IngestedObject", "IngestionAttempt",
    # learning
    "Assessment", "AssessmentKey", "AssessmentSubmission", "Certificate", "Enrollment", "Lesson", "LessonProgress", "Module", "Program", "ProgressEvent",
    # partners
    "CohortMember", "Partner", "PartnerCohort",
    # platform
    "EncryptionKey", "Entitlement", "LlmProvider", "SystemAdmin", "SystemSetting", "Tenant", "TenantLlmConfig", "TenantQuota", "UsageMetric",
    # rag
    "ChunkEmbedding", "Document", "DocumentChunk", "EmbeddingsRegistry", "SearchMetadata", "TermFrequency", "Transcript", "TranscriptSegment",
    # evaluation
    "CaseProposal", "Dataset", "DatasetCase", "Experiment", "RagEvaluation", "RagMetric", "RagReport",
    # evidence
    "Claim", "ClaimQuote", "Derivation", "EvidencePack", "Extraction", "Feedback", "Insight", "InsightReview", "Pattern", "PatternClaim", "Quote",
]  # fmt: skip
