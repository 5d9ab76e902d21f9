"""`regenesis bench rotation`: what changing keys costs."""

from typing import Annotated

import typer

from cli.console import JsonOption, get_console, measure, print_error, print_json, run_async


def rotation(
    fields: Annotated[int, typer.Option(min=2_000, max=10_000_000, help="Encrypted values.")] = 100_000,
    *,
    as_json: JsonOption = False,
) -> None:
    """Rotate a throw-away organisation's keys while values are written; exit 1 if one does not open afterwards."""
    from dataclasses import asdict

    from evaluation.bench_rotation import bench_rotation

    with get_console(stderr=True).status("founding an organisation") as status:
        report = run_async(measure(bench_rotation(fields=fields, note=status.update)), needs_store=False)
    if as_json:
        print_json(asdict(report))
    else:
        typer.echo(f"{report.fields:,} values in {report.seconds:.1f} s, {report.per_second:,} a second")
        typer.echo(
            f"{report.written_meanwhile:,} written meanwhile, {report.unopened} unopened, {report.lost} lost, "
            f"{report.old_left} under the old key, {report.log_rows:,} rows in the log"
        )
    if report.unopened or report.lost or report.old_left:
        print_error("Values were lost or left behind.")
        raise typer.Exit(1)
