"""Measures building evidence: many sessions of a client, whole, unchanged, with one more; and public sessions."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.settings import get_settings
from db.session import Principal, tenant_session
from domain.coaching import start_engagement
from domain.identity import create_user
from evaluation.bench_ingest import throw_away_originals
from evaluation.evidence_sessions import COACH, SpokenSession, make_sessions, read_public_sessions, write_sessions
from evaluation.retrieval import throw_away_tenant
from pipelines.evidence.build import build_client
from pipelines.evidence.build_report import BuildReport, add_up
from pipelines.evidence.verify import verify_evidence
from pipelines.ingest import ingest_source
from rag.fakes import HashEmbedder

LEVELS: Final = ("quotes", "claims", "claim_quotes", "patterns", "pattern_claims", "insights", "derivations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One build: seconds, and rows of all levels that are not what they were before it."""

    seconds: float
    rows_changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBench:
    """What was built, how fast, and whether all of it holds.

    `again` finds nothing new, `added` one session more, `rebuilt` reads all of them again. Broken and checked rows by
    invariant.
    """

    sessions: int
    words: int
    failed: int
    first: Built
    again: Built
    rebuilt: Built
    added: Built | None
    slowest_session_seconds: float
    claims: dict[str, int] = field(default_factory=dict)
    patterns: dict[str, int] = field(default_factory=dict)
    quotes: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


async def bench_evidence(
    *, sessions: int = 100, public: Path | None = None, note: Callable[[str], None]
) -> EvidenceBench:
    """Build, verify and remove the evidence of made sessions of one client, or of public ones.

    Runs in an organisation of its own. Raises `NoSessions`.
    """
    spoken = make_sessions(sessions + 1) if public is None else read_public_sessions(public)
    given, later = (spoken[:-1], spoken[-1:]) if public is None else (spoken, [])
    async with throw_away_tenant() as system, throw_away_originals(system, get_settings()):
        with tempfile.TemporaryDirectory(prefix="regenesis-evidence-") as folder:
            clients = await _add_people(system, spoken)
            note(f"ingesting {len(given)} sessions")
            await _ingest(system, given, Path(folder))
            note(f"building the evidence of {len(given)} sessions")
            first, reports = await _build(system, clients)
            again, _ = await _build(system, clients)
            rebuilt, _ = await _build(system, clients, force=True)
            added = None
            if later:
                await _ingest(system, spoken, Path(folder))
                added, _ = await _build(system, clients)
            note("verifying")
            findings = await verify_evidence(system.tenant_id)
            outcomes = [one for report in reports for one in report.sessions]
            return EvidenceBench(
                sessions=len(given), words=sum(len(said.split()) for one in given for _, _, said in one.turns),
                failed=sum(one.outcome == "failed" for one in outcomes), first=first, again=again, rebuilt=rebuilt,
                added=added, slowest_session_seconds=max(one.seconds for one in outcomes),
                claims=await _count(system, "claims", "claim_type"), patterns=await _count(system, "patterns", "kind"),
                quotes=sum((await _count(system, "quotes", "method")).values()),
                rejections=dict(add_up(one.rejections for one in outcomes)),
                dropped=dict(add_up(one.dropped for one in outcomes)),
                checked={one.invariant: one.checked for one in findings},
                broken={one.invariant: one.broken for one in findings if one.broken},
            )  # fmt: skip


async def _add_people(system: Principal, sessions: Sequence[SpokenSession]) -> list[UUID]:
    async with tenant_session(system) as session:
        coach = await create_user(session, email=COACH, full_name="Robin Marsh", role="coach")
        clients = []
        for n, email in enumerate(sorted({one.client for one in sessions})):
            client = await create_user(session, email=email, full_name=f"Client {n + 1}", role="client")
            await start_engagement(session, coach_id=coach.id, client_id=client.id)
            clients.append(client.id)
    return clients


async def _ingest(system: Principal, sessions: Sequence[SpokenSession], folder: Path) -> None:
    write_sessions(sessions, folder)
    report = await ingest_source(system.tenant_id, str(folder), embedder=HashEmbedder())
    if report.failed:
        raise RuntimeError(f"{report.failed[0].key}: {report.failed[0].error}")  # our own files, so a defect of ours


async def _build(system: Principal, clients: Sequence[UUID], *, force: bool = False) -> tuple[Built, list[BuildReport]]:
    before = await _read_versions(system)
    began = perf_counter()
    reports = [await build_client(system.tenant_id, client_id, force=force) for client_id in clients]
    seconds = perf_counter() - began
    return Built(seconds=seconds, rows_changed=len(before ^ await _read_versions(system))), reports


async def _read_versions(system: Principal) -> set[tuple[Any, ...]]:
    """Return every row's version."""
    versions: set[tuple[Any, ...]] = set()
    async with tenant_session(system) as session:
        for level in LEVELS:
            rows = await session.execute(sa.text(f"SELECT '{level}', xmin::text, ctid::text FROM evidence.{level}"))
            versions.update(tuple(row) for row in rows)
    return versions


async def _count(system: Principal, level: str, column: str) -> dict[str, int]:
    async with tenant_session(system) as session:
        rows = await session.execute(
            sa.text(f"SELECT {column}, count(*) FROM evidence.{level} GROUP BY 1 ORDER BY 2 DESC")
        )
        return {str(name): count for name, count in rows.tuples()}
