"""The first screen: the sample material ingested, one question answered with citations, keys, addresses."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.addresses import Addresses
from cli.ask import answer_question, print_answer
from cli.checklist import Checklist
from cli.console import run_together
from cli.first_start import (
    KEYS,
    PASSWORDS,
    SampleKey,
    SampleSignIn,
    SampleTenant,
    find_sample_sign_ins,
    found_sample,
    get_sample_keys,
    read_sample,
)  # fmt: skip
from cli.ingest import keep_prefect_quiet
from cli.runs import run_deployment
from cli.stack import INGEST
from core.settings import Settings
from db.session import Principal, tenant_session
from domain.analytics import VIEWS, FiguresNotReady, get_dashboard_figures, refresh_view
from domain.identity import get_principal
from pipelines.evidence.build_plan import choose_clients, plan_clients
from pipelines.ingest import is_up_to_date, load_embedder

if TYPE_CHECKING:
    from rag.answer import Done


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the first screen shows."""

    keys: list[SampleKey]
    sign_ins: list[SampleSignIn]
    done: "Done"


async def prepare(settings: Settings, addresses: Addresses, checklist: Checklist) -> Greeting:
    """Found the sample organisations, ingest their material through the deployed flow, ask the welcome question."""
    sample = read_sample()
    with checklist.step("sample people") as step:
        founded = await found_sample()
        keys, sign_ins = await get_sample_keys(settings.home), await find_sample_sign_ins(settings.home)
        step.detail = f"{founded} organisations founded" if founded else "there already"
    await run_together(*(_ingest(tenant, settings, addresses, checklist) for tenant in sample.tenants))
    for tenant in sample.tenants:
        await _build_evidence(tenant, settings, addresses, checklist)
    with checklist.step("first answer"):
        reader = await get_principal(sample.welcome.tenant, sample.welcome.user)
        done = await answer_question(settings, reader, sample.welcome.question)
    with checklist.step("figures") as step:
        # The hourly flow may have counted in the middle of this start, before the material was there.
        if founded or not await _is_counted(reader):
            for view in VIEWS:
                await refresh_view(view)
        step.detail = "counted anew every hour"
    return Greeting(keys, sign_ins, done)


def show(console: Console, settings: Settings, addresses: Addresses, greeting: Greeting | None, *, once: bool) -> None:
    """Print the first screen."""
    if greeting is not None:
        _show_answer(console, greeting)
        _show_sign_ins(console, settings, greeting.sign_ins)
        _show_keys(console, settings, greeting.keys)
    if once:
        return
    table = Table.grid(padding=(0, 2))
    named = "" if greeting is None else f"sign-in?organisation={read_sample().welcome.tenant}"
    table.add_row("[bold]Pages[/]", f"{addresses.api_url}/{named}")
    table.add_row("[bold]API[/]", f"{addresses.api_url}/docs")
    table.add_row("[bold]Flows[/]", addresses.flow_ui_url)
    console.print(table)
    if greeting is not None:
        _show_request(console, addresses, greeting)
    console.print("\nCtrl-C stops everything.", style="dim")


def _show_answer(console: Console, greeting: Greeting) -> None:
    welcome = read_sample().welcome
    tenant = next(one for one in read_sample().tenants if one.slug == welcome.tenant)
    name = next(one.full_name for one in tenant.users if one.email == welcome.user)
    console.print(f"\n[bold]{escape(name)}[/] of {escape(tenant.name)} asks: [italic]{escape(welcome.question)}[/]\n")
    print_answer(console, greeting.done)


def _show_sign_ins(console: Console, settings: Settings, sign_ins: list[SampleSignIn]) -> None:
    if not sign_ins:
        return  # all have a password of their own by now
    organisation = escape(sign_ins[0].organisation)
    console.print(f"\n[bold]Sign in[/] to {organisation} [dim]kept in {settings.home / PASSWORDS}[/]")
    table = Table.grid(padding=(0, 2))
    for one in sign_ins:
        table.add_row(one.role, escape(one.email), one.password)
    console.print(table, soft_wrap=True)


def _show_keys(console: Console, settings: Settings, keys: list[SampleKey]) -> None:
    console.print(f"\n[bold]API keys[/] [dim]of {read_sample().welcome.tenant}, kept in {settings.home / KEYS}[/]")
    table = Table.grid(padding=(0, 2))
    for key in keys:
        table.add_row(key.role, escape(key.email), key.key)
    console.print(table, soft_wrap=True)
    console.print()


def _show_request(console: Console, addresses: Addresses, greeting: Greeting) -> None:
    """Print a request to copy, unbroken by the terminal's width."""
    body = {"model": "sasha", "messages": [{"role": "user", "content": read_sample().welcome.question}]}
    key = next(one.key for one in greeting.keys if one.email == read_sample().welcome.user)
    console.print("\n[bold]Ask by HTTP[/]")
    console.print(
        f"curl {addresses.api_url}/v1/chat/completions -H 'Authorization: Bearer {key}'"
        f" -H 'Content-Type: application/json' -d '{json.dumps(body)}'",
        soft_wrap=True,
        markup=False,
    )


async def _ingest(tenant: SampleTenant, settings: Settings, addresses: Addresses, checklist: Checklist) -> None:
    with checklist.step(f"material of {tenant.slug}") as step:

        def show(percent: float) -> None:
            step.detail = f"{percent:.0f} %"

        if await is_up_to_date(tenant.id, str(tenant.folder), await load_embedder(settings), settings):
            step.detail = "unchanged since the last start"
            return
        parameters = {"tenant_id": str(tenant.id), "source": str(tenant.folder)}
        run = await run_deployment(addresses.flow_api_url, INGEST, parameters, on_progress=show)
        step.detail = run["state"]["message"] or run["state_name"]


async def _is_counted(reader: Principal) -> bool:
    try:
        async with tenant_session(reader.as_system()) as session:
            await get_dashboard_figures(session)
    except FiguresNotReady:
        return False
    return True


async def _build_evidence(tenant: SampleTenant, settings: Settings, addresses: Addresses, checklist: Checklist) -> None:
    """Run the flow in this process: it takes a second or two, a child to run it in would take ten times as long."""
    with checklist.step(f"evidence of {tenant.slug}") as step:
        # By rules: no start asks a model that costs money; `regenesis evidence build` does.
        plan = await plan_clients(tenant.id, await choose_clients(tenant.id), settings, ask_models=False)
        if not plan.sessions:
            step.detail = "nothing new"
            return
        keep_prefect_quiet(settings)
        from flows.build_evidence import build_evidence
        from flows.server import prefect_session

        async with prefect_session(settings.model_copy(update={"prefect_api_url": addresses.flow_api_url})):
            report = await build_evidence(tenant.id, ask_models=False)
        step.detail = report.summarize()
