"""What building evidence reports: an outcome a session, rows by level, what it cost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pipelines.evidence.build_plan import Plan
from pipelines.evidence.store import Written

Outcome = Literal["built", "unchanged", "failed"]
Level = Literal["claims", "statuses", "patterns", "insights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutcome:
    """What one run did with one session; `rejections` and `dropped` count by reason."""

    transcript_id: UUID
    title: str
    held_at: datetime | None
    outcome: Outcome
    claims: int = 0
    quotes: int = 0
    rows: Written = field(default_factory=Written)
    rejections: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cost_usd: Decimal | None = None
    """What the model took; None where none was asked or its price is not known."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What one run did for one client or one cohort; claims and patterns are those that now stand."""

    client_id: UUID | None = None
    cohort_id: UUID | None = None
    sessions: tuple[SessionOutcome, ...] = ()
    rows: Mapping[Level, Written] = field(default_factory=dict)
    claims: int = 0
    patterns: int = 0
    seconds: float = 0.0
    error: str | None = None
    """Why nothing could be done for them at all."""
    stopped: str | None = None
    """Why no model was asked any more."""

    def count(self, outcome: Outcome) -> int:
        """Return how many sessions ended so."""
        return sum(one.outcome == outcome for one in self.sessions)

    @property
    def failed(self) -> tuple[SessionOutcome, ...]:
        """The sessions that could not be built."""
        return tuple(one for one in self.sessions if one.outcome == "failed")

    @property
    def changed(self) -> int:
        """Rows added, changed or removed."""
        return sum(one.added + one.changed + one.removed for one in self.rows.values())

    def summarize(self) -> str:
        """Return the counts in one line."""
        return summarize([self], self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """What one run did for all it was asked about."""

    plan: Plan
    clients: tuple[BuildReport, ...] = ()
    cohorts: tuple[BuildReport, ...] = ()
    seconds: float = 0.0

    @property
    def sessions(self) -> tuple[SessionOutcome, ...]:
        """Every session's outcome."""
        return tuple(one for report in self.clients for one in report.sessions)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence a failure."""
        whole = [one.error for one in (*self.clients, *self.cohorts) if one.error]
        return (*whole, *(f"{one.title}: {one.error}" for one in self.sessions if one.error))

    @property
    def stopped(self) -> str | None:
        """Why models were not asked, or not any more, where they were wanted."""
        return next((one for one in (self.plan.stopped, *(r.stopped for r in self.clients)) if one), None)

    @property
    def rejections(self) -> Counter[str]:
        """Candidates refused in this run, by reason."""
        return add_up(one.rejections for one in self.sessions)

    @property
    def dropped(self) -> Counter[str]:
        """Claims proposed and not stored, by reason."""
        return add_up(one.dropped for one in self.sessions)

    @property
    def cost_usd(self) -> Decimal | None:
        """What the models took, None where no price is known."""
        costs = [one.cost_usd for one in self.sessions if one.cost_usd is not None]
        return sum(costs, Decimal(0)) if costs else None

    def summarize(self) -> str:
        """Return the counts in one line."""
        said = summarize([*self.clients, *self.cohorts], self.seconds)
        return f"{said}; {self.stopped}" if self.stopped else said


def add_up(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Return the sums by name."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def add_written(several: Iterable[Written]) -> Written:
    """Return all rows written."""
    every = list(several)
    return Written(
        added=sum(one.added for one in every),
        changed=sum(one.changed for one in every),
        removed=sum(one.removed for one in every),
    )


def summarize(reports: Iterable[BuildReport], seconds: float) -> str:
    """Return the counts of several reports in one line."""
    every = list(reports)
    names: tuple[Outcome, ...] = ("built", "unchanged", "failed")
    counts = ((sum(one.count(name) for one in every), name) for name in names)
    said = ", ".join(f"{count:,} {name}" for count, name in counts if count) or "no sessions"
    claims, patterns = sum(one.claims for one in every), sum(one.patterns for one in every)
    return f"{said}; {claims:,} claims, {patterns:,} patterns in {seconds:.1f} s"
