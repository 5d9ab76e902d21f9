"""`regenesis evidence`: build it, look at it down to the words, and prove that all of it still stands."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from rich.console import Console

    from cli.evidence_tree import ClientEvidence
    from domain.packs import PackView
    from pipelines.evidence.build_report import EvidenceReport
    from pipelines.evidence.verify import Finding

app = typer.Typer(help="Quotes, claims and patterns: build them, read them, prove them.", no_args_is_help=True)

ClientOption = Annotated[str | None, typer.Option("--client", metavar="EMAIL", help="Whose evidence.")]
ReaderOption = Annotated[
    str | None, typer.Option("--user", metavar="EMAIL", help="Show only what they may see; without it, everything.")
]


@app.command()
def build(
    tenant: TenantOption,
    client: ClientOption = None,
    *,
    everyone: Annotated[bool, typer.Option("--all", help="Every client's.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Read every session again, not only what is new.")] = False,
    models: Annotated[bool, typer.Option(help="Ask the organisation's models too, within its budget.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Build what is new, through the flow; a second run changes nothing."""
    if (client is None) != everyone:
        raise typer.BadParameter("name one with --client, or take --all")
    console = get_console(stderr=True)
    report = run_async(_build(tenant, client, force, models, console))
    if as_json:
        print_json(_to_json(report))
    else:
        from cli.evidence_tree import print_report

        print_report(get_console(), report)
    if report.failures:
        print_error(f"{len(report.failures)} could not be built; the rest stands, and a new run tries those again.")
    if report.failures or report.stopped:
        raise typer.Exit(1)


@app.command()
def show(
    tenant: TenantOption,
    client: Annotated[str, typer.Option("--client", metavar="EMAIL", help="Whose evidence.")],
    user: ReaderOption = None,
    level: Annotated[
        Literal["l0", "l1", "l2"], typer.Option(help="From patterns (l2), claims (l1) or quotes (l0) down.")
    ] = "l2",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a client's evidence as a tree, from each pattern down to the words it stands on."""
    from cli.evidence_tree import print_evidence, to_json

    found = run_async(_read(tenant, client, user))
    if as_json:
        print_json(to_json(found, level))
        return
    print_evidence(get_console(), found, level)


@app.command()
def verify(
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="SLUG", help="One organisation only.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Prove every invariant over the whole store: re-read every quote, count what is broken; exit 1 if anything is."""
    findings = run_async(_verify(tenant))
    broken = sum(one.broken for one in findings)
    if as_json:
        print_json({"broken": broken, "invariants": [asdict(one) for one in findings]})
    else:
        from cli.evidence_tree import print_findings

        print_findings(get_console(), findings)
    if broken:
        print_error(
            f"{broken:,} rows break an invariant; run `regenesis evidence build --all --force` for that tenant."
        )
        raise typer.Exit(1)


@app.command()
def pack(
    tenant: TenantOption,
    user: Annotated[str, typer.Option("--user", metavar="EMAIL", help="For whom: only what they may see is in it.")],
    client: ClientOption = None,
    question: Annotated[str | None, typer.Option(metavar="WORDS", help="What it is to answer.")] = None,
    pack_id: Annotated[UUID | None, typer.Option("--id", metavar="ID", help="Read this one instead.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make one evidence pack, or read one, and print it with its hash and coverage."""
    if pack_id is None and client is None and question is None:
        raise typer.BadParameter("name a --client, a --question or both, or the --id of a pack")
    found = run_async(_pack(tenant, user, client, question, pack_id))
    if as_json:
        print_json(asdict(found))
        return
    from cli.evidence_tree import print_pack

    print_pack(get_console(), found)


async def _build(
    tenant_slug: str, client: str | None, force: bool, models: bool, console: "Console"
) -> "EvidenceReport":
    """Run the flow in this process, with a bar that follows the progress it publishes."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from cli.ingest import keep_prefect_quiet
    from cli.runs import follow_progress
    from core.settings import get_settings
    from domain.platform import get_tenant_by_slug

    settings = get_settings()
    tenant = await get_tenant_by_slug(tenant_slug)
    keep_prefect_quiet(settings)
    from flows.build_evidence import build_evidence, name_run
    from flows.server import prefect_session

    async with AsyncExitStack() as exits:
        with console.status("Reaching the flow server …"):
            api_url = await exits.enter_async_context(prefect_session(settings))
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        progress = exits.enter_context(Progress(*columns, console=console, transient=True))
        bar = progress.add_task(name_run(client), total=100)
        following = asyncio.create_task(
            follow_progress(api_url, name_run(client), lambda percent: progress.update(bar, completed=percent))
        )
        try:
            report: EvidenceReport = await build_evidence(tenant.id, client=client, force=force, ask_models=models)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return report


async def _read(tenant_slug: str, client: str, user: str | None) -> "ClientEvidence":
    from sqlalchemy import select

    from cli.evidence_tree import read_client
    from db.models import User
    from db.session import Principal, tenant_session
    from domain.identity import UserNotFound, get_principal
    from domain.platform import get_tenant_by_slug
    from domain.reading import list_evidence_read, record_reading

    system = Principal((await get_tenant_by_slug(tenant_slug)).id, "system")
    reader = await get_principal(tenant_slug, user) if user else system
    async with tenant_session(system) as session:
        found = await session.scalar(select(User).where(User.email == client.lower()))
    if found is None:
        raise UserNotFound(f"There is no user {client!r} in the organisation {tenant_slug!r}; check both names.")
    async with tenant_session(reader) as session:
        shown = await read_client(session, found.id, name=found.full_name, email=found.email)
        await record_reading(session, "evidence_read", list_evidence_read(shown.claims.values(), shown.patterns))
        return shown


async def _verify(tenant_slug: str | None) -> "list[Finding]":
    from domain.platform import get_tenant_by_slug
    from pipelines.evidence.verify import verify_evidence

    return await verify_evidence((await get_tenant_by_slug(tenant_slug)).id if tenant_slug else None)


async def _pack(tenant: str, user: str, client: str | None, question: str | None, pack_id: UUID | None) -> "PackView":
    from db.session import tenant_session
    from domain.identity import UserNotFound, find_user_id, get_principal
    from domain.packs import get_pack, make_pack, record_pack_read

    async with tenant_session(await get_principal(tenant, user)) as session:
        if pack_id is not None:
            found = await get_pack(session, pack_id)
            await record_pack_read(session, found)
            return found
        client_id = await find_user_id(session, client) if client else None
        if client and client_id is None:
            raise UserNotFound(f"There is no active user {client!r} in the organisation {tenant!r}; check both names.")
        found = await make_pack(session, client_id=client_id, question=question)
        await record_pack_read(session, found)
        return found


def _to_json(report: "EvidenceReport") -> dict[str, Any]:
    return {
        "summary": report.summarize(),
        "stopped": report.stopped,
        "failures": report.failures,
        "rejections": dict(report.rejections),
        "dropped": dict(report.dropped),
        "cost_usd": report.cost_usd,
        "clients": [asdict(one) for one in report.clients],
        "cohorts": [asdict(one) for one in report.cohorts],
    }
