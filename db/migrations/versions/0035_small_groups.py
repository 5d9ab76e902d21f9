"""Ratings and minutes are hidden by how many people they come from; usage of the assistant is the assistant's alone."""

from importlib import import_module

from alembic import op

revision = "0035"
down_revision = "0034"

FIRST = import_module("db.migrations.versions.0019_analytics")

PROGRAM_PERFORMANCE = {
    "completion_rate": "enrollment_count", "average_progress": "enrollment_count", "avg_rating": "rating_count",
}  # fmt: skip
"""Whose number decides whether an average is shown; people have one enrolment, and so one rating, a program."""

# Five clients of a month may have held one session, and one of them may have rated it.
COACHING_OUTCOMES = """
CREATE MATERIALIZED VIEW analytics.coaching_outcomes AS
SELECT s.tenant_id, date_trunc('month', s.scheduled_at, 'UTC')::date AS month,
       count(*) FILTER (WHERE s.status = 'completed') AS sessions_completed,
       count(*) FILTER (WHERE s.status = 'cancelled') AS sessions_cancelled,
       count(*) FILTER (WHERE s.status = 'no_show') AS sessions_missed,
       count(DISTINCT s.client_id) AS clients, count(DISTINCT s.coach_id) AS coaches,
       round(avg(s.duration_minutes) FILTER (WHERE s.status = 'completed'), 1) AS average_minutes,
       count(DISTINCT s.client_id) FILTER (WHERE s.status = 'completed') AS clients_met,
       round(avg(f.rating), 2) AS avg_rating, count(DISTINCT f.client_id) AS raters,
       now() AS computed_at
FROM coaching.coaching_sessions s
LEFT JOIN coaching.session_feedback f ON f.tenant_id = s.tenant_id AND f.session_id = s.id
GROUP BY s.tenant_id, date_trunc('month', s.scheduled_at, 'UTC')::date
"""
COACHED = {"average_minutes": "clients_met", "avg_rating": "raters"}

# Evidence taken from sessions and scores given by a judge are runs too, but nobody asked them anything.
RAG_USAGE = FIRST.RAG_USAGE.replace("FROM chat.agent_runs r\n", "FROM chat.agent_runs r WHERE agent_type = 'assistant'\n")


def upgrade() -> None:
    """Apply."""
    for name in ("coaching_outcomes", "rag_usage"):
        drop(name)
    op.execute(COACHING_OUTCOMES)
    op.execute(RAG_USAGE)
    serve("coaching_outcomes", read("coaching_outcomes", COACHED))
    serve("rag_usage", FIRST.read("rag_usage"))
    replace("program_performance", read("program_performance", PROGRAM_PERFORMANCE))


def downgrade() -> None:
    """Take back."""
    for name, view in (("coaching_outcomes", FIRST.COACHING_OUTCOMES), ("rag_usage", FIRST.RAG_USAGE)):
        drop(name)
        op.execute(view)
        serve(name, FIRST.read(name))
    replace("program_performance", FIRST.read("program_performance"))


def read(view: str, hidden: dict[str, str]) -> str:
    """Return the function as 0019 has it, where each of these columns is hidden by its own number of people."""
    shown = "to_jsonb(v)" + "".join(
        f" || CASE WHEN v.{people} < {FIRST.SMALLEST_GROUP} THEN jsonb_build_object('{column}', NULL) "
        "ELSE '{}'::jsonb END"
        for column, people in hidden.items()
    )
    before: str = FIRST.read("admin_dashboard")  # which hides nothing
    return before.replace("admin_dashboard", view).replace("to_jsonb(v)", shown)


def drop(view: str) -> None:
    """Drop a view and the function in front of it."""
    op.execute(f"DROP FUNCTION analytics.read_{view}()")
    op.execute(f"DROP MATERIALIZED VIEW analytics.{view}")


def serve(view: str, function: str) -> None:
    """Put the function in front of a view that was made anew."""
    op.execute(f"CREATE UNIQUE INDEX uq_{view} ON analytics.{view} ({FIRST.KEYS[view]})")
    op.execute(function)
    op.execute(f"GRANT EXECUTE ON FUNCTION analytics.read_{view}() TO regenesis_app")


def replace(view: str, function: str) -> None:
    """Let the function in front of a view hide other columns."""
    op.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
