"""Datasets, experiments, evaluations, their scores and reports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, tenant_key

revision = "0020"
down_revision = "0019"

MEASURING = f"{policies.ROLE} IN ('evaluator', 'admin')"


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA evaluation")
    op.execute("GRANT USAGE ON SCHEMA evaluation TO regenesis_app")
    policies.view_audit("evaluation")
    op.create_table(
        "datasets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("origin IN ('files', 'feedback', 'production')", name=op.f("ck_datasets_origin")),
        sa.CheckConstraint("version > 0", name=op.f("ck_datasets_version")),
        inner_key("datasets", "created_by", "identity.users", "SET NULL"),
        tenant_key("datasets"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_datasets")),
        sa.UniqueConstraint("tenant_id", "name", "version", name=("uq_datasets_tenant_id_name_version")),
        schema="evaluation",
    )
    op.create_table(
        "dataset_cases",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("case_key", sa.Text(), nullable=False),
        sa.Column("user_input", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reference_contexts", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("answerable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("slices", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_dataset_cases_visibility"),
        ),
        inner_key("dataset_cases", "client_id", "identity.users"),
        inner_key("dataset_cases", "coach_id", "identity.users"),
        inner_key("dataset_cases", "dataset_id", "evaluation.datasets", "CASCADE"),
        tenant_key("dataset_cases"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_dataset_cases")),
        sa.UniqueConstraint(
            "tenant_id", "dataset_id", "case_key", name=("uq_dataset_cases_tenant_id_dataset_id_case_key")
        ),
        schema="evaluation",
    )
    op.create_table(
        "experiments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("baseline_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("config", postgresql.JSONB(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("repeats", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("budget_usd", sa.Numeric(), nullable=True),
        sa.Column("forecast_usd", sa.Numeric(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'interrupted', 'over_budget', 'failed')",
            name=op.f("ck_experiments_status"),
        ),
        sa.CheckConstraint("repeats BETWEEN 1 AND 100", name=op.f("ck_experiments_repeats")),
        inner_key("experiments", "baseline_id", "evaluation.experiments", "SET NULL"),
        inner_key("experiments", "dataset_id", "evaluation.datasets"),
        inner_key("experiments", "user_id", "identity.users"),
        tenant_key("experiments"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_experiments")),
        schema="evaluation",
    )
    add_index("ix_experiments_suite", "evaluation.experiments", "tenant_id", "suite", "started_at")
    op.create_table(
        "rag_evaluations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("experiment_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("repeat", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("retrieved_contexts", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name=op.f("ck_rag_evaluations_error")),
        sa.CheckConstraint("status IN ('scored', 'failed', 'refused')", name=op.f("ck_rag_evaluations_status")),
        inner_key("rag_evaluations", "case_id", "evaluation.dataset_cases", "CASCADE"),
        inner_key("rag_evaluations", "experiment_id", "evaluation.experiments", "CASCADE"),
        inner_key("rag_evaluations", "session_id", "chat.chat_sessions", "CASCADE"),
        inner_key("rag_evaluations", "user_id", "identity.users", "CASCADE"),
        tenant_key("rag_evaluations"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_rag_evaluations")),
        sa.UniqueConstraint(
            "tenant_id",
            "experiment_id",
            "case_id",
            "repeat",
            name=("uq_rag_evaluations_tenant_id_experiment_id_case_id_repeat"),
        ),
        schema="evaluation",
    )
    add_index("ix_rag_evaluations_created_at", "evaluation.rag_evaluations", "tenant_id", "created_at")
    add_index("ix_rag_evaluations_session_id", "evaluation.rag_evaluations", "tenant_id", "session_id")
    op.create_table(
        "rag_metrics",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("faithfulness_score", sa.Double(), nullable=True),
        sa.Column("relevance_score", sa.Double(), nullable=True),
        sa.Column("coverage_score", sa.Double(), nullable=True),
        sa.Column("hallucination_score", sa.Double(), nullable=True),
        sa.Column("scores", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("tokens_used", sa.Integer(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(), nullable=True),
        sa.CheckConstraint("coverage_score BETWEEN 0 AND 1", name=op.f("ck_rag_metrics_coverage_score")),
        sa.CheckConstraint("faithfulness_score BETWEEN 0 AND 1", name=op.f("ck_rag_metrics_faithfulness_score")),
        sa.CheckConstraint("hallucination_score BETWEEN 0 AND 1", name=op.f("ck_rag_metrics_hallucination_score")),
        sa.CheckConstraint("relevance_score BETWEEN 0 AND 1", name=op.f("ck_rag_metrics_relevance_score")),
        inner_key("rag_metrics", "evaluation_id", "evaluation.rag_evaluations", "CASCADE"),
        tenant_key("rag_metrics"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_rag_metrics")),
        sa.UniqueConstraint(
            "tenant_id", "evaluation_id", "scorer", name=("uq_rag_metrics_tenant_id_evaluation_id_scorer")
        ),
        schema="evaluation",
    )
    op.create_table(
        "rag_reports",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("experiment_id", sa.Uuid(), nullable=True),
        sa.Column("evaluation_id", sa.Uuid(), nullable=True),
        sa.Column("report_url", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("format IN ('html', 'json', 'markdown')", name=op.f("ck_rag_reports_format")),
        sa.CheckConstraint("num_nonnulls(experiment_id, evaluation_id) = 1", name=op.f("ck_rag_reports_about")),
        inner_key("rag_reports", "evaluation_id", "evaluation.rag_evaluations", "CASCADE"),
        inner_key("rag_reports", "experiment_id", "evaluation.experiments", "CASCADE"),
        tenant_key("rag_reports"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_rag_reports")),
        schema="evaluation",
    )
    add_index("ix_rag_reports_created_at", "evaluation.rag_reports", "tenant_id", "created_at")
    add_index("ix_rag_reports_evaluation_id", "evaluation.rag_reports", "tenant_id", "evaluation_id")
    for table in ("datasets", "experiments", "rag_metrics", "rag_reports"):
        policies.guard_where(f"evaluation.{table}", MEASURING)
    # Words of clients stay with those who may read the clients: an evaluator sees a case about nobody in particular,
    # and an answer only as the person it was asked as.
    policies.guard_content("evaluation.dataset_cases")
    policies.allow(
        "evaluation.dataset_cases", "evaluator", "SELECT",
        f"{policies.ROLE} = 'evaluator' AND client_id IS NULL AND coach_id IS NULL",
    )  # fmt: skip
    policies.guard_where("evaluation.rag_evaluations", f"user_id = {policies.USER}")
    for table in ("datasets", "dataset_cases", "experiments", "rag_evaluations", "rag_metrics", "rag_reports"):
        policies.grant(f"evaluation.{table}")
    policies.audit_changes("evaluation.datasets", "origin")
    policies.audit_changes("evaluation.experiments", "status")
    policies.audit_changes("evaluation.rag_reports", "format")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA evaluation CASCADE")
