"""How evidence looks on a terminal: a pattern, the claims under it, the words under those; who, when, where."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cli.search import format_day, format_seconds
from domain.evidence import EvidenceSummary, list_claims, list_patterns, summarize_client
from domain.evidence_views import ClaimView, PatternView, QuoteView

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from domain.packs import PackView
    from pipelines.evidence.build_report import EvidenceReport
    from pipelines.evidence.verify import Finding

KINDS: Final = ("commitment_record", "contradiction", "change", "trend", "recurrence")
"""In the order in which a coach wants to know of them."""
MOST_CLAIMS: Final = 1_000
MOST_PATTERNS: Final = 200
COLOURS: Final = {
    "kept": "green", "broken": "red", "retracted": "yellow", "superseded": "yellow", "contradiction": "red",
    "change": "yellow", "recurrence": "cyan", "trend": "cyan", "commitment_record": "green",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvidence:
    """What one reader sees of one client's evidence."""

    client: str
    email: str
    summary: EvidenceSummary
    patterns: Sequence[PatternView]
    claims: Mapping[UUID, ClaimView]


async def read_client(session: "AsyncSession", client_id: UUID, *, name: str, email: str) -> ClientEvidence:
    """Return the client's evidence as the session's reader may see it; raises `ClientEvidenceNotFound`."""
    summary = await summarize_client(session, client_id)
    patterns = await list_patterns(session, client_id=client_id, limit=MOST_PATTERNS)
    claims = await list_claims(session, client_id=client_id, limit=MOST_CLAIMS)
    by_time = sorted(claims, key=lambda one: (one.moment, one.quotes[0].char_start if one.quotes else 0, one.id))
    ranked = sorted(patterns, key=lambda one: KINDS.index(one.kind) if one.kind in KINDS else len(KINDS))
    return ClientEvidence(
        client=name, email=email, summary=summary, patterns=ranked, claims={one.id: one for one in by_time}
    )


def print_evidence(console: Console, found: ClientEvidence, level: str) -> None:
    """Print the evidence from this level down."""
    _print_summary(console, found)
    if level == "l2":
        for pattern in found.patterns:
            console.print(_draw_pattern(pattern, found.claims))
            console.print()
        if not found.patterns:
            console.print("[dim]No patterns yet: they need claims of two sessions or more.[/]")
        return
    days: dict[tuple[str, str], list[ClaimView]] = {}
    for claim in found.claims.values():
        days.setdefault((format_day(claim.moment), claim.title or ""), []).append(claim)
    for (day, title), claims in days.items():
        tree = Tree(f"[bold]{day}[/]  [dim]{escape(title)}[/]", guide_style="dim")
        if level == "l1":
            for claim in claims:
                _draw_claim(tree, claim)
        else:
            quotes = {quote.id: quote for claim in claims for quote in claim.quotes}
            for quote in sorted(quotes.values(), key=lambda one: one.char_start):
                tree.add(_draw_quote(quote))
        console.print(tree)
        console.print()


def _print_summary(console: Console, found: ClientEvidence) -> None:
    summary = found.summary
    span = [format_day(day) for day in (summary.first_held_at, summary.last_held_at) if day]
    about = " · ".join(filter(None, (escape(found.email), " to ".join(dict.fromkeys(span)))))
    console.print(f"[bold]{escape(found.client)}[/]  [dim]{about}[/]")
    table = Table.grid(padding=(0, 2))
    supporting = f"{summary.sessions_supporting} of {summary.sessions_in_scope} sessions"
    table.add_row("[bold]L2[/]", f"{sum(summary.patterns.values()):,} patterns", _count(summary.patterns))
    table.add_row("[bold]L1[/]", f"{sum(summary.claims.values()):,} claims", _count(summary.claims))
    table.add_row("", "", f"[dim]commitments:[/] {_count(summary.commitments)}" if summary.commitments else "")
    table.add_row("[bold]L0[/]", f"{summary.quotes:,} quotes", f"from {supporting}")
    console.print(table)
    console.print()


def _count(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "[dim], [/]".join(f"{number:,} {name.replace('_', ' ')}" for name, number in ranked)


def _draw_pattern(pattern: PatternView, claims: Mapping[UUID, ClaimView]) -> Tree:
    colour = COLOURS.get(pattern.kind, "cyan")
    covered = f"{pattern.sessions_supporting} of {pattern.sessions_examined} sessions examined"
    if pattern.sessions_in_scope != pattern.sessions_examined:
        covered += f", {pattern.sessions_in_scope} in scope"
    head = Text.assemble((pattern.kind.replace("_", " ").upper(), f"bold {colour}"), "  ", (pattern.statement, "bold"))
    tree = Tree(Group(head, Text(f"{covered}{_span(pattern.first_seen, pattern.last_seen)}", "dim")), guide_style="dim")
    for role, mark in (("supporting", "+"), ("counter", "-")):
        for link in pattern.claims:
            if link.role == role and link.id in claims:
                _draw_claim(tree, claims[link.id], mark)
    return tree


def _span(first: datetime | None, last: datetime | None) -> str:
    days = [format_day(day) for day in (first, last) if day]
    return f" · {' to '.join(dict.fromkeys(days))}" if days else ""


def _draw_claim(tree: Tree, claim: ClaimView, mark: str = "") -> None:
    head = Text()
    if mark:  # under a pattern; elsewhere the day stands above
        head.append(f"{mark} ", "green" if mark == "+" else "red")
        head.append(f"{format_day(claim.moment)}  ", "dim")
    head.append(claim.claim_type, "cyan")
    if claim.status != "asserted":
        head.append(f" {claim.status}", COLOURS.get(claim.status, ""))
    head.append(f"  {claim.statement}")
    details = []
    if claim.modality != "stated":
        details.append(claim.modality)
    if claim.claim_type == "commitment" and claim.valid_to:
        details.append(f"due {claim.valid_to.day} {claim.valid_to:%B %Y}")
    details.append(claim.model_name or claim.method)
    head.append(f"  {' · '.join(details)}", "dim")
    branch = tree.add(head)
    for quote in claim.quotes:
        branch.add(_draw_quote(quote))


def _draw_quote(quote: QuoteView) -> Text:
    place = [quote.speaker] if quote.speaker else []
    if quote.started_s is not None:
        place.append(format_seconds(quote.started_s))
    said = Text.assemble(f"“{' '.join(quote.exact.split())}”", (f"  {' · '.join(place)}", "dim"))
    if quote.role == "opposing":
        said.append("  opposing", "red")
    return said


def to_json(found: ClientEvidence, level: str) -> dict[str, Any]:
    """Return the evidence from this level down for programs: each row once, related by id."""
    claims = [asdict(one) for one in found.claims.values()]
    quotes = {quote.id: asdict(quote) for claim in found.claims.values() for quote in claim.quotes}
    shown: dict[str, Any] = {"client": found.client, "email": found.email, "summary": asdict(found.summary)}
    if level == "l2":
        shown["patterns"] = [asdict(one) for one in found.patterns]
    shown |= {"quotes": list(quotes.values())} if level == "l0" else {"claims": claims}
    return shown


def print_pack(console: Console, pack: "PackView") -> None:
    """Print one pack: what it is about, its hash and coverage, its tree, and the passages no claim stands on."""
    console.print(f"[bold]Pack {pack.id}[/]  {escape(pack.question or '')}")
    covered = pack.coverage
    console.print(
        f"[dim]{pack.content_hash} · {covered.sessions_supporting} of {covered.sessions_examined} sessions examined,"
        f" {covered.sessions_in_scope} in scope[/]\n"
    )
    claims = {claim.id: claim for claim in pack.claims}
    under = {link.id for pattern in pack.patterns for link in pattern.claims}
    for pattern in pack.patterns:
        console.print(_draw_pattern(pattern, claims))
        console.print()
    rest = [claim for claim in pack.claims if claim.id not in under]
    if rest:
        tree = Tree("[bold]Claims[/]", guide_style="dim")
        for claim in rest:
            _draw_claim(tree, claim)
        console.print(tree)
    if pack.withheld or pack.changed:
        console.print(f"[yellow]{pack.withheld} withheld, {len(pack.changed)} say something else by now[/]")


def print_findings(console: Console, findings: "Iterable[Finding]") -> None:
    """Print each invariant with how many rows were looked at and how many break it."""
    table = Table(box=None, pad_edge=False)
    for heading, side in (("", "left"), ("invariant", "left"), ("checked", "right"), ("broken", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]  # one of rich's two words
    for one in findings:
        mark = "[red]✗[/]" if one.broken else "[green]✓[/]"
        table.add_row(mark, escape(one.invariant), f"{one.checked:,}", f"{one.broken:,}" if one.broken else "[dim]0[/]")
    console.print(table)


def print_report(console: Console, report: "EvidenceReport") -> None:
    """Print what a build did: the sessions that were read, what was refused, what changed."""
    told = [one for one in report.sessions if one.outcome != "unchanged"]
    if told:
        table = Table(box=None, pad_edge=False)
        for heading in ("session", "held", "outcome", "claims", "quotes", "refused", "seconds", ""):
            right = heading in {"claims", "quotes", "refused", "seconds"}
            table.add_column(heading, justify="right" if right else "left")
        for one in told[:200]:
            colour = "red" if one.outcome == "failed" else "green"
            table.add_row(
                escape(one.title), format_day(one.held_at) if one.held_at else "", f"[{colour}]{one.outcome}[/]",
                f"{one.claims}", f"{one.quotes}", f"{sum(one.rejections.values())}", f"{one.seconds:.2f}",
                escape(one.error or ""),
            )  # fmt: skip
        console.print(table)
        if len(told) > 200:
            console.print(f"and {len(told) - 200:,} more; --json prints all")
    for name, counts in (("refused", report.rejections), ("proposed, not stored", report.dropped)):
        if counts:
            console.print(f"[dim]{name}:[/] {_count(Counter(counts))}")
    rows: Counter[str] = Counter()
    for one_report in (*report.clients, *report.cohorts):
        for level, written in one_report.rows.items():
            rows[level] += written.added + written.changed + written.removed
    changed = {level: count for level, count in rows.items() if count}
    console.print(f"[dim]rows changed:[/] {_count(changed) or 'none'}")
    console.print(f"[bold]{escape(report.summarize())}[/]")
