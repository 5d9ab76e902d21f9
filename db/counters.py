"""The counters that triggers keep, and the truth each must equal; `regenesis db check` compares the two."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """One kept number: `column` is `schema.table.column`, `truth` the query that counts anew for one row `t` of it."""

    column: str
    truth: str


COUNTERS: tuple[Counter, ...] = (
    Counter(
        "identity.user_profiles.follower_count",
        "SELECT count(*) FROM identity.user_connections c WHERE c.tenant_id = t.tenant_id "
        "AND c.following_id = t.user_id",
    ),
    Counter(
        "identity.user_profiles.following_count",
        "SELECT count(*) FROM identity.user_connections c WHERE c.tenant_id = t.tenant_id "
        "AND c.follower_id = t.user_id",
    ),
    Counter(
        "events.events.registration_count",
        "SELECT count(*) FROM events.event_registrations r WHERE r.tenant_id = t.tenant_id AND r.event_id = t.id "
        "AND r.status IN ('registered', 'attended', 'no_show', 'pending_payment')",
    ),
    Counter(
        "events.events.attendance_count",
        "SELECT count(*) FROM events.event_registrations r WHERE r.tenant_id = t.tenant_id AND r.event_id = t.id "
        "AND r.status = 'attended'",
    ),
    Counter(
        "events.event_tickets.quantity_sold",
        "SELECT count(*) FROM events.event_registrations r WHERE r.tenant_id = t.tenant_id AND r.ticket_id = t.id "
        "AND r.status IN ('registered', 'attended', 'no_show', 'pending_payment')",
    ),
    Counter(
        "partners.partner_cohorts.enrolled_count",
        "SELECT count(*) FROM partners.cohort_members m WHERE m.tenant_id = t.tenant_id AND m.cohort_id = t.id "
        "AND m.status <> 'dropped'",
    ),
    Counter(
        "partners.partners.total_participants",
        "SELECT count(*) FROM partners.cohort_members m WHERE m.tenant_id = t.tenant_id AND m.partner_id = t.id",
    ),
    Counter(
        "partners.partners.active_participants",
        "SELECT count(*) FROM partners.cohort_members m WHERE m.tenant_id = t.tenant_id AND m.partner_id = t.id "
        "AND m.status = 'active'",
    ),
    Counter(
        "partners.partners.certifications_issued",
        "SELECT count(*) FROM partners.cohort_members m JOIN learning.certificates c ON c.tenant_id = m.tenant_id "
        "AND c.enrollment_id = m.enrollment_id WHERE m.tenant_id = t.tenant_id AND m.partner_id = t.id "
        "AND NOT c.is_revoked",
    ),
    Counter(
        "commerce.coupons.current_uses",
        "SELECT count(*) FROM commerce.coupon_redemptions r WHERE r.tenant_id = t.tenant_id AND r.coupon_id = t.id "
        "AND r.released_at IS NULL",
    ),
    Counter(
        "commerce.transactions.refunded_amount",
        "SELECT coalesce(sum(r.amount), 0) FROM commerce.transactions r WHERE r.tenant_id = t.tenant_id "
        "AND r.refund_of = t.id AND r.status NOT IN ('failed', 'cancelled')",
    ),
    # learning
    Counter(
        "learning.programs.module_count",
        "SELECT count(*) FROM learning.modules m "
        "WHERE m.tenant_id = t.tenant_id AND m.program_id = t.id AND m.is_published",
    ),
    Counter(
        "learning.programs.lesson_count",
        "SELECT count(*) FROM learning.lessons l JOIN learning.modules m ON m.tenant_id = l.tenant_id "
        "AND m.id = l.module_id WHERE m.tenant_id = t.tenant_id AND m.program_id = t.id AND l.is_published "
        "AND m.is_published",
    ),
    Counter(
        "learning.programs.enrollment_count",
        "SELECT count(*) FROM learning.enrollments e WHERE e.tenant_id = t.tenant_id AND e.program_id = t.id",
    ),
    Counter(
        "learning.programs.seats_taken",
        "SELECT count(*) FROM learning.enrollments e WHERE e.tenant_id = t.tenant_id AND e.program_id = t.id "
        "AND e.status <> 'dropped'",
    ),
    Counter(
        "learning.programs.completion_count",
        "SELECT count(*) FROM learning.enrollments e WHERE e.tenant_id = t.tenant_id AND e.program_id = t.id "
        "AND e.status = 'completed'",
    ),
    Counter(
        "learning.programs.review_count",
        "SELECT count(e.rating) FROM learning.enrollments e WHERE e.tenant_id = t.tenant_id AND e.program_id = t.id",
    ),
    Counter(
        "learning.programs.rating_sum",
        "SELECT coalesce(sum(e.rating), 0) FROM learning.enrollments e "
        "WHERE e.tenant_id = t.tenant_id AND e.program_id = t.id",
    ),
    Counter(
        "learning.modules.lesson_count",
        "SELECT count(*) FROM learning.lessons l "
        "WHERE l.tenant_id = t.tenant_id AND l.module_id = t.id AND l.is_published",
    ),
    Counter(
        "learning.enrollments.lesson_total",
        "SELECT count(*) FROM learning.lessons l JOIN learning.modules m ON m.tenant_id = l.tenant_id "
        "AND m.id = l.module_id WHERE m.tenant_id = t.tenant_id AND m.program_id = t.program_id AND l.is_published "
        "AND m.is_published",
    ),
    Counter(
        "learning.enrollments.completed_lessons",
        "SELECT count(*) FROM learning.lesson_progress lp JOIN learning.lessons l ON l.tenant_id = lp.tenant_id "
        "AND l.id = lp.lesson_id AND l.is_published JOIN learning.modules m ON m.tenant_id = l.tenant_id "
        "AND m.id = l.module_id AND m.is_published WHERE lp.tenant_id = t.tenant_id AND lp.enrollment_id = t.id "
        "AND lp.completed_at IS NOT NULL",
    ),
    Counter(
        "identity.user_profiles.post_count",
        "SELECT count(*) FROM community.posts p WHERE p.tenant_id = t.tenant_id AND p.author_id = t.user_id "
        "AND p.status = 'published'",
    ),
    Counter(
        "community.posts.like_count",
        "SELECT count(*) FROM community.reactions r WHERE r.tenant_id = t.tenant_id AND r.entity_type = 'post' "
        "AND r.entity_id = t.id AND r.reaction_type IN ('like', 'love')",
    ),
    Counter(
        "community.posts.bookmark_count",
        "SELECT count(*) FROM community.reactions r WHERE r.tenant_id = t.tenant_id AND r.entity_type = 'post' "
        "AND r.entity_id = t.id AND r.reaction_type = 'bookmark'",
    ),
    Counter(
        "community.posts.comment_count",
        "SELECT count(*) FROM community.comments c WHERE c.tenant_id = t.tenant_id AND c.post_id = t.id "
        "AND c.status = 'published'",
    ),
    Counter(
        "community.comments.like_count",
        "SELECT count(*) FROM community.reactions r WHERE r.tenant_id = t.tenant_id AND r.entity_type = 'comment' "
        "AND r.entity_id = t.id AND r.reaction_type IN ('like', 'love')",
    ),
    Counter(
        "community.projects.endorsement_count",
        "SELECT count(*) FROM community.reactions r WHERE r.tenant_id = t.tenant_id AND r.entity_type = 'project' "
        "AND r.entity_id = t.id AND r.reaction_type = 'endorse'",
    ),
    Counter(
        "community.projects.collaboration_request_count",
        "SELECT count(*) FROM community.project_collaborators c WHERE c.tenant_id = t.tenant_id "
        "AND c.project_id = t.id",
    ),
    Counter(
        "content.faqs.helpful_count",
        "SELECT count(*) FROM content.faq_votes v WHERE v.tenant_id = t.tenant_id AND v.faq_id = t.id",
    ),
    Counter(
        "content.tags.usage_count",
        "SELECT (SELECT count(*) FROM community.posts p WHERE p.tenant_id = t.tenant_id AND EXISTS ("
        "SELECT FROM jsonb_array_elements_text(p.tags) AS e(word) WHERE content.name_tag(e.word) = t.slug)) + "
        "(SELECT count(*) FROM learning.programs g WHERE g.tenant_id = t.tenant_id AND EXISTS ("
        "SELECT FROM jsonb_array_elements_text(g.tags) AS e(word) WHERE content.name_tag(e.word) = t.slug))",
    ),
    Counter(
        "content.media_assets.usage_count",
        "SELECT count(*) FROM (SELECT p.tenant_id, p.media_urls FROM community.posts p "
        "UNION ALL SELECT j.tenant_id, j.media_urls FROM community.projects j "
        "UNION ALL SELECT b.tenant_id, b.media_urls FROM content.blog_posts b) m "
        "WHERE m.tenant_id = t.tenant_id AND EXISTS (SELECT FROM jsonb_array_elements(m.media_urls) AS e(item) "
        "WHERE e.item ->> 'asset_id' = t.id::text)",
    ),
    Counter(
        "identity.user_profiles.session_count",
        "SELECT count(*) FROM coaching.coaching_sessions s WHERE s.tenant_id = t.tenant_id AND s.coach_id = t.user_id "
        "AND s.status NOT IN ('cancelled', 'no_show')",
    ),
    Counter(
        "identity.user_profiles.completed_session_count",
        "SELECT count(*) FROM coaching.coaching_sessions s WHERE s.tenant_id = t.tenant_id AND s.coach_id = t.user_id "
        "AND s.status = 'completed'",
    ),
    Counter(
        "identity.user_profiles.rating_count",
        "SELECT count(*) FROM coaching.session_feedback f WHERE f.tenant_id = t.tenant_id AND f.coach_id = t.user_id",
    ),
    Counter(
        "identity.user_profiles.average_rating",
        "SELECT avg(f.rating)::numeric(3, 2) FROM coaching.session_feedback f "
        "WHERE f.tenant_id = t.tenant_id AND f.coach_id = t.user_id",
    ),
    Counter(
        "platform.quota_counters.used",
        "SELECT coalesce(CASE t.kind WHEN 'storage' THEN "
        "(SELECT coalesce(sum(o.size_bytes), 0) FROM ingestion.ingested_objects o WHERE o.tenant_id = t.tenant_id "
        "AND (o.storage_key IS NOT NULL OR o.ingestion_status = 'indexed')) + "
        "(SELECT coalesce(sum(a.file_size_bytes), 0) FROM content.media_assets a WHERE a.tenant_id = t.tenant_id) "
        "WHEN 'usd' THEN (SELECT sum(m.cost_usd) FROM platform.usage_metrics m WHERE m.tenant_id = t.tenant_id "
        "AND m.date >= t.period AND m.date < t.period + interval '1 month') "
        "WHEN 'tokens' THEN (SELECT sum(m.tokens_used) FROM platform.usage_metrics m WHERE m.tenant_id = t.tenant_id "
        "AND m.date = t.period) "
        "ELSE (SELECT sum(m.ingestions) FROM platform.usage_metrics m WHERE m.tenant_id = t.tenant_id "
        "AND m.date = t.period) END, 0)",
    ),
)
