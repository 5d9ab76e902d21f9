"""`regenesis users`: the people of an organisation."""

import re
from typing import Annotated, Literal

import typer

from cli.console import JsonOption, TenantOption, print_json, run_async
from cli.operator import get_user_id, operator_session

app = typer.Typer(help="People of an organisation.", no_args_is_help=True)

ADDRESS = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"
"""What the store takes, see `db.models.identity.User`."""

RoleName = Literal["client", "coach", "admin", "executive", "compliance", "evaluator"]


@app.command()
def add(
    email: Annotated[str, typer.Argument(help="Their e-mail address.")],
    name: Annotated[str, typer.Argument(help="Their full name.")],
    role: Annotated[RoleName, typer.Option(help="What they are here; it decides what they may see.")],
    tenant: TenantOption,
) -> None:
    """Add a person."""
    from core.errors import Invalid
    from domain.identity import create_user

    if not re.fullmatch(ADDRESS, email):
        raise Invalid(f"{email!r} is no e-mail address; give one such as kim@example.org.")

    async def work() -> None:
        async with operator_session(tenant) as session:
            await create_user(session, email=email, full_name=name, role=role)

    run_async(work())
    typer.echo(f"Added {email.lower()} as {role}.")


@app.command("list")
def list_all(tenant: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the active people."""
    from sqlalchemy import select

    from db.models import User

    async def work() -> list[User]:
        async with operator_session(tenant) as session:
            return list(await session.scalars(select(User).where(User.status == "active").order_by(User.email)))

    people = run_async(work())
    if as_json:
        print_json([{"email": one.email, "name": one.full_name, "role": one.role, "id": one.id} for one in people])
        return
    for one in people:
        typer.echo(f"{one.email}\t{one.role}\t{one.full_name}")


@app.command()
def password(
    email: Annotated[str, typer.Argument(help="Whose password.")],
    tenant: TenantOption,
    *,
    generate: Annotated[bool, typer.Option("--generate", help="Make one and print it, this once only.")] = False,
    without_second_factor: Annotated[
        bool, typer.Option("--without-second-factor", help="Also turn their second factor off, for a lost phone.")
    ] = False,
) -> None:
    """Set a person's password, unlock their account and end their sessions; asks for it unless told to make one."""
    from core.cache import open_cache
    from core.settings import get_settings
    from domain import totp
    from domain.auth import set_password
    from domain.passwords import make_password
    from domain.sessions import forget_sessions

    chosen = make_password() if generate else typer.prompt("New password", hide_input=True, confirmation_prompt=True)

    async def work() -> None:
        async with operator_session(tenant) as session:
            user_id = await get_user_id(session, email)
            ended = await set_password(session, user_id=user_id, password=chosen)
            if without_second_factor:
                await totp.disable(session, user_id=user_id)
        cache = open_cache(get_settings().cache.url)
        await forget_sessions(ended, cache=cache)
        await cache.close()

    run_async(work())
    if generate:
        typer.echo(chosen)
    typer.echo(f"The password of {email.lower()} is set; their sessions ended.", err=generate)
