"""`regenesis keys`: the API keys people call with."""

from typing import Annotated
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, print_json, run_async
from cli.operator import get_user_id, operator_session

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command()
def issue(
    tenant: TenantOption,
    user: Annotated[str, typer.Option(metavar="EMAIL", help="Whom the key stands for.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "command line",
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires; unset: never.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Repeat: chat, search, ingest, admin.")] = None,
) -> None:
    """Make a key and print it, this once only."""
    from datetime import UTC, datetime, timedelta

    from core.errors import Invalid
    from domain.identity import DEFAULT_SCOPES, SCOPES, issue_api_key

    scopes = tuple(scope or DEFAULT_SCOPES)
    if unknown := set(scopes) - set(SCOPES):
        raise Invalid(f"There is no scope {min(unknown)!r}; choose from {', '.join(SCOPES)}.")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None

    async def work() -> tuple[UUID, str]:
        async with operator_session(tenant) as session:
            row, key = await issue_api_key(
                session, user_id=await get_user_id(session, user), name=name, scopes=scopes, expires_at=expires_at
            )
            return row.id, key

    key_id, key = run_async(work())
    typer.echo(key)
    typer.echo(f"This key is shown once only; its id, for revoking it, is {key_id}.", err=True)


@app.command()
def revoke(key_id: Annotated[UUID, typer.Argument(help="The key's id.")], tenant: TenantOption) -> None:
    """Revoke a key, at once."""
    from domain.identity import revoke_api_key

    async def work() -> None:
        async with operator_session(tenant) as session:
            await revoke_api_key(session, key_id)

    run_async(work())
    typer.echo(f"Revoked {key_id}.")


@app.command("list")
def list_all(tenant: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the keys, without the keys themselves."""
    from sqlalchemy import select

    from db.models import ApiKey, User

    async def work() -> list[dict[str, object]]:
        query = select(ApiKey, User.email).join(User, User.id == ApiKey.user_id).order_by(ApiKey.created_at)
        async with operator_session(tenant) as session:
            return [
                {
                    "id": key.id,
                    "user": email,
                    "name": key.name,
                    "scope": key.scope.split(),
                    "expires_at": key.expires_at,
                    "revoked_at": key.revoked_at,
                }
                for key, email in await session.execute(query)
            ]

    rows = run_async(work())
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['id']}\t{row['user']}\t{row['name']}\t{'revoked' if row['revoked_at'] else 'valid'}")
