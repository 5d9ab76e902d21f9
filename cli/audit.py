"""`regenesis audit`: what was done and who read what, and the proof that the log of it holds."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from db.models import AuditLog
    from domain.audit_chain import ChainState

app = typer.Typer(help="The audit log: who did and who read what, and whether it still says so.", no_args_is_help=True)

MOST = 10_000
DAY = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
LimitOption = Annotated[int, typer.Option(min=1, max=MOST, help="The newest so many.")]
SinceOption = Annotated[
    datetime | None, typer.Option("--from", formats=DAY, metavar="DAY", help="This moment or later, UTC.")
]
UntilOption = Annotated[
    datetime | None, typer.Option("--until", formats=DAY, metavar="DAY", help="Before this moment, UTC.")
]


@app.command("list")
def list_all(  # noqa: PLR0917  # options of a command line, given by name
    tenant: TenantOption,
    action: Annotated[str | None, typer.Option(help="Only this, such as transcript_read.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="EMAIL", help="Only what this person did.")] = None,
    severity: Annotated[str | None, typer.Option(help="Only of this severity, such as critical.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    *,
    as_json: JsonOption = False,
) -> None:
    """List what was done, the newest first."""
    _show(tenant, limit, as_json, actor=actor, action=action, severity=severity, since=since, until=until)


@app.command()
def who_read(  # noqa: PLR0917  # options of a command line, given by name
    kind: Annotated[str, typer.Argument(help="What was read: client, transcript, document, quote, pack, …")],
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id; of a person the e-mail address will do.")],
    tenant: TenantOption,
    actor: Annotated[str | None, typer.Option(metavar="EMAIL", help="Only what this person read.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    *,
    as_json: JsonOption = False,
) -> None:
    """List who read a thing, or anything about a client, when and through what, the newest first."""
    from core.errors import Invalid
    from domain.reading import KINDS

    if kind not in KINDS or kind == "chunk":
        raise Invalid(f"Nothing called {kind!r} is read; choose from {', '.join(sorted({*KINDS} - {'chunk'}))}.")
    _show(tenant, limit, as_json, actor=actor, target=(kind, which), since=since, until=until)


@app.command()
def chain(tenant: TenantOption, *, as_json: JsonOption = False) -> None:
    """Recompute an organisation's chain and print its end, to be kept elsewhere; exit 1 where it does not hold."""
    state = run_async(_check(tenant))
    if as_json:
        fault = asdict(state.fault) if state.fault else None
        print_json(
            {
                "length": state.length, "hash": state.hash.hex(), "checked": state.checked,
                "dropped_until": state.dropped_until, "verified": state.fault is None, "fault": fault,
            }
        )  # fmt: skip
    else:
        since = f" from {state.dropped_until + 1:,} on" if state.dropped_until else ""
        typer.echo(f"{state.checked:,} of {state.length:,} entries hold{since}." if state.fault is None else "")
        typer.echo(f"The last has the hash {state.hash.hex()}.")
    if state.fault is not None:
        print_error(f"Entry {state.fault.sequence:,} was {state.fault.wrong}: {state.fault.detail}.")
        raise typer.Exit(1)


def _show(
    tenant: str, limit: int, as_json: bool, *, actor: str | None, target: tuple[str, str] | None = None,
    **narrowed: str | datetime | None,
) -> None:  # fmt: skip
    entries, names = run_async(_list(tenant, limit, actor, target, narrowed))
    rows = [_to_json(one, names) for one in entries]
    if as_json:
        print_json(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("when (UTC)", "who", "as", "did", "through", "what"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            f"{row['occurred_at']:%Y-%m-%d %H:%M:%S}", escape(row["actor"] or "–"), row["actor_role"], row["action"],
            row["surface"] or "", escape(row["what"]),
        )  # fmt: skip
    get_console().print(table if rows else "Nothing of that is in the log.")


async def _list(
    tenant: str, limit: int, actor: str | None, target: tuple[str, str] | None, narrowed: dict[str, Any]
) -> "tuple[Sequence[AuditLog], Mapping[UUID, str]]":
    from datetime import UTC

    from sqlalchemy import select

    from cli.operator import get_user_id, operator_session
    from db.models import User
    from domain.audit_entries import Filters, describe_filters, list_entries
    from domain.governance import record_event

    moments = {name: narrowed[name] and narrowed[name].replace(tzinfo=UTC) for name in ("since", "until")}
    async with operator_session(tenant) as session:
        read: dict[str, Any] = {}
        if target is not None:
            read = {"read_kind": target[0], "read_id": await _find_target(session, *target)}
        filters: Filters = Filters(
            **narrowed | moments | read, actor_id=await get_user_id(session, actor) if actor else None
        )
        entries = await list_entries(session, filters, limit=limit)
        people = {one.actor_id for one in entries if one.actor_id is not None}
        names = dict((await session.execute(select(User.id, User.email).where(User.id.in_(people)))).tuples().all())
        await record_event(
            session, action="audit_log_read", entity_type="audit_log", metadata=describe_filters(filters, len(entries))
        )
    return entries, names


async def _find_target(session: "AsyncSession", kind: str, which: str) -> UUID:
    from cli.operator import get_user_id
    from core.errors import Invalid

    try:
        return UUID(which)
    except ValueError as error:
        if kind == "client" and "@" in which:
            return await get_user_id(session, which)
        raise Invalid(f"{which!r} is no {kind}'s id; search or list to see ids.") from error


def _to_json(entry: "AuditLog", names: "Mapping[UUID, str]") -> dict[str, Any]:
    told = entry.metadata_ or {}
    read: dict[str, list[str]] = told.get("read") or {}
    counted = ", ".join(f"{len(ids):,} {kind.replace('_', ' ')}{'s' * (len(ids) != 1)}" for kind, ids in read.items())
    about = " ".join(str(part) for part in (entry.entity_type, entry.entity_id) if part)
    return {
        "sequence": entry.sequence, "occurred_at": entry.occurred_at, "actor_id": entry.actor_id,
        "actor": names.get(entry.actor_id) if entry.actor_id else None, "actor_role": entry.actor_role,
        "action": entry.action, "surface": told.get("surface"), "severity": entry.severity,
        "entity_type": entry.entity_type, "entity_id": entry.entity_id, "what": counted or about, "read": read,
        "request_id": entry.request_id, "hash": entry.hash.hex(),
    }  # fmt: skip


async def _check(tenant: str) -> "ChainState":
    from sqlalchemy import text

    from cli.operator import operator_session
    from domain.audit_chain import check_chain
    from domain.platform import get_tenant_by_slug
    from domain.reading import link_tenant

    await link_tenant((await get_tenant_by_slug(tenant)).id)
    async with operator_session(tenant) as session:
        # A check may read for as long as it takes; nobody waits for it.
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        return await check_chain(session)
