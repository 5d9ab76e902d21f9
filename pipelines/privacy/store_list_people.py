"""The stores of people and of the organisation: practice, community, learning, money, duties and accounts."""

from typing import Final

from pipelines.privacy.store import CODES, Store, hangs_on, names, nobodys

_PUBLISHED: Final = "the organisation published it; who wrote it is a pseudonym"
_MONEY: Final = "what was paid, for what and through which gateway must be kept by law; the buyer is a pseudonym"
_WITHOUT: Final = """(SELECT jsonb_agg(e) FROM jsonb_array_elements({0}) AS e
    WHERE NOT e #>> '{{}}' = ANY (CAST(:persons AS text[])))"""
_WITHOUT_SPEAKERS: Final = """(SELECT jsonb_agg(e) FROM jsonb_array_elements(t.speakers) AS e
    WHERE (e ->> 'user_id' = ANY (CAST(:persons AS text[]))) IS NOT TRUE)"""

PEOPLE: Final[tuple[Store, ...]] = (
    # Coaching.
    Store(table="coaching.session_notes", about="t.id = ANY (:notes) OR " + names("client_id", "author_id")),
    Store(
        table="coaching.session_attendance",
        about=names("session_id", root="sessions") + " OR " + names("user_id", "client_id"),
    ),
    Store(
        table="coaching.session_feedback",
        about=names("session_id", root="sessions") + " OR " + names("client_id", "submitted_by"),
    ),
    Store(
        table="coaching.qa_reviews",
        about=names("session_id", root="sessions") + " OR " + names("client_id", "coach_id"),
    ),
    Store(
        table="coaching.qa_reviews",
        part="reviewer",
        treatment="keep",
        about=f"({names('reviewer_id')}) AND NOT ({names('client_id', 'coach_id')})",
        kept={"scores": CODES, "notes": "the organisation's judgement of another person's session"},
        reason="a judgement of another coach's work; who judged is a pseudonym",
    ),
    Store(table="coaching.coaching_sessions", about=names("id", root="sessions") + " OR " + names("client_id")),
    Store(
        table="coaching.coaching_sessions",
        part="coach",
        treatment="blank",
        about=f"({names('coach_id')}) AND NOT t.id = ANY (:sessions)",
        blank={"meeting_link": "NULL", "meeting_id": "NULL", "meeting_password": "NULL"},
        kept=dict.fromkeys(
            ("external_id", "booking_key", "topic", "notes", "cancellation_reason", "action_items"),
            "the client's own record of their session",
        )
        | dict.fromkeys(
            ("timezone", "session_type", "meeting_platform", "status", "currency", "payment_status", "visibility"),
            CODES,
        ),
    ),
    Store(table="coaching.engagements", about=names("client_id", "coach_id")),
    Store(table="coaching.coach_availability", about=names("coach_id")),
    Store(table="coaching.coach_blocked_times", about=names("coach_id")),
    nobodys("coaching.rubrics", "criteria of the organisation"),
    # Community and content.
    Store(table="community.messages", about=names("sender_id", "recipient_id")),
    Store(table="community.blocks", about=names("user_id", "blocked_id")),
    Store(
        table="community.reactions",
        about=names("user_id")
        + " OR "
        + names("entity_id", root="posts")
        + " OR "
        + names("entity_id", root="projects")
        + " OR "
        + names("entity_id"),
    ),
    Store(
        table="community.project_collaborators", about=names("user_id") + " OR " + names("project_id", root="projects")
    ),
    Store(table="community.comments", about=names("author_id", "client_id") + " OR " + names("post_id", root="posts")),
    Store(table="community.posts", about=names("id", root="posts") + " OR " + names("author_id", "client_id")),
    Store(table="content.project_skills", about=names("project_id", root="projects")),
    Store(table="community.projects", about=names("id", root="projects") + " OR " + names("submitted_by", "client_id")),
    Store(table="community.view_tallies", treatment="keep", by="function", reason="counts of views, by nobody"),
    Store(
        table="content.content_approvals",
        by="function",
        about=names("content_id", root="posts")
        + " OR "
        + names("content_id", root="articles")
        + " OR "
        + names("content_id", root="projects"),
    ),
    Store(table="content.blog_post_skills", about=names("blog_post_id", root="articles")),
    Store(table="content.blog_posts", about=names("id", root="articles") + " OR " + names("client_id")),
    Store(
        table="content.blog_posts",
        part="author",
        treatment="blank",
        about=names("author_id"),
        blank={"author_id": "NULL"},
        kept=dict.fromkeys(("title", "slug", "summary", "content", "media_urls"), _PUBLISHED)
        | dict.fromkeys(("status", "visibility"), CODES),
    ),
    Store(table="content.faq_votes", about=names("user_id") + " OR " + names("faq_id", root="questions")),
    Store(table="content.faqs", about=names("id", root="questions") + " OR " + names("client_id")),
    Store(table="content.media_assets", about=names("id", root="media") + " OR " + names("uploaded_by")),
    Store(table="content.user_skills", about=names("user_id")),
    nobodys("content.skills", "the organisation's list of skills"),
    Store(
        table="content.tags",
        about="t.id = ANY (:tags) AND t.usage_count = 0",
        reason="a word that only the subject used",
    ),
    # Learning, events, partners.
    Store(table="learning.certificates", about=names("user_id")),
    Store(table="learning.assessment_submissions", about=names("user_id")),
    Store(table="learning.lesson_progress", about=names("user_id")),
    Store(table="learning.progress_events", about=names("user_id")),
    Store(table="partners.cohort_members", about=names("user_id")),
    Store(table="learning.enrollments", about=names("user_id")),
    nobodys("partners.partner_cohorts", "a partner's groups; their members have rows of their own"),
    nobodys("learning.assessment_keys", "right answers of the organisation's tests"),
    nobodys("learning.assessments", "the organisation's tests"),
    nobodys("learning.lessons", "the organisation's lessons"),
    nobodys("learning.modules", "the organisation's modules"),
    Store(
        table="learning.programs",
        treatment="blank",
        about="EXISTS (SELECT FROM unnest(:persons) AS p WHERE t.co_instructors @> to_jsonb(p::text))",
        blank={"co_instructors": _WITHOUT.format("t.co_instructors")},
        kept=dict.fromkeys(
            (
                "title",
                "slug",
                "description",
                "long_description",
                "category",
                "tags",
                "tier_access",
                "thumbnail_url",
                "preview_video_url",
                "meta_description",
                "meta_keywords",
            ),
            "the organisation's program",
        )
        | dict.fromkeys(("difficulty_level", "pricing_type", "currency", "status"), CODES),
    ),
    Store(table="events.event_registrations", about=names("user_id")),
    nobodys("events.event_access", "how the organisation's events are entered"),
    nobodys("events.event_tickets", "what the organisation's events cost"),
    Store(
        table="events.events",
        treatment="blank",
        about="EXISTS (SELECT FROM unnest(:persons) AS p WHERE t.co_organizers @> to_jsonb(p::text) "
        "OR t.speakers @> jsonb_build_array(jsonb_build_object('user_id', p)))",
        blank={
            "co_organizers": _WITHOUT.format("t.co_organizers"),
            "speakers": _WITHOUT_SPEAKERS,
        },
        kept=dict.fromkeys(
            ("title", "slug", "description", "agenda", "physical_address", "banner_image_url", "meta_description"),
            "the organisation's event",
        )
        | dict.fromkeys(("timezone", "location_type", "virtual_platform", "status"), CODES),
    ),
    Store(
        table="partners.partners",
        treatment="blank",
        about=names("primary_contact_user_id"),
        blank={"contact_email": "NULL", "contact_phone": "NULL", "primary_contact_user_id": "NULL"},
        kept=dict.fromkeys(
            (
                "organization_name",
                "slug",
                "description",
                "website_url",
                "headquarters_location",
                "operating_regions",
                "logo_url",
                "brand_colors",
                "programs_enrolled",
                "custom_programs",
            ),
            "the partner organisation's",
        )
        | dict.fromkeys(("partner_type", "partnership_tier", "status"), CODES),
    ),
    # Messages to and about people.
    Store(table="comms.notifications", about="t.id = ANY (:notifications) OR " + names("user_id", "actor_id")),
    Store(table="comms.notification_keys", about=names("user_id") + " OR t.notification_id = ANY (:notifications)"),
    Store(table="comms.webhook_deliveries", about="t.id = ANY (:deliveries)"),
    Store(table="comms.outbox", about="t.id = ANY (:outbox)"),
    nobodys("comms.webhooks", "where the organisation is told of what happens"),
    Store(table="analytics.events", about=names("user_id")),
    # Money stays, under a pseudonym.
    Store(
        table="commerce.transactions",
        treatment="blank",
        by="function",
        with_tenant="blank",
        about=names("user_id", "seller_id"),
        blank={"metadata": "NULL", "failure_reason": "NULL", "refund_reason": "NULL"},
        kept=dict.fromkeys(("gateway_transaction_id", "gateway_reference", "idempotency_key"), _MONEY)
        | dict.fromkeys(
            ("currency", "transaction_type", "reference_type", "payment_method", "gateway_name", "status"), CODES
        ),
        reason=_MONEY,
    ),
    Store(
        table="commerce.orders",
        treatment="blank",
        by="function",
        with_tenant="blank",
        about=names("user_id"),
        blank={
            "shipping_address": "NULL",
            "tracking_number": "NULL",
            "tracking_url": "NULL",
            "notes": "NULL",
            "metadata": "NULL",
        },
        kept={"order_number": _MONEY}
        | dict.fromkeys(("currency", "payment_status", "shipping_method", "fulfillment_status"), CODES),
        reason=_MONEY,
    ),
    Store(
        table="commerce.order_items",
        treatment="blank",
        by="function",
        with_tenant="blank",
        about=names("user_id"),
        blank={"download_url": "NULL"},
        kept={"product_name": _MONEY, "product_sku": _MONEY},
        reason=_MONEY,
    ),
    Store(
        table="commerce.subscriptions",
        treatment="blank",
        by="function",
        with_tenant="blank",
        about=names("user_id"),
        blank={"cancellation_note": "NULL", "metadata": "NULL"},
        kept={"gateway_subscription_id": _MONEY}
        | dict.fromkeys(
            ("tier", "billing_cycle", "currency", "status", "payment_method", "cancellation_reason"), CODES
        ),
        reason=_MONEY,
    ),
    Store(
        table="commerce.coupon_redemptions", treatment="keep", with_tenant="keep", about=names("user_id"), reason=_MONEY
    ),
    Store(
        table="accounting.ledger_entries",
        treatment="keep",
        with_tenant="keep",
        about=hangs_on(
            "transaction_id", "commerce.transactions", "o.user_id = ANY (:persons) OR o.seller_id = ANY (:persons)"
        ),
        kept={"account": CODES, "currency": CODES, "memo": "`payment` or `refund`"},
        reason=_MONEY,
    ),
    nobodys("commerce.coupons", "the organisation's coupons", with_tenant="keep"),
    nobodys("commerce.plans", "the organisation's prices", with_tenant="keep"),
    nobodys("commerce.products", "the organisation's goods", with_tenant="keep"),
    nobodys("commerce.product_files", "where the organisation's goods lie"),
    nobodys("commerce.payment_gateways", "the organisation's accounts at its gateways"),
    # Duties and their proof.
    Store(table="governance.data_exports", about=names("user_id")),
    Store(
        table="governance.legal_holds",
        treatment="blank",
        with_tenant="keep",
        about="t.released_at IS NOT NULL AND ("
        + names("subject_id")
        + " OR "
        + names("subject_id", root="sessions")
        + " OR "
        + names("subject_id", root="documents")
        + ")",
        blank={"reason": "'erased'"},
        kept={"subject_kind": CODES},
    ),
    Store(
        table="governance.deletion_requests",
        treatment="blank",
        with_tenant="keep",
        about=names("subject_id", "user_id"),
        blank={"reason": "NULL"},
        kept={
            "subject_kind": CODES,
            "scope": CODES,
            "status": CODES,
            "verification_method": CODES,
            "refusal_reason": "why an erasure was refused, which its receipt can't say",
        },
        reason="the demand itself, by ids",
    ),
    nobodys("governance.deletion_records", "receipts: ids, counts and hashes", with_tenant="keep"),
    nobodys("governance.erasure_scopes", "ids of what a running erasure takes", with_tenant="keep"),
    nobodys("governance.erasure_steps", "counts and hashes of what an erasure took", with_tenant="keep"),
    nobodys("governance.retention_policies", "for how long the organisation keeps what"),
    nobodys("governance.data_retention_jobs", "counts of what retention did"),
    Store(
        table="governance.audit_logs",
        treatment="blank",
        with_tenant="keep",
        by="function",
        about=names("actor_id"),
        blank={"ip_address": "NULL", "user_agent": "NULL", "description": "NULL"},
        kept={
            "metadata": "ids and figures; the log takes no names, addresses or words",
            "changes": "which columns changed; of text only closed lists",
        }
        | dict.fromkeys(("previous_hash", "hash"), "the chain")
        | dict.fromkeys(("actor_role", "action", "entity_schema", "entity_type", "severity"), CODES),
    ),
    nobodys("governance.audit_pending", "entries on their way into the log at a commit", with_tenant="keep"),
    nobodys("governance.audit_anchors", "where the log goes on after a month that was dropped", with_tenant="keep"),
    nobodys("governance.audit_readings", "which entries are about the reading of what, by ids", with_tenant="keep"),
    Store(table="governance.reading_windows", about=names("reader_id")),
    nobodys(
        "governance.archives",
        "which months are archived; the subject's rows are written out of the objects",
        with_tenant="keep",
    ),
    nobodys("governance.audit_heads", "the ends of chains", with_tenant="keep"),
    Store(
        table="ingestion.erased_keys",
        treatment="keep",
        with_tenant="delete",
        reason="hashes of objects that are not ingested again",
    ),
    # Who they are, last.
    Store(table="identity.api_keys", about=names("user_id")),
    Store(table="identity.sessions", about=names("user_id")),
    Store(table="identity.recovery_codes", about=names("user_id")),
    Store(table="identity.integrations", about=names("user_id")),
    Store(table="identity.consents", by="function", about=names("user_id")),
    nobodys("identity.consent_texts", "hashes of the organisation's texts", with_tenant="keep"),
    Store(
        table="identity.withheld_purposes",
        treatment="keep",
        with_tenant="keep",
        about=names("user_id"),
        kept={"purpose": CODES},
        reason="worked out of consents by trigger; ids only, and gone with the person's row",
    ),
    Store(table="identity.user_connections", about=names("follower_id", "following_id")),
    Store(table="identity.user_roles", by="function", about=names("user_id")),
    Store(table="identity.user_settings", by="function", about=names("user_id")),
    Store(table="identity.user_profiles", by="function", about=names("user_id")),
    Store(
        table="identity.users",
        treatment="blank",
        by="function",
        with_tenant="blank",
        about=names("id"),
        left="t.status <> 'deleted' OR t.full_name <> '' OR t.email <> 'erased-' || t.id || '@erased.invalid'",
        blank={
            "email": "'erased-' || t.id || '@erased.invalid'",
            "full_name": "''",
            "username": "NULL",
            "password_hash": "NULL",
            "phone_number": "NULL",
            "two_factor_secret": "NULL",
        },
        kept={"role": CODES, "status": CODES},
        reason="stays as a tombstone where money, the ledger or others' rows refer to it",
    ),
    # The organisation's own.
    nobodys("platform.usage_metrics", "what the organisation used, by day", with_tenant="keep"),
    nobodys(
        "platform.encryption_keys",
        "wrapped keys; a tenant's are destroyed with it, and their rows say so",
        with_tenant="keep",
    ),
    Store(
        table="platform.tenants",
        treatment="blank",
        with_tenant="blank",
        left="t.status <> 'deleted' OR t.name <> 'erased'",
        blank={
            "status": "'deleted'",
            "name": "'erased'",
            "slug": "'erased-' || replace(t.id::text, '-', '')",
            "metadata": "'{}'",
        },
        reason="the organisation's row stays, nameless, for its money and its log",
    ),
    nobodys("platform.model_prices", "what the organisation pays for models"),
    nobodys("platform.quota_counters", "what counts towards the organisation's limits", with_tenant="keep"),
    nobodys("platform.quota_reservations", "what work under way may take of them", with_tenant="keep"),
    nobodys("platform.entitlements", "what the organisation may use"),
    nobodys("platform.tenant_llm_config", "the models the organisation uses"),
    nobodys("platform.tenant_quotas", "the organisation's limits"),
)
"""In the order of deletion, after the stores of words."""
