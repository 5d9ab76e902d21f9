"""`regenesis tenants`: found an organisation, list the ones there are."""

from typing import Annotated

import typer

from cli.console import JsonOption, print_json, run_async

app = typer.Typer(help="Organisations.", no_args_is_help=True)


@app.command()
def create(
    slug: Annotated[str, typer.Argument(help="Short name for commands and URLs: a-z, 0-9 and -.")],
    name: Annotated[str, typer.Argument(help="The organisation's full name.")],
) -> None:
    """Found an organisation."""
    import re
    from uuid import uuid4

    from core.errors import Invalid
    from domain.platform import found_tenant

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,62}", slug):
        raise Invalid(f"The name {slug!r} can't be used; take 2 to 63 of a-z, 0-9 and -, beginning with no hyphen.")
    tenant = run_async(found_tenant(slug, name, tenant_id=uuid4()))
    typer.echo(f"Founded {tenant.slug} ({tenant.id}).")
    typer.echo(f"Next: regenesis users add EMAIL NAME --role coach --tenant {slug}", err=True)


@app.command("list")
def list_all(*, as_json: JsonOption = False) -> None:
    """List the active organisations."""
    from domain.platform import list_tenants

    tenants = run_async(list_tenants())
    if as_json:
        print_json([{"slug": tenant.slug, "name": tenant.name, "id": tenant.id} for tenant in tenants])
        return
    for tenant in tenants:
        typer.echo(f"{tenant.slug}\t{tenant.name}")
