"""Schema `evaluation`: what the assistant was asked on purpose, how it did, and what that cost."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, Index, Numeric, UniqueConstraint, func
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Audience, Base, TenantRow, audience_args, one_of, tenant_fk


class Dataset(TenantRow, Base):
    """One version of a named set of questions with what a good answer holds."""

    __tablename__ = "datasets"
    __table_args__ = (
        tenant_fk("created_by", "identity.users", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "name", "version"),
        one_of("origin", ("files", "feedback", "production")),
        CheckConstraint("version > 0", name="version"),
        {"schema": "evaluation"},
    )

    name: Mapped[str]
    version: Mapped[int]
    origin: Mapped[str]
    description: Mapped[str | None]
    content_hash: Mapped[str]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))


class CaseProposal(TenantRow, Base):
    """One stored answer that may become a case: whoever asked it decides; gone once anyone it is about disagrees."""

    __tablename__ = "case_proposals"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("decided_by", "identity.users", ondelete="SET NULL"),
        tenant_fk(("message_id", "message_created_at"), "chat.chat_messages(id, created_at)", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "message_id"),
        one_of("origin", ("feedback", "production")),
        one_of("status", ("proposed", "confirmed", "rejected")),
        CheckConstraint("(status = 'proposed') = (decided_at IS NULL)", name="decided"),
        CheckConstraint("(status = 'confirmed') = (user_input IS NOT NULL)", name="confirmed"),
        Index("ix_case_proposals_user", "tenant_id", "user_id", "status", "created_at"),
        Index("ix_case_proposals_status", "tenant_id", "status", "created_at"),
        {"schema": "evaluation"},
    )

    user_id: Mapped[UUID]
    message_id: Mapped[UUID]
    message_created_at: Mapped[datetime]
    origin: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="proposed")
    user_input: Mapped[str | None]
    reference: Mapped[str | None]
    reference_contexts: Mapped[list[Any]] = mapped_column(server_default=sql("'[]'"))
    answerable: Mapped[bool] = mapped_column(server_default=sql("true"))
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class DatasetCase(TenantRow, Audience, Base):
    """One question of a dataset; columns bear the names ragas uses."""

    __tablename__ = "dataset_cases"
    __table_args__ = audience_args(
        tenant_fk("dataset_id", "evaluation.datasets", ondelete="CASCADE"),
        tenant_fk("proposal_id", "evaluation.case_proposals", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "dataset_id", "case_key"),
        Index("ix_dataset_cases_proposal_id", "tenant_id", "proposal_id"),
        {"schema": "evaluation"},
    )

    dataset_id: Mapped[UUID]
    case_key: Mapped[str]
    user_input: Mapped[str]
    reference: Mapped[str | None]
    reference_contexts: Mapped[list[Any]] = mapped_column(server_default=sql("'[]'"))
    answerable: Mapped[bool] = mapped_column(server_default=sql("true"))
    slices: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)
    proposal_id: Mapped[UUID | None] = mapped_column(sort_order=91)
    asked_at: Mapped[datetime | None] = mapped_column(sort_order=92)


class Experiment(TenantRow, Base):
    """One run of a suite under one configuration, asked as one named person."""

    __tablename__ = "experiments"
    __table_args__ = (
        tenant_fk("dataset_id", "evaluation.datasets"),
        tenant_fk("user_id", "identity.users"),
        tenant_fk("baseline_id", "evaluation.experiments", ondelete="SET NULL"),
        one_of("status", ("running", "completed", "interrupted", "over_budget", "failed")),
        CheckConstraint("repeats BETWEEN 1 AND 100", name="repeats"),
        Index("ix_experiments_suite", "tenant_id", "suite", "started_at"),
        {"schema": "evaluation"},
    )

    suite: Mapped[str]
    dataset_id: Mapped[UUID]
    user_id: Mapped[UUID]
    baseline_id: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(server_default="running")
    config: Mapped[dict[str, Any]]
    config_hash: Mapped[str]
    repeats: Mapped[int] = mapped_column(server_default=sql("1"))
    budget_usd: Mapped[Decimal | None] = mapped_column(Numeric)
    forecast_usd: Mapped[Decimal | None] = mapped_column(Numeric)
    cost_usd: Mapped[Decimal | None] = mapped_column(Numeric)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
    flow_run_id: Mapped[UUID | None]


class RagEvaluation(TenantRow, Base):
    """One question asked and answered for measurement, or one stored answer that was sampled (seed 002 §7.1)."""

    __tablename__ = "rag_evaluations"
    __table_args__ = (
        tenant_fk("session_id", "chat.chat_sessions", ondelete="CASCADE"),
        tenant_fk("experiment_id", "evaluation.experiments", ondelete="CASCADE"),
        tenant_fk("case_id", "evaluation.dataset_cases", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk(("message_id", "message_created_at"), "chat.chat_messages(id, created_at)", ondelete="CASCADE"),
        one_of("status", ("scored", "failed", "refused")),
        CheckConstraint("num_nulls(message_id, message_created_at) IN (0, 2)", name="message"),
        Index(
            "uq_rag_evaluations_message",
            "tenant_id",
            "message_id",
            unique=True,
            postgresql_where=sql("message_id IS NOT NULL"),
        ),
        CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="error"),
        UniqueConstraint("tenant_id", "experiment_id", "case_id", "repeat"),
        Index("ix_rag_evaluations_session_id", "tenant_id", "session_id"),
        Index("ix_rag_evaluations_created_at", "tenant_id", "created_at"),
        {"schema": "evaluation"},
    )

    session_id: Mapped[UUID | None]
    experiment_id: Mapped[UUID | None]
    case_id: Mapped[UUID | None]
    repeat: Mapped[int] = mapped_column(server_default=sql("1"))
    user_id: Mapped[UUID]
    query: Mapped[str]
    answer: Mapped[str | None]
    retrieved_contexts: Mapped[list[Any]] = mapped_column(server_default=sql("'[]'"))
    status: Mapped[str]
    error: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"), sort_order=90)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    message_id: Mapped[UUID | None] = mapped_column(sort_order=91)
    message_created_at: Mapped[datetime | None] = mapped_column(sort_order=91)


class RagMetric(TenantRow, Base):
    """The scores of one evaluation by one scorer; unknown is null, never zero (seed 002 §7.2)."""

    __tablename__ = "rag_metrics"
    __table_args__ = (
        tenant_fk("evaluation_id", "evaluation.rag_evaluations", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "evaluation_id", "scorer"),
        CheckConstraint("faithfulness_score BETWEEN 0 AND 1", name="faithfulness_score"),
        CheckConstraint("relevance_score BETWEEN 0 AND 1", name="relevance_score"),
        CheckConstraint("coverage_score BETWEEN 0 AND 1", name="coverage_score"),
        CheckConstraint("hallucination_score BETWEEN 0 AND 1", name="hallucination_score"),
        {"schema": "evaluation"},
    )

    evaluation_id: Mapped[UUID]
    scorer: Mapped[str]
    faithfulness_score: Mapped[float | None] = mapped_column(Double)
    relevance_score: Mapped[float | None] = mapped_column(Double)
    coverage_score: Mapped[float | None] = mapped_column(Double)
    hallucination_score: Mapped[float | None] = mapped_column(Double)
    scores: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))
    latency_ms: Mapped[int | None]
    tokens_used: Mapped[int | None]
    cost_usd: Mapped[Decimal | None] = mapped_column(Numeric)


class RagReport(TenantRow, Base):
    """One written report of an experiment, or of one evaluation (seed 002 §7.3)."""

    __tablename__ = "rag_reports"
    __table_args__ = (
        tenant_fk("experiment_id", "evaluation.experiments", ondelete="CASCADE"),
        tenant_fk("evaluation_id", "evaluation.rag_evaluations", ondelete="CASCADE"),
        CheckConstraint("num_nonnulls(experiment_id, evaluation_id) = 1", name="about"),
        one_of("format", ("html", "json", "markdown")),
        Index("ix_rag_reports_evaluation_id", "tenant_id", "evaluation_id"),
        Index("ix_rag_reports_created_at", "tenant_id", "created_at"),
        {"schema": "evaluation"},
    )

    experiment_id: Mapped[UUID | None]
    evaluation_id: Mapped[UUID | None]
    report_url: Mapped[str]
    format: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
