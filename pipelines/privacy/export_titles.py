"""What the tables and columns of the store are called in plain words, for the person who reads their own data.

A table without a name here is called by its own, and stands with its schema's other tables.
"""

from collections.abc import Mapping
from typing import Final

AREAS: Final[Mapping[str, str]] = {
    "account": "You and your account",
    "agreements": "What you agreed to and asked for",
    "coaching": "Your coaching",
    "said": "What was said and written in your sessions",
    "assistant": "Conversations with the assistant",
    "derived": "What was concluded from it",
    "learning": "Your learning",
    "community": "Community, messages and files",
    "events": "Events and programmes of partners",
    "money": "Payments and orders",
    "notices": "Notices about you",
    "log": "Sign-ins and what you did",
    "machinery": "How it is made findable and measured",
}
"""In the order in which they stand on the page."""

TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "identity.users": ("account", "Your account"),
    "identity.user_profiles": ("account", "Your profile"),
    "identity.user_settings": ("account", "Your preferences"),
    "identity.user_roles": ("account", "What you may be here"),
    "identity.integrations": ("account", "Accounts elsewhere that you connected"),
    "identity.user_connections": ("account", "Whom you follow, and who follows you"),
    "identity.consents": ("agreements", "What you agreed to"),
    "governance.deletion_requests": ("agreements", "Requests to erase you"),
    "governance.data_exports": ("agreements", "Copies of your data"),
    "governance.legal_holds": ("agreements", "Orders to keep your data"),
    "coaching.engagements": ("coaching", "Who coached whom, and when"),
    "coaching.coaching_sessions": ("coaching", "Sessions"),
    "coaching.session_notes": ("coaching", "Notes on sessions"),
    "coaching.session_attendance": ("coaching", "Attendance"),
    "coaching.session_feedback": ("coaching", "Feedback on sessions"),
    "coaching.qa_reviews": ("coaching", "Reviews of sessions"),
    "coaching.coach_availability": ("coaching", "When you can be booked"),
    "coaching.coach_blocked_times": ("coaching", "When you can not be booked"),
    "rag.transcripts": ("said", "Transcripts"),
    "rag.transcript_segments": ("said", "What was said, word for word"),
    "rag.documents": ("said", "Documents"),
    "ingestion.ingested_objects": ("said", "Files these came from"),
    "ingestion.data_sources": ("said", "Where the files came from"),
    "chat.chat_sessions": ("assistant", "Conversations"),
    "chat.chat_messages": ("assistant", "Questions and answers"),
    "evidence.feedback": ("assistant", "Your feedback on answers"),
    "evidence.quotes": ("derived", "Quotes"),
    "evidence.claims": ("derived", "Statements about you"),
    "evidence.patterns": ("derived", "Patterns over several sessions"),
    "evidence.insights": ("derived", "Insights"),
    "evidence.insight_reviews": ("derived", "What coaches decided about insights"),
    "evidence.evidence_packs": ("derived", "Evidence gathered for questions"),
    "learning.enrollments": ("learning", "Programmes you take"),
    "learning.lesson_progress": ("learning", "Lessons"),
    "learning.assessment_submissions": ("learning", "Tests you took"),
    "learning.certificates": ("learning", "Certificates"),
    "learning.programs": ("learning", "Programmes you teach in"),
    "content.user_skills": ("learning", "Your skills"),
    "community.messages": ("community", "Private messages"),
    "community.posts": ("community", "Posts"),
    "community.comments": ("community", "Comments"),
    "community.reactions": ("community", "Reactions"),
    "community.projects": ("community", "Projects"),
    "community.project_collaborators": ("community", "Who works on projects"),
    "community.blocks": ("community", "Whom you blocked"),
    "content.media_assets": ("community", "Files you uploaded"),
    "content.blog_posts": ("community", "Articles"),
    "content.faqs": ("community", "Questions and answers for everyone"),
    "content.faq_votes": ("community", "Votes on questions"),
    "content.tags": ("community", "Tags that only you used"),
    "content.content_approvals": ("community", "Approvals of what you wrote"),
    "events.event_registrations": ("events", "Registrations"),
    "events.events": ("events", "Events you appear in"),
    "partners.cohort_members": ("events", "Groups of partners you belong to"),
    "partners.partners": ("events", "Partners you are the contact of"),
    "commerce.transactions": ("money", "Payments"),
    "commerce.orders": ("money", "Orders"),
    "commerce.order_items": ("money", "What you ordered"),
    "commerce.subscriptions": ("money", "Memberships"),
    "commerce.coupon_redemptions": ("money", "Coupons you used"),
    "accounting.ledger_entries": ("money", "Entries in the books"),
    "comms.notifications": ("notices", "Notifications"),
    "comms.outbox": ("notices", "Messages to other systems, waiting"),
    "comms.webhook_deliveries": ("notices", "Messages to other systems, sent"),
    "identity.sessions": ("log", "Sign-ins"),
    "identity.api_keys": ("log", "API keys"),
    "identity.recovery_codes": ("log", "Recovery codes"),
    "governance.audit_logs": ("log", "What you did"),
    "analytics.events": ("log", "What you looked at"),
}
"""Area and name of a table."""

SCHEMA_AREAS: Final[Mapping[str, str]] = {
    "identity": "account", "governance": "agreements", "coaching": "coaching", "chat": "assistant",
    "evidence": "derived", "learning": "learning", "community": "community", "content": "community",
    "events": "events", "partners": "events", "commerce": "money", "accounting": "money", "comms": "notices",
    "analytics": "log",
}  # fmt: skip
"""Where a table without a name of its own stands; others belong to the machinery."""

MACHINERY: Final = frozenset(
    {
        "chat.agent_failures", "chat.agent_runs", "chat.message_citations", "comms.notification_keys",
        "content.blog_post_skills", "content.project_skills", "evidence.claim_quotes", "evidence.derivations",
        "evidence.extractions", "evidence.pattern_claims", "learning.progress_events",
    }
)  # fmt: skip
"""Tables that tell a reader nothing that others do not."""

_WORDS: Final[Mapping[str, str]] = {
    "ip_address": "network address", "user_agent": "browser", "is_read": "read", "created_at": "made",
    "updated_at": "changed", "expires_at": "until", "held_at": "held", "coach_id": "coach", "client_id": "client",
    "user_id": "person", "author_id": "written by", "sender_id": "from", "recipient_id": "to",
    "email": "e-mail address",
    "exact": "words", "char_start": "from character", "char_end": "to character", "started_s": "from second",
    "ended_s": "to second",
}  # fmt: skip


def find_title(table: str) -> tuple[str, str]:
    """Return the area and the name of the table, `schema.table`."""
    if table in TITLES:
        return TITLES[table]
    schema, _, name = table.partition(".")
    area = "machinery" if table in MACHINERY else SCHEMA_AREAS.get(schema, "machinery")
    return area, name.replace("_", " ").capitalize()


def name_column(column: str) -> str:
    """Return what a column is called: `cancelled_at` → cancelled, `is_public` → public."""
    if column in _WORDS:
        return _WORDS[column]
    bare = column.removeprefix("is_")
    for ending in ("_at", "_id"):
        bare = bare.removesuffix(ending)
    return bare.replace("_", " ").strip() or column
