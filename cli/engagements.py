"""`regenesis engagements`: who coaches whom, which decides what a coach may read."""

from datetime import datetime
from typing import Annotated

import typer

from cli.console import JsonOption, TenantOption, print_json, run_async
from cli.operator import get_user_id, operator_session

app = typer.Typer(help="Who coaches whom.", no_args_is_help=True)

CoachOption = Annotated[str, typer.Option("--coach", metavar="EMAIL", help="The coach.")]
ClientOption = Annotated[str, typer.Option("--client", metavar="EMAIL", help="The client.")]


@app.command()
def start(
    coach: CoachOption,
    client: ClientOption,
    tenant: TenantOption,
    since: Annotated[datetime | None, typer.Option("--from", help="When it began (UTC); now if not given.")] = None,
) -> None:
    """Let the coach read what is about the client."""
    from datetime import UTC

    from domain.coaching import start_engagement

    async def work() -> None:
        async with operator_session(tenant) as session:
            await start_engagement(
                session,
                coach_id=await get_user_id(session, coach),
                client_id=await get_user_id(session, client),
                started_at=since.replace(tzinfo=UTC) if since else None,
            )

    run_async(work())
    typer.echo(f"{coach} now coaches {client}.")


@app.command()
def end(coach: CoachOption, client: ClientOption, tenant: TenantOption) -> None:
    """End it now: the coach's next read shows nothing about the client."""
    from domain.coaching import end_engagement

    async def work() -> None:
        async with operator_session(tenant) as session:
            await end_engagement(
                session, coach_id=await get_user_id(session, coach), client_id=await get_user_id(session, client)
            )

    run_async(work())
    typer.echo(f"{coach} no longer coaches {client}.")


@app.command("list")
def list_all(tenant: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the engagements, running and ended."""
    from sqlalchemy import select
    from sqlalchemy.orm import aliased

    from db.models import Engagement, User

    async def work() -> list[dict[str, str | None]]:
        coach, client = aliased(User), aliased(User)
        query = (
            select(coach.email, client.email, Engagement.started_at, Engagement.ended_at)
            .join(coach, coach.id == Engagement.coach_id)
            .join(client, client.id == Engagement.client_id)
            .order_by(coach.email, client.email, Engagement.started_at)
        )
        async with operator_session(tenant) as session:
            return [
                {"coach": a, "client": b, "from": began.isoformat(), "until": ended.isoformat() if ended else None}
                for a, b, began, ended in await session.execute(query)
            ]

    rows = run_async(work())
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['coach']}\t{row['client']}\t{row['from']}\t{row['until'] or 'running'}")
