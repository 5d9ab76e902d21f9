"""What Prefect's pages show of evidence: counts, cost and links into the API, which asks who opens them.

The flow server knows no reader and erases nothing, so no words of anybody ever go there.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from sqlalchemy import text

from db.session import Principal, tenant_session
from pipelines.evidence.build_plan import Plan
from pipelines.evidence.build_report import EvidenceReport, SessionOutcome

MOST_ROWS = 500  # Prefect's pages get slow beyond a thousand lines
MOST_BELOW = 12  # links in one cell


def describe_sessions(report: EvidenceReport) -> str:
    """Return the page of what became of each session, and of what was refused, by reason."""
    lines = [f"# {report.summarize()}", "", *_tabulate("refused", report.rejections)]
    lines += _tabulate("proposed, not stored", report.dropped)
    failed = [f"- client `{one.client_id}`: {one.error}" for one in report.clients if one.error]
    failed += [f"- session `{one.transcript_id}`: {one.error}" for one in report.sessions if one.error]
    if failed:
        lines += ["## What failed", "", *failed[:50], ""]
    told = sorted(
        (one for one in report.sessions if one.outcome != "unchanged"), key=lambda one: one.outcome != "failed"
    )
    if told:
        lines += ["| session | outcome | claims | quotes | refused | seconds | USD |", "|---|---|--:|--:|--:|--:|--:|"]
        lines += [_row(one) for one in told[:MOST_ROWS]]
    if len(told) > MOST_ROWS:
        lines += ["", f"and {len(told) - MOST_ROWS:,} more"]
    return "\n".join(lines)


def _row(one: SessionOutcome) -> str:
    refused, cost = sum(one.rejections.values()), "" if one.cost_usd is None else f"{one.cost_usd:.4f}"
    counts = f"{one.claims} | {one.quotes} | {refused} | {one.seconds:.2f} | {cost}"
    return f"| `{one.transcript_id}` | {one.outcome} | {counts} |"


def _tabulate(heading: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield from (f"| {heading} | |", "|---|--:|")
        yield from (f"| {name} | {count:,} |" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
        yield ""


def describe_cost(plan: Plan, actual: Decimal | None) -> str:
    """Return the page of what the models were expected to take, within which limit, and what they took."""
    lines = [f"# {plan.stopped or 'Models are asked'}", "", "| | |", "|---|--:|", f"| sessions | {plan.sessions:,} |"]
    if plan.forecast is not None:
        lines += [
            f"| tokens in, at most | {plan.forecast.input_tokens:,} |",
            f"| tokens out, at most | {plan.forecast.output_tokens:,} |",
            f"| forecast, USD | {_money(plan.forecast.cost_usd)} |",
        ]
    lines += [f"| limit of the month, USD | {'none' if plan.limit_usd is None else _money(plan.limit_usd)} |"]
    lines += [f"| spent before, USD | {_money(plan.spent_usd)} |"]
    lines += [f"| this run, USD | {_money(actual)} |"]
    return "\n".join(lines)


def _money(amount: Decimal | None) -> str:
    return "not known" if amount is None else f"{amount:.4f}"


_PYRAMID = text("""
SELECT p.id AS pattern_id, p.kind, p.sessions_supporting, p.sessions_examined, p.sessions_in_scope,
    pc.role AS claim_role, c.id AS claim_id, c.claim_type, c.status, cq.role AS quote_role, q.transcript_id,
    q.segment_first
FROM (
    SELECT * FROM evidence.patterns WHERE stale_at IS NULL AND (client_id = ANY (:clients) OR cohort_id IS NOT NULL)
    ORDER BY kind, sessions_supporting DESC, id LIMIT :most
) p
JOIN evidence.pattern_claims pc ON pc.tenant_id = p.tenant_id AND pc.pattern_id = p.id
JOIN evidence.claims c ON c.tenant_id = pc.tenant_id AND c.id = pc.claim_id
JOIN evidence.claim_quotes cq ON cq.tenant_id = c.tenant_id AND cq.claim_id = c.id
JOIN evidence.quotes q ON q.tenant_id = cq.tenant_id AND q.id = cq.quote_id
ORDER BY p.kind, p.sessions_supporting DESC, p.id, pc.role DESC, q.transcript_id, q.char_start
""")


async def describe_pyramid(tenant_id: UUID, clients: Sequence[UUID | None], api_url: str) -> str:
    """Return the page that leads from each pattern to its claims and on to the places where their words stand."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        rows = (await session.execute(_PYRAMID, {"clients": [one for one in clients if one], "most": MOST_ROWS})).all()
    lines = ["| pattern (L2) | sessions | claims (L1) | quotes (L0) |", "|---|---|---|---|"]
    for pattern_id, group in groupby(rows, key=lambda row: row.pattern_id):
        below = list(group)
        one = below[0]
        claims = {
            row.claim_id: f"[{row.claim_type}, {row.status}{' (counter)' if row.claim_role == 'counter' else ''}]"
            f"({api_url}/v1/claims/{row.claim_id})"
            for row in below
        }
        quotes = [
            f"[{n}]({api_url}/v1/transcripts/{row.transcript_id}?around={row.segment_first})"
            for n, row in enumerate(below, 1)
        ]
        lines.append(
            f"| [{one.kind}]({api_url}/v1/patterns/{pattern_id}) "
            f"| {one.sessions_supporting} of {one.sessions_examined} examined, {one.sessions_in_scope} in scope "
            f"| {_join(list(claims.values()))} | {_join(quotes)} |"
        )
    return "\n".join(lines) if rows else "No patterns yet: they need claims of two sessions or more."


def _join(links: Sequence[str]) -> str:
    more = f" and {len(links) - MOST_BELOW}" if len(links) > MOST_BELOW else ""
    return " ".join(links[:MOST_BELOW]) + more
