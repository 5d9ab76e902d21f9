"""How `regenesis privacy export` makes a copy of a person's data and writes it to a file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import get_console
from cli.operator import get_user_id
from core.errors import Invalid

if TYPE_CHECKING:
    from pipelines.privacy.export import ExportReport


class OutputThere(Invalid):
    """There is a file of this name already; name another with --output, or move it away."""


class OutputUnwritable(Invalid):
    """The file can't be written there; name another with --output."""


async def write_export(tenant_slug: str, email: str, output: Path | None) -> "tuple[Path, ExportReport]":
    """Make the copy and write it, readable by this user only; raises `OutputThere` before anything is made."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from db.session import Principal, tenant_session
    from domain.exports import get_export, request_export
    from domain.platform import get_tenant_by_slug
    from pipelines.privacy.export import make_export, open_export

    tenant = await get_tenant_by_slug(tenant_slug)
    operator = Principal(tenant.id, "system")
    target = output or Path(f"your-data-{email.partition('@')[0]}.zip")
    if target.exists():
        raise OutputThere(f"{target} is there already; name another file with --output, or move it away.")
    async with tenant_session(operator) as session:
        row = await request_export(session, operator, user_id=await get_user_id(session, email))
    columns = (TextColumn("Collecting"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=get_console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)

        async def show(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        report = await make_export(tenant.id, row.id, on_progress=show)
    async with tenant_session(operator) as session:
        made = await get_export(session, row.id)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise OutputUnwritable(f"{target} can't be written ({error.strerror}); name another with --output.") from error
    with os.fdopen(descriptor, "wb") as file:
        async for piece in await open_export(made):
            file.write(piece)
    return target, report
