"""`regenesis encryption`: the keys that an organisation's values and objects are encrypted with."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.rotation import Rotation

app = typer.Typer(help="What organisations' data is encrypted with.", no_args_is_help=True)

SomeTenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="SLUG", help="This organisation; unset: every one.")
]


@app.command()
def status(
    tenant: SomeTenantOption = None,
    *,
    objects: Annotated[bool, typer.Option(help="Count objects too; each is looked at.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show every key: its version, when it was made, retired and destroyed, and what is encrypted with it."""
    found = run_async(_examine(tenant, objects=objects))
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("organisation", "for", "version", "made", "values", "objects", "state"):
        table.add_column(heading, justify="right" if heading in {"version", "values", "objects"} else "left")
    for one in found:
        for key in one["keys"]:
            state = "destroyed" if key["destroyed_at"] else "retired" if key["retired_at"] else "in use"
            values, stored = key.get("fields"), key.get("objects")
            table.add_row(
                one["tenant"], key["purpose"], str(key["version"]), f"{key['created_at']:%Y-%m-%d %H:%M}",
                "" if values is None else f"{values:,}", "" if stored is None else f"{stored:,}", state,
            )  # fmt: skip
        if one["plain_objects"]:
            table.add_row(one["tenant"], "objects", "", "", "", f"{one['plain_objects']:,}", "not encrypted")
        if one["odd"]:
            table.add_row(one["tenant"], "", "", "", f"{one['odd']:,}", "", "unreadable")
    get_console().print(table)
    for one in found:
        typer.echo(f"{one['tenant']}: keyring {one['keyring']}", err=True)


@app.command()
def rotate(
    tenant: SomeTenantOption = None,
    *,
    destroy_old: Annotated[
        bool, typer.Option("--destroy-old", help="Destroy older keys that nothing needs; those of objects after a day.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Encrypt everything anew with new keys, while everybody goes on; exit 1 where something was left."""
    with get_console(stderr=True).status("adding keys") as shown:

        def show(slug: str, what: str, done: int, total: int) -> None:
            shown.update(f"{slug}: {what}, {done:,} of {total:,}")

        finished = run_async(_rotate(tenant, destroys=destroy_old, show=show))
    if as_json:
        from dataclasses import asdict

        print_json({slug: [asdict(one) for one in done] for slug, done in finished.items()})
    else:
        for slug, done in finished.items():
            for one in done:
                typer.echo(f"{slug}: {one.describe()}")
    if any(one.left or one.unreadable for done in finished.values() for one in done):
        print_error("Something is still encrypted with older keys; run it again, or look at what is unreadable.")
        raise typer.Exit(1)


@app.command()
def rewrap(tenant: SomeTenantOption = None) -> None:
    """Wrap the keyring with today's master key, after it was changed; nothing is encrypted anew."""

    async def work() -> list[str]:
        from db.session import Principal, tenant_session
        from domain.keys import rewrap_keyring

        changed = []
        for slug, tenant_id in await _list_tenants(tenant):
            async with tenant_session(Principal(tenant_id, "system")) as session:
                if await rewrap_keyring(session):
                    changed.append(slug)
        return changed

    changed = run_async(work())
    typer.echo(f"{len(changed):,} entries of the keyring were wrapped anew.")


@app.command()
def destroy(
    tenant: TenantOption,
    *,
    confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask; this can't be taken back.")] = False,
) -> None:
    """Destroy an organisation's keys: nothing that was encrypted with them opens again, in backups neither."""
    if not confirmed:
        typer.confirm(
            f"Nothing encrypted of {tenant} will ever open again, in no backup. Destroy its keys?", abort=True
        )

    async def work() -> int:
        from cli.operator import operator_session
        from domain.keys import destroy_keys

        async with operator_session(tenant) as session:
            return await destroy_keys(session)

    typer.echo(f"Destroyed {run_async(work())} keys of {tenant}, and its entry in the keyring.")


async def _list_tenants(slug: str | None) -> list[tuple[str, UUID]]:
    from domain.platform import get_tenant_by_slug, list_tenants

    chosen = await list_tenants() if slug is None else [await get_tenant_by_slug(slug)]
    return [(one.slug, one.id) for one in chosen]


async def _rotate(slug: str | None, *, destroys: bool, show: Any) -> "dict[str, Sequence[Rotation]]":  # noqa: ANN401  # told slug, what, done, total
    from core.crypto import DataKeyDestroyed
    from domain.rotation import rotate_keys

    finished: dict[str, Sequence[Rotation]] = {}
    for name, tenant_id in await _list_tenants(slug):

        def told(what: str, done: int, total: int, name: str = name) -> None:
            show(name, what, done, total)

        try:
            finished[name] = await rotate_keys(tenant_id, destroys=destroys, on_progress=told)
        except DataKeyDestroyed:
            if slug is not None:
                raise
            finished[name] = []  # of all organisations, those whose keys were destroyed have nothing to rotate
    return finished


async def _examine(slug: str | None, *, objects: bool) -> list[dict[str, Any]]:
    from core.settings import get_settings
    from domain.rotation_status import examine_keys

    return [
        {"tenant": name} | await examine_keys(tenant_id, get_settings(), objects=objects)
        for name, tenant_id in await _list_tenants(slug)
    ]
