"""Usage and cost: what each day took, what the limits leave and until when, and what the month is heading for."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from nicegui import ui

from api.routes.usage import get_quotas, get_usage
from api.schemas.usage import QuotaOut, UsageOut
from api.web.operations.chart import draw_days
from api.web.operations.section import Concern, Section, say_bytes, say_count, say_usd
from api.web.parts import cell, element, say_time, table
from api.web.viewer import Viewer
from domain.usage import forecast_month

DAYS: Final = 30
NEARLY: Final = Decimal("0.8")
"""The share of a limit from which on it is warned of."""
KINDS: Final = {
    "tokens": "Tokens today", "ingestions": "Files today", "storage": "Storage", "usd": "Models this month",
}  # fmt: skip
_FEATURES: Final = {
    "chat": "Answers", "search": "Searches", "embedding": "Embedding", "evidence": "Evidence",
    "evaluation": "Evaluation", "ingestion": "Ingestion",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used: the last days, the same by feature, the limits, and what the month costs by its end (USD)."""

    days: UsageOut
    features: UsageOut
    quotas: list[QuotaOut]
    forecast: Decimal


class UsageSection(Section[Spent]):
    """The section."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "usage", "Usage and cost", self._read, self._draw_all, find_concerns=find_concerns)

    async def _read(self) -> Spent:
        today = datetime.now(UTC).date()
        since = today - timedelta(days=DAYS - 1)
        async with self._viewer.session() as session:
            # a month has up to 31 days, and its pace comes from the week before today
            days = await get_usage(session=session, since=since - timedelta(days=8), until=today, group_by="day")
            features = await get_usage(session=session, since=since, until=today, group_by="feature")
            quotas = await get_quotas(session)
        costs = {row.date: row.cost_usd or Decimal(0) for row in days.items if row.date}
        shown = days.model_copy(
            update={"since": since, "items": [row for row in days.items if row.date and row.date >= since]}
        )
        return Spent(shown, features, quotas.items, forecast_month(costs, today))

    def _draw_all(self, spent: Spent) -> None:
        with ui.element("ul").classes("plain ops-quotas"):
            for quota in spent.quotas:
                self._draw_quota(quota)
        self._draw_forecast(spent)
        self._draw_unpriced(spent.features.totals.unpriced)
        if spent.days.items:
            draw_days(spent.days, {quota.kind: quota.limit for quota in spent.quotas})
        else:
            element("p", f"Nothing was used in the last {DAYS} days.", "soft")
        self._draw_features(spent.features)

    def _draw_quota(self, quota: QuotaOut) -> None:
        share = find_share(quota)
        level = find_level(share)
        with ui.element("li").classes("ops-quota"):
            with ui.element("div").classes("line"):
                element("h3", KINDS[quota.kind])
                if level:
                    element("span", {"warn": "nearly used", "bad": "used up"}[level], f"tag {level}")
            used = say_amount(quota.kind, quota.used)
            if quota.limit is None or share is None:
                element("p", used, "ops-figure")
                element("p", "No limit is set.", "soft small")
            else:
                most = say_amount(quota.kind, quota.limit)
                with ui.element("p"):
                    # the unit once is enough where both have the same
                    same = used.rpartition(" ")[2] == most.rpartition(" ")[2]
                    element("span", used.rpartition(" ")[0] or used if same else used, "ops-figure")
                    element("span", f" of {most}", "soft")
                meter = ui.element("div").classes(f"ops-meter {level}").props('role="meter" aria-valuemin="0"')
                meter.props["aria-label"] = KINDS[quota.kind]
                meter.props["aria-valuemax"], meter.props["aria-valuenow"] = "100", f"{min(share * 100, 100):.0f}"
                meter.props["aria-valuetext"] = f"{used} of {most}"
                with meter:
                    ui.element("span").style(f"width: {min(share * 100, 100):.1f}%")
                element("p", f"{say_amount(quota.kind, quota.left or Decimal(0))} left", "small")
            if quota.reserved:
                element("p", f"{say_amount(quota.kind, quota.reserved)} set aside for work under way", "soft small")
            with ui.element("p").classes("soft small"):
                if quota.resets_at is None:
                    element("span", "Freed by deleting files.")
                else:
                    element("span", "Begins anew ")
                    say_time(self._viewer, quota.resets_at)

    def _draw_forecast(self, spent: Spent) -> None:
        usd = _find(spent.quotas, "usd")
        if not spent.forecast and not (usd and usd.used):
            element("p", "No model that costs anything was asked this month.", "soft")
            return
        words = (
            f"At the pace of the last seven days, models will have cost {say_usd(spent.forecast)} by the month's end"
        )
        so_far = f"{say_usd(usd.used)} so far" if usd else ""
        if usd is not None and usd.limit is not None and spent.forecast > usd.limit:
            element(
                "p", f"{words} ({so_far}), more than the {say_usd(usd.limit)} allowed; then only quotes answer. Raise "
                "the limit, or choose a cheaper model.", "note warn",
            )  # fmt: skip
        else:
            element("p", f"{words} ({so_far}).", "note")

    def _draw_unpriced(self, unpriced: int) -> None:
        if unpriced:
            element(
                "p", f"{say_count(unpriced, 'call')} of models had no known price and count as nothing; set their "
                "prices at /v1/prices.", "note warn",
            )  # fmt: skip

    def _draw_features(self, features: UsageOut) -> None:
        if not features.items:
            return
        element("h3", f"By what for, last {DAYS} days")
        headings = ("For", "Pieces of work", "Tokens in", "Tokens out", "Files", "USD")
        with table(headings, numbers=frozenset(range(1, 6)), caption="Usage by feature"):
            for row in features.items:
                with ui.element("tr"):
                    cell(_FEATURES.get(row.feature or "", row.feature or "other"))
                    for figure in (row.requests, row.input_tokens, row.output_tokens, row.ingestions):
                        cell(f"{figure:,}", "number")
                    cell(say_usd(row.cost_usd), "number")


def find_share(quota: QuotaOut) -> Decimal | None:
    """Return the share of a limit that is used or set aside, 1 for a limit of nothing; None without a limit."""
    if quota.limit is None:
        return None
    return (quota.used + quota.reserved) / quota.limit if quota.limit else Decimal(1)


def find_level(share: Decimal | None) -> str:
    """Return how much a share of a limit asks for somebody: "bad", "warn" or nothing."""
    if share is None or share < NEARLY:
        return ""
    return "bad" if share >= 1 else "warn"


def find_concerns(spent: Spent) -> list[Concern]:
    """Return which limits are used up or nearly so, and whether the month will cost more than it may."""
    found = []
    for quota in spent.quotas:
        share = find_share(quota)
        level = find_level(share)
        if share is not None and level == "bad":
            found.append(Concern("bad", f"{KINDS[quota.kind]}: the limit is used up"))
        elif share is not None and level == "warn":
            found.append(Concern("warn", f"{KINDS[quota.kind]}: {share * 100:.0f} % of the limit is used"))
    usd = _find(spent.quotas, "usd")
    if usd is not None and usd.limit is not None and usd.used < usd.limit < spent.forecast:
        found.append(Concern("warn", f"Models are heading for {say_usd(spent.forecast)} this month"))
    return found


def say_amount(kind: str, amount: Decimal) -> str:
    """Return an amount of what one limit counts."""
    if kind == "usd":
        return say_usd(amount)
    if kind == "storage":
        return say_bytes(amount)
    return say_count(int(amount), "token" if kind == "tokens" else "file")


def _find(quotas: list[QuotaOut], kind: str) -> QuotaOut | None:
    return next((quota for quota in quotas if quota.kind == kind), None)
