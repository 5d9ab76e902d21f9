"""What Prefect's pages show of scored answers: counts, means and verdicts by metric, never anyone's words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from evaluation.drift import Trend
from evaluation.nightly import Night

MOST_TENANTS = 200  # Prefect's pages get slow beyond a thousand lines
_HEADING = ("| metric | newest windows | before | now | n | verdict |", "|---|--:|--:|--:|--:|---|")


def describe_nights(nights: Mapping[str, Night], failed: Mapping[str, str]) -> str:
    """Return the page of a run: by organisation what was scored, and each metric before and now."""
    lines = [f"- ✗ {slug}: {sentence}" for slug, sentence in sorted(failed.items())]
    # those with something to see first
    told = sorted(nights.items(), key=lambda one: (not one[1].watch.drifted, not one[1].report.sampled, one[0]))
    for slug, night in told[:MOST_TENANTS]:
        lines += ["", f"## {slug}", "", night.report.summarize()]
        lines += ["", night.report.judge_note] if night.report.judge_note else []
        if night.report.judged:
            lines += ["", f"Judging cost {_money(night.report.cost_usd)}."]
        trends = [trend for trend in night.watch.trends if trend.answers or trend.answers_before]
        lines += ["", *tabulate(trends)] if trends else []
    if len(told) > MOST_TENANTS:
        lines += ["", f"and {len(told) - MOST_TENANTS:,} more organisations"]
    return "\n".join(lines).strip() or "There is no active organisation."


def describe_drift(nights: Mapping[str, Night]) -> str | None:
    """Return the page of what got worse, and of what people and webhooks were told just now; None where nothing did."""
    lines: list[str] = []
    for slug, night in sorted(nights.items()):
        if not night.watch.drifted:
            continue
        told = ", ".join(night.watch.told) or "nothing; it was told within the last week"
        lines += [f"## {slug}", "", *tabulate(night.watch.drifted), "", f"Told just now: {told}.", ""]
    return "\n".join(lines) or None


def tabulate(trends: Iterable[Trend]) -> Iterator[str]:
    """Yield the lines of a table of trends; n is answers now, of answers before."""
    yield from _HEADING
    for one in trends:
        name = f"{one.metric}, 95th percentile" if one.shown == "p95" else one.metric
        before, now = _round(one.before), _round(one.now)
        n = f"{one.answers:,} / {one.answers_before:,}"
        yield f"| {name} | {one.windows} | {before} | {now} | {n} | {one.verdict} |"


def count_nights(nights: Sequence[Night]) -> dict[str, int]:
    """Return what was done, over all organisations."""
    names = ("scored", "refused", "failed", "withheld", "withdrawn", "judged")
    counts = {name: sum(getattr(night.report, name) for night in nights) for name in names}
    return counts | {"drifted": sum(len({t.metric for t in night.watch.drifted}) for night in nights)}


def _round(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"


def _money(amount: Decimal | None) -> str:
    return "an amount that is not known" if amount is None else f"${amount:.4f}"
