"""`regenesis retention`, `db archive` and `db reconcile`: what leaves when its time is over, and whether all agrees."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import JsonOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.platform import TenantRef

app = typer.Typer(help="How long what is kept.", no_args_is_help=True)

OneOrAll = Annotated[
    str | None, typer.Option("--tenant", metavar="SLUG", help="This organisation only; without it, every one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would go; nothing goes.")]


@app.command()
def show(tenant: OneOrAll = None, *, as_json: JsonOption = False) -> None:
    """Show after how many days what happens to which kind of data, and how much of it is archived."""
    found = run_async(_show(tenant))
    if as_json:
        print_json(found)
        return
    for one in found:
        days = one["retention_days"]
        own = f"material and conversations go after {days:,} days" if days else "material and conversations stay"
        _print_table(
            f"{one['organisation']}: {own}", ("kind", "happens", "after days"),
            [(p["data_type"], p["action"], f"{p['days']:,}") for p in one["policies"]],
        )  # fmt: skip
        if one["archives"]:
            _print_table(
                "archived", ("table", "months", "rows", "bytes"),
                [(a["table"], a["months"], f"{a['rows']:,}", f"{a['bytes']:,}") for a in one["archives"]],
            )  # fmt: skip


@app.command()
def run(tenant: OneOrAll = None, *, dry_run: DryRun = False, as_json: JsonOption = False) -> None:
    """Let go what is beyond its time; legal holds win."""
    from pipelines.retention.apply import to_rows

    found = run_async(_run(tenant, dry_run=dry_run))
    rows = [row for slug, lines in found for row in to_rows(slug, lines)]
    if as_json:
        print_json(rows)
    else:
        shown = [row for row in rows if row["gone"] or row["held"] or row["error"]]
        _print_table(
            "what would go" if dry_run else "what went", ("organisation", "kind", "what", "becomes", "gone", "held"),
            [
                (r["organisation"], r["data_type"], r["noun"], r["goes"], f"{r['gone']:,}", f"{r['held']:,}")
                for r in shown
            ],
        )  # fmt: skip
    _fail([f"{row['organisation']}, {row['data_type']}: {row['error']}" for row in rows if row["error"]])


def archive(tenant: OneOrAll = None, *, dry_run: DryRun = False, as_json: JsonOption = False) -> None:
    """Write months whose time has come to Parquet in the object store, prove them, and drop what nobody needs."""
    from pipelines.archives.run import to_rows

    lines = run_async(_archive(tenant, dry_run=dry_run))
    if as_json:
        print_json(to_rows(lines))
    else:
        _print_table(
            "what would become of months" if dry_run else "what became of months",
            ("table", "month", "organisation", "becomes", "rows", "why"),
            [
                (one.table, f"{one.month:%Y-%m}", one.tenant_id or "all", one.did, f"{one.rows:,}", one.reason or "")
                for one in lines
            ],
        )  # fmt: skip
    _fail([f"{one.table} of {one.month:%Y-%m}: {one.reason}" for one in lines if one.did == "failed"])


def reconcile(
    tenant: OneOrAll = None,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what loses nothing; else only look.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hold the store against itself, the object store and what runs; exit 1 where something does not agree after it."""
    found = run_async(_reconcile(tenant, repair=repair))
    rows: list[dict[str, Any]] = [
        {"organisation": slug, "kind": one.kind, "found": one.found, "repaired": one.repaired, "reason": one.reason,
         "named": list(one.named)}
        for slug, findings in found for one in findings
    ]  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        _print_table(
            "what does not agree", ("organisation", "kind", "found", "mended", "why", "such as"),
            [
                (r["organisation"], r["kind"], f"{r['found']:,}", f"{r['repaired']:,}", r["reason"] or "",
                 ", ".join(r["named"][:2]))
                for r in rows if r["found"]
            ],
        )  # fmt: skip
    left = [row for row in rows if row["found"] > row["repaired"]]
    _fail([f"{row['organisation']}: {row['found'] - row['repaired']:,} {row['kind']}." for row in left])


def _fail(sentences: "Sequence[str]") -> None:
    for sentence in sentences:
        print_error(sentence)
    if sentences:
        raise typer.Exit(1)


def _print_table(title: str, columns: "Sequence[str]", rows: "Sequence[Sequence[object]]") -> None:
    from rich.table import Table

    console = get_console()
    if not rows:
        console.print(f"{title}: nothing")
        return
    console.print(title, style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in {"gone", "held", "rows", "found", "mended"} else "left")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


async def _choose(slug: str | None) -> "list[TenantRef]":
    from domain.platform import get_tenant_by_slug, list_tenants

    return await list_tenants() if slug is None else [await get_tenant_by_slug(slug)]


async def _show(slug: str | None) -> list[dict[str, Any]]:
    from db.session import Principal, tenant_session
    from domain.retention import find_retention_days, list_policies
    from pipelines.archives.read import list_archives

    found = []
    for tenant in await _choose(slug):
        async with tenant_session(Principal(tenant.id, "system")) as session:
            archives: dict[str, dict[str, Any]] = {}
            for one in await list_archives(session):
                about = archives.setdefault(
                    one.table_name, {"table": one.table_name, "months": 0, "rows": 0, "bytes": 0}
                )
                about["months"] += 1
                about["rows"] += one.rows
                about["bytes"] += one.size_bytes
            policies = [
                {"data_type": p.data_type, "action": p.action, "days": p.days} for p in await list_policies(session)
            ]
            found.append(
                {"organisation": tenant.slug, "retention_days": await find_retention_days(session),
                 "policies": policies, "archives": list(archives.values())}
            )  # fmt: skip
    return found


async def _run(slug: str | None, *, dry_run: bool) -> list[tuple[str, list[Any]]]:
    from pipelines.retention.apply import apply_retention

    with get_console(stderr=True).status("Looking for what is beyond its time …"):
        return [(one.slug, await apply_retention(one.id, dry_run=dry_run)) for one in await _choose(slug)]


async def _archive(slug: str | None, *, dry_run: bool) -> list[Any]:
    from pipelines.archives.run import archive_months

    only = None if slug is None else [one.id for one in await _choose(slug)]
    with get_console(stderr=True).status("Looking for months whose time has come …") as shown:
        return await archive_months(
            dry_run=dry_run, only=only,
            on_line=lambda one: shown.update(f"{one.table} of {one.month:%Y-%m} {one.did} …"),
        )  # fmt: skip


async def _reconcile(slug: str | None, *, repair: bool) -> list[tuple[str, list[Any]]]:
    from pipelines.reconcile import reconcile_tenant

    with get_console(stderr=True).status("Holding the store against itself …"):
        return [(one.slug, await reconcile_tenant(one.id, repair=repair)) for one in await _choose(slug)]
