"""`regenesis eval evidence`: whether claims by rules fall where counsellors heard change talk."""

from pathlib import Path
from typing import Annotated

import typer

from cli.console import JsonOption, get_console, print_json


def evidence(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with AnnoMI's turns.jsonl.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Score claims by rules against counsellors' codes of change talk, beside a keyword list."""
    from rich.table import Table

    from evaluation.evidence_annomi import evaluate_annomi
    from evaluation.retrieval_metrics import Interval

    report = evaluate_annomi(folder)
    if as_json:
        print_json(report.to_json())
        return

    def show(one: Interval) -> str:
        return f"{one.mean:.3f} [dim]{one.low:.3f}-{one.high:.3f}[/]"

    table = Table(box=None, pad_edge=False)
    for heading in ("part", "system"):
        table.add_column(heading)
    for heading in ("sessions", "utterances", "change", "precision", "recall", "F1", "of sustain talk"):
        table.add_column(heading, justify="right")
    for one in report.scores:
        table.add_row(
            one.part, one.system, f"{one.sessions:,}", f"{one.utterances:,}", f"{one.change:,}", show(one.precision),
            show(one.recall), show(one.f1), f"{one.on_sustain:.3f}",
        )  # fmt: skip
    console = get_console()
    console.print(table)
    found = ", ".join(f"{count:,} {kind}" for kind, count in report.claims.items())
    console.print(f"Rules {report.rules_version} found {found}.", style="dim")
