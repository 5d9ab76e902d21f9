"""`regenesis doctor`: what works, what does not, and what to do about it."""

from typing import TYPE_CHECKING

import typer

from cli.console import JsonOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from core.findings import Finding
    from core.settings import Settings

MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def doctor(*, as_json: JsonOption = False) -> None:
    """Say what works, what does not, and what to do about it; exit 1 if anything fails."""
    from core.settings import get_settings

    settings = get_settings()
    findings = run_async(_examine(settings), needs_store=False)
    if as_json:
        sources = [
            {"variable": name, "value": value, "source": source} for name, value, source in list_settings(settings)
        ]
        print_json({"checks": [finding.to_json() for finding in findings], "settings": sources})
    else:
        _print_findings(findings)
        _print_settings(settings)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: "Settings") -> "list[Finding]":
    from cli import checks, services

    examined = (
        ("python", checks.check_python),
        ("home", checks.check_home),
        ("disk", checks.check_disk),
        ("database", checks.check_database),
        ("database role", checks.check_database_role),
        ("row-level security", checks.check_row_level_security),
        ("organisations", checks.check_tenants),
        ("object store", checks.check_storage),
        ("master key", checks.check_master_key),
        ("backups", checks.check_backups),
        ("keyring", checks.check_keyring),
        ("cache", services.check_cache),
        ("embedder", checks.check_embedder),
        ("language model", checks.check_model),
        ("flow server", services.check_flow_server),
        ("API", services.check_api),
    )
    return [await checks.run_check(name, check, settings) for name, check in examined]


def list_settings(settings: "Settings") -> list[tuple[str, str, str]]:
    """Return each setting's variable, its value with secrets masked, and where the value came from."""
    import os
    import re

    from pydantic import BaseModel

    given = {name.upper() for name, value in os.environ.items() if value}
    listed: list[tuple[str, str, str]] = []

    def walk(group: BaseModel, prefix: str) -> None:
        for name, field in type(group).model_fields.items():
            value = getattr(group, name)
            variable = str(field.validation_alias or f"{prefix}{name}").upper()
            if isinstance(value, BaseModel):
                walk(value, f"{prefix}{name}__")
            else:
                source = "environment" if variable in given else "default"
                shown = re.sub(r"://[^/@]*@", "://**********@", "" if value is None else str(value))
                listed.append((variable, shown, source))

    walk(settings, "REGENESIS_")
    return listed


def _print_findings(findings: "list[Finding]") -> None:
    from rich.table import Table

    console = get_console()
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, colour = MARKS[finding.status]
        table.add_row(f"[{colour}]{mark}[/]", finding.name, _escape(finding.detail))
        if finding.cure:
            table.add_row("", "", f"[{colour}]→ {_escape(finding.cure)}[/]")
    console.print(table)


def _print_settings(settings: "Settings") -> None:
    from rich.table import Table

    console = get_console()
    table = Table.grid(padding=(0, 2))
    for name, value, source in list_settings(settings):
        style = "" if source == "environment" else "dim"
        table.add_row(name, _escape(value) or "-", source, style=style)
    console.print()
    console.print(table)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
