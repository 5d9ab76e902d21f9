"""`regenesis privacy`: copies of people's data, erasures with their receipts, requests and legal holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, get_console, print_json, run_async
from cli.operator import operator_session

if TYPE_CHECKING:
    from pipelines.privacy.forecast import Forecast
    from pipelines.privacy.receipts import Receipt
    from pipelines.privacy.subjects import SubjectKind
    from pipelines.privacy.verify import Verification

app = typer.Typer(help="Copies of people's data, erasures, requests and legal holds.", no_args_is_help=True)

PersonOption = Annotated[str, typer.Option("--user", metavar="EMAIL", help="Whose data.")]


@app.command()
def export(
    tenant: TenantOption,
    user: PersonOption,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the zip file; unset: in this folder.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write everything that is stored about a person into one zip file."""
    from cli.privacy_export import write_export

    target, report = run_async(write_export(tenant, user, output))
    if as_json:
        print_json(
            {
                "export_id": report.export_id, "file": target, "size_bytes": report.size_bytes, "rows": report.rows,
                "originals": report.originals, "expires_at": report.expires_at,
            }
        )  # fmt: skip
        return
    typer.echo(str(target))
    told = f"{report.rows:,} records and {report.originals:,} files"
    typer.echo(f"{told}; the copy on the server is deleted on {report.expires_at:%Y-%m-%d}.", err=True)


@app.command()
def erase(
    tenant: TenantOption,
    user: Annotated[str | None, typer.Option("--user", metavar="EMAIL", help="Erase this person.")] = None,
    session_id: Annotated[UUID | None, typer.Option("--session", metavar="ID", help="Erase this session.")] = None,
    document: Annotated[UUID | None, typer.Option(metavar="ID", help="Erase this document or transcript.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the request until it is carried out.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Erase the whole organisation.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Count what would go and, once you say so, erase it for good; a signed receipt proves it.

    Without --yes nothing goes before you have seen the counts and typed what is asked for.
    """
    from cli.privacy_erase import erase_chosen, name_subject, show_forecast
    from core.errors import Invalid

    chosen = [user is not None, session_id is not None, document is not None, everything]
    if sum(chosen) != 1:
        raise Invalid("Say what to erase by exactly one of --user, --session, --document and --all.")
    if everything and yes and not reason:
        raise Invalid("To erase a whole organisation without being asked, say why with --reason.")

    async def look() -> "tuple[SubjectKind, UUID, UUID, Forecast]":
        from pipelines.privacy.forecast import forecast_erasure

        tenant_id, kind, subject_id = await name_subject(tenant, user=user, session_id=session_id, document_id=document)
        return kind, tenant_id, subject_id, await forecast_erasure(tenant_id, kind, subject_id)

    kind, tenant_id, subject_id, forecast = run_async(look())
    if not yes:
        if as_json:
            print_json(show_forecast(forecast, kind, subject_id))
            return
        _print_forecast(forecast)
    if forecast.holds:
        held = forecast.holds[0]
        raise Invalid(
            f"A legal hold on the {held.subject_kind} {held.subject_id} covers this ({held.reason}); release it first."
        )
    if not yes:
        word = tenant if everything else "erase"
        if typer.prompt(f"This can't be undone. Type {word} to go on", err=True) != word:
            typer.echo("Nothing was erased.", err=True)
            raise typer.Exit(1)
    receipt, address = run_async(erase_chosen(tenant_id, kind, subject_id, reason=reason))
    if as_json:
        print_json({"receipt": receipt.to_json(), "address": address})
        return
    _print_receipt(receipt, address)


@app.command()
def verify(
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="A receipt's file, or its id or its request's.")],
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="SLUG", help="Where to look for the id; a file says it itself.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt: that it was signed here, and that nothing of what it says was erased is left anywhere.

    Ends with exit code 1 where it is not so.
    """
    from cli.privacy_erase import check_receipt

    found = run_async(check_receipt(receipt, tenant))
    if as_json:
        print_json(found.to_json())
    else:
        _print_verification(found)
    if not found.holds:
        raise typer.Exit(1)


@app.command()
def requests(
    tenant: TenantOption,
    *,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that should have been answered.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the requests to erase, the one that is due first on top."""
    from db.models import DeletionRequest
    from domain import privacy

    async def work() -> list[dict[str, Any]]:
        query = privacy.select_requests(overdue=True if overdue else None).add_columns(privacy.is_overdue())
        async with operator_session(tenant) as session:
            rows = await session.execute(query.order_by(DeletionRequest.due_at, DeletionRequest.id))
            return [
                {
                    "id": row.id, "subject_kind": row.subject_kind, "subject_id": row.subject_id, "status": row.status,
                    "requested_at": row.requested_at, "due_at": row.due_at, "overdue": late,
                    "refusal_reason": row.refusal_reason,
                }
                for row, late in rows
            ]  # fmt: skip

    rows = run_async(work())
    if as_json:
        print_json(rows)
        return
    for row in rows:
        due = f"due {row['due_at']:%Y-%m-%d}{' OVERDUE' if row['overdue'] else ''}"
        typer.echo(f"{row['id']}\t{row['subject_kind']} {row['subject_id']}\t{row['status']}\t{due}")


@app.command()
def holds(
    tenant: TenantOption,
    *,
    released: Annotated[bool, typer.Option("--released", help="Those that ended, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the legal holds, the newest first."""
    from db.models import LegalHold
    from domain import privacy

    async def work() -> list[dict[str, Any]]:
        query = privacy.select_holds(open_only=None if released else True)
        async with operator_session(tenant) as session:
            rows = await session.scalars(query.order_by(LegalHold.placed_at.desc(), LegalHold.id))
            return [
                {
                    "id": row.id, "subject_kind": row.subject_kind, "subject_id": row.subject_id,
                    "reason": row.reason, "placed_at": row.placed_at, "released_at": row.released_at,
                }
                for row in rows
            ]  # fmt: skip

    rows = run_async(work())
    if as_json:
        print_json(rows)
        return
    for row in rows:
        ended = f"released {row['released_at']:%Y-%m-%d}" if row["released_at"] else "open"
        typer.echo(f"{row['id']}\t{row['subject_kind']} {row['subject_id']}\t{ended}\t{row['reason']}")


def _print_forecast(forecast: "Forecast") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("store", "rows", "what becomes of them"):
        table.add_column(heading, justify="right" if heading == "rows" else "left")
    words = {"delete": "deleted", "blank": "words blanked", "keep": "kept, under a pseudonym"}
    for name, (how, count) in forecast.counts.items():
        table.add_row(name, f"{count:,}", words[how])
    console = get_console()
    console.print(table)
    console.print(
        f"{forecast.total('delete'):,} deleted, {forecast.total('blank'):,} blanked, {forecast.total('keep'):,} kept."
    )


def _print_receipt(receipt: "Receipt", address: str) -> None:
    taken = sum(facts.get("items") or 0 for facts in receipt.stores.values())
    typer.echo(address)
    typer.echo(
        f"Erased: {taken:,} rows and objects in {len(receipt.stores)} stores. "
        f"Prove it any time: regenesis privacy verify FILE, with that file, or its id {receipt.id}.",
        err=True,
    )


def _print_verification(found: "Verification") -> None:
    for name, count in found.left.items():
        if count:
            typer.echo(f"{name}\t{count:,} left")
    signed = "signed here" if found.is_signed and found.is_ours else "NOT SIGNED HERE"
    left = sum(found.left.values())
    typer.echo(
        f"{signed}; {left:,} left in {len(found.left)} stores: the receipt {'holds' if found.holds else 'FAILS'}."
    )
