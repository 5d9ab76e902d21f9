"""The `regenesis` command; a command's module imports what it needs only when it runs, so that help is instant."""

from typing import Annotated

import typer

from cli import (
    ask,
    audit,
    bench,
    database,
    doctor,
    encryption,
    engagements,
    evaluate,
    evidence,
    ingest,
    keys,
    privacy,
    retention,
    search,
    tenants,
    up,
    usage,
    users,
)  # fmt: skip
from cli.console import CommandGroup

app = typer.Typer(
    name="regenesis",
    help="Answers from a coaching organisation's own material, each sentence led back to someone's exact words.",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("regenesis"))
        raise typer.Exit


@app.callback()
def prepare(
    _: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Send logs to standard error, only warnings and worse unless REGENESIS_LOG__LEVEL asks for more."""
    from core.logging import configure_logging
    from core.settings import get_settings

    log = get_settings().log
    configure_logging(log if "level" in log.model_fields_set else log.model_copy(update={"level": "WARNING"}))


app.command()(up.up)
app.command()(ingest.ingest)
app.command()(ask.ask)
app.command()(search.search)
app.command()(doctor.doctor)
app.add_typer(evaluate.app, name="eval")
app.add_typer(bench.app, name="bench")
app.add_typer(evidence.app, name="evidence")
app.add_typer(database.app, name="db")
app.add_typer(audit.app, name="audit")
app.add_typer(tenants.app, name="tenants")
app.add_typer(users.app, name="users")
app.add_typer(engagements.app, name="engagements")
app.add_typer(keys.app, name="keys")
app.add_typer(privacy.app, name="privacy")
app.add_typer(retention.app, name="retention")
app.add_typer(usage.app, name="usage")
app.add_typer(encryption.app, name="encryption")


def main() -> None:
    """Run the command line."""
    app(prog_name="regenesis")
