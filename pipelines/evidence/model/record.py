"""Keeps the run behind a session's claims: what it asked, what that cost, what failed; within the tenant's budget."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text as sql

from db.session import Principal, tenant_session
from domain import budget, chat
from domain.usage import Used

AGENT_TYPE: Final = "claim_extractor"
LONGEST_MESSAGE: Final = 500  # characters of a failure that are kept

_NAME: Final = sql(
    "UPDATE chat.agent_runs SET metadata = metadata || jsonb_build_object('transcript_id', CAST(:transcript AS text)) "
    "WHERE id = :run"
)
# A process that died left its run behind: nobody else reads this transcript while this run does.
_ABANDONED: Final = sql(
    """
    UPDATE chat.agent_runs
    SET status = 'failed', completed_at = clock_timestamp()
    WHERE agent_type = :kind AND status = 'running' AND metadata->>'transcript_id' = CAST(:transcript AS text)
      AND started_at + CAST(:lapse AS interval) < clock_timestamp()
      AND NOT EXISTS (SELECT FROM platform.quota_reservations r
                      WHERE r.id = agent_runs.id AND r.lapses_at >= clock_timestamp())
    """
)


async def begin_run(record: Principal, transcript_id: UUID) -> UUID:
    """Note that a session's claims are asked for and return the run's id; earlier runs that died end as failed."""
    run_id = uuid4()
    about = {"transcript": transcript_id, "run": run_id, "kind": AGENT_TYPE, "lapse": budget.LAPSE}
    async with tenant_session(record) as session:
        await session.execute(_ABANDONED, about)
        await chat.start_run(session, run_id=run_id, user_id=None, session_id=None, agent_type=AGENT_TYPE)
        await session.execute(_NAME, about)
    return run_id


async def reserve(record: Principal, run_id: UUID, most_usd: Decimal | None, *, model: str, tokens: int) -> None:
    """Set aside the most that a request can take; raises `BudgetExhausted`, `TokensUsedUp`."""
    async with tenant_session(record) as session:
        await budget.reserve(session, run_id, most_usd, model=model, tokens=tokens)


async def settle(
    record: Principal,
    run_id: UUID,
    *,
    reserved_usd: Decimal | None,
    reserved_tokens: int,
    cost_usd: Decimal | None,
    used: Used | None,
) -> None:
    """Put what the request did take, None where it never began, in the place of what was set aside."""
    async with tenant_session(record) as session:
        await budget.settle(
            session, run_id, reserved_usd=reserved_usd, cost_usd=cost_usd, reserved_tokens=reserved_tokens,
            used=[used] if used else [],
        )  # fmt: skip


async def end_run(
    record: Principal,
    run_id: UUID,
    status: chat.RunStatus,
    *,
    metadata: dict[str, Any],
    failures: Sequence[chat.Failure],
) -> None:
    """Note how the run ended."""
    kept = [chat.Failure(one.error_type, one.message[:LONGEST_MESSAGE], one.retryable) for one in failures]
    async with tenant_session(record) as session:
        await chat.finish_run(session, run_id, status, metadata=metadata, failures=kept)
