"""`regenesis eval calibrate`: how far a scorer agrees with people, and from which score on an answer is supported."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import JsonOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.progress import Progress

    from evaluation.calibration import Agreement, Scorer
    from evaluation.label_sets import LabelSet
    from evaluation.retrieval_metrics import Interval

RAGAS = "ragas"
MOST_SHOWN = 3


def calibrate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with answers that people judged, such as answers.jsonl.")
    ],
    scorer: Annotated[
        str, typer.Option(help="Calibrate this alone: support, support-likeness, or ragas, the settings' model.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Score so many answers a corpus, drawn in proportion, always the same.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Ask no more before it costs more.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write each corpus's threshold, for `eval run --thresholds`.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare scorers, or the judge, with what people said, corpus by corpus; a judge goes on where it stopped."""
    limit_usd = None if budget is None else Decimal(str(budget))
    agreements = run_async(_calibrate(folder, scorer, limit, limit_usd), needs_store=False)
    if write is not None:
        from evaluation.thresholds import write_thresholds

        write_thresholds(write, agreements)
    unasked = sum(one.unasked for one in agreements)
    if as_json:
        print_json([agreement.to_json() for agreement in agreements])
    else:
        _print_agreements(agreements)
        if unasked:
            typer.echo(f"The budget is spent; {unasked:,} answers were not scored. Raise it to go on.", err=True)
    raise typer.Exit(1 if unasked else 0)


async def _calibrate(folder: Path, chosen: str, limit: int | None, budget: Decimal | None) -> "list[Agreement]":
    from contextlib import AsyncExitStack, aclosing

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from core.errors import Invalid
    from core.settings import get_settings
    from evaluation.calibration import build_judge_scorer, list_scorers
    from evaluation.judge import RagasJudge
    from evaluation.label_sets import load_label_sets, sample_labels
    from pipelines.ingest import load_embedder

    corpora = load_label_sets(folder)
    if limit is not None:
        corpora = [sample_labels(corpus, limit) for corpus in corpora]
    settings = get_settings()
    embedder = await load_embedder(settings)
    async with AsyncExitStack() as exits:
        scorers = list_scorers(embedder)
        if chosen == RAGAS:
            judge = RagasJudge(settings.judging_model, embedder, cache=settings.home / "judgements")
            await exits.enter_async_context(aclosing(judge))
            scorers = {judge.name: build_judge_scorer(judge)}
        elif chosen:
            if chosen not in scorers:
                raise Invalid(f"There is no scorer {chosen}; choose {', '.join(scorers)} or {RAGAS}.")
            scorers = {chosen: scorers[chosen]}
        _print_forecast(corpora, scorers, budget)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = exits.enter_context(Progress(*columns, console=get_console(stderr=True), transient=True))
        return await _score(corpora, scorers, budget, progress)


async def _score(
    corpora: "Sequence[LabelSet]", scorers: "Mapping[str, Scorer]", budget: Decimal | None, progress: "Progress"
) -> "list[Agreement]":
    from functools import partial

    from evaluation.calibration import measure_agreement, score_labels

    found, left = [], budget
    for corpus in corpora:
        for name, scorer in scorers.items():
            bar = progress.add_task(f"{corpus.name}, {name}", total=len(corpus.answers))
            scored = await score_labels(corpus, scorer, budget_usd=left, told=partial(progress.advance, bar))
            if left is not None:
                left -= scored.cost_usd or Decimal(0)
            found.append(measure_agreement(corpus, name, scored))
    return found


def _print_forecast(corpora: "Sequence[LabelSet]", scorers: "Mapping[str, Scorer]", budget: Decimal | None) -> None:
    """Print what scoring costs before it is begun; raises `PriceUnknown` where a budget can't be held."""
    from evaluation.calibration import forecast_labels
    from evaluation.run import PriceUnknown
    from rag.costs import add_costs

    costs = {name: add_costs(forecast_labels(corpus, one) for corpus in corpora) for name, one in scorers.items()}
    if budget is not None and None in costs.values():
        raise PriceUnknown
    answers = sum(len(corpus.answers) for corpus in corpora)
    for name, cost in costs.items():
        if cost is None or cost > 0:
            told = "not known" if cost is None else f"about ${cost:,.4f}"
            typer.echo(f"{answers:,} answers by {name}: forecast {told}; what was judged before is free.", err=True)


def _print_agreements(agreements: "Sequence[Agreement]") -> None:
    from rich.markup import escape
    from rich.table import Table

    def show(interval: "Interval | None") -> str:
        return f"{interval.mean:.3f} [dim]{interval.low:.3f}-{interval.high:.3f}[/]" if interval else "[dim]–[/]"

    table = Table(box=None, pad_edge=False)
    for heading in ("corpus", "scorer"):
        table.add_column(heading)
    for heading in (
        "scored",
        "failed",
        "faithful",
        "AUROC",
        "balanced accuracy",
        "Spearman",
        "supported from",
        "ms",
        "cost",
    ):
        table.add_column(heading, justify="right")
    for one in agreements:
        threshold = f"{one.threshold:.2f}" if one.threshold is not None else "[dim]too few[/]"
        cost = "not known" if one.cost_usd is None else f"${one.cost_usd:,.4f}" if one.cost_usd else "[dim]–[/]"
        table.add_row(
            escape(one.corpus), escape(one.scorer), f"{one.scored:,} of {one.answers:,}",
            f"[red]{one.failed:,}[/]" if one.failed else "0", f"{one.faithful:,}", show(one.auroc),
            show(one.balanced_accuracy), show(one.spearman), threshold, f"{one.ms_per_answer:.1f}", cost,
        )  # fmt: skip
    console = get_console()
    console.print(table)
    for one in agreements:
        for sentence, count in list(one.errors.items())[:MOST_SHOWN]:
            console.print(f"[red]failed[/] {escape(one.corpus)}: {count:,} times. {escape(sentence)}")
    console.print(
        "Support says what was added to the sources, not what is false; a threshold holds for its own corpus.",
        style="dim",
    )
