"""`regenesis usage`: what an organisation used, by day, feature or flow run, and what is left of its quotas."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cli.console import JsonOption, TenantOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from datetime import date

    from domain.quotas import Quota
    from domain.usage import UsageRow

app = typer.Typer(help="What was used, and what may be.", invoke_without_command=True)

BAR: Final = 24
DAY: Final = "%Y-%m-%d"
UNITS: Final = {"tokens": "tokens today", "ingestions": "files today", "storage": "bytes", "usd": "USD this month"}

DayOption = Annotated[datetime | None, typer.Option(formats=[DAY], metavar="DAY")]


@app.callback()
def show(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="SLUG", help="The organisation.")] = None,
    since: Annotated[datetime | None, typer.Option("--from", formats=[DAY], help="First day (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--until", formats=[DAY], help="Last day (UTC).")] = None,
    by: Annotated[Literal["day", "feature", "flow"], typer.Option("--by", help="A row for each.")] = "day",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show tokens, USD and files of the last 30 days, or of a range."""
    if context.invoked_subcommand is not None:
        return
    if tenant is None:
        raise typer.BadParameter("name one with --tenant")
    from datetime import UTC, timedelta

    last = until.date() if until else datetime.now(UTC).date()
    first = since.date() if since else last - timedelta(days=29)
    if first > last:
        raise typer.BadParameter("--from must not lie after --until")
    rows, total = run_async(_read(tenant, first, last, by))
    if as_json:
        print_json({"from": first, "until": last, "by": by, "totals": asdict(total), "rows": [asdict(r) for r in rows]})
        return
    _print_usage(rows, total, by, f"{first} to {last}")


@app.command()
def quotas(tenant: TenantOption, *, as_json: JsonOption = False) -> None:
    """Show each limit, what is used of it and what is left."""
    found = run_async(_read_quotas(tenant))
    if as_json:
        print_json([asdict(one) | {"left": one.left} for one in found])
        return
    _print_quotas(found)


async def _read(
    tenant: str, first: "date", last: "date", by: Literal["day", "feature", "flow"]
) -> "tuple[list[UsageRow], UsageRow]":
    from datetime import timedelta

    from cli.operator import operator_session
    from domain.usage import list_usage

    after = last + timedelta(days=1)
    async with operator_session(tenant) as session:
        (total,) = await list_usage(session, since=first, until=after, by=None)
        return await list_usage(session, since=first, until=after, by=by), total


async def _read_quotas(tenant: str) -> "list[Quota]":
    from cli.operator import operator_session
    from domain.quotas import list_quotas

    async with operator_session(tenant) as session:
        return await list_quotas(session)


def _print_usage(rows: "list[UsageRow]", total: "UsageRow", by: str, days: str) -> None:
    from rich.table import Table

    console = get_console()
    if not rows:
        console.print(f"Nothing was used from {days}.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in (by, "requests", "tokens in", "out", "files", "USD", "unpriced", ""):
        table.add_column(heading, justify="left" if heading in {by, ""} else "right")
    most = max(_weigh(row) for row in rows) or 1
    for row in rows:
        table.add_row(*_cells(_name(row, by), row), draw_bar(_weigh(row) / most))
    table.add_section()
    table.add_row(*_cells("in all", total), "")
    console.print(table)
    if total.unpriced:
        console.print(f"{total.unpriced:,} calls have no known price; set one at /v1/prices.")


def _name(row: "UsageRow", by: str) -> str:
    if by == "day":
        return str(row.date)
    return str(row.feature) if by == "feature" else str(row.flow_run_id or "no flow")


def _cells(name: str, row: "UsageRow") -> tuple[str, ...]:
    cost = "?" if row.cost_usd is None else f"{row.cost_usd:,.4f}"
    counts = (row.requests, row.input_tokens, row.output_tokens, row.ingestions)
    return name, *(f"{count:,}" for count in counts), cost, f"{row.unpriced:,}" if row.unpriced else ""


def _weigh(row: "UsageRow") -> float:
    """Return what a row's bar shows: USD where models cost any, else tokens, else files."""
    return float(row.cost_usd or 0) or (row.input_tokens + row.output_tokens) / 1e9 or row.ingestions / 1e12


def _print_quotas(found: "list[Quota]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("quota", "limit", "used", "reserved", "left", "", "resets (UTC)"):
        table.add_column(heading, justify="right" if heading in {"limit", "used", "reserved", "left"} else "left")
    for one in found:
        taken = one.used + one.reserved
        share = 0.0 if one.limit is None else float(taken / one.limit) if one.limit else 1.0
        table.add_row(
            UNITS[one.kind], "none" if one.limit is None else _plain(one.limit), _plain(one.used), _plain(one.reserved),
            "" if one.left is None else _plain(one.left), "" if one.limit is None else draw_bar(min(share, 1.0)),
            f"{one.resets_at:%Y-%m-%d}" if one.resets_at and one.limit is not None else "",
        )  # fmt: skip
    get_console().print(table)


def _plain(amount: Decimal) -> str:
    return f"{amount:,.4f}" if amount % 1 else f"{int(amount):,}"


def draw_bar(share: float) -> str:
    """Return a bar of eighths of characters, as long as the share of its width."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
