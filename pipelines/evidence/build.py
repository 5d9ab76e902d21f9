"""From stored sessions to evidence: new ones read, later ones settled against earlier, patterns over all of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy import text as text_

from core.errors import AppError, Conflict, QuotaExceeded
from core.logging import get_logger, log_context
from db.models import User
from db.session import Principal, tenant_session
from domain.consents import list_withheld
from domain.ingestion import SourceBusy, hold_source
from pipelines.evidence.build_plan import BUILD_VERSION, UNSETTLED, Force, is_wanted, name_version
from pipelines.evidence.build_report import BuildReport, Level, Outcome, SessionOutcome, add_written
from pipelines.evidence.gate import admit
from pipelines.evidence.insights import draft_insights
from pipelines.evidence.lifecycle import StatusChange, settle
from pipelines.evidence.merge import merge_duplicates
from pipelines.evidence.model import ModelProposal, propose_by_model
from pipelines.evidence.patterns import find_patterns
from pipelines.evidence.patterns_reports import complete_proposals
from pipelines.evidence.readmit import list_modelled
from pipelines.evidence.records import Extraction, ProposedClaim, SessionClaim, SessionText
from pipelines.evidence.rules import propose_by_rules
from pipelines.evidence.store import (
    BuiltSession,
    Written,
    list_client_claims,
    list_sessions,
    load_session,
    write_extraction,
    write_patterns,
    write_statuses,
)
from rag.answer_models import ModelChoice

SESSIONS_AT_ONCE: Final = 2  # one is written while the other is read
ASKED_AT_ONCE: Final = 4  # sessions whose models are waited for

OnProgress = Callable[[int, int], Awaitable[None]]

_UNSETTLE: Final = text_(
    "UPDATE evidence.extractions SET version = version || CAST(:mark AS text) WHERE transcript_id = :transcript_id"
)
_SETTLED: Final = text_("""
UPDATE evidence.extractions e SET version = left(e.version, -length(CAST(:mark AS text)))
FROM rag.transcripts t
WHERE t.tenant_id = e.tenant_id AND t.id = e.transcript_id AND t.client_id IS NOT DISTINCT FROM CAST(:client_id AS uuid)
  AND right(e.version, length(CAST(:mark AS text))) = :mark
""")

log = get_logger("pipelines.evidence")


class EvidenceBusy(Conflict):
    """Another run is building this client's evidence; wait for it to finish, then start again."""


@dataclass(slots=True)
class _Run:
    """What the sessions of one run share."""

    system: Principal
    models: Sequence[ModelChoice]
    stopped: str | None = None
    """Why no model is asked any more."""


async def build_client(
    tenant_id: UUID,
    client_id: UUID | None,
    *,
    models: Sequence[ModelChoice] = (),
    on_progress: OnProgress | None = None,
    force: Force = False,
    wait_s: float = 300,
) -> BuildReport:
    """Build what is new or changed of one client's evidence, and settle all of it; of nobody's sessions, claims only.

    Safe to repeat and to kill at any point: a session is written whole or not at all, ids come from content, and a
    second run changes no row. One session's failure never stops the others. `force` reads all sessions again, or those
    it names. Models are asked beside the rules; once the budget is used up the rules go on alone. Raises
    `EvidenceBusy` where another run keeps the client longer than `wait_s`.
    """
    began = perf_counter()
    run = _Run(Principal(tenant_id, "system"), models)
    with log_context(tenant_id=str(tenant_id), client_id=str(client_id)):
        async with _hold(tenant_id, client_id, wait_s):
            async with tenant_session(run.system) as session:
                known = await list_sessions(session, client_id)
                if client_id in await list_withheld(session, "external_model"):
                    run.models = [model for model in models if not model.is_outside]
            outcomes = await _build_sessions(run, known, force, on_progress)
            report = BuildReport(
                client_id=client_id, sessions=tuple(outcomes), stopped=run.stopped,
                rows={"claims": add_written(one.rows for one in outcomes)},
                claims=sum(one.claims for one in outcomes),
            )  # fmt: skip
            report = await _settle(run, client_id, report)
    report = replace(report, seconds=round(perf_counter() - began, 3))
    log.info("evidence built", summary=report.summarize(), rows=report.changed)
    return report


@asynccontextmanager
async def _hold(tenant_id: UUID, about: UUID | None, wait_s: float) -> AsyncIterator[None]:
    try:
        async with hold_source(tenant_id, f"evidence:{about}", wait_s=wait_s):
            yield
    except SourceBusy as error:
        raise EvidenceBusy from error


async def _build_sessions(
    run: _Run, known: Sequence[BuiltSession], force: Force, on_progress: OnProgress | None
) -> list[SessionOutcome]:
    """Build what is to be built, and return every session's outcome in the order given."""
    version = name_version(run.models)
    waiting = deque(one for one in known if is_wanted(one, version, force))
    wanted, done = {one.transcript_id for one in waiting}, 0
    outcomes = {one.transcript_id: _note(one, "unchanged") for one in known if one.transcript_id not in wanted}

    async def take_all() -> None:
        nonlocal done
        while waiting:
            one = waiting.popleft()
            outcomes[one.transcript_id] = await _build_session(run, one)
            done += 1
            if on_progress is not None:
                await on_progress(done, len(wanted))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(ASKED_AT_ONCE if run.models else SESSIONS_AT_ONCE):
                group.create_task(take_all())
    except ExceptionGroup as several:  # whoever follows the progress failed: one error will do
        raise several.exceptions[0] from several
    return [outcomes[one.transcript_id] for one in known]


def _note(one: BuiltSession, outcome: Outcome) -> SessionOutcome:
    return SessionOutcome(
        transcript_id=one.transcript_id, title=one.title, held_at=one.held_at, outcome=outcome, claims=one.claims
    )


async def _build_session(run: _Run, one: BuiltSession) -> SessionOutcome:
    """Read one session and write its evidence in one transaction; a failure is an outcome."""
    began = perf_counter()
    try:
        outcome = await _read_and_write(run, one)
    except AppError as error:
        log.warning("a session's evidence failed", transcript_id=str(one.transcript_id), error=error.code)
        outcome = replace(_note(one, "failed"), error=error.message)
    except Exception as defect:  # one session's defect must not stop the others
        log.exception("a session's evidence met a defect", transcript_id=str(one.transcript_id))
        told = f"The session {one.transcript_id} met a defect of the product ({type(defect).__name__}); report it."
        outcome = replace(_note(one, "failed"), error=told)
    return replace(outcome, seconds=round(perf_counter() - began, 4))


async def _read_and_write(run: _Run, one: BuiltSession) -> SessionOutcome:
    async with tenant_session(run.system) as session:
        text = await load_session(session, one.transcript_id)
    proposal = await _ask_models(run, text)
    proposed = [*proposal.claims] if proposal else []
    if proposal is None or not proposal.whole:
        async with tenant_session(run.system) as session:
            proposed += await list_modelled(session, text)
    extraction = await asyncio.to_thread(extract, text, proposed)
    version, run_id = BUILD_VERSION, None
    if proposal is not None:
        # What did not come whole is asked for again by the next run.
        version, run_id = name_version(run.models) if proposal.whole else BUILD_VERSION, proposal.run_id
        extraction.dropped += proposal.dropped
    async with tenant_session(run.system) as session:
        rows = await write_extraction(session, text, extraction, version=version, run_id=run_id)
        if rows != Written() or one.built_version is None or one.built_version.endswith(UNSETTLED):
            await session.execute(_UNSETTLE, {"transcript_id": text.transcript_id, "mark": UNSETTLED})
    spans = {(quote.char_start, quote.char_end) for claim in extraction.claims for quote, _ in claim.quotes}
    return replace(
        _note(one, "built"), claims=len(extraction.claims), quotes=len(spans), rows=rows,
        rejections=extraction.rejections, dropped=dict(extraction.dropped),
        cost_usd=proposal.cost_usd if proposal else None,
    )  # fmt: skip


async def _ask_models(run: _Run, text: SessionText) -> ModelProposal | None:
    """Return what the models propose; what fails there is recorded there, and the rules go on."""
    if not run.models or run.stopped:
        return None
    try:
        proposal = await propose_by_model(text, run.models, record=run.system)
    except QuotaExceeded as error:
        run.stopped = error.message
        return None
    run.stopped = run.stopped or proposal.stopped
    return proposal


def extract(text: SessionText, proposed: Sequence[ProposedClaim] = ()) -> Extraction:
    """Return what the rules find in one session and what else was proposed, let in by the gate, duplicates merged."""
    extraction = admit(text, complete_proposals(text, [*propose_by_rules(text), *proposed]))
    extraction.claims = merge_duplicates(extraction.claims)
    return extraction


async def _settle(run: _Run, client_id: UUID | None, report: BuildReport) -> BuildReport:
    """Compare all sessions of the client; write statuses, patterns and drafts where they differ."""
    async with tenant_session(run.system) as session:
        if client_id is None:  # the sessions of nobody's have nothing to do with each other
            await session.execute(_SETTLED, {"client_id": None, "mark": UNSETTLED})
            return report
        claims = await list_client_claims(session, client_id)
        settled, changes = await asyncio.to_thread(settle_all, claims)
        statuses = await write_statuses(session, changes)
        name = await session.scalar(select(User.full_name).where(User.id == client_id))
        in_scope, examined = len(report.sessions), len(report.sessions) - len(report.failed)
        found = await asyncio.to_thread(
            find_patterns, settled, sessions_in_scope=in_scope, sessions_examined=examined, name=name
        )  # fmt: skip
        patterns = await write_patterns(session, found, client_id=client_id)
        drafts = await draft_insights(session, client_id)
        await session.execute(_SETTLED, {"client_id": client_id, "mark": UNSETTLED})
    rows: dict[Level, Written] = {"statuses": statuses, "patterns": patterns, "insights": drafts}
    return replace(report, claims=len(claims), patterns=len(found), rows={**report.rows, **rows})


def settle_all(claims: Sequence[SessionClaim]) -> tuple[list[SessionClaim], list[StatusChange]]:
    """Return the claims with the statuses that all sessions together give them, and what differs from those given."""
    changes = settle(claims)
    changed = {change.claim_id: change for change in changes}
    settled = [
        replace(one, status=change.status, superseded_by=change.by_claim_id)
        if (change := changed.get(one.claim_id))
        else one
        for one in claims
    ]
    return settled, changes
