"""What each retention policy is about: which rows are due, which of them a legal hold keeps, what becomes of the rest.

`due` selects a row each with `held`; `:before` is the moment before which it must lie. `take` is done with the rows
that are chosen of them, and returns one row each. Every statement is of the bound tenant.
"""

from dataclasses import dataclass
from typing import Final

MINE: Final = "tenant_id = (SELECT current_setting('app.tenant_id')::uuid)"
WHOLE: Final = "EXISTS (SELECT FROM governance.held('tenant'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of row under one policy: `goes` says what becomes of it, `noun` what it is."""

    data_type: str
    action: str
    noun: str
    goes: str
    due: str
    take: str
    and_then: str = ""
    """Further parts of the statement, of what is `gone`."""

    @property
    def count(self) -> str:
        """The statement that says how many rows are due and how many of these are held."""
        return (
            "SELECT count(*) FILTER (WHERE NOT held) AS free, count(*) FILTER (WHERE held) AS held "
            f"FROM ({self.due}) AS due"
        )

    @property
    def batch(self) -> str:
        """The statement that takes `:most` rows at most and returns how many it took."""
        return (
            f"WITH chosen AS MATERIALIZED (SELECT * FROM ({self.due}) AS due WHERE NOT held LIMIT :most), "
            f"gone AS ({self.take}){self.and_then} SELECT count(*) FROM gone"
        )


def _held(kind: str, *columns: str) -> str:
    found = " OR ".join(f"{column} IN (SELECT governance.held('{kind}'))" for column in columns)
    return f"coalesce({found}, false)"


def _delete(table: str, *, key: str = "id", also: str = "", returning: str = "1") -> str:
    """Return the statement that deletes what is chosen; `also` narrows a partitioned table to its months."""
    return f"DELETE FROM {table} x USING chosen c WHERE x.{MINE} AND x.{key} = c.{key}{also} RETURNING {returning}"


def _simple(
    data_type: str, table: str, noun: str, condition: str, held: str, *, moment: str | None = None
) -> Rule:  # fmt: skip
    extra = f", t.{moment}" if moment else ""
    also = f" AND x.{moment} = c.{moment}" if moment else ""
    return Rule(
        data_type=data_type, action="delete", noun=noun, goes="deleted",
        due=f"SELECT t.id{extra}, {held} AS held FROM {table} t WHERE t.{MINE} AND {condition}",
        take=_delete(table, also=also),
    )  # fmt: skip


_QUIET = """
    t.role IN ('client', 'coach') AND greatest(t.created_at, t.last_login_at) < :before
    AND NOT EXISTS (SELECT FROM identity.sessions s
                    WHERE s.tenant_id = t.tenant_id AND s.user_id = t.id AND s.last_activity >= :before)
    AND NOT EXISTS (SELECT FROM coaching.engagements e WHERE e.tenant_id = t.tenant_id
                    AND t.id IN (e.client_id, e.coach_id) AND (e.ended_at IS NULL OR e.ended_at >= :before))
    AND NOT EXISTS (SELECT FROM coaching.coaching_sessions s WHERE s.tenant_id = t.tenant_id
                    AND t.id IN (s.client_id, s.coach_id) AND s.scheduled_at >= :before)
    AND NOT EXISTS (SELECT FROM chat.chat_sessions c
                    WHERE c.tenant_id = t.tenant_id AND c.user_id = t.id AND c.updated_at >= :before)
    AND NOT EXISTS (SELECT FROM commerce.subscriptions s
                    WHERE s.tenant_id = t.tenant_id AND s.user_id = t.id AND s.status IN ('active', 'past_due'))
"""
"""Neither signed in nor met anybody, asked nothing, pays for nothing; who runs the organisation is not looked at."""

_UNASKED = """
    NOT EXISTS (SELECT FROM governance.deletion_requests r WHERE r.tenant_id = t.tenant_id
                AND r.subject_kind = 'person' AND r.subject_id = t.id
                AND (r.status <> 'refused' OR r.refused_at > now() - interval '30 days'))
    AND NOT EXISTS (SELECT FROM governance.deletion_records d WHERE d.tenant_id = t.tenant_id
                    AND d.subject_kind = 'person' AND d.subject_id = t.id)
"""

REQUEST: Final = f"""
    INSERT INTO governance.deletion_requests
        (tenant_id, user_id, subject_kind, subject_id, status, verified_at, verification_method)
    SELECT t.tenant_id, t.id, 'person', t.id, 'verified', now(), 'retention' FROM identity.users t
    WHERE t.{MINE} AND t.id IN (SELECT id FROM chosen) ON CONFLICT DO NOTHING RETURNING 1
"""
"""Nobody has to prove who they are where the organisation's own retention asks."""

SUSPEND: Final = f"""
    UPDATE identity.users t SET status = 'suspended' WHERE t.{MINE} AND t.id IN (SELECT id FROM chosen) RETURNING t.id
"""
END_SIGN_INS: Final = f""", ended AS (
    UPDATE identity.sessions s SET revoked_at = now()
    WHERE s.{MINE} AND s.user_id IN (SELECT id FROM gone) AND s.revoked_at IS NULL AND s.expires_at > now() RETURNING 1
), withdrawn AS (
    UPDATE identity.api_keys k SET revoked_at = now()
    WHERE k.{MINE} AND k.user_id IN (SELECT id FROM gone) AND k.revoked_at IS NULL RETURNING 1
)"""
"""What a suspended person signed in with earlier ends."""


def _account(data_type: str, action: str, condition: str, goes: str, take: str) -> Rule:
    held = "false" if take is SUSPEND else "EXISTS (SELECT FROM governance.find_holds('person', t.id))"
    return Rule(
        data_type=data_type, action=action, noun="accounts", goes=goes, take=take,
        due=f"SELECT t.id, {held} AS held FROM identity.users t WHERE t.{MINE} AND {condition}",
        and_then=END_SIGN_INS if take is SUSPEND else "",
    )  # fmt: skip


RULES: Final = (
    _account(
        "accounts_deleted", "delete", f"t.status = 'deleted' AND t.deleted_at < :before AND {_UNASKED}",
        "erasure asked for", REQUEST,
    ),
    _account("accounts_inactive", "archive", f"t.status = 'active' AND {_QUIET}", "suspended", SUSPEND),
    _account(
        "accounts_inactive", "delete", f"t.status IN ('active', 'suspended') AND {_QUIET} AND {_UNASKED}",
        "erasure asked for", REQUEST,
    ),
    _simple(
        "messages", "community.messages", "messages", "t.created_at < :before",
        _held("person", "t.sender_id", "t.recipient_id"),
    ),
    _simple(
        "notifications", "comms.notifications", "notifications", "t.created_at < :before",
        _held("person", "t.user_id", "t.actor_id"), moment="created_at",
    ),
    _simple(
        "sign_in_sessions", "identity.sessions", "sign-ins",
        "least(t.expires_at, coalesce(t.revoked_at, 'infinity')) < :before", _held("person", "t.user_id"),
    ),
    _simple(
        "community_posts", "community.posts", "posts", "t.created_at < :before", _held("person", "t.author_id"),
    ),
    _simple(
        "course_content", "learning.programs", "programs",
        "t.deleted_at < :before AND NOT EXISTS (SELECT FROM learning.enrollments e WHERE e.tenant_id = t.tenant_id "
        "AND e.program_id = t.id) AND NOT EXISTS (SELECT FROM partners.partner_cohorts p "
        "WHERE p.tenant_id = t.tenant_id AND p.program_id = t.id)", WHOLE,
    ),
    _simple(
        "deliveries", "comms.outbox", "messages to other systems", "least(t.delivered_at, t.dead_at) < :before", WHOLE,
    ),
    _simple(
        "deliveries", "comms.webhook_deliveries", "webhook deliveries",
        "t.status IN ('delivered', 'dead') AND t.created_at < :before", WHOLE,
    ),
    Rule(
        data_type="deliveries", action="delete", noun="notices of repetition", goes="deleted",
        due=f"SELECT t.user_id, t.deduplication_key, {_held('person', 't.user_id')} AS held "
        f"FROM comms.notification_keys t WHERE t.{MINE} AND t.created_at < :before",
        take=_delete(
            "comms.notification_keys", key="user_id", also=" AND x.deduplication_key = c.deduplication_key"
        ),
    ),
    _simple(
        "analytics_events", "analytics.events", "events", "t.occurred_at < :before", _held("person", "t.user_id"),
        moment="occurred_at",
    ),
    _simple("usage", "platform.usage_metrics", "days of use", "t.date < CAST(:before AS timestamptz)::date", WHOLE,
            moment="date"),
    _simple(
        "conversations", "chat.chat_sessions", "conversations", "t.updated_at < :before",
        _held("conversation", "t.id"),
    ),
    Rule(
        data_type="material", action="delete", noun="evidence packs", goes="deleted",
        due=f"SELECT t.id, {_held('person', 't.user_id', 't.client_id')} AS held FROM evidence.evidence_packs t "
        f"WHERE t.{MINE} AND t.created_at < :before",
        take=_delete("evidence.evidence_packs"),
    ),
)  # fmt: skip
"""What is a statement alone; files have their bytes elsewhere and follow in `files.py`, months in `months.py`."""
